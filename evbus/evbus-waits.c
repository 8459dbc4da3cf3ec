/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-waits-private.h"

EvbusRoute *
evbus_waits_find (GPtrArray  *routes,
                  EvbusRoute *route,
                  EvbusRoute *replaced)
{
  for (guint i = routes->len; route->spool_route != NULL && i-- > 0;)
    {
      EvbusRoute *other = routes->pdata[i];

      if (other->spool_route == route->spool_route)
        return other;
    }

  return replaced != NULL && g_ptr_array_find (routes, replaced, NULL) ? replaced : NULL;
}

/* Where @route was waiting itself, because it was given up before it could start,
 * what waited for it waits on. */
GPtrArray *
evbus_waits_end (GHashTable *waits,
                 EvbusRoute *route)
{
  EvbusRoute *before = g_hash_table_lookup (waits, route);
  GPtrArray *ready = g_ptr_array_new_with_free_func (g_object_unref);
  GHashTableIter iter;
  gpointer waiter, awaited;

  g_hash_table_iter_init (&iter, waits);
  while (g_hash_table_iter_next (&iter, &waiter, &awaited))
    {
      if (awaited != route)
        continue;
      if (before != NULL)
        {
          g_hash_table_iter_replace (&iter, g_object_ref (before));
          continue;
        }
      g_ptr_array_add (ready, g_object_ref (waiter));
      g_hash_table_iter_remove (&iter);
    }
  g_hash_table_remove (waits, route);

  return ready;
}
