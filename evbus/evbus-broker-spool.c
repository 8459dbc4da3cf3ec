/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker with a spool: what was accepted outlives the process. */

#include "evbus-broker-private.h"

#include "evbus-claim-private.h"
#include "evbus-error.h"

/**
 * evbus_broker_dup_spool_directory: (get-property spool-directory)
 * @self: a broker
 *
 * See [property@Broker:spool-directory].
 *
 * Returns: (transfer full) (nullable) (type filename): the folder
 *
 * Since: 1.0
 */
char *
evbus_broker_dup_spool_directory (EvbusBroker *self)
{
  char *directory;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);

  g_mutex_lock (&self->lock);
  directory = g_strdup (self->spool_directory);
  g_mutex_unlock (&self->lock);

  return directory;
}

/**
 * evbus_broker_set_spool_directory: (set-property spool-directory)
 * @self: a broker
 * @directory: (nullable) (type filename): an absolute path, or %NULL for memory only
 *
 * See [property@Broker:spool-directory]. Without effect once the broker was
 * started.
 *
 * Since: 1.0
 */
void
evbus_broker_set_spool_directory (EvbusBroker *self,
                                  const char  *directory)
{
  gboolean changed;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (directory == NULL || g_path_is_absolute (directory));

  g_mutex_lock (&self->lock);
  changed = !self->started && g_strcmp0 (self->spool_directory, directory) != 0;
  if (changed)
    {
      g_free (self->spool_directory);
      self->spool_directory = g_strdup (directory);
      evbus_queue_set_durable (self->queue, directory != NULL);
    }
  g_mutex_unlock (&self->lock);

  if (changed)
    evbus_broker_notify (self, EVBUS_BROKER_PROP_SPOOL_DIRECTORY);
}

void
evbus_broker_set_spool_bytes (EvbusBroker *self,
                              gsize        spool_bytes)
{
  g_mutex_lock (&self->lock);
  self->spool_bytes = spool_bytes;
  if (self->spooler != NULL)
    evbus_spooler_set_max_bytes (self->spooler, spool_bytes);
  g_mutex_unlock (&self->lock);
}

/* The routes of the spool that belong to routes which stay as they are. */
static GHashTable *
list_taken (GPtrArray *routes)
{
  GHashTable *taken = g_hash_table_new (NULL, NULL);

  for (guint i = 0; i < routes->len; i++)
    {
      EvbusRoute *route = routes->pdata[i];

      if (route->spool_route != NULL)
        g_hash_table_add (taken, route->spool_route);
    }

  return taken;
}

static EvbusRoute *
find_by_spool_route (GPtrArray       *routes,
                     EvbusSpoolRoute *spool_route)
{
  for (guint i = 0; routes != NULL && i < routes->len; i++)
    {
      if (((EvbusRoute *) routes->pdata[i])->spool_route == spool_route)
        return routes->pdata[i];
    }

  return NULL;
}

gboolean
evbus_broker_claim_locked (EvbusBroker  *self,
                           GPtrArray    *routes,
                           GPtrArray    *added,
                           GPtrArray    *removed,
                           GPtrArray    *predecessors,
                           GError      **error)
{
  g_autoptr(GPtrArray) specs = g_ptr_array_new ();
  g_autoptr(GHashTable) taken = NULL;
  g_autofree EvbusSpoolRoute **claims = NULL;

  if (self->spool == NULL)
    return TRUE;

  taken = list_taken (routes);
  claims = g_new0 (EvbusSpoolRoute *, added->len + 1);
  for (guint i = 0; i < added->len; i++)
    g_ptr_array_add (specs, ((EvbusRoute *) added->pdata[i])->spec);
  if (!evbus_claim_routes (self->spool, specs, taken, claims, error))
    return FALSE;

  for (guint i = 0; i < added->len; i++)
    {
      EvbusRoute *predecessor = find_by_spool_route (removed, claims[i]);

      evbus_route_bind_spool (added->pdata[i], self->spool, self->spooler, claims[i]);
      if (predecessor != NULL)
        predecessors->pdata[i] = predecessor;
    }
  return TRUE;
}

/* A route that is gone with none in its place keeps what it has in the spool. */
void
evbus_broker_orphan_locked (EvbusBroker *self,
                            GPtrArray   *removed,
                            GPtrArray   *added)
{
  for (guint i = 0; self->spool != NULL && i < removed->len; i++)
    {
      EvbusRoute *route = removed->pdata[i];

      if (find_by_spool_route (added, route->spool_route) == NULL)
        evbus_spool_orphan_route (self->spool, route->spool_route);
    }
}

