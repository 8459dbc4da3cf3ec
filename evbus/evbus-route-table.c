/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-route-table-private.h"

#include <string.h>

#include "evbus-limits-private.h"
#include "evbus-route-private.h"

/* How many different answers are kept to be shared between names. The listener
 * hands events on in runs of the same set, so names with the same routes
 * should have the same one. */
#define SHARED_SETS 64

EvbusRouteTable *
evbus_route_table_new (GPtrArray *routes,
                       guint64    generation)
{
  EvbusRouteTable *self = g_new0 (EvbusRouteTable, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->generation = generation;
  self->routes = evbus_route_array_copy (routes);
  self->by_name = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_queue_init (&self->names);
  g_queue_init (&self->sets);

  return self;
}

EvbusRouteTable *
evbus_route_table_ref (EvbusRouteTable *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

/* The queue has called evbus_route_table_forget() before it gave up its own
 * reference, so there are no sets left here. */
void
evbus_route_table_unref (EvbusRouteTable *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_ptr_array_unref (self->routes);
  g_hash_table_unref (self->by_name);
  g_free (self);
}

GPtrArray *
evbus_route_table_match (EvbusRouteTable  *self,
                         const char       *profile,
                         GError          **error)
{
  g_autoptr(GPtrArray) matched = g_ptr_array_new ();

  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusRoute *route = self->routes->pdata[i];
      gboolean matches;

      if (!evbus_matcher_match (route->spec->matcher, profile, &matches, error))
        {
          g_prefix_error (error, "route %s: ", route->label);
          return NULL;
        }
      if (matches)
        g_ptr_array_add (matched, route);
    }

  return g_steal_pointer (&matched);
}

EvbusRouteSet *
evbus_route_table_lookup (EvbusRouteTable *self,
                          const char      *profile)
{
  gpointer name;
  gpointer set;

  if (self->last_name != NULL && strcmp (self->last_name, profile) == 0)
    return self->last_set;

  if (!g_hash_table_lookup_extended (self->by_name, profile, &name, &set))
    return NULL;

  self->last_name = name;
  self->last_set = set;
  return set;
}

void
evbus_route_set_free (EvbusRouteSet *set)
{
  for (guint i = 0; i < set->n_routes; i++)
    g_object_unref (set->routes[i]);
  g_free (set);
}

void
evbus_route_set_release (EvbusRouteSet *set,
                         guint          n_references,
                         GPtrArray     *garbage)
{
  set->ref_count -= n_references;
  if (set->ref_count == 0)
    g_ptr_array_add (garbage, set);
}

static EvbusRouteSet *
shared_set (EvbusRouteTable *self,
            GPtrArray       *routes,
            GPtrArray       *garbage)
{
  gsize size = routes->len * sizeof (gpointer);
  EvbusRouteSet *set;

  for (GList *l = self->sets.head; l != NULL; l = l->next)
    {
      set = l->data;
      if (set->n_routes == routes->len &&
          (size == 0 || memcmp (set->routes, routes->pdata, size) == 0))
        return set;
    }

  set = g_malloc (sizeof *set + size);
  set->generation = self->generation;
  set->ref_count = 1;
  set->n_routes = routes->len;
  for (guint i = 0; i < routes->len; i++)
    set->routes[i] = g_object_ref (routes->pdata[i]);

  g_queue_push_tail (&self->sets, set);
  if (self->sets.length > SHARED_SETS)
    evbus_route_set_release (g_queue_pop_head (&self->sets), 1, garbage);

  return set;
}

static void
forget_oldest_name (EvbusRouteTable *self,
                    GPtrArray       *garbage)
{
  const char *name = g_queue_pop_head (&self->names);
  EvbusRouteSet *set = g_hash_table_lookup (self->by_name, name);

  if (self->last_name == name)
    self->last_name = NULL;
  evbus_route_set_release (set, 1, garbage);
  g_hash_table_remove (self->by_name, name);
}

EvbusRouteSet *
evbus_route_table_remember (EvbusRouteTable *self,
                            const char      *profile,
                            GPtrArray       *routes,
                            GPtrArray       *garbage)
{
  EvbusRouteSet *set = evbus_route_table_lookup (self, profile);
  char *name;

  if (set != NULL)
    return set;   /* another thread was faster */

  if (self->names.length == EVBUS_MATCH_CACHE_NAMES)
    forget_oldest_name (self, garbage);

  set = shared_set (self, routes, garbage);
  set->ref_count++;
  name = g_strdup (profile);
  g_hash_table_insert (self->by_name, name, set);
  g_queue_push_tail (&self->names, name);

  return set;
}

void
evbus_route_table_forget (EvbusRouteTable *self,
                          GPtrArray       *garbage)
{
  EvbusRouteSet *set;

  while (self->names.length > 0)
    forget_oldest_name (self, garbage);

  while ((set = g_queue_pop_head (&self->sets)) != NULL)
    evbus_route_set_release (set, 1, garbage);
}
