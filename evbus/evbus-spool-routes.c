/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The routes of the spool, and how far they are. */

#include "evbus-spool-store-private.h"

#include <string.h>

#include "evbus-error.h"

void
evbus_spool_cursor_init (EvbusSpoolCursor *self)
{
  memset (self, 0, sizeof *self);
  self->pending = g_array_new (FALSE, FALSE, sizeof (gint64));
  self->skipped = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolRange));
}

void
evbus_spool_cursor_clear (EvbusSpoolCursor *self)
{
  g_clear_pointer (&self->pending, g_array_unref);
  g_clear_pointer (&self->skipped, g_array_unref);
}

static void
copy_array (GArray       *array,
            const GArray *from)
{
  g_array_set_size (array, 0);
  if (from->len > 0)
    g_array_append_vals (array, from->data, from->len);
}

void
evbus_spool_cursor_copy (EvbusSpoolCursor       *self,
                         const EvbusSpoolCursor *from)
{
  GArray *pending = self->pending;
  GArray *skipped = self->skipped;

  *self = *from;
  self->pending = pending;
  self->skipped = skipped;
  copy_array (pending, from->pending);
  copy_array (skipped, from->skipped);
}

gboolean
evbus_spool_cursor_needs (const EvbusSpoolCursor *self,
                          gint64                  seq)
{
  /* What comes after the position is needed whether it is among these or not. */
  for (guint i = 0; seq <= self->position && i < self->pending->len; i++)
    {
      if (g_array_index (self->pending, gint64, i) == seq)
        return TRUE;
    }
  for (guint i = 0; i < self->skipped->len; i++)
    {
      const EvbusSpoolRange *range = &g_array_index (self->skipped, EvbusSpoolRange, i);

      if (seq > range->after && seq <= range->to)
        return FALSE;
    }
  return seq > self->position;
}

EvbusSpoolRoute *
evbus_spool_route_new (EvbusSpool *spool,
                       gint64      id,
                       const char *key)
{
  EvbusSpoolRoute *self = g_new0 (EvbusSpoolRoute, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->spool = spool;
  self->id = id;
  self->key = g_ref_string_new (key);
  self->stored_key = g_ref_string_acquire (self->key);
  self->sets = g_ptr_array_new ();
  evbus_spool_cursor_init (&self->now);
  evbus_spool_cursor_init (&self->stored);
  evbus_spool_cursor_init (&self->written);
  return self;
}

EvbusSpoolRoute *
evbus_spool_route_ref (EvbusSpoolRoute *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_spool_route_unref (EvbusSpoolRoute *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  evbus_spool_cursor_clear (&self->now);
  evbus_spool_cursor_clear (&self->stored);
  evbus_spool_cursor_clear (&self->written);
  g_ptr_array_unref (self->sets);
  evbus_spool_keep_key (&self->stored_key, NULL);
  evbus_spool_keep_key (&self->written_key, NULL);
  evbus_spool_keep_key (&self->change_key, NULL);
  g_ref_string_release (self->key);
  g_free (self);
}

void
evbus_spool_keep_key (GRefString **at,
                      GRefString  *key)
{
  GRefString *old = *at;

  *at = key != NULL ? g_ref_string_acquire (key) : NULL;
  if (old != NULL)
    g_ref_string_release (old);
}

EvbusSpoolRoute *
evbus_spool_find_route (EvbusSpool *self,
                        gint64      id)
{
  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusSpoolRoute *route = self->routes->pdata[i];

      if (route->id == id)
        return route;
    }
  return NULL;
}

EvbusSpoolRoute *
evbus_spool_find_key (EvbusSpool *self,
                      const char *key)
{
  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusSpoolRoute *route = self->routes->pdata[i];

      if (g_str_equal (route->key, key))
        return route;
    }
  return NULL;
}

static EvbusSpoolRoute *
add_route_locked (EvbusSpool *self,
                  const char *key)
{
  EvbusSpoolRoute *route = evbus_spool_route_new (self, ++self->last_route_id, key);

  route->now.position = self->horizon;
  g_ptr_array_add (self->routes, route);
  route->dirty = self->dirty = TRUE;
  return route;
}

