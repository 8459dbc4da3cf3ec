/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* All messages of a batch are sent, and what comes back is sorted by its number:
 * each asks for an answer to a subject of its own in the connection's inbox,
 * INBOX.aN for the acknowledgement of message N, INBOX.sN for the streams that have its
 * subject. */

#include "nats-publish.h"

#include <string.h>

#include "nats-errors.h"

#define ACK 'a'
#define STREAMS 's'
#define FLUSH 'f'

#define STREAMS_SUBJECT "$JS.API.STREAM.NAMES"

/* Which of the events are still without an answer. */
typedef struct {
  NatsPublish *publish;
  GString     *reply;     /* INBOX.aN */
  gsize        prefix;    /* INBOX. */
  guint        n;
  guint8      *open;      /* a byte for each event: what it waits for, or 0 */
  guint        n_open;
  guint        n_nobody;  /* of those: it reached nobody, whichever it is */
} Run;

static void
run_init (Run         *run,
          NatsPublish *publish)
{
  run->publish = publish;
  run->n = evbus_batch_get_n_events (publish->batch);
  run->n_open = 0;
  run->n_nobody = 0;
  run->open = g_new0 (guint8, run->n);
  run->reply = g_string_new (nats_link_get_inbox (publish->link));
  g_string_append_c (run->reply, '.');
  run->prefix = run->reply->len;
}

static void
run_clear (Run *run)
{
  g_string_free (run->reply, TRUE);
  g_free (run->open);
}

static const char *
make_reply (Run   *run,
            char   kind,
            guint  index)
{
  g_string_truncate (run->reply, run->prefix);
  g_string_append_printf (run->reply, "%c%" G_GUINT64_FORMAT, kind, run->publish->first + index);
  return run->reply->str;
}

/* Returns to which event an answer belongs, and of what kind it is; FALSE if to none,
 * as one to an earlier batch. */
static gboolean
find_event (Run      *run,
            natsMsg  *reply,
            char     *kind,
            guint    *index)
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

static void
set_open (Run   *run,
          guint  index,
          char   kind)
{
  run->n_open += (kind != 0) - (run->open[index] != 0);
  run->open[index] = kind;
}

static void
fail (Run          *run,
      guint         index,
      EvbusOutcome  outcome,
      const char   *reason)
{
  EvbusEvent *event = evbus_batch_get_event (run->publish->batch, index);
  g_autofree char *message = g_strdup_printf ("subject '%s': %s",
                                              nats_format_get_subject (run->publish->format, event), reason);

  evbus_batch_fail (run->publish->batch, index, outcome, message);
  set_open (run, index, 0);
}

/* ---- what the user may not do ---- */

#define PUBLISH_TO "for Publish to \""

