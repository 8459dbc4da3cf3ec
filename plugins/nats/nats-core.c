/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Without JetStream. */

#include "nats-run.h"

/* A server goes through what a client sends in order. So when a message to our own
 * inbox has come back, or was refused, it has had all those before. */
static gboolean
send_flush (NatsRun  *run,
            GError  **error)
{
  natsMsg *msg = NULL;
  gboolean sent;

  natsMsg_Create (&msg, nats_run_make_reply (run, NATS_RUN_FLUSH, 0), NULL, NULL, 0);
  sent = nats_link_send (run->publish->link, msg, run->publish->cancellable, error);
  natsMsg_Destroy (msg);
  return sent;
}

static gboolean
is_flushed (NatsRun *run)
{
  natsMsg *reply;
  gboolean flushed = FALSE;

  while ((reply = nats_link_next_reply (run->publish->link, &run->n_nobody)) != NULL)
    {
      guint index;
      char kind;

      flushed = flushed || (nats_run_find_event (run, reply, &kind, &index) && kind == NATS_RUN_FLUSH);
      natsMsg_Destroy (reply);
    }
  return flushed;
}

/* Returns whether the flush itself was refused, after which no other comes. */
static gboolean
take_refusals_of_flush (NatsRun   *run,
                        gboolean  *flushed,
                        GError   **error)
{
  g_autofree char *flush = g_strdup (nats_run_make_reply (run, NATS_RUN_FLUSH, 0));
  char *text;

  while ((text = nats_link_next_refusal (run->publish->link)) != NULL)
    {
      g_autofree char *refusal = text;

      if (nats_run_names_subject (refusal, flush))
        *flushed = TRUE;
      else if (!nats_run_refuse (run, refusal, error))
        return FALSE;
    }
  return TRUE;
}

static gboolean
wait_for_flush (NatsRun  *run,
                GError  **error)
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
      if (!nats_run_refuse (run, refusal, error))
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
  NatsRun run;
  gboolean done;

  nats_run_init (&run, self);
  done = nats_run_send_all (&run, NATS_RUN_FLUSH, error) && send_flush (&run, error) && wait_for_flush (&run, error);
  for (guint i = 0; done && i < run.n; i++)
    if (run.open[i] != 0)
      evbus_batch_confirm (self->batch, i);
  nats_run_clear (&run);
  return done;
}