EvbusSpoolRoute *
evbus_spool_add_route (EvbusSpool *self,
                       const char *key)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return add_route_locked (self, key);
}

EvbusSpoolRoute *
evbus_spool_adopt_route (EvbusSpool *self,
                         const char *key)
{
  EvbusSpoolRoute *route;

  g_mutex_lock (&self->lock);
  route = evbus_spool_find_key (self, key);
  if (route == NULL)
    route = add_route_locked (self, key);
  if (route->now.orphan)
    {
      route->now.orphan = route->now.doubtful = FALSE;
      route->dirty = self->dirty = TRUE;
    }
  g_mutex_unlock (&self->lock);
  return route;
}

void
evbus_spool_orphan_route (EvbusSpool      *self,
                          EvbusSpoolRoute *route)
{
  g_mutex_lock (&self->lock);
  route->now.orphan = TRUE;
  route->dirty = self->dirty = TRUE;
  g_mutex_unlock (&self->lock);
}

void
evbus_spool_doubt_route (EvbusSpool      *self,
                         EvbusSpoolRoute *route)
{
  g_mutex_lock (&self->lock);
  route->now.orphan = route->now.doubtful = TRUE;
  route->dirty = self->dirty = TRUE;
  g_mutex_unlock (&self->lock);
}

void
evbus_spool_rename_route (EvbusSpool      *self,
                          EvbusSpoolRoute *route,
                          const char      *key)
{
  g_mutex_lock (&self->lock);
  if (route->now.orphan || !g_str_equal (route->key, key))
    {
      g_ref_string_release (route->key);
      route->key = g_ref_string_new (key);
      route->dirty = self->dirty = TRUE;
      route->now.orphan = route->now.doubtful = FALSE;
    }
  g_mutex_unlock (&self->lock);
}

typedef struct {
  EvbusSpoolRoute *orphan;
  const char      *key;
} Naming;

/* In this transaction alone, so that no other one writes a name that is refused. */
static void
stage_name (EvbusSpool *self,
            gpointer    data)
{
  Naming *naming = data;

  evbus_spool_stage_route (self, naming->orphan);
  naming->orphan->change_key = g_ref_string_new (naming->key);
}

gboolean
evbus_spool_name_orphan (EvbusSpool       *self,
                         EvbusSpoolRoute  *orphan,
                         const char       *key,
                         GError          **error)
{
  Naming naming = { orphan, key };

  if (orphan->forgotten)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND, "%s: the route \"%s\" is forgotten", self->path,
                   orphan->key);
      return FALSE;
    }

  if (!evbus_spool_change (self, stage_name, &naming, error))
    return FALSE;
  evbus_spool_tell (self);
  return TRUE;
}

GPtrArray *
evbus_spool_list_routes (EvbusSpool *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  GPtrArray *routes = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_route_unref);

  for (guint i = 0; i < self->routes->len; i++)
    g_ptr_array_add (routes, evbus_spool_route_ref (self->routes->pdata[i]));
  return routes;
}

const char *
evbus_spool_route_get_key (EvbusSpoolRoute *route)
{
  return route->key;
}

char *
evbus_spool_route_dup_key (EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  return g_strdup (route->key);
}

gboolean
evbus_spool_route_is_orphan (EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  return route->now.orphan;
}

gboolean
evbus_spool_route_is_doubtful (EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  return route->now.doubtful;
}

void
evbus_spool_route_get_ledger (EvbusSpoolRoute *route,
                              EvbusLedger     *ledger,
                              guint64         *queued_weight)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  *ledger = route->now.ledger;
  if (queued_weight != NULL)
    *queued_weight = route->now.weight;
}

guint64
evbus_spool_route_get_dead_weight (EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  return route->now.dead_weight;
}

void
evbus_spool_set_figures (EvbusSpool        *self,
                         const EvbusLedger *figures)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  if (self->rest.unrouted == figures->unrouted && self->rest.repeated == figures->repeated)
    return;
  self->rest.unrouted = figures->unrouted;
  self->rest.repeated = figures->repeated;
  self->dirty = TRUE;
}

void
evbus_spool_get_rest (EvbusSpool  *self,
                      EvbusLedger *ledger)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  *ledger = self->rest;
}

gint64
evbus_spool_route_get_last (EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  return route->now.last;
}
