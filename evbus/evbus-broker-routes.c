/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker's routes: made, kept, replaced and removed while events flow. */

#include "evbus-broker-private.h"

#include <string.h>

#include "evbus-admission-private.h"
#include "evbus-change-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-profiles-private.h"

GPtrArray *
evbus_broker_dup_routes (EvbusBroker *self)
{
  GPtrArray *routes;

  g_mutex_lock (&self->lock);
  routes = evbus_route_array_copy (self->routes);
  g_mutex_unlock (&self->lock);

  return routes;
}

/* Reads the routes anew, so that it does not matter in which order calls of
 * several threads come through. */
void
evbus_broker_sync_model (EvbusBroker *self)
{
  g_autoptr(GPtrArray) routes = evbus_broker_dup_routes (self);
  guint n = g_list_model_get_n_items (G_LIST_MODEL (self->model));
  guint head = 0;
  guint tail = 0;

  while (head < n && head < routes->len)
    {
      g_autoptr(EvbusRoute) route = g_list_model_get_item (G_LIST_MODEL (self->model), head);

      if (route != routes->pdata[head])
        break;
      head++;
    }
  while (head + tail < n && head + tail < routes->len)
    {
      g_autoptr(EvbusRoute) route = g_list_model_get_item (G_LIST_MODEL (self->model), n - 1 - tail);

      if (route != routes->pdata[routes->len - 1 - tail])
        break;
      tail++;
    }

  if (head + tail < n || head + tail < routes->len)
    g_list_store_splice (self->model, head, n - head - tail,
                         routes->pdata + head, routes->len - head - tail);
}

/* Lets puts see the present routes. Returns how many events were put before. What
 * this means for puts that wait, the caller tells them outside of the lock. */
static guint64
publish_table_locked (EvbusBroker *self,
                      GQueue      *done)
{
  EvbusRouteTable *table = evbus_route_table_new (self->routes, ++self->generation);
  guint64 n_pushed = evbus_queue_set_table (self->queue, table, done);

  evbus_route_table_unref (table);
  return n_pushed;
}

static gboolean
check_open_locked (EvbusBroker  *self,
                   GError      **error)
{
  if (!self->stopped)
    return TRUE;

  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED, "the broker was stopped");
  return FALSE;
}

static gboolean
check_n_routes (guint     n_routes,
                GError  **error)
{
  if (n_routes <= EVBUS_MAX_ROUTES)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
               "%u routes are more than a broker can have (%u)", n_routes, EVBUS_MAX_ROUTES);
  return FALSE;
}

/* A route that a person paused to let its destination be is not to be started by
 * a change of its settings. */
static void
pause_successors_locked (EvbusChange *change)
{
  for (guint i = 0; i < change->added->len; i++)
    {
      EvbusRoute *predecessor = change->predecessors->pdata[i];

      if (predecessor != NULL && evbus_route_get_paused (predecessor))
        evbus_route_pause (change->added->pdata[i]);
    }
}

/* In one moment: what no route has queued stays so until puts see the new ones. */
static gboolean
claim_and_publish_locked (EvbusBroker  *self,
                          EvbusChange  *change,
                          guint64      *n_pushed,
                          GError      **error)
{
  EvbusRouteTable *table = evbus_route_table_new (change->routes, ++self->generation);
  gboolean claimed;

  evbus_broker_lock_claims (self);
  claimed = evbus_broker_claim_added_locked (self, change->routes, change->added, change->removed,
                                             change->predecessors, NULL, error);
  /* Of the two tables the one that is not in use is left. */
  if (claimed)
    table = evbus_queue_swap_table_locked (self->queue, table, &change->done);
  *n_pushed = self->queue->n_pushed;
  evbus_broker_unlock_claims (self);

  evbus_route_table_unref (table);
  return claimed;
}

