/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker's start. */

#include "evbus-broker-private.h"

#include "evbus-admission-private.h"
#include "evbus-error.h"

/**
 * evbus_broker_start:
 * @self: a broker
 * @error: return location for a #GError
 *
 * Starts delivering. Returns at once; how the routes fare is in their states.
 * With a spool it blocks while that is opened.
 *
 * Errors: %EVBUS_ERROR_EXISTS if the broker runs already, %EVBUS_ERROR_CLOSED
 * if it was stopped: a broker runs once; %G_THREAD_ERROR_AGAIN if the system
 * gives it no thread, after which the start can be tried again. With a spool, after
 * which it can be tried again too: %EVBUS_ERROR_BUSY if another process has it,
 * %EVBUS_ERROR_SPOOL_FAILED, and %EVBUS_ERROR_INVALID_CONFIG if it is in doubt which
 * route goes on with which part of it.
 *
 * Returns: %TRUE if it was started
 *
 * Since: 1.0
 */
gboolean
evbus_broker_start (EvbusBroker  *self,
                    GError      **error)
{
  GQueue done = G_QUEUE_INIT;
  gboolean started;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  g_mutex_lock (&self->lock);
  if (self->stopped || self->started)
    {
      gboolean stopped = self->stopped;

      g_mutex_unlock (&self->lock);
      g_set_error_literal (error, EVBUS_ERROR,
                           stopped ? EVBUS_ERROR_CLOSED : EVBUS_ERROR_EXISTS,
                           stopped ? "the broker was stopped; make a new one"
                                   : "the broker was started already");
      return FALSE;
    }
  self->started = started = evbus_broker_open_spool_locked (self, &done, error) &&
                            evbus_listener_start (self->listener, error);
  g_mutex_unlock (&self->lock);
  evbus_waiting_answer (&done);

  return started;
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
