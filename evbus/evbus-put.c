/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-put-private.h"

#include "evbus-queue-private.h"

EvbusPut *
evbus_put_new (GTask           *task,
               EvbusEvent     **events,
               guint            n_events,
               gpointer         result,
               GDestroyNotify   free_result)
{
  EvbusPut *self = g_new0 (EvbusPut, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->state = EVBUS_PUT_NEW;
  self->task = g_object_ref (task);
  self->events = events;
  self->n_events = n_events;
  self->result = result;
  self->free_result = free_result;
  self->timeout = G_MAXUINT;
  for (guint i = 0; i < n_events; i++)
    self->weight += events[i]->weight;

  return self;
}

EvbusPut *
evbus_put_ref (EvbusPut *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_put_unref (EvbusPut *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  for (guint i = 0; i < self->n_events; i++)
    g_clear_pointer (&self->events[i], evbus_event_unref);
  g_free (self->events);
  if (self->result != NULL)
    self->free_result (self->result);
  g_clear_pointer (&self->needs, g_array_unref);
  g_clear_object (&self->cancellable);
  g_clear_pointer (&self->timeout_source, g_source_unref);
  g_clear_object (&self->task);
  g_clear_pointer (&self->queue, evbus_queue_unref);
  g_clear_error (&self->refusal);
  g_free (self->follower);
  g_free (self);
}

gboolean
evbus_put_follows (EvbusPut *self)
{
  return self->to_be_delivered || self->follower != NULL;
}

void
evbus_put_answer (EvbusPut *self,
                  GError   *error)
{
  g_autoptr(GTask) task = g_steal_pointer (&self->task);

  if (error == NULL)
    error = g_steal_pointer (&self->refusal);

  /* Not g_cancellable_disconnect(), which waits for the handler: this may be
   * called from it. The handler finds the put done if it still runs. */
  if (self->cancelled_id != 0)
    g_signal_handler_disconnect (self->cancellable, self->cancelled_id);
  if (self->timeout_source != NULL)
    g_source_destroy (self->timeout_source);

  if (error != NULL)
    g_task_return_error (task, error);
  else
    g_task_return_pointer (task, g_steal_pointer (&self->result), self->free_result);
}

void
evbus_put_answer_all (GQueue *puts)
{
  EvbusPut *put;

  while ((put = g_queue_pop_head (puts)) != NULL)
    {
      evbus_put_answer (put, NULL);
      evbus_put_unref (put);
    }
}
