/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters, and forgetting a route with all of its own. */

#include "evbus-spool-store-private.h"

#include <string.h>

#include "evbus-error.h"

/* Of one transaction. */
#define DROP_ROWS 1024

void
evbus_spool_dead_free (EvbusSpoolDead *dead)
{
  evbus_event_unref (dead->event);
  g_free (dead->route);
  g_free (dead->reason);
  g_free (dead);
}

/* NULL: the record is damaged, or its route is gone. */
static EvbusSpoolDead *
parse_row (EvbusSpool   *self,
           sqlite3_stmt *row)
{
  EvbusRecordInfo info;
  EvbusEvent *event = evbus_record_parse (sqlite3_column_blob (row, 2), sqlite3_column_bytes (row, 2), &info);
  EvbusSpoolRoute *route;
  EvbusSpoolDead *dead;

  if (event == NULL)
    return NULL;
  dead = g_new0 (EvbusSpoolDead, 1);
  dead->number = sqlite3_column_int64 (row, 0);
  dead->reason = g_utf8_make_valid (info.reason != NULL ? info.reason : "", info.reason_length);
  dead->died = info.died;
  dead->event = event;
  g_mutex_lock (&self->lock);
  route = evbus_spool_find_route (self, sqlite3_column_int64 (row, 1));
  dead->route = route != NULL ? g_strdup (route->key) : NULL;
  g_mutex_unlock (&self->lock);
  if (dead->route == NULL)
    g_clear_pointer (&dead, evbus_spool_dead_free);
  return dead;
}

static EvbusSpoolRoute *
find_key (EvbusSpool  *self,
          const char  *key,
          GError     **error)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  EvbusSpoolRoute *route = evbus_spool_find_key (self, key);

  if (route == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND, "%s: the spool has no route \"%s\"", self->path, key);
  return route;
}

GPtrArray *
evbus_spool_list_dead (EvbusSpool  *self,
                       const char  *route_key,
                       gint64       after,
                       guint        max_events,
                       GError     **error)
{
  g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_dead_free);
  EvbusSpoolRoute *route = route_key != NULL ? find_key (self, route_key, error) : NULL;
  g_autoptr(EvbusSql) sql = NULL;
  sqlite3_stmt *rows;
  int row = 0;

  if (route_key != NULL && route == NULL)
    return NULL;
  sql = evbus_spool_schema_open_reader (self, error);
  rows = sql == NULL ? NULL
       : evbus_sql_get (sql, route != NULL ? EVBUS_SQL_LIST_DEAD_OF_ROUTE : EVBUS_SQL_LIST_DEAD, error);
  if (rows == NULL)
    return NULL;

  /* Those that are damaged are passed over, so more rows may be looked at. */
  sqlite3_bind_int64 (rows, 1, after);
  sqlite3_bind_int64 (rows, 2, -1);
  if (route != NULL)
    sqlite3_bind_int64 (rows, 3, route->id);
  while (found->len < max_events && (row = evbus_sql_step (sql, rows, error)) > 0)
    {
      EvbusSpoolDead *dead = parse_row (self, rows);

      if (dead != NULL)
        g_ptr_array_add (found, dead);
    }
  if (row < 0)
    {
      evbus_spool_mark_damaged (self, sql);
      return NULL;
    }
  return g_steal_pointer (&found);
}

/* Begins a transaction and takes the dead letter out of its table. @event: (out)
 * (optional). FALSE: error, and there is no transaction. */
static gboolean
take_dead (EvbusSpool       *self,
           gint64            number,
           EvbusSpoolRoute **route,
           EvbusEvent      **event,
           GError          **error)
{
  sqlite3_stmt *row;
  int found = -1;

  evbus_spool_begin (self);
  if (self->failure != NULL)
    return evbus_spool_commit (self, error);

  row = evbus_sql_get (self->sql, EVBUS_SQL_GET_DEAD, &self->failure);
  if (row != NULL)
    {
      sqlite3_bind_int64 (row, 1, number);
      found = evbus_sql_step (self->sql, row, &self->failure);
    }
  if (found > 0)
    {
      const guint8 *record = sqlite3_column_blob (row, 1);
      gsize size = sqlite3_column_bytes (row, 1);

      *route = evbus_spool_find_route (self, sqlite3_column_int64 (row, 0));
      if (event != NULL)
        *event = evbus_record_parse (record, size, NULL);
      self->weight_removed += size;
      sqlite3_reset (row);
    }
  if (found == 0 || (found > 0 && *route == NULL) || (found > 0 && event != NULL && *event == NULL))
    g_set_error (&self->failure, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                 "%s: there is no dead letter %" G_GINT64_FORMAT, self->path, number);
  if (self->failure == NULL)
    evbus_sql_call (self->sql, EVBUS_SQL_DELETE_DEAD, &self->failure, "i", number);
  if (self->failure == NULL)
    return TRUE;

  if (event != NULL)
    g_clear_pointer (event, evbus_event_unref);
  return evbus_spool_commit (self, error);
}

