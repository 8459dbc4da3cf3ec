/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters and orphans, as the application sees them. */

#include "evbus-broker-private.h"

#include "evbus-claim-private.h"
#include "evbus-dead-letter-private.h"
#include "evbus-dead-work-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-orphan-private.h"

typedef struct {
  EvbusSpool *spool;
  char       *key;       /* or NULL */
  gint64      after;
  guint       max_letters;
} Listing;

static void
listing_free (gpointer data)
{
  Listing *listing = data;

  evbus_spool_unref (listing->spool);
  g_free (listing->key);
  g_free (listing);
}

static void
list (GTask        *task,
      gpointer      source,
      gpointer      data,
      GCancellable *cancellable)
{
  Listing *listing = data;
  g_autoptr(GPtrArray) letters = g_ptr_array_new_with_free_func (g_object_unref);
  g_autoptr(GPtrArray) found = NULL;
  GError *error = NULL;

  if (!g_cancellable_set_error_if_cancelled (cancellable, &error))
    found = evbus_spool_list_dead (listing->spool, listing->key, listing->after, listing->max_letters, &error);
  if (found == NULL)
    {
      g_task_return_error (task, error);
      return;
    }

  for (guint i = 0; i < found->len; i++)
    g_ptr_array_add (letters, evbus_dead_letter_new (found->pdata[i]));
  g_task_return_pointer (task, g_steal_pointer (&letters), (GDestroyNotify) g_ptr_array_unref);
}

/**
 * evbus_broker_list_dead_async:
 * @self: a broker
 * @route: (nullable): whose dead letters: the name of a route, or else
 *   "PROVIDER 'PATTERN'"; or %NULL for those of all
 * @after: only those with a greater number
 * @max_letters: at most so many, and never more than 4,096
 * @cancellable: (nullable): a cancellable
 * @callback: (scope async): called with the answer
 * @user_data: for @callback
 *
 * Reads a page of the dead letters in the spool, oldest first. To read them all,
 * go on after the number of the last one until a page is empty: a page may end
 * early where the letters are large. One whose record is damaged has no event.
 *
 * Since: 1.0
 */
void
evbus_broker_list_dead_async (EvbusBroker         *self,
                              const char          *route,
                              gint64               after,
                              guint                max_letters,
                              GCancellable        *cancellable,
                              GAsyncReadyCallback  callback,
                              gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;
  g_autoptr(EvbusDeadWork) work = NULL;
  GError *error = NULL;
  Listing *listing;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = evbus_dead_task_new (self, cancellable, callback, user_data, evbus_broker_list_dead_async);
  work = evbus_dead_work_new (self, EVBUS_DEAD_DROP, route, NULL, 0, &error);
  if (work == NULL)
    {
      g_task_return_error (task, error);
      return;
    }

  listing = g_new0 (Listing, 1);
  listing->spool = evbus_spool_ref (work->spool);
  listing->key = g_strdup (work->key);
  listing->after = after;
  listing->max_letters = MIN (max_letters, EVBUS_DEAD_PAGE_EVENTS);
  g_task_set_task_data (task, listing, listing_free);
  g_task_run_in_thread (task, list);
}

/**
 * evbus_broker_list_dead_finish:
 * @self: a broker
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.list_dead_async].
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if the broker has no spool, or was not started
 * yet, or there is no such route; %EVBUS_ERROR_INVALID_ARGUMENT if several are called
 * so; %EVBUS_ERROR_SPOOL_FAILED.
 *
 * Returns: (transfer container) (element-type EvbusDeadLetter): the dead letters;
 *   none: there are no more
 *
 * Since: 1.0
 */
GPtrArray *
evbus_broker_list_dead_finish (EvbusBroker   *self,
                               GAsyncResult  *result,
                               GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);
  g_return_val_if_fail (g_task_is_valid (result, self), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_list_dead_async), NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