/* @text ends with the subject as Go writes it in quotation marks, and may be cut off. */
static gboolean
names_subject (const char *text,
               const char *subject)
{
  const char *p = strstr (text, PUBLISH_TO);

  if (p == NULL)
    return FALSE;
  for (p += strlen (PUBLISH_TO); *p != '\0' && *subject != '\0'; p++, subject++)
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
static gboolean
take_refusal (Run         *run,
              const char  *text,
              GError     **error)
{
  NatsFormat *format = run->publish->format;
  EvbusOutcome outcome = nats_errors_of_address (nats_format_is_fixed (format));
  gboolean lookup = names_subject (text, STREAMS_SUBJECT);

  if (strstr (text, PUBLISH_TO) == NULL)
    {
      nats_errors_set (error, nats_link_get_where (run->publish->link), NATS_NOT_PERMITTED, text);
      return FALSE;
    }

  for (guint i = 0; i < run->n; i++)
    {
      EvbusEvent *event = evbus_batch_get_event (run->publish->batch, i);

      if (run->open[i] == STREAMS && lookup)
        fail (run, i, EVBUS_OUTCOME_TRANSIENT, "nobody listens there now; allow the user to publish to "
              STREAMS_SUBJECT ", to know whether a stream has it, or add it to one");
      else if (run->open[i] != 0 && run->open[i] != STREAMS &&
               names_subject (text, nats_format_get_subject (format, event)))
        fail (run, i, outcome, text);
    }
  return TRUE;
}

static gboolean
take_refusals (Run     *run,
               GError **error)
{
  for (;;)
    {
      g_autofree char *text = nats_link_next_refusal (run->publish->link);

      if (text == NULL)
        return TRUE;
      if (!take_refusal (run, text, error))
        return FALSE;
    }
}

/* ---- with JetStream ---- */

/* Whether its subject has no stream, or JetStream is not there now. */
static gboolean
ask_for_streams (Run     *run,
                 guint    index,
                 GError **error)
{
  NatsPublish *publish = run->publish;
  EvbusEvent *event = evbus_batch_get_event (publish->batch, index);
  g_autoptr(GString) request = g_string_new ("{\"subject\":");
  natsMsg *msg = NULL;
  gboolean sent;

  evbus_json_append_string (request, nats_format_get_subject (publish->format, event), -1);
  g_string_append_c (request, '}');
  natsMsg_Create (&msg, STREAMS_SUBJECT, make_reply (run, STREAMS, index), request->str, request->len);
  sent = nats_link_send (publish->link, msg, publish->cancellable, error);
  natsMsg_Destroy (msg);
  set_open (run, index, STREAMS);
  return sent;
}

static void
take_answer (Run     *run,
             natsMsg *reply)
{
  static gboolean (* const read[]) (natsMsg *, gboolean, EvbusOutcome *, char **) = {
    [ACK] = nats_errors_read_ack,
    [STREAMS] = nats_errors_read_streams,
  };
  gboolean fixed = nats_format_is_fixed (run->publish->format);
  g_autofree char *reason = NULL;
  EvbusOutcome outcome;
  guint index;
  char kind;

  if (!find_event (run, reply, &kind, &index) || kind == 0 || run->open[index] != kind)
    return;

  if (!read[(guint) kind] (reply, fixed, &outcome, &reason))
    {
      fail (run, index, outcome, reason);
      return;
    }
  evbus_batch_confirm (run->publish->batch, index);
  set_open (run, index, 0);
}

/* All that are still open reached nobody. */
static gboolean
look_for_somebody (Run     *run,
                   GError **error)
{
  run->n_nobody = 0;
  for (guint i = 0; i < run->n; i++)
    if (run->open[i] == STREAMS)
      fail (run, i, EVBUS_OUTCOME_BROKEN,
            "JetStream is not turned on at the server; turn it on, or set 'jetstream: false'");
    else if (run->open[i] == ACK && !ask_for_streams (run, i, error))
      return FALSE;
  return TRUE;
}

static gboolean
take_answers (Run     *run,
              GError **error)
{
  natsMsg *reply;

  while ((reply = nats_link_next_reply (run->publish->link, &run->n_nobody)) != NULL)
    {
      take_answer (run, reply);
      natsMsg_Destroy (reply);
    }
  if (!take_refusals (run, error))
    return FALSE;
  return run->n_open == 0 || run->n_open > run->n_nobody || look_for_somebody (run, error);
}

/* @kind: what they then wait for. */
static gboolean
send_all (Run      *run,
          char      kind,
          GError  **error)
{
  NatsPublish *publish = run->publish;
  gsize max_payload = nats_link_get_max_payload (publish->link);

  for (guint i = 0; i < run->n; i++)
    {
      g_autofree char *reason = NULL;
      EvbusOutcome outcome;
      natsMsg *msg = nats_format_make (publish->format, evbus_batch_get_event (publish->batch, i),
                                       kind == ACK ? make_reply (run, kind, i) : NULL,
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
      set_open (run, i, kind);
    }
  return TRUE;
}

gboolean
nats_publish_stored (NatsPublish  *self,
                     GError      **error)
{
  Run run;
  gboolean done;

  run_init (&run, self);
  done = send_all (&run, ACK, error) && take_answers (&run, error);
  while (done && run.n_open > 0)
    done = nats_link_pump (self->link, TRUE, self->cancellable, error) && take_answers (&run, error);
  run_clear (&run);
  return done;
}

/* ---- without ---- */

/* A server goes through what a client sends in order. So when a message to our own
 * inbox has come back, or was refused, it has had all those before. */
static gboolean
send_flush (Run      *run,
            GError  **error)
{
  natsMsg *msg = NULL;
  gboolean sent;

  natsMsg_Create (&msg, make_reply (run, FLUSH, 0), NULL, NULL, 0);
  sent = nats_link_send (run->publish->link, msg, run->publish->cancellable, error);
  natsMsg_Destroy (msg);
  return sent;
}

static gboolean
is_flushed (Run *run)
{
  natsMsg *reply;
  gboolean flushed = FALSE;

  while ((reply = nats_link_next_reply (run->publish->link, &run->n_nobody)) != NULL)
    {
      guint index;
      char kind;

      flushed = flushed || (find_event (run, reply, &kind, &index) && kind == FLUSH);
      natsMsg_Destroy (reply);
    }
  return flushed;
}

/* Returns whether the flush itself was refused, after which no other comes. */
static gboolean
take_refusals_of_flush (Run       *run,
                        gboolean  *flushed,
                        GError   **error)
{
  g_autofree char *flush = g_strdup (make_reply (run, FLUSH, 0));
  char *text;

  while ((text = nats_link_next_refusal (run->publish->link)) != NULL)
    {
      g_autofree char *refusal = text;

      if (names_subject (refusal, flush))
        *flushed = TRUE;
      else if (!take_refusal (run, refusal, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
wait_for_flush (Run     *run,
                GError **error)
{
  gboolean flushed = FALSE;
  char *text;

  while (!flushed)
    {
      if (!nats_link_pump (run->publish->link, TRUE, run->publish->cancellable, error) ||
          !take_refusals_of_flush (run, &flushed, error))
        return FALSE;
      if (flushed)
        return TRUE;
      flushed = is_flushed (run);
    }

  if (!nats_link_was_refused (run->publish->link))
    return TRUE;
  while (nats_link_last_refusal (run->publish->link, &text))
    {
      g_autofree char *refusal = text;

      if (refusal == NULL)
        return TRUE;
      if (!take_refusal (run, refusal, error))
        return FALSE;
    }
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: what the server refused could not be learned",
               nats_link_get_where (run->publish->link));
  return FALSE;
}

gboolean
nats_publish_core (NatsPublish  *self,
                   GError      **error)
{
  Run run;
  gboolean done;

  run_init (&run, self);
  done = send_all (&run, FLUSH, error) && send_flush (&run, error) && wait_for_flush (&run, error);
  for (guint i = 0; done && i < run.n; i++)
    if (run.open[i] != 0)
      evbus_batch_confirm (self->batch, i);
  run_clear (&run);
  return done;
}
