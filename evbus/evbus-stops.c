/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-stops-private.h"

#include "evbus-error.h"

typedef struct {
  GTask  *task;
  gulong  cancelled_id;
} Stop;

static void
stop_free (gpointer data)
{
  Stop *stop = data;

  /* Not g_cancellable_disconnect(), which waits for the handler. */
  if (stop->cancelled_id != 0)
    g_signal_handler_disconnect (g_task_get_cancellable (stop->task), stop->cancelled_id);
  g_object_unref (stop->task);
  g_free (stop);
}

void
evbus_stops_init (EvbusStops *self)
{
  self->waiting = g_ptr_array_new_with_free_func (stop_free);
}

void
evbus_stops_clear (EvbusStops *self)
{
  g_ptr_array_unref (self->waiting);
  g_free (self->first_route);
}

/* Not a cancellable's source, which GLib 2.74 leaks if it is destroyed while
 * another thread cancels. */
void
evbus_stops_add (EvbusStops     *self,
                 GTask          *task,
                 GCallback       on_cancelled,
                 gpointer        data,
                 GDestroyNotify  free_data)
{
  GCancellable *cancellable = g_task_get_cancellable (task);
  Stop *stop = g_new0 (Stop, 1);

  stop->task = g_object_ref (task);
  g_ptr_array_add (self->waiting, stop);
  if (cancellable != NULL)
    stop->cancelled_id = g_cancellable_connect (cancellable, on_cancelled, data, free_data);
  else
    free_data (data);
}

static guint64
count_dropped (EvbusRoute *route)
{
  EvbusLedger ledger;

  evbus_queue_get_ledger (route->queue, route, &ledger);
  return ledger.dropped;
}

void
evbus_stops_begin (EvbusStops *self,
                   EvbusRoute *route)
{
  route->dropped_before_stop = count_dropped (route);
}

void
evbus_stops_end (EvbusStops *self,
                 EvbusRoute *route)
{
  evbus_stops_count (self, route, count_dropped (route) - route->dropped_before_stop);
}

void
evbus_stops_count (EvbusStops *self,
                   EvbusRoute *route,
                   guint64     n_events)
{
  if (n_events > 0 && self->first_route == NULL)
    self->first_route = g_strdup (route->label);
  self->left_over += n_events;
}

void
evbus_stops_answer (const EvbusStops *self,
                    GTask            *task)
{
  if (self->left_over == 0)
    {
      g_task_return_boolean (task, TRUE);
      return;
    }

  g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_TIMED_OUT,
                           "%" G_GUINT64_FORMAT " event%s could not be delivered and had to be dropped, "
                           "the first of them by route %s; a longer stop-timeout gives a route more time",
                           self->left_over, self->left_over == 1 ? "" : "s", self->first_route);
}

void
evbus_stops_answer_all (EvbusStops *self)
{
  while (self->waiting->len > 0)
    {
      Stop *stop = self->waiting->pdata[0];

      evbus_stops_answer (self, stop->task);
      g_ptr_array_remove_index (self->waiting, 0);
    }
}