/**
 * evbus_broker_replay_dead_async:
 * @self: a broker
 * @route: (nullable): only dead letters of this route, as in
 *   [method@Broker.list_dead_async]
 * @numbers: (nullable) (array length=n_numbers): their numbers; %NULL: all that
 *   @route has now, and none without a @route
 * @n_numbers: how many
 * @profile: (nullable): put them anew under this profile, or %NULL to give them back
 *   to the route that gave them up
 * @progress: (nullable) (scope notified) (closure progress_data) (destroy progress_free):
 *   called now and then with how many are done, of how many
 * @progress_data: for @progress
 * @progress_free: (nullable): frees @progress_data
 * @cancellable: (nullable): ends the work between two steps
 * @callback: (scope async): called when it is done
 * @user_data: for @callback
 *
 * Replays dead letters. Given back to its route an event keeps its id, comes after
 * all that the route has, and its age begins anew. Put anew it keeps its id and
 * goes to all routes that match @profile; its dead letter is dropped once it is
 * in the spool. One whose record is damaged stays: it is an error where its number is
 * given.
 *
 * Since: 1.0
 */
void
evbus_broker_replay_dead_async (EvbusBroker           *self,
                                const char            *route,
                                const gint64          *numbers,
                                gsize                  n_numbers,
                                const char            *profile,
                                GFileProgressCallback  progress,
                                gpointer               progress_data,
                                GDestroyNotify         progress_free,
                                GCancellable          *cancellable,
                                GAsyncReadyCallback    callback,
                                gpointer               user_data)
{
  g_autoptr(GTask) task = NULL;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (n_numbers == 0 || numbers != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = evbus_dead_task_new (self, cancellable, callback, user_data, evbus_broker_replay_dead_async);
  if (!evbus_dead_task_begin (task, EVBUS_DEAD_REPLAY, route, numbers, n_numbers, progress, progress_data, progress_free))
    return;
  if (profile == NULL)
    evbus_dead_work_start (task);
  else
    evbus_broker_put_anew (task, profile);
}

/**
 * evbus_broker_replay_dead_finish:
 * @self: a broker
 * @result: what the callback was given
 * @n_replayed: (out) (optional): how many were replayed, also where there is an error
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.replay_dead_async].
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if the broker has no spool, or there is no such route
 * or number; %EVBUS_ERROR_INVALID_ARGUMENT if several are called so, or, without a profile, the route is
 * in no configuration any more. Where that is so of some numbers alone the others are replayed
 * before it is said. %EVBUS_ERROR_UNROUTED if no
 * route takes the profile; %EVBUS_ERROR_SPOOL_FULL, %EVBUS_ERROR_SPOOL_FAILED,
 * %EVBUS_ERROR_CLOSED, %G_IO_ERROR_CANCELLED. What was replayed before stays so.
 *
 * Returns: %TRUE if all were
 *
 * Since: 1.0
 */
gboolean
evbus_broker_replay_dead_finish (EvbusBroker   *self,
                                 GAsyncResult  *result,
                                 guint64       *n_replayed,
                                 GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_replay_dead_async), FALSE);

  return evbus_dead_task_finish (result, n_replayed, error);
}

/**
 * evbus_broker_drop_dead_async:
 * @self: a broker
 * @route: (nullable): only dead letters of this route, as in
 *   [method@Broker.list_dead_async]
 * @numbers: (nullable) (array length=n_numbers): their numbers; %NULL: all that
 *   @route has now, and none without a @route
 * @n_numbers: how many
 * @progress: (nullable) (scope notified) (closure progress_data) (destroy progress_free):
 *   called now and then with how many are done, of how many
 * @progress_data: for @progress
 * @progress_free: (nullable): frees @progress_data
 * @cancellable: (nullable): ends the work between two steps
 * @callback: (scope async): called when it is done
 * @user_data: for @callback
 *
 * Drops dead letters for good.
 *
 * Since: 1.0
 */