static void
carry_out_locked (EvbusBroker *self,
                  EvbusChange *change,
                  guint64      n_pushed)
{
  pause_successors_locked (change);
  evbus_broker_orphan_locked (self, change->removed, change->added);

  g_ptr_array_unref (self->routes);
  self->routes = g_ptr_array_ref (change->routes);

  for (guint i = 0; self->spool != NULL && i < change->added->len; i++)
    evbus_notifier_figures_moved (self->notifier, change->added->pdata[i]);
  for (guint i = 0; i < change->added->len; i++)
    evbus_listener_add (self->listener, change->added->pdata[i], change->predecessors->pdata[i]);
  for (guint i = 0; i < change->removed->len; i++)
    evbus_listener_retire (self->listener, change->removed->pdata[i], n_pushed,
                           evbus_broker_get_stop_timeout (self));
}

static gboolean
change_routes (EvbusBroker  *self,
               GPtrArray    *specs,
               EvbusChange  *change,
               GError      **error)
{
  guint64 n_pushed = 0;
  gboolean possible;

  g_mutex_lock (&self->lock);
  evbus_change_plan (change, self->routes, specs, self->queue, self->notifier);
  possible = check_open_locked (self, error) && check_n_routes (change->routes->len, error) &&
             claim_and_publish_locked (self, change, &n_pushed, error);
  if (possible)
    carry_out_locked (self, change, n_pushed);
  g_mutex_unlock (&self->lock);

  return possible;
}

static void
change_settings (EvbusBroker         *self,
                 const EvbusSettings *settings,
                 EvbusChange         *change)
{
  if (settings->serializer != NULL)
    evbus_broker_set_serializer (self, settings->serializer, NULL);
  g_atomic_pointer_set (&self->event_bytes, settings->event_bytes);
  evbus_broker_set_reject_unrouted (self, settings->reject_unrouted);
  evbus_broker_set_stop_timeout (self, settings->stop_timeout);
  evbus_queue_set_budget (self->queue, settings->queue_events, settings->queue_bytes, &change->done);
  evbus_broker_set_spool_budget (self, settings->spool_bytes, settings->spool_max_age);
  if (settings->spool_directory != NULL)
    evbus_broker_set_spool_directory (self, strcmp (settings->spool_directory, EVBUS_SPOOL_NONE) == 0
                                              ? NULL : settings->spool_directory);
}

/* What was accepted is where it is: a spool does not move once it is open. One
 * that the application has set is none of the configuration's business. */
static gboolean
check_spool (EvbusBroker          *self,
             const EvbusSettings  *settings,
             GError              **error)
{
  gboolean fixed;

  g_mutex_lock (&self->lock);
  fixed = self->started || self->opening || self->opened_spool != NULL;
  g_mutex_unlock (&self->lock);
  if (!fixed || g_strcmp0 (self->profiles_spool, settings->spool_directory) == 0)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
               "'evbus.spool.directory' was %s and is %s now: the spool does not move once it is open; "
               "set it back, or stop and start again",
               self->profiles_spool != NULL ? self->profiles_spool : "not set",
               settings->spool_directory != NULL ? settings->spool_directory : "not set");
  return FALSE;
}

/* Under @reload_lock, so that the routes and settings of a broker are always
 * those of one configuration; calls nobody back. */
static gboolean
commit (EvbusBroker    *self,
        EvbusProfiles  *profiles,
        EvbusChange    *change,
        GError        **error)
{
  const EvbusSettings *settings = evbus_profiles_get_settings (profiles);

  if (settings->serializer != NULL)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (settings->serializer, error);

      if (serializer == NULL)
        return FALSE;
    }
  if (!check_spool (self, settings, error) ||
      !change_routes (self, evbus_profiles_get_specs (profiles), change, error))
    return FALSE;

  change_settings (self, settings, change);
  g_free (self->profiles_spool);
  self->profiles_spool = g_strdup (settings->spool_directory);
  return TRUE;
}

static void
log_lines (const char * const *lines)
{
  for (guint i = 0; lines != NULL && lines[i] != NULL; i++)
    g_warning ("%s", lines[i]);
}

