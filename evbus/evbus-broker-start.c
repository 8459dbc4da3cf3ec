/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker's start, and its stop. */

#include "evbus-broker-private.h"

#include "evbus-admission-private.h"
#include "evbus-error.h"

/**
 * evbus_broker_start:
 * @self: a broker
 * @error: return location for a #GError
 *
 * Starts delivering. Returns at once; how the routes fare is in their states.
 * With a spool it blocks while that is opened, unless [method@Broker.open_spool_async] has
 * done so. Where it is in doubt which route goes on with which part of it, the routes in question
 * begin anew, the parts stay as orphans with all that they have, and a warning names both; see
 * [method@Broker.name_orphan_async].
 *
 * Errors: %EVBUS_ERROR_EXISTS if the broker runs already, %EVBUS_ERROR_CLOSED
 * if it was stopped: a broker runs once; %G_THREAD_ERROR_AGAIN if the system
 * gives it no thread, after which the start can be tried again. With a spool, after
 * which it can be tried again too: %EVBUS_ERROR_BUSY if another process has it or it is being opened,
 * %EVBUS_ERROR_SPOOL_FAILED, and %EVBUS_ERROR_INVALID_CONFIG if two routes have the same name.
 *
 * Returns: %TRUE if it was started
 *
 * Since: 1.0
 */
gboolean
evbus_broker_start (EvbusBroker  *self,
                    GError      **error)
{
  g_autoptr(GPtrArray) doubts = g_ptr_array_new_with_free_func (g_free);
  GQueue done = G_QUEUE_INIT;
  gboolean started;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!evbus_broker_open_spool (self, NULL, error))
    return FALSE;

  g_mutex_lock (&self->lock);
  started = evbus_broker_may_start_locked (self, error) && evbus_broker_use_spool_locked (self, &done, doubts, error) &&
            evbus_listener_start (self->listener, error);
  self->started |= started;
  g_mutex_unlock (&self->lock);
  evbus_waiting_answer (&done);
  for (guint i = 0; i < doubts->len; i++)
    g_warning ("%s", (char *) doubts->pdata[i]);

  return started;
}

/**
 * evbus_broker_stop_async:
 * @self: a broker
 * @cancellable: (nullable): cancelled, what is left is not waited for
 * @callback: (scope async): called when the broker has stopped
 * @user_data: for @callback
 *
 * Stops the broker: puts get %EVBUS_ERROR_CLOSED from now on, and what was
 * accepted is delivered, for as long as the property `stop-timeout` says. What
 * is left then is dropped, with `event-failed` for each, but for what is in a spool, which
 * keeps it.
 *
 * Called again it waits for the stop that is under way, if it still is, and is
 * given the same answer.
 *
 * To cancel any of these calls is to hurry the stop, for all of them: what is
 * left is not waited for any longer. The stop is still carried out and answered as described
 * here, never with %G_IO_ERROR_CANCELLED.
 *
 * Since: 1.0
 */
void
evbus_broker_stop_async (EvbusBroker         *self,
                         GCancellable        *cancellable,
                         GAsyncReadyCallback  callback,
                         gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;
  EvbusSpool *spool = NULL;
  gboolean started;
  gboolean stopped;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_source_tag (task, evbus_broker_stop_async);
  g_task_set_name (task, "[evbus] stop");

  g_mutex_lock (&self->lock);
  started = self->started;
  stopped = self->stopped;
  self->stopped = TRUE;
  if (!started && self->spool == NULL)
    spool = g_steal_pointer (&self->opened_spool);
  g_mutex_unlock (&self->lock);

  /* Opened and not used: the next one may. */
  g_clear_pointer (&spool, evbus_spool_unref);
  evbus_queue_close (self->queue);
  /* Once: a second stop has nothing to discard, but may have to wait for it. */
  if (!started && !stopped)
    evbus_listener_discard (self->listener);
  evbus_listener_stop (self->listener, task, evbus_broker_get_stop_timeout (self));
}

/**
 * evbus_broker_stop_finish:
 * @self: a broker
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.stop_async].
 *
 * Errors: %EVBUS_ERROR_TIMED_OUT if something was left over and was dropped, be
 * it for want of time or because its route could not deliver anything, or the
 * broker was never started; it says how many events, one for each route that
 * had it.
 *
 * Returns: %TRUE if nothing was dropped
 *
 * Since: 1.0
 */
gboolean
evbus_broker_stop_finish (EvbusBroker   *self,
                          GAsyncResult  *result,
                          GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_stop_async), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

/**
 * evbus_broker_ping:
 * @self: a broker
 *
 * Asks the thread that takes the events from the queue for a sign of life, for a
 * program with a watchdog. That thread has a turn soon, unless it hangs, or the disk
 * with its spool does; a destination that hangs does not hold it up. Never waits, and
 * can be called on any thread.
 *
 * Returns: whether it has answered the last call; %TRUE too if this is the first one,
 *   or the broker has stopped, %FALSE if it is not started yet
 *
 * Since: 1.0
 */
gboolean
evbus_broker_ping (EvbusBroker *self)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);

  return evbus_listener_ping (self->listener);
}
