/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The spool is opened under none of the broker's locks, on whatever thread: what has to
 * be recovered takes long. */

#include "evbus-broker-private.h"

#include "evbus-error.h"

/* On any thread. */
static void
on_condition (gpointer notifier)
{
  evbus_notifier_changed_later (notifier, 1u << EVBUS_BROKER_PROP_SPOOL_CONDITION |
                                          1u << EVBUS_BROKER_PROP_SPOOL_NOTE);
}

static void
on_progress (const char *what,
             gpointer    data)
{
  EvbusBroker *self = data;

  g_mutex_lock (&self->lock);
  g_free (self->spool_note);
  self->spool_note = g_strdup (what);
  g_mutex_unlock (&self->lock);
  on_condition (self->notifier);
}

/* How it was found; what has become of it since, it says itself. */
static void
say_condition (EvbusSpool *spool)
{
  g_autofree char *note = NULL;
  EvbusSpoolCondition condition = evbus_spool_get_condition (spool, &note);

  if (note != NULL && condition <= EVBUS_SPOOL_CONDITION_RECOVERED)
    g_log_structured (G_LOG_DOMAIN,
                      condition == EVBUS_SPOOL_CONDITION_RECOVERED ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_MESSAGE,
                      "EVBUS_SPOOL", evbus_spool_get_directory (spool),
                      "MESSAGE", "spool %s: %s", evbus_spool_get_directory (spool), note);
}

gboolean
evbus_broker_may_start_locked (EvbusBroker  *self,
                               GError      **error)
{
  if (self->stopped)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED, "the broker was stopped; make a new one");
  else if (self->started)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS, "the broker was started already");
  else if (self->opening)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BUSY, "the broker's spool is being opened already; wait for that");
  else
    return TRUE;
  return FALSE;
}

/* Takes @failure. */
static void
end_locked (EvbusBroker *self,
            EvbusSpool  *spool,
            char        *failure)
{
  self->opening = FALSE;
  self->opened_spool = spool;
  g_free (self->spool_note);
  self->spool_note = failure;
  if (spool != NULL)
    evbus_spool_watch (spool, on_condition, evbus_notifier_ref (self->notifier),
                       (GDestroyNotify) evbus_notifier_unref);
}

gboolean
evbus_broker_open_spool (EvbusBroker   *self,
                         GCancellable  *cancellable,
                         GError       **error)
{
  const EvbusSpoolOpening opening = { cancellable, on_progress, self };
  g_autoptr(GError) failure = NULL;
  g_autofree char *directory = NULL;
  EvbusSpool *spool;
  EvbusSpool *unneeded = NULL;

  g_mutex_lock (&self->lock);
  if (!evbus_broker_may_start_locked (self, error))
    {
      g_mutex_unlock (&self->lock);
      return FALSE;
    }
  if (self->opened_spool == NULL)
    directory = g_strdup (self->spool_directory);
  self->opening = directory != NULL;
  g_mutex_unlock (&self->lock);
  if (directory == NULL)
    return TRUE;

  on_condition (self->notifier);
  spool = evbus_spool_open_with (directory, &opening, &failure);
  if (spool != NULL)
    say_condition (spool);
  g_mutex_lock (&self->lock);
  /* Nobody needs it any more, but others may. */
  if (spool != NULL && self->stopped)
    {
      unneeded = g_steal_pointer (&spool);
      g_set_error_literal (&failure, EVBUS_ERROR, EVBUS_ERROR_CLOSED, "the broker was stopped while its spool was opened");
    }
  end_locked (self, spool, failure != NULL ? g_strdup (failure->message) : NULL);
  g_mutex_unlock (&self->lock);
  on_condition (self->notifier);
  g_clear_pointer (&unneeded, evbus_spool_unref);

  if (spool != NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

static void
run (GTask        *task,
     gpointer      source,
     gpointer      data,
     GCancellable *cancellable)
{
  GError *error = NULL;

  if (evbus_broker_open_spool (source, cancellable, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

/**
 * evbus_broker_open_spool_async:
 * @self: a broker that is not started yet
 * @cancellable: (nullable): ends what takes long; the next one begins anew
 * @callback: (scope async): called when it is open
 * @user_data: for @callback
 *
 * Opens the spool in a thread, so that [method@Broker.start] has nothing to wait for. That
 * may be long where the spool is damaged and has to be recovered, an older format is
 * migrated, or a crash has left much in its log:
 * [property@Broker:spool-condition] is %EVBUS_SPOOL_CONDITION_OPENING meanwhile, and
 * [property@Broker:spool-note] says how far it is. Without a spool it does nothing.
 *
 * Since: 1.0
 */
void
evbus_broker_open_spool_async (EvbusBroker         *self,
                               GCancellable        *cancellable,
                               GAsyncReadyCallback  callback,
                               gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  /* What was opened is open. */
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_source_tag (task, evbus_broker_open_spool_async);
  g_task_set_name (task, "[evbus] open the spool");
  g_task_run_in_thread (task, run);
}

/**
 * evbus_broker_open_spool_finish:
 * @self: a broker
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.open_spool_async].
 *
 * Errors: %EVBUS_ERROR_BUSY if another process has the spool, or it is being opened
 * already; %EVBUS_ERROR_SPOOL_FAILED and %EVBUS_ERROR_SPOOL_FULL; %EVBUS_ERROR_EXISTS and
 * %EVBUS_ERROR_CLOSED if the broker was started or stopped; %G_IO_ERROR_CANCELLED, after
 * which all that was stored is there as before.
 *
 * Returns: %TRUE if it is open
 *
 * Since: 1.0
 */
gboolean
evbus_broker_open_spool_finish (EvbusBroker   *self,
                                GAsyncResult  *result,
                                GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_open_spool_async), FALSE);

  return g_task_propagate_boolean (G_TASK (result), error);
}

/**
 * evbus_broker_get_spool_condition: (get-property spool-condition)
 * @self: a broker
 *
 * See [property@Broker:spool-condition].
 *
 * Returns: the condition
 *
 * Since: 1.0
 */
EvbusSpoolCondition
evbus_broker_get_spool_condition (EvbusBroker *self)
{
  g_autoptr(GMutexLocker) locker = NULL;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), EVBUS_SPOOL_CONDITION_NONE);

  locker = g_mutex_locker_new (&self->lock);
  if (self->opened_spool != NULL)
    return evbus_spool_get_condition (self->opened_spool, NULL);
  if (self->opening)
    return EVBUS_SPOOL_CONDITION_OPENING;
  return self->spool_note != NULL ? EVBUS_SPOOL_CONDITION_FAILED : EVBUS_SPOOL_CONDITION_NONE;
}

/**
 * evbus_broker_dup_spool_note: (get-property spool-note)
 * @self: a broker
 *
 * See [property@Broker:spool-note].
 *
 * Returns: (transfer full) (nullable): the note
 *
 * Since: 1.0
 */
char *
evbus_broker_dup_spool_note (EvbusBroker *self)
{
  g_autoptr(GMutexLocker) locker = NULL;
  char *note = NULL;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);

  locker = g_mutex_locker_new (&self->lock);
  if (self->opened_spool == NULL)
    return g_strdup (self->spool_note);
  evbus_spool_get_condition (self->opened_spool, &note);
  return note;
}