gboolean
evbus_spool_replay_dead (EvbusSpool       *self,
                         gint64            number,
                         EvbusSpoolRoute **route,
                         EvbusEvent      **event,
                         GError          **error)
{
  g_autoptr(EvbusEvent) found = NULL;
  EvbusSpoolRoute *of = NULL;
  EvbusSpoolSet *set;

  if (!take_dead (self, number, &of, &found, error))
    return FALSE;

  found->seq = ++self->seq;
  set = evbus_spool_get_set (self, &of, 1);
  if (set != NULL)
    evbus_spool_store_event (self, set, found);
  else
    g_set_error (&self->failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
                 "%s: too many routes have events; forget orphaned ones", self->path);
  /* Not a new copy, as what is appended else, but one that was dead. */
  evbus_spool_stage_route (self, of);
  of->change.accepted--;
  of->change.dead--;
  if (!evbus_spool_commit (self, error))
    return FALSE;

  *route = of;
  *event = g_steal_pointer (&found);
  return TRUE;
}

gboolean
evbus_spool_drop_dead (EvbusSpool  *self,
                       gint64       number,
                       GError     **error)
{
  EvbusSpoolRoute *route = NULL;

  if (!take_dead (self, number, &route, NULL, error))
    return FALSE;
  evbus_spool_stage_route (self, route);
  route->change.dead--;
  route->change.dropped++;
  return evbus_spool_commit (self, error);
}

/* Some of the route's dead letters, in a transaction of their own. @more: (out). */
static gboolean
drop_some (EvbusSpool       *self,
           EvbusSpoolRoute  *route,
           gboolean         *more,
           GError          **error)
{
  sqlite3_stmt *weigh;
  gint64 last = 0, count = 0;

  evbus_spool_begin (self);
  weigh = self->failure == NULL ? evbus_sql_get (self->sql, EVBUS_SQL_WEIGH_DEAD, &self->failure) : NULL;
  if (weigh != NULL)
    {
      sqlite3_bind_int64 (weigh, 1, route->id);
      sqlite3_bind_int64 (weigh, 2, DROP_ROWS);
      if (evbus_sql_step (self->sql, weigh, &self->failure) > 0)
        {
          last = sqlite3_column_int64 (weigh, 0);
          count = sqlite3_column_int64 (weigh, 1);
          self->weight_removed += (guint64) sqlite3_column_double (weigh, 2);
          sqlite3_reset (weigh);
        }
    }
  if (self->failure == NULL)
    evbus_sql_call (self->sql, EVBUS_SQL_DELETE_DEAD_OF_ROUTE, &self->failure, "ii", route->id, last);
  evbus_spool_stage_route (self, route);
  route->change.dead -= count;
  route->change.dropped += count;
  *more = count == DROP_ROWS;
  return evbus_spool_commit (self, error);
}

/* From now on nothing of it is written; those who know it still can. */
static void
set_forgotten (EvbusSpool      *self,
               EvbusSpoolRoute *route,
               gboolean         forgotten)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  route->forgotten = forgotten;
  route->dirty = !forgotten;
}

static void
retire_route (EvbusSpool      *self,
              EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = NULL;
  guint index;

  evbus_spool_forget_sets (self, route);
  locker = g_mutex_locker_new (&self->lock);
  if (g_ptr_array_find (self->routes, route, &index))
    g_ptr_array_add (self->forgotten, g_ptr_array_steal_index (self->routes, index));
  route->now.ledger.dropped += route->now.ledger.queued;
  route->now.ledger.queued = 0;
  route->now.weight = 0;
}

gboolean
evbus_spool_forget_route (EvbusSpool       *self,
                          EvbusSpoolRoute  *route,
                          GError          **error)
{
  gboolean more = TRUE;

  if (!evbus_spool_route_is_orphan (route))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "%s: the route \"%s\" is in use; take it out of the configuration first", self->path, route->key);
      return FALSE;
    }

  while (more)
    {
      if (!drop_some (self, route, &more, error))
        return FALSE;
    }

  set_forgotten (self, route, TRUE);
  evbus_spool_begin (self);
  if (self->failure == NULL)
    evbus_sql_call (self->sql, EVBUS_SQL_DELETE_ROUTE, &self->failure, "i", route->id);
  if (!evbus_spool_commit (self, error))
    {
      set_forgotten (self, route, FALSE);
      return FALSE;
    }
  retire_route (self, route);
  return TRUE;
}