void
evbus_broker_drop_dead_async (EvbusBroker           *self,
                              const char            *route,
                              const gint64          *numbers,
                              gsize                  n_numbers,
                              GFileProgressCallback  progress,
                              gpointer               progress_data,
                              GDestroyNotify         progress_free,
                              GCancellable          *cancellable,
                              GAsyncReadyCallback    callback,
                              gpointer               user_data)
{
  g_autoptr(GTask) task = NULL;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (n_numbers == 0 || numbers != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = evbus_dead_task_new (self, cancellable, callback, user_data, evbus_broker_drop_dead_async);
  if (evbus_dead_task_begin (task, EVBUS_DEAD_DROP, route, numbers, n_numbers, progress, progress_data, progress_free))
    evbus_dead_work_start (task);
}

/**
 * evbus_broker_drop_dead_finish:
 * @self: a broker
 * @result: what the callback was given
 * @n_dropped: (out) (optional): how many were dropped, also where there is an error
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.drop_dead_async].
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if the broker has no spool, or there is no such route
 * or number; %EVBUS_ERROR_INVALID_ARGUMENT if several are called so;
 * %EVBUS_ERROR_SPOOL_FAILED, %EVBUS_ERROR_CLOSED, %G_IO_ERROR_CANCELLED. What was
 * dropped before stays so.
 *
 * Returns: %TRUE if all were
 *
 * Since: 1.0
 */
gboolean
evbus_broker_drop_dead_finish (EvbusBroker   *self,
                               GAsyncResult  *result,
                               guint64       *n_dropped,
                               GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_drop_dead_async), FALSE);

  return evbus_dead_task_finish (result, n_dropped, error);
}

/**
 * evbus_broker_list_orphans:
 * @self: a broker
 *
 * The routes that are in no configuration any more and have queued events or dead
 * letters in the spool still; none where there is no spool.
 *
 * Returns: (transfer container) (element-type EvbusOrphan): the orphans
 *
 * Since: 1.0
 */
GPtrArray *
evbus_broker_list_orphans (EvbusBroker *self)
{
  GPtrArray *orphans = g_ptr_array_new_with_free_func (g_object_unref);
  g_autoptr(GMutexLocker) locker = NULL;
  g_autoptr(GPtrArray) routes = NULL;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), orphans);

  locker = g_mutex_locker_new (&self->lock);
  if (self->spool == NULL)
    return orphans;

  routes = evbus_spool_list_routes (self->spool);
  for (guint i = 0; i < routes->len; i++)
    {
      EvbusLedger ledger;

      evbus_spool_route_get_ledger (routes->pdata[i], &ledger, NULL);
      if (evbus_spool_route_is_orphan (routes->pdata[i]) && ledger.queued + ledger.dead > 0)
        g_ptr_array_add (orphans, evbus_orphan_new (routes->pdata[i]));
    }
  return orphans;
}

/**
 * evbus_broker_forget_route_async:
 * @self: a broker
 * @route: an orphan: its name, "PROVIDER 'PATTERN'", or its key
 * @progress: (nullable) (scope notified) (closure progress_data) (destroy progress_free):
 *   called now and then with how many are dropped, of how many
 * @progress_data: for @progress
 * @progress_free: (nullable): frees @progress_data
 * @cancellable: (nullable): ends the work between two steps
 * @callback: (scope async): called when it is done
 * @user_data: for @callback
 *
 * Forgets an orphan: its dead letters and what it has queued are dropped.
 *
 * Since: 1.0
 */
