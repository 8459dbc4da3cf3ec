/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Puts that are answered, some of them under way at the same time.
 */

#include "bench-flight.h"

#include "bench.h"

#define ARRIVAL_TIMEOUT (60 * G_TIME_SPAN_SECOND)

typedef struct
{
  EvbusProducer *producer;
  GBytes        *body;
  guint          n_events;
  guint          n_put;
  guint          n_answered;
  GError        *error;      /* the first one */
} Flight;

static void put_one (Flight *self);

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  Flight *self = user_data;
  g_autofree char *id = NULL;

  id = evbus_producer_put_bytes_finish (self->producer, result, self->error == NULL ? &self->error : NULL);
  self->n_answered++;
  if (self->n_put < self->n_events && self->error == NULL)
    put_one (self);
}

static void
put_one (Flight *self)
{
  self->n_put++;
  evbus_producer_put_bytes_async (self->producer, "order.created", self->body, NULL, NULL, NULL, on_put, self);
}

gboolean
bench_flight_put (EvbusBroker  *broker,
                  GBytes       *body,
                  guint         n_events,
                  guint         in_flight,
                  GError      **error)
{
  Flight self = { EVBUS_PRODUCER (broker), body, n_events, 0, 0, NULL };

  while (self.n_put < MIN (in_flight, n_events))
    put_one (&self);
  while (self.n_answered < self.n_put)
    g_main_context_iteration (NULL, TRUE);
  if (self.error == NULL)
    return TRUE;
  g_propagate_error (error, self.error);
  return FALSE;
}

gboolean
bench_flight_check (EvbusBroker        *broker,
                    const EvbusLedger  *before,
                    guint               n_events,
                    GError            **error)
{
  gint64 deadline = g_get_monotonic_time () + ARRIVAL_TIMEOUT;
  EvbusLedger now;

  do
    {
      evbus_broker_get_ledger (broker, &now);
      g_thread_yield ();
    }
  while (now.queued > 0 && g_get_monotonic_time () < deadline);

  if (evbus_ledger_balances (&now) && now.delivered - before->delivered == n_events)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "ledger: %u events should have been delivered, not %"
               G_GUINT64_FORMAT, n_events, now.delivered - before->delivered);
  return FALSE;
}

static void
on_stopped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  gboolean *stopped = user_data;
  g_autoptr (GError) error = NULL;

  if (!evbus_broker_stop_finish (EVBUS_BROKER (source), result, &error))
    bench_fail ("broker", "stop", error->message);
  *stopped = TRUE;
}

void
bench_flight_stop (EvbusBroker *broker)
{
  gboolean stopped = FALSE;

  evbus_broker_stop_async (broker, NULL, on_stopped, &stopped);
  while (!stopped)
    g_main_context_iteration (NULL, TRUE);
}
