/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which routes of a broker stay, go and are new, once its configuration is another one. */

#include "evbus-change-private.h"

#include <string.h>

static guint
hash_place (gconstpointer data)
{
  const EvbusRouteSpec *spec = data;

  return g_str_hash (spec->provider) * 31 + g_str_hash (spec->profile);
}

static gboolean
same_place (gconstpointer a,
            gconstpointer b)
{
  const EvbusRouteSpec *left = a, *right = b;

  return strcmp (left->provider, right->provider) == 0 && strcmp (left->profile, right->profile) == 0;
}

static guint
hash_route (gconstpointer data)
{
  const EvbusRouteSpec *spec = data;

  return (hash_place (spec) * 31 + g_str_hash (spec->digest)) * 31 + spec->ordinal;
}

static gboolean
same_route (gconstpointer a,
            gconstpointer b)
{
  const EvbusRouteSpec *left = a, *right = b;

  return same_place (left, right) &&
         strcmp (left->digest, right->digest) == 0 &&
         /* Or two could come to have the same, once one was removed by hand. */
         left->ordinal == right->ordinal &&
         (left->info == NULL) == (right->info == NULL);
}

/* By their specs: GQueue of those that have equal ones, the oldest first. Without those in @claimed. */
static GHashTable *
index_routes (GPtrArray  *routes,
              GHashTable *claimed,
              GHashFunc   hash,
              GEqualFunc  equal)
{
  GHashTable *index = g_hash_table_new_full (hash, equal, NULL, (GDestroyNotify) g_queue_free);

  for (guint i = 0; i < routes->len; i++)
    {
      EvbusRoute *route = routes->pdata[i];
      GQueue *equals = g_hash_table_lookup (index, route->spec);

      if (g_hash_table_contains (claimed, route))
        continue;
      if (equals == NULL)
        {
          equals = g_queue_new ();
          g_hash_table_insert (index, route->spec, equals);
        }
      g_queue_push_tail (equals, route);
    }
  return index;
}

/* The first route that fits @spec and nobody has claimed yet, or NULL. */
static EvbusRoute *
claim (GHashTable           *index,
       GHashTable           *claimed,
       const EvbusRouteSpec *spec)
{
  GQueue *equals = g_hash_table_lookup (index, spec);
  EvbusRoute *route = equals != NULL ? g_queue_pop_head (equals) : NULL;

  if (route != NULL)
    g_hash_table_add (claimed, route);
  return route;
}

static GPtrArray *
claim_all (GPtrArray  *old,
           GHashTable *claimed,
           GPtrArray  *specs)
{
  g_autoptr(GHashTable) index = index_routes (old, claimed, hash_route, same_route);
  GPtrArray *kept = g_ptr_array_new ();

  for (guint i = 0; i < specs->len; i++)
    g_ptr_array_add (kept, claim (index, claimed, specs->pdata[i]));
  return kept;
}

static EvbusRoute *
add_route (EvbusChange    *self,
           EvbusRouteSpec *spec,
           EvbusRoute     *predecessor,
           EvbusQueue     *queue,
           EvbusNotifier  *notifier)
{
  EvbusRoute *route = evbus_route_new (spec, queue, notifier);

  route->from_profiles = TRUE;
  if (predecessor != NULL)
    g_ptr_array_add (self->removed, g_object_ref (predecessor));
  g_ptr_array_add (self->added, route);
  g_ptr_array_add (self->predecessors, predecessor);
  return route;
}

void
evbus_change_plan (EvbusChange   *self,
                   GPtrArray     *present,
                   GPtrArray     *specs,
                   EvbusQueue    *queue,
                   EvbusNotifier *notifier)
{
  g_autoptr(GPtrArray) old = g_ptr_array_new ();
  g_autoptr(GHashTable) claimed = g_hash_table_new (NULL, NULL);
  g_autoptr(GHashTable) index = NULL;
  g_autoptr(GPtrArray) kept = NULL;

  self->routes = g_ptr_array_new_with_free_func (g_object_unref);
  self->added = g_ptr_array_new ();
  self->predecessors = g_ptr_array_new ();
  self->removed = g_ptr_array_new_with_free_func (g_object_unref);

  for (guint i = 0; i < present->len; i++)
    {
      EvbusRoute *route = present->pdata[i];

      if (route->from_profiles)
        g_ptr_array_add (old, route);
      else
        g_ptr_array_add (self->routes, g_object_ref (route));
    }

  kept = claim_all (old, claimed, specs);
  index = index_routes (old, claimed, hash_place, same_place);
  for (guint i = 0; i < specs->len; i++)
    {
      EvbusRouteSpec *spec = specs->pdata[i];
      EvbusRoute *route = kept->pdata[i];

      g_ptr_array_add (self->routes, route != NULL
                       ? g_object_ref (route)
                       : add_route (self, spec, claim (index, claimed, spec), queue, notifier));
    }

  for (guint i = 0; i < old->len; i++)
    {
      if (!g_hash_table_contains (claimed, old->pdata[i]))
        g_ptr_array_add (self->removed, g_object_ref (old->pdata[i]));
    }
}

void
evbus_change_clear (EvbusChange *self)
{
  g_clear_pointer (&self->routes, g_ptr_array_unref);
  g_clear_pointer (&self->added, g_ptr_array_unref);
  g_clear_pointer (&self->predecessors, g_ptr_array_unref);
  g_clear_pointer (&self->removed, g_ptr_array_unref);
}