void
evbus_broker_forget_route_async (EvbusBroker           *self,
                                 const char            *route,
                                 GFileProgressCallback  progress,
                                 gpointer               progress_data,
                                 GDestroyNotify         progress_free,
                                 GCancellable          *cancellable,
                                 GAsyncReadyCallback    callback,
                                 gpointer               user_data)
{
  g_autoptr(GTask) task = NULL;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (route != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = evbus_dead_task_new (self, cancellable, callback, user_data, evbus_broker_forget_route_async);
  if (evbus_dead_task_begin (task, EVBUS_DEAD_FORGET, route, NULL, 0, progress, progress_data, progress_free))
    evbus_dead_work_start (task);
}

/**
 * evbus_broker_forget_route_finish:
 * @self: a broker
 * @result: what the callback was given
 * @n_dropped: (out) (optional): how many dead letters and events were dropped, also where there is an error
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.forget_route_async].
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if the broker has no spool, or there is no such
 * route; %EVBUS_ERROR_INVALID_ARGUMENT if it is in use, or several are called so;
 * %EVBUS_ERROR_BUSY if it has not ended yet; %EVBUS_ERROR_SPOOL_FAILED,
 * %EVBUS_ERROR_CLOSED, %G_IO_ERROR_CANCELLED. What was dropped before stays so.
 *
 * Returns: %TRUE if it is forgotten
 *
 * Since: 1.0
 */
gboolean
evbus_broker_forget_route_finish (EvbusBroker   *self,
                                  GAsyncResult  *result,
                                  guint64       *n_dropped,
                                  GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_forget_route_async), FALSE);

  return evbus_dead_task_finish (result, n_dropped, error);
}

/**
 * evbus_broker_name_orphan_async:
 * @self: a broker
 * @orphan: an orphan: its name, "PROVIDER 'PATTERN'", or its key
 * @name: the name that it gets
 * @cancellable: (nullable): ends the work before it has begun
 * @callback: (scope async): called when it is done
 * @user_data: for @callback
 *
 * Gives an orphan a name, so that a route with that name, `delivery: {name: …}`, goes on where
 * the orphan was: from the next [method@Broker.apply_profiles], [method@Broker.add_route] or
 * start on. It is an orphan until then, and has its name for good, through restarts too. This is
 * the way out where it was in doubt to which of several routes it belongs.
 *
 * Since: 1.0
 */
void
evbus_broker_name_orphan_async (EvbusBroker         *self,
                                const char          *orphan,
                                const char          *name,
                                GCancellable        *cancellable,
                                GAsyncReadyCallback  callback,
                                gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;
  GError *error = NULL;
  EvbusDeadWork *work;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (orphan != NULL);
  g_return_if_fail (name != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = evbus_dead_task_new (self, cancellable, callback, user_data, evbus_broker_name_orphan_async);
  if (!evbus_claim_check_name (name, &error))
    {
      g_task_return_error (task, error);
      return;
    }
  if (!evbus_dead_task_begin (task, EVBUS_DEAD_NAME, orphan, NULL, 0, NULL, NULL, NULL))
    return;
  work = g_task_get_task_data (task);
  work->name = g_strdup (name);
  evbus_dead_work_start (task);
}

/**
 * evbus_broker_name_orphan_finish:
 * @self: a broker
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.name_orphan_async].
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if the broker has no spool, or was not started yet, or there is no
 * such orphan; %EVBUS_ERROR_INVALID_ARGUMENT if the name is empty, longer than 255 bytes or not UTF-8,
 * if it is no orphan but a route in use, or several are called so; %EVBUS_ERROR_EXISTS if another
 * route or orphan has the name; %EVBUS_ERROR_SPOOL_FULL, %EVBUS_ERROR_SPOOL_FAILED,
 * %EVBUS_ERROR_CLOSED, %G_IO_ERROR_CANCELLED. It has the name it had then; only where writing
 * failed it is not known, until the next start, which of the two is stored.
 *
 * Returns: %TRUE if it has the name
 *
 * Since: 1.0
 */
gboolean
evbus_broker_name_orphan_finish (EvbusBroker   *self,
                                 GAsyncResult  *result,
                                 GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_name_orphan_async), FALSE);

  return evbus_dead_task_finish (result, NULL, error);
}
