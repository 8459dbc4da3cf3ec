/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-mailbox-private.h"

#include "evbus-cause-private.h"
#include "evbus-error.h"

static EvbusEvent *
take_locked (EvbusMailbox *self,
             const char   *key)
{
  EvbusEvent *event = NULL;

  evbus_mailbox_store_take (&self->store, key, &event, 1);
  evbus_mailbox_wake_pushers_locked (self, event == NULL);
  return event;
}

static EvbusEvent *
take (EvbusMailbox *self,
      const char   *key)
{
  EvbusEvent *event;

  g_mutex_lock (&self->lock);
  event = take_locked (self, key);
  g_mutex_unlock (&self->lock);

  return event;
}

/**
 * evbus_mailbox_try_get:
 * @self: a mailbox
 * @routing_key: (nullable): a routing key, or %NULL for any
 *
 * Takes the oldest event, if there is one. Never waits.
 *
 * Returns: (transfer full) (nullable): an event, or %NULL if there is none
 *
 * Since: 1.0
 */
EvbusEvent *
evbus_mailbox_try_get (EvbusMailbox *self,
                       const char   *routing_key)
{
  g_return_val_if_fail (EVBUS_IS_MAILBOX (self), NULL);

  return take (self, routing_key);
}

/**
 * evbus_mailbox_try_get_many:
 * @self: a mailbox
 * @routing_key: (nullable): a routing key, or %NULL for any
 * @max_events: how many events to take at most
 *
 * Takes the oldest events that are there, up to @max_events. Never waits.
 *
 * Returns: (transfer container) (element-type EvbusEvent): the events, the oldest
 *   first; empty if there is none
 *
 * Since: 1.0
 */
GPtrArray *
evbus_mailbox_try_get_many (EvbusMailbox *self,
                            const char   *routing_key,
                            guint         max_events)
{
  GPtrArray *events = g_ptr_array_new ();
  guint n;

  g_return_val_if_fail (EVBUS_IS_MAILBOX (self), events);

  g_mutex_lock (&self->lock);
  g_ptr_array_set_size (events, MIN (max_events, self->store.n_events));
  n = evbus_mailbox_store_take (&self->store, routing_key,
                                (EvbusEvent **) events->pdata, events->len);
  evbus_mailbox_wake_pushers_locked (self, n < max_events);
  g_mutex_unlock (&self->lock);

  g_ptr_array_set_size (events, n);
  g_ptr_array_set_free_func (events, (GDestroyNotify) evbus_event_unref);

  return events;
}

static void
on_get_cancelled (GCancellable       *cancellable,
                  EvbusMailboxWaiter *waiter)
{
  g_mutex_lock (&waiter->mailbox->lock);
  g_cond_signal (&waiter->cond);
  g_mutex_unlock (&waiter->mailbox->lock);
}

static EvbusEvent *
wait_locked (EvbusMailbox       *self,
             EvbusMailboxWaiter *waiter,
             const char         *key)
{
  EvbusEvent *event;

  event = take_locked (self, key);
  if (event != NULL || self->closed)
    return event;

  evbus_mailbox_link_waiter_locked (self, waiter, key);
  while (waiter->waiting && !g_cancellable_is_cancelled (waiter->cancellable))
    g_cond_wait (&waiter->cond, &self->lock);
  if (waiter->waiting)
    evbus_mailbox_waiter_unref (evbus_mailbox_unlink_waiter_locked (self, waiter));

  return g_steal_pointer (&waiter->event);
}

/**
 * evbus_mailbox_get:
 * @self: a mailbox
 * @routing_key: (nullable): a routing key, or %NULL for any
 * @cancellable: (nullable): ends the wait
 * @error: return location for a [error@Evbus.Error] or a [error@Gio.IOErrorEnum]
 *
 * Takes the oldest event; waits for one if there is none. Not for a thread
 * that has a main loop to run: see [method@Evbus.Mailbox.get_async].
 *
 * When @cancellable fires, the error is %G_IO_ERROR_CANCELLED, and no event
 * was taken. When the route is removed or its broker stopped, the events that
 * are left can still be taken; after them the error is %EVBUS_ERROR_CLOSED.
 *
 * Returns: (transfer full): an event
 *
 * Since: 1.0
 */
EvbusEvent *
evbus_mailbox_get (EvbusMailbox  *self,
                   const char    *routing_key,
                   GCancellable  *cancellable,
                   GError       **error)
{
  g_autoptr(EvbusMailboxWaiter) waiter = NULL;
  EvbusEvent *event;
  gulong handler = 0;

  g_return_val_if_fail (EVBUS_IS_MAILBOX (self), NULL);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), NULL);

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return NULL;

  event = take (self, routing_key);
  if (event != NULL)
    return event;

  waiter = evbus_mailbox_waiter_new (self, cancellable);
  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_get_cancelled),
                                     evbus_mailbox_waiter_ref (waiter), (GDestroyNotify) evbus_mailbox_waiter_unref);

  g_mutex_lock (&self->lock);
  event = wait_locked (self, waiter, routing_key);
  g_mutex_unlock (&self->lock);

  if (handler != 0)
    g_signal_handler_disconnect (cancellable, handler);
  if (event == NULL && !g_cancellable_set_error_if_cancelled (cancellable, error))
    evbus_mailbox_set_closed_error (error);

  return event;
}