/* Tells everybody; under no lock. */
static void
conclude (EvbusBroker   *self,
          EvbusProfiles *profiles,
          EvbusChange   *change)
{
  evbus_waiting_answer (&change->done);
  log_lines (evbus_profiles_get_warnings (profiles));
  log_lines (evbus_profiles_get_missing (profiles));
  evbus_broker_routes_changed (self);
}

/**
 * evbus_broker_apply_profiles:
 * @self: a broker
 * @profiles: a checked configuration
 * @error: return location for a #GError
 *
 * Makes the routes and settings of the broker those of @profiles.
 *
 * Called again it is a reload, which may happen while events flow: routes
 * whose entry is unchanged stay as they are, with their connections; the
 * others deliver what they have, within the `stop-timeout`, and go; a route
 * that replaces one of the same provider and pattern starts when that one has
 * closed. Routes of [method@Broker.add_route] are left alone. Everything
 * accepted before goes by the old routes, everything after by the new ones.
 *
 * An entry whose provider has no plugin becomes a route in state
 * %EVBUS_ROUTE_STATE_FAILED, also in place of one that works: ask
 * [method@Profiles.try_plugins_async] before a reload, as evbusd does.
 *
 * Errors, after which nothing is changed: %EVBUS_ERROR_INVALID_CONFIG if there
 * are more than 1,024 routes, `spool.directory` is another one than before and the
 * spool is open, or it is in doubt whose a part of it is (see [method@Broker.name_orphan_async]),
 * %EVBUS_ERROR_NOT_FOUND for a serializer that is not there, %EVBUS_ERROR_CLOSED.
 *
 * Returns: %TRUE if it was done
 *
 * Since: 1.0
 */
gboolean
evbus_broker_apply_profiles (EvbusBroker    *self,
                             EvbusProfiles  *profiles,
                             GError        **error)
{
  g_auto(EvbusChange) change = { .done = G_QUEUE_INIT };
  gboolean applied;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (EVBUS_IS_PROFILES (profiles), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  g_mutex_lock (&self->reload_lock);
  applied = commit (self, profiles, &change, error);
  g_mutex_unlock (&self->reload_lock);

  if (applied)
    conclude (self, profiles, &change);
  return applied;
}

/**
 * evbus_broker_load_profiles:
 * @self: a broker
 * @path: (type filename): a file, or a folder of them
 * @error: return location for a #GError
 *
 * Reads a configuration and applies it, as [ctor@Profiles.new_for_path] and
 * [method@Broker.apply_profiles] do. A configuration with a mistake changes
 * nothing.
 *
 * Blocks while it reads, and while another thread does: what was read last is
 * what holds.
 *
 * Errors: %EVBUS_ERROR_INVALID_CONFIG with one line for each mistake, and those
 * of [method@Broker.apply_profiles].
 *
 * Returns: %TRUE if it was done
 *
 * Since: 1.0
 */
gboolean
evbus_broker_load_profiles (EvbusBroker  *self,
                            const char   *path,
                            GError      **error)
{
  g_autoptr(EvbusProfiles) profiles = NULL;
  g_auto(EvbusChange) change = { .done = G_QUEUE_INIT };
  gboolean applied;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (path != NULL, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  g_mutex_lock (&self->reload_lock);
  profiles = evbus_profiles_new_for_path (path, error);
  applied = profiles != NULL && commit (self, profiles, &change, error);
  g_mutex_unlock (&self->reload_lock);

  if (applied)
    conclude (self, profiles, &change);
  return applied;
}

/**
 * evbus_broker_add_route:
 * @self: a broker
 * @provider: the provider's name or an alias of it, such as "file"
 * @profile: a glob that profile names must match
 * @data: (nullable): the provider's options, and `delivery`, as a dictionary
 *   `a{sv}`; a floating reference is sunk
 * @error: return location for a #GError
 *
 * Adds a route, also while events flow. The pattern is a glob whatever a
 * configuration's `match_plugin` is, which holds for the routes of its own file.
 *
 * Errors: %EVBUS_ERROR_NO_PROVIDER, %EVBUS_ERROR_INVALID_CONFIG,
 * %EVBUS_ERROR_CLOSED.
 *
 * Returns: (transfer full): the route, or %NULL with @error set
 *
 * Since: 1.0
 */
EvbusRoute *
evbus_broker_add_route (EvbusBroker  *self,
                        const char   *provider,
                        const char   *profile,
                        GVariant     *data,
                        GError      **error)
{
  g_autoptr(EvbusRouteSpec) spec = NULL;
  g_autoptr(GPtrArray) added = NULL;
  g_autoptr(GVariant) sunk = NULL;
  GQueue done = G_QUEUE_INIT;
  EvbusRoute *route;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);
  g_return_val_if_fail (provider != NULL, NULL);
  g_return_val_if_fail (profile != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (data != NULL)
    sunk = g_variant_ref_sink (data);
  if (sunk != NULL && !g_variant_is_of_type (sunk, G_VARIANT_TYPE_VARDICT))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                   "the data of a route must be a{sv}, not %s", g_variant_get_type_string (sunk));
      return NULL;
    }
  spec = evbus_route_spec_new (provider, profile, "glob", sunk, error);
  if (spec == NULL)
    return NULL;

  g_mutex_lock (&self->lock);
  if (!check_open_locked (self, error) || !check_n_routes (self->routes->len + 1, error))
    {
      g_mutex_unlock (&self->lock);
      return NULL;
    }
  route = evbus_route_new (spec, self->queue, self->notifier);
  added = g_ptr_array_new ();
  g_ptr_array_add (added, route);
  if (!evbus_broker_claim_locked (self, self->routes, added, NULL, error))
    {
      g_mutex_unlock (&self->lock);
      g_object_unref (route);
      return NULL;
    }
  g_ptr_array_add (self->routes, g_object_ref (route));
  evbus_listener_add (self->listener, route, NULL);
  publish_table_locked (self, &done);
  g_mutex_unlock (&self->lock);

  evbus_waiting_answer (&done);
  evbus_broker_routes_changed (self);
  return route;
}

