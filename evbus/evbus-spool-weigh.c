/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What each route has queued, in bytes, is counted anew where it was written down by an evbus that did not count
 * records: once, before anything is taken off what it has. */

#include "evbus-spool-store-private.h"

static void
weigh_event (EvbusSpool *self,
             gint64      place,
             guint64     size)
{
  guint32 id = (guint32) (place >> EVBUS_SPOOL_SEQ_BITS);
  EvbusSpoolSet *set = g_hash_table_lookup (self->sets_by_id, GUINT_TO_POINTER (id));
  gint64 seq = place & EVBUS_SPOOL_MAX_SEQ;

  /* The copy of a set, or an event that is nobody's any more. */
  if (set == NULL || seq == 0 || seq < set->first)
    return;
  for (guint i = 0; i < set->n_routes; i++)
    {
      EvbusSpoolCursor *cursor = &set->routes[i]->stored;

      if (evbus_spool_cursor_needs (cursor, seq))
        cursor->weight += size;
    }
}

static gboolean
weigh_events (EvbusSpool  *self,
              GError     **error)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_SIZE_EVENTS, error);
  int row = -1;

  while (rows != NULL && (row = evbus_sql_step (self->sql, rows, error)) > 0)
    weigh_event (self, sqlite3_column_int64 (rows, 0), (guint64) sqlite3_column_int64 (rows, 1));
  return row == 0;
}

static gboolean
write_routes (EvbusSpool  *self,
              GError     **error)
{
  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusSpoolRoute *route = self->routes->pdata[i];

      route->now.weight = route->written.weight = route->stored.weight;
      if (!evbus_spool_write_route (self, route, error))
        return FALSE;
    }
  return evbus_spool_write_total (self, self->weight, error);
}

gboolean
evbus_spool_weigh (EvbusSpool  *self,
                   GError     **error)
{
  gboolean done;

  if (self->routes->len == 0)
    return TRUE;

  for (guint i = 0; i < self->routes->len; i++)
    ((EvbusSpoolRoute *) self->routes->pdata[i])->stored.weight = 0;
  done = evbus_sql_call (self->sql, EVBUS_SQL_BEGIN, error, "") && weigh_events (self, error) &&
         write_routes (self, error) && evbus_sql_call (self->sql, EVBUS_SQL_COMMIT, error, "");
  evbus_sql_roll_back (self->sql);
  return done;
}