static gboolean
return_cancelled (gpointer data)
{
  EvbusMailboxWaiter *waiter = data;
  gulong id;

  g_mutex_lock (&waiter->mailbox->lock);
  id = waiter->cancelled_id;
  waiter->cancelled_id = 0;
  g_mutex_unlock (&waiter->mailbox->lock);

  if (id != 0)
    g_signal_handler_disconnect (waiter->cancellable, id);
  g_task_return_new_error (waiter->task, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                           "the get was cancelled before there was an event");
  return G_SOURCE_REMOVE;
}

/* On whatever thread cancels. The answer comes later, in the caller's context:
 * its callback may do what must not be done inside of a cancellation. */
static void
on_task_cancelled (GCancellable       *cancellable,
                   EvbusMailboxWaiter *waiter)
{
  EvbusMailbox *self = waiter->mailbox;
  g_autoptr(GSource) source = NULL;
  gboolean served;

  g_mutex_lock (&self->lock);
  served = waiter->served;
  waiter->served = TRUE;
  if (waiter->waiting)
    evbus_mailbox_waiter_unref (evbus_mailbox_unlink_waiter_locked (self, waiter));
  g_mutex_unlock (&self->lock);

  if (served)
    return;

  source = g_idle_source_new ();
  g_source_set_priority (source, g_task_get_priority (waiter->task));
  g_source_set_static_name (source, "[evbus] cancelled get");
  g_source_set_callback (source, return_cancelled, evbus_mailbox_waiter_ref (waiter),
                         (GDestroyNotify) evbus_mailbox_waiter_unref);
  g_source_attach (source, g_task_get_context (waiter->task));
}

/* The waiter may be served, or cancelled, as soon as this connects. */
static void
connect_cancellable (EvbusMailbox       *self,
                     EvbusMailboxWaiter *waiter)
{
  gulong id;

  if (waiter->cancellable == NULL)
    return;

  id = g_cancellable_connect (waiter->cancellable, G_CALLBACK (on_task_cancelled),
                              evbus_mailbox_waiter_ref (waiter),
                              (GDestroyNotify) evbus_mailbox_waiter_unref);
  if (id == 0)
    return;

  g_mutex_lock (&self->lock);
  if (!waiter->served)
    {
      waiter->cancelled_id = id;
      id = 0;
    }
  g_mutex_unlock (&self->lock);

  if (id != 0)
    g_signal_handler_disconnect (waiter->cancellable, id);
}

/* Makes @task wait, unless there is an event now. */
static EvbusEvent *
get_or_wait (EvbusMailbox *self,
             GTask        *task,
             const char   *key,
             gboolean     *closed)
{
  g_autoptr(EvbusMailboxWaiter) waiter = NULL;
  EvbusEvent *event;
  gboolean waiting;

  waiter = evbus_mailbox_waiter_new (self, g_task_get_cancellable (task));
  waiter->task = g_object_ref (task);

  g_mutex_lock (&self->lock);
  event = take_locked (self, key);
  *closed = self->closed;
  waiting = event == NULL && !self->closed;
  if (waiting)
    evbus_mailbox_link_waiter_locked (self, waiter, key);
  g_mutex_unlock (&self->lock);

  if (waiting)
    connect_cancellable (self, waiter);

  return event;
}

/**
 * evbus_mailbox_get_async:
 * @self: a mailbox
 * @routing_key: (nullable): a routing key, or %NULL for any
 * @cancellable: (nullable): ends the wait
 * @callback: (scope async): called when there is an event, in the caller's
 *   thread-default main context
 * @user_data: passed to @callback
 *
 * Takes the oldest event, as soon as there is one. As many calls as you like
 * may be under way; they are served in their order.
 *
 * A cancelled call never loses an event: either it is over before an event is
 * handed to it, or [method@Evbus.Mailbox.get_finish] returns that event.
 *
 * Since: 1.0
 */
void
evbus_mailbox_get_async (EvbusMailbox        *self,
                         const char          *routing_key,
                         GCancellable        *cancellable,
                         GAsyncReadyCallback  callback,
                         gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;
  EvbusEvent *event;
  gboolean closed = FALSE;

  g_return_if_fail (EVBUS_IS_MAILBOX (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, evbus_mailbox_get_async);
  /* Or an event that was handed over would be lost in the task. */
  g_task_set_check_cancellable (task, FALSE);
  if (g_task_return_error_if_cancelled (task))
    return;

  event = take (self, routing_key);
  if (event == NULL)
    event = get_or_wait (self, task, routing_key, &closed);

  if (event != NULL)
    g_task_return_pointer (task, event, (GDestroyNotify) evbus_event_unref);
  else if (closed)
    g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_CLOSED,
                             EVBUS_MAILBOX_CLOSED_MESSAGE);
}

/**
 * evbus_mailbox_get_finish:
 * @self: a mailbox
 * @result: what the callback was given
 * @error: return location for a [error@Evbus.Error] or a [error@Gio.IOErrorEnum]
 *
 * Ends [method@Evbus.Mailbox.get_async]. The errors are those of
 * [method@Evbus.Mailbox.get].
 *
 * Returns: (transfer full): the event
 *
 * Since: 1.0
 */
EvbusEvent *
evbus_mailbox_get_finish (EvbusMailbox  *self,
                          GAsyncResult  *result,
                          GError       **error)
{
  EvbusEvent *event;

  g_return_val_if_fail (g_task_is_valid (result, self), NULL);

  event = g_task_propagate_pointer (G_TASK (result), error);

  /* What the rest of the callback puts is caused by @event. A consumer that
   * asks instead of being called is not in a loop for sure: it may just put
   * and take in turn. */
  if (event != NULL && g_main_current_source () != NULL)
    evbus_cause_set (evbus_event_get_hops (event));

  return event;
}
