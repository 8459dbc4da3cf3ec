/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Without JetStream. */

#include "nats-run.h"

/* What the server refused it has said before it has answered the flush. */
static gboolean
take_refusals (NatsRun  *run,
               GError  **error)
{
  char *text;

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

static gboolean
flush (NatsRun  *run,
       GError  **error)
{
  nats_link_begin_flush (run->publish->link);
  return nats_link_wait_flushed (run->publish->link, run->publish->cancellable, error) && take_refusals (run, error);
}

gboolean
nats_publish_core (NatsPublish  *self,
                   GError      **error)
{
  NatsRun run;
  gboolean done;

  nats_run_init (&run, self);
  done = nats_run_send (&run, NATS_RUN_FLUSH, error) && flush (&run, error);
  for (guint i = 0; done && i < run.n; i++)
    if (run.open[i] != 0)
      evbus_batch_confirm (self->batch, i);
  nats_run_clear (&run);
  return done;
}
