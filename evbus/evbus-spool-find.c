/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What became of an event whose put is repeated, by its number: from the sets of
 * routes, from how far these are, and from the dead letters. */

#include "evbus-spool-store-private.h"

#include "evbus-limits-private.h"

/* 1: the set has the event; 0: not; -1: error. */
static int
has_event (EvbusSpool     *self,
           EvbusSpoolSet  *set,
           gint64          seq,
           GError        **error)
{
  sqlite3_stmt *row = evbus_sql_get (self->sql, EVBUS_SQL_GET_EVENT, error);
  int found;

  if (row == NULL)
    return -1;
  sqlite3_bind_int64 (row, 1, EVBUS_SPOOL_PLACE (set->id, seq));
  found = evbus_sql_step (self->sql, row, error);
  if (found > 0)
    sqlite3_reset (row);
  return found;
}

/* The dead letter of the event in @record: whether that is it, and why. */
static gboolean
is_death (const guint8  *record,
          gsize          size,
          gint64         seq,
          char         **reason)
{
  EvbusRecordInfo info;

  if (evbus_record_check (record, size, &info) == 0 || info.seq != seq)
    return FALSE;
  *reason = info.reason != NULL ? g_strndup (info.reason, info.reason_length) : NULL;
  return TRUE;
}

static gboolean
is_dying (EvbusSpool       *self,
          EvbusSpoolRoute  *route,
          gint64            seq,
          char            **reason)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  for (guint i = 0; i < self->deaths->len; i++)
    {
      EvbusSpoolDying *dying = self->deaths->pdata[i];

      if (dying->route == route && is_death (dying->record->data, dying->record->len, seq, reason))
        return TRUE;
    }
  return FALSE;
}

/* The id of the route that gave the event up, of @route if it is not NULL; 0: none of
 * the newest dead letters is it. @all: (out): whether there are no others. */
static gint64
find_dead (EvbusSpool       *self,
           EvbusSpoolRoute  *route,
           gint64            seq,
           gboolean         *all,
           char            **reason)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_NEWEST_DEAD, NULL);
  guint n = 0;
  gsize weight = 0;
  int row = -1;

  *all = FALSE;
  if (rows == NULL)
    return 0;
  sqlite3_bind_int64 (rows, 1, EVBUS_SPOOL_STEP_LETTERS);
  while (weight < EVBUS_SPOOL_STEP_BYTES && (row = evbus_sql_step (self->sql, rows, NULL)) > 0)
    {
      gint64 id = sqlite3_column_int64 (rows, 0);
      gsize size = sqlite3_column_bytes (rows, 1);

      n++;
      weight += size;
      if ((route == NULL || id == route->id) && is_death (sqlite3_column_blob (rows, 1), size, seq, reason))
        {
          sqlite3_reset (rows);
          return id;
        }
    }
  sqlite3_reset (rows);
  *all = row == 0 && n < EVBUS_SPOOL_STEP_LETTERS;
  return 0;
}

static gboolean
has_lost (const EvbusLedger *ledger)
{
  return ledger->expired > 0 || ledger->dropped > 0;
}

/* The route of the dead letter. Without one the event was delivered for certain, if that
 * became of all events. */
static void
find_dead_route (EvbusSpool *self,
                 gint64      seq,
                 GPtrArray  *routes,
                 gboolean   *delivered)
{
  g_autofree char *reason = NULL;
  gint64 id = find_dead (self, NULL, seq, delivered, &reason);
  EvbusSpoolRoute *route;

  g_mutex_lock (&self->lock);
  route = id != 0 ? evbus_spool_find_route (self, id) : NULL;
  /* Its routes may be forgotten by now. */
  *delivered &= !has_lost (&self->rest) && !has_lost (&self->rest_change);
  for (guint i = 0; i < self->routes->len; i++)
    *delivered &= !has_lost (&((EvbusSpoolRoute *) self->routes->pdata[i])->now.ledger);
  g_mutex_unlock (&self->lock);

  if (route != NULL)
    g_ptr_array_add (routes, route);
}

gboolean
evbus_spool_find_routes (EvbusSpool  *self,
                         gint64       seq,
                         GPtrArray   *routes,
                         gboolean    *delivered,
                         GError     **error)
{
  GHashTableIter iter;
  EvbusSpoolSet *set;

  *delivered = FALSE;
  g_hash_table_iter_init (&iter, self->sets_by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    {
      int found = set->last >= seq ? has_event (self, set, seq, error) : 0;

      if (found < 0)
        return FALSE;
      for (guint i = 0; found > 0 && i < set->n_routes; i++)
        g_ptr_array_add (routes, set->routes[i]);
    }

  /* All have settled it; it may be dead at one of them. */
  if (routes->len == 0)
    find_dead_route (self, seq, routes, delivered);
  return TRUE;
}

static gboolean
is_skipped (const EvbusSpoolCursor *cursor,
            gint64                  seq)
{
  for (guint i = 0; i < cursor->skipped->len; i++)
    {
      const EvbusSpoolRange *range = &g_array_index (cursor->skipped, EvbusSpoolRange, i);

      if (seq > range->after && seq <= range->to)
        return TRUE;
    }
  return FALSE;
}

gboolean
evbus_spool_find_fate (EvbusSpool       *self,
                       EvbusSpoolRoute  *route,
                       gint64            seq,
                       EvbusFate        *fate,
                       char            **reason)
{
  gboolean needed, skipped, lost, all = FALSE;

  *reason = NULL;
  g_mutex_lock (&self->lock);
  needed = evbus_spool_cursor_needs (&route->now, seq);
  skipped = is_skipped (&route->now, seq);
  lost = has_lost (&route->now.ledger);
  g_mutex_unlock (&self->lock);
  if (needed)
    return FALSE;

  if (is_dying (self, route, seq, reason) || find_dead (self, route, seq, &all, reason) != 0)
    *fate = EVBUS_FATE_DEAD;
  else if (skipped)
    *fate = EVBUS_FATE_EXPIRED;
  else
    *fate = all && !lost ? EVBUS_FATE_DELIVERED : EVBUS_FATE_SETTLED;
  return TRUE;
}