/* What is stored for routes that were taken out while no broker ran. */
static void
orphan_unclaimed (EvbusBroker *self)
{
  g_autoptr(GPtrArray) all = evbus_spool_list_routes (self->spool);

  for (guint i = 0; i < all->len; i++)
    {
      if (find_by_spool_route (self->routes, all->pdata[i]) == NULL)
        evbus_spool_orphan_route (self->spool, all->pdata[i]);
    }
}

static void
say_condition (EvbusSpool *spool)
{
  g_autofree char *note = NULL;
  EvbusSpoolCondition condition = evbus_spool_get_condition (spool, &note);

  /* What is worse, it has said itself. */
  if (note != NULL && condition <= EVBUS_SPOOL_CONDITION_RECOVERED)
    g_log_structured (G_LOG_DOMAIN,
                      condition == EVBUS_SPOOL_CONDITION_RECOVERED ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_MESSAGE,
                      "EVBUS_SPOOL", evbus_spool_get_directory (spool),
                      "MESSAGE", "spool %s: %s", evbus_spool_get_directory (spool), note);
}

/* On any thread. */
static void
on_condition (gpointer notifier)
{
  evbus_notifier_changed_later (notifier, 1u << EVBUS_BROKER_PROP_SPOOL_CONDITION |
                                          1u << EVBUS_BROKER_PROP_SPOOL_NOTE);
}

/* Remembers why there is none. */
static EvbusSpool *
open_spool (EvbusBroker  *self,
            GError      **error)
{
  g_autoptr(GError) failure = NULL;
  EvbusSpool *spool = evbus_spool_open (self->spool_directory, &failure);

  g_free (self->spool_failure);
  self->spool_failure = failure != NULL ? g_strdup (failure->message) : NULL;
  on_condition (self->notifier);
  if (spool == NULL)
    {
      g_propagate_error (error, g_steal_pointer (&failure));
      return NULL;
    }
  say_condition (spool);
  evbus_spool_watch (spool, on_condition, evbus_notifier_ref (self->notifier), (GDestroyNotify) evbus_notifier_unref);
  return spool;
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
  if (self->spool != NULL)
    return evbus_spool_get_condition (self->spool, NULL);
  return self->spool_failure != NULL ? EVBUS_SPOOL_CONDITION_FAILED : EVBUS_SPOOL_CONDITION_NONE;
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
  if (self->spool == NULL)
    return g_strdup (self->spool_failure);
  evbus_spool_get_condition (self->spool, &note);
  return note;
}

gboolean
evbus_broker_open_spool_locked (EvbusBroker  *self,
                                GQueue       *done,
                                GError      **error)
{
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GPtrArray) ids = NULL;

  if (self->spool_directory == NULL || self->spool != NULL)
    return TRUE;

  self->spool = open_spool (self, error);
  if (self->spool == NULL)
    return FALSE;

  self->spooler = evbus_spooler_new (self->spool, self->queue);
  evbus_spooler_set_max_bytes (self->spooler, self->spool_bytes);
  if (!evbus_broker_claim_locked (self, self->routes, self->routes, NULL, NULL, error))
    {
      evbus_spooler_close (self->spooler);
      g_clear_pointer (&self->spooler, evbus_spooler_unref);
      g_clear_pointer (&self->spool, evbus_spool_unref);
      return FALSE;
    }

  orphan_unclaimed (self);
  evbus_spooler_load_figures (self->spooler);
  ids = evbus_spool_load_known_ids (self->spool, seqs);
  evbus_queue_load_known_ids (self->queue, ids, seqs, done);
  evbus_listener_set_spooler (self->listener, self->spooler);
  evbus_notifier_totals_moved (self->notifier);
  return TRUE;
}

/**
 * evbus_broker_get_ledger:
 * @self: a broker
 * @ledger: (out caller-allocates): where to put the counts
 *
 * The sums over all routes, those that were removed included, and the number
 * of events that matched no route: a snapshot that balances.
 *
 * Since: 1.0
 */
void
evbus_broker_get_ledger (EvbusBroker *self,
                         EvbusLedger *ledger)
{
  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (ledger != NULL);

  /* Under it no route is forgotten. */
  g_mutex_lock (&self->lock);
  evbus_queue_get_totals (self->queue, self->spool, ledger);
  g_mutex_unlock (&self->lock);
}
