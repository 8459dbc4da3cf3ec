/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The events of a batch, while they wait for answers. */

#include "nats-run.h"

#include <string.h>

#include "nats-errors.h"

void
nats_run_init (NatsRun     *run,
               NatsPublish *publish)
{
  run->publish = publish;
  run->n = 0;
  run->n_open = 0;
  run->n_nobody = 0;
  run->shared = nats_format_shares_stream (publish->format);
  run->open = NULL;
  run->reply = g_string_new (nats_link_get_inbox (publish->link));
  g_string_append_c (run->reply, '.');
  run->prefix = run->reply->len;
}

void
nats_run_clear (NatsRun *run)
{
  g_string_free (run->reply, TRUE);
  g_free (run->open);
}

const char *
nats_run_make_reply (NatsRun *run,
                     char     kind,
                     guint    index)
{
  g_string_truncate (run->reply, run->prefix);
  g_string_append_printf (run->reply, "%c%" G_GUINT64_FORMAT, kind, run->publish->first + index);
  return run->reply->str;
}

/* Returns to which event an answer belongs, and of what kind it is; FALSE if to none,
 * as one to an earlier batch. */
gboolean
nats_run_find_event (NatsRun *run,
                     natsMsg *reply,
                     char    *kind,
                     guint   *index)
{
  const char *subject = natsMsg_GetSubject (reply);
  guint64 number;

  if (strlen (subject) <= run->prefix + 1)
    return FALSE;
  *kind = subject[run->prefix];
  number = g_ascii_strtoull (subject + run->prefix + 1, NULL, 10) - run->publish->first;
  *index = number;
  return number < run->n;
}

void
nats_run_set_open (NatsRun *run,
                   guint    index,
                   char     kind)
{
  run->n_open += (kind != 0) - (run->open[index] != 0);
  run->open[index] = kind;
}

void
nats_run_fail (NatsRun      *run,
               guint         index,
               EvbusOutcome  outcome,
               const char   *reason)
{
  EvbusEvent *event = evbus_batch_get_event (run->publish->batch, index);
  g_autofree char *message = g_strdup_printf ("subject '%s': %s",
                                              nats_format_get_subject (run->publish->format, event), reason);

  evbus_batch_fail (run->publish->batch, index, outcome, message);
  nats_run_set_open (run, index, 0);
}

void
nats_run_confirm (NatsRun *run,
                  guint    index)
{
  evbus_batch_confirm (run->publish->batch, index);
  nats_run_set_open (run, index, 0);
}

/* @text ends with the subject as Go writes it in quotation marks, and may be cut off. */
gboolean
nats_run_names_subject (const char *text,
                        const char *subject)
{
  const char *p = strstr (text, NATS_RUN_PUBLISH_TO);

  if (p == NULL)
    return FALSE;
  for (p += strlen (NATS_RUN_PUBLISH_TO); *p != '\0' && *subject != '\0'; p++, subject++)
    {
      if (*p == '\\')
        p++;
      if (*p != *subject)
        return FALSE;
    }
  return *p == '\0' || g_strcmp0 (p, "\"") == 0;
}

/* What is refused more than once, or comes too late for its batch, concerns no
 * event. FALSE: it is something that all of them need. */
gboolean
nats_run_refuse (NatsRun     *run,
                 const char  *text,
                 GError     **error)
{
  NatsFormat *format = run->publish->format;
  EvbusOutcome outcome = nats_errors_of_address (nats_format_fixes_subject (format));

  if (strstr (text, NATS_RUN_PUBLISH_TO) == NULL)
    {
      nats_errors_set (error, nats_link_get_where (run->publish->link), NATS_NOT_PERMITTED, text);
      return FALSE;
    }

  for (guint i = 0; i < run->n; i++)
    {
      if ((run->open[i] == NATS_RUN_ACK || run->open[i] == NATS_RUN_FLUSH) &&
          nats_run_names_subject (text, nats_format_get_subject (format, evbus_batch_get_event (run->publish->batch, i))))
        nats_run_fail (run, i, outcome, text);
    }
  return TRUE;
}

/* Those that were not sent yet. @kind: what they then wait for. */
gboolean
nats_run_send (NatsRun  *run,
               char      kind,
               GError  **error)
{
  NatsPublish *publish = run->publish;
  gsize max_payload = nats_link_get_max_payload (publish->link);
  guint from = run->n;

  run->n = evbus_batch_get_n_events (publish->batch);
  run->open = g_realloc (run->open, run->n);
  memset (run->open + from, 0, run->n - from);
  for (guint i = from; i < run->n; i++)
    {
      g_autofree char *reason = NULL;
      EvbusOutcome outcome;
      natsMsg *msg = nats_format_make (publish->format, evbus_batch_get_event (publish->batch, i),
                                       kind == NATS_RUN_ACK ? nats_run_make_reply (run, kind, i) : NULL,
                                       max_payload, &outcome, &reason);
      gboolean sent;

      if (msg == NULL)
        {
          evbus_batch_fail (publish->batch, i, outcome, reason);
          continue;
        }
      sent = nats_link_send (publish->link, msg, publish->cancellable, error);
      natsMsg_Destroy (msg);
      if (!sent)
        return FALSE;
      nats_run_set_open (run, i, kind);
    }
  return TRUE;
}