/**
 * evbus_broker_remove_route:
 * @self: a broker
 * @route: one of its routes
 * @error: return location for a #GError
 *
 * Removes a route. It takes no new events; what it has it still delivers,
 * within the `stop-timeout`. Then its plugin is closed. With a spool it only ends
 * the batch it is at, and keeps the rest there, for a route of the same name (or
 * provider and pattern) that may come later.
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND, %EVBUS_ERROR_CLOSED.
 *
 * Returns: %TRUE if it was removed
 *
 * Since: 1.0
 */
gboolean
evbus_broker_remove_route (EvbusBroker  *self,
                           EvbusRoute   *route,
                           GError      **error)
{
  GQueue done = G_QUEUE_INIT;
  guint64 n_pushed;
  guint index;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (EVBUS_IS_ROUTE (route), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  g_mutex_lock (&self->lock);
  if (!check_open_locked (self, error))
    {
      g_mutex_unlock (&self->lock);
      return FALSE;
    }
  if (!g_ptr_array_find (self->routes, route, &index))
    {
      g_mutex_unlock (&self->lock);
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                   "route %s is not one of this broker", route->label);
      return FALSE;
    }
  g_object_ref (route);
  g_ptr_array_remove_index (self->routes, index);
  if (self->spool != NULL)
    evbus_spool_orphan_route (self->spool, route->spool_route);
  n_pushed = publish_table_locked (self, &done);
  evbus_listener_retire (self->listener, route, n_pushed, evbus_broker_get_stop_timeout (self));
  g_mutex_unlock (&self->lock);

  evbus_waiting_answer (&done);
  evbus_broker_routes_changed (self);
  g_object_unref (route);
  return TRUE;
}

/**
 * evbus_broker_get_routes: (get-property routes)
 * @self: a broker
 *
 * The routes, in the order of the configuration. The list changes in the main
 * context in which the broker was made, and is to be used there.
 *
 * Returns: (transfer none): a list of [class@Route]
 *
 * Since: 1.0
 */
GListModel *
evbus_broker_get_routes (EvbusBroker *self)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);

  return G_LIST_MODEL (self->model);
}
