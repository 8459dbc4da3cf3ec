/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker with a spool: what was accepted outlives the process. */

#include "evbus-broker-private.h"

#include "evbus-admission-private.h"
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
 * started, or its spool opened.
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
  changed = !self->started && !self->opening && self->opened_spool == NULL && g_strcmp0 (self->spool_directory, directory) != 0;
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
evbus_broker_set_spool_budget (EvbusBroker *self,
                               gsize        spool_bytes,
                               gint64       max_age)
{
  g_mutex_lock (&self->lock);
  self->spool_bytes = spool_bytes;
  self->spool_max_age = max_age;
  if (self->spooler != NULL)
    evbus_spooler_set_budget (self->spooler, spool_bytes, max_age);
  g_mutex_unlock (&self->lock);
}

/* Routes by the part of the spool that they have. */
static GHashTable *
list_by_part (GPtrArray *routes)
{
  GHashTable *by_part = g_hash_table_new (NULL, NULL);

  for (guint i = 0; routes != NULL && i < routes->len; i++)
    {
      EvbusRoute *route = routes->pdata[i];

      if (route->spool_route != NULL)
        g_hash_table_insert (by_part, route->spool_route, route);
    }

  return by_part;
}

void
evbus_broker_lock_claims (EvbusBroker *self)
{
  if (self->spooler != NULL)
    evbus_spooler_lock_routes (self->spooler);
  evbus_queue_lock (self->queue);
}

void
evbus_broker_unlock_claims (EvbusBroker *self)
{
  evbus_queue_unlock (self->queue);
  if (self->spooler != NULL)
    evbus_spooler_unlock_routes (self->spooler);
}

gboolean
evbus_broker_claim_added_locked (EvbusBroker  *self,
                                 GPtrArray    *routes,
                                 GPtrArray    *added,
                                 GPtrArray    *removed,
                                 GPtrArray    *predecessors,
                                 GPtrArray    *doubts,
                                 GError      **error)
{
  g_autoptr(GPtrArray) specs = g_ptr_array_new ();
  g_autoptr(GHashTable) taken = NULL;
  g_autoptr(GHashTable) leaving = NULL;
  g_autoptr(GHashTable) held = NULL;
  g_autofree EvbusSpoolRoute **claims = NULL;

  if (self->spool == NULL)
    return TRUE;

  taken = list_by_part (routes);
  leaving = list_by_part (removed);
  held = evbus_queue_list_held_locked (self->queue);
  claims = g_new0 (EvbusSpoolRoute *, added->len + 1);
  for (guint i = 0; i < added->len; i++)
    g_ptr_array_add (specs, ((EvbusRoute *) added->pdata[i])->spec);

  if (!evbus_claim_routes_locked (self->spool, held, specs, taken, claims, doubts, error))
    return FALSE;
  for (guint i = 0; i < added->len; i++)
    {
      EvbusRoute *predecessor = g_hash_table_lookup (leaving, claims[i]);

      evbus_route_bind_spool_locked (added->pdata[i], self->spool, self->spooler, claims[i]);
      if (predecessor != NULL)
        predecessors->pdata[i] = predecessor;
    }
  return TRUE;
}

/* It speaks of orphans, of which some may have a route now. */
static void
tell_note (EvbusBroker *self)
{
  if (self->spool != NULL)
    evbus_notifier_changed_later (self->notifier, 1u << EVBUS_BROKER_PROP_SPOOL_NOTE);
}

gboolean
evbus_broker_claim_locked (EvbusBroker  *self,
                           GPtrArray    *routes,
                           GPtrArray    *added,
                           GPtrArray    *doubts,
                           GError      **error)
{
  gboolean claimed;

  evbus_broker_lock_claims (self);
  claimed = evbus_broker_claim_added_locked (self, routes, added, NULL, NULL, doubts, error);
  evbus_broker_unlock_claims (self);

  for (guint i = 0; claimed && self->spool != NULL && i < added->len; i++)
    evbus_notifier_figures_moved (self->notifier, added->pdata[i]);
  tell_note (self);
  return claimed;
}

/* A route that is gone with none in its place keeps what it has in the spool. */
void
evbus_broker_orphan_locked (EvbusBroker *self,
                            GPtrArray   *removed,
                            GPtrArray   *added)
{
  g_autoptr(GHashTable) going_on = list_by_part (added);

  for (guint i = 0; self->spool != NULL && i < removed->len; i++)
    {
      EvbusRoute *route = removed->pdata[i];

      if (!g_hash_table_contains (going_on, route->spool_route))
        evbus_spool_orphan_route (self->spool, route->spool_route);
    }
  tell_note (self);
}

/* What is stored for routes that were taken out while no broker ran. */
static void
orphan_unclaimed (EvbusBroker *self)
{
  g_autoptr(GPtrArray) all = evbus_spool_list_routes (self->spool);
  g_autoptr(GHashTable) taken = list_by_part (self->routes);

  for (guint i = 0; i < all->len; i++)
    {
      if (!g_hash_table_contains (taken, all->pdata[i]))
        evbus_spool_orphan_route (self->spool, all->pdata[i]);
    }
}

gboolean
evbus_broker_use_spool_locked (EvbusBroker  *self,
                               GQueue       *done,
                               GPtrArray    *doubts,
                               GError      **error)
{
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr(GPtrArray) ids = NULL;

  if (self->opened_spool == NULL || self->spool != NULL)
    return TRUE;

  self->spool = evbus_spool_ref (self->opened_spool);
  self->spooler = evbus_spooler_new (self->spool, self->queue);
  evbus_spooler_set_budget (self->spooler, self->spool_bytes, self->spool_max_age);
  if (!evbus_broker_claim_locked (self, self->routes, self->routes, doubts, error))
    {
      evbus_spooler_close (self->spooler);
      g_clear_pointer (&self->spooler, evbus_spooler_unref);
      g_clear_pointer (&self->spool, evbus_spool_unref);
      g_clear_pointer (&self->opened_spool, evbus_spool_unref);
      return FALSE;
    }

  orphan_unclaimed (self);
  evbus_spooler_load_figures (self->spooler);
  ids = evbus_spool_load_known_ids (self->spool, seqs, replayed);
  evbus_queue_load_known_ids (self->queue, ids, seqs, replayed, done);
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

  /* Under both no route is forgotten. */
  g_mutex_lock (&self->lock);
  if (self->spooler != NULL)
    evbus_spooler_lock_routes (self->spooler);
  evbus_queue_get_totals (self->queue, self->spool, ledger);
  if (self->spooler != NULL)
    evbus_spooler_unlock_routes (self->spooler);
  g_mutex_unlock (&self->lock);
}
