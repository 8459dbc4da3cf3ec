/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What became of an event whose put is repeated, by its numbers: from the sets of
 * routes, from how far these are, and from the dead letters. It has more than one where dead
 * letters of it were replayed. */

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

/* Whether a dead letter of the event is in @record, and (nullable) why it is one: its number, or 0. */
static gint64
get_death (const guint8 *record,
           gsize         size,
           const GArray *seqs,
           char        **reason)
{
  EvbusRecordInfo info;

  if (evbus_record_check (record, size, &info) == 0)
    return 0;
  for (guint i = 0; i < seqs->len; i++)
    {
      if (g_array_index (seqs, gint64, i) != info.seq)
        continue;
      if (reason != NULL)
        *reason = info.reason != NULL ? g_strndup (info.reason, info.reason_length) : NULL;
      return info.seq;
    }
  return 0;
}

static gboolean
is_dying (EvbusSpool       *self,
          EvbusSpoolRoute  *route,
          const GArray     *seqs,
          char            **reason)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  for (guint i = 0; i < self->deaths->len; i++)
    {
      EvbusSpoolDying *dying = self->deaths->pdata[i];

      if (dying->route == route && get_death (dying->record->data, dying->record->len, seqs, reason) != 0)
        return TRUE;
    }
  return FALSE;
}

static EvbusSpoolRoute *
find_route (EvbusSpool *self,
            gint64      id)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return evbus_spool_find_route (self, id);
}

/* A route counts once: with what it was given last. */
static void
add_holder (GArray          *holders,
            EvbusSpoolRoute *route,
            gint64           seq)
{
  const EvbusSpoolHolder holder = { route, seq };

  for (guint i = 0; i < holders->len; i++)
    {
      EvbusSpoolHolder *at = &g_array_index (holders, EvbusSpoolHolder, i);

      if (at->route != route)
        continue;
      at->seq = MAX (at->seq, seq);
      return;
    }
  g_array_append_val (holders, holder);
}

/* Goes through the newest dead letters. Those of the event that are @route's: whether there is one,
 * and why; or, if that is NULL, their routes become holders. @all: (out): whether all
 * letters were gone through. */
static gboolean
find_dead (EvbusSpool       *self,
           EvbusSpoolRoute  *route,
           const GArray     *seqs,
           GArray           *holders,
           gboolean         *all,
           char            **reason)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_NEWEST_DEAD, NULL);
  guint n = 0;
  gsize weight = 0;
  int row = -1;

  *all = FALSE;
  if (rows == NULL)
    return FALSE;
  sqlite3_bind_int64 (rows, 1, EVBUS_SPOOL_STEP_LETTERS);
  while (weight < EVBUS_SPOOL_STEP_BYTES && (row = evbus_sql_step (self->sql, rows, NULL)) > 0)
    {
      gint64 id = sqlite3_column_int64 (rows, 0);
      gsize size = sqlite3_column_bytes (rows, 1);
      gint64 seq = route == NULL || route->id == id ? get_death (sqlite3_column_blob (rows, 1), size, seqs, reason) : 0;
      EvbusSpoolRoute *of = seq != 0 ? find_route (self, id) : NULL;

      n++;
      weight += size;
      if (of == NULL)
        continue;
      if (route != NULL)
        {
          sqlite3_reset (rows);
          return TRUE;
        }
      add_holder (holders, of, seq);
    }
  sqlite3_reset (rows);
  *all = row == 0 && n < EVBUS_SPOOL_STEP_LETTERS;
  return FALSE;
}

static gboolean
has_lost (const EvbusLedger *ledger)
{
  return ledger->expired > 0 || ledger->dropped > 0;
}

/* Of routes that have settled it, and that nothing names any more. Those that are no holders by now
 * have delivered it for certain, if that became of all events. */
static gboolean
find_dead_routes (EvbusSpool   *self,
                  const GArray *seqs,
                  GArray       *holders)
{
  gboolean sure;

  find_dead (self, NULL, seqs, holders, &sure, NULL);

  g_mutex_lock (&self->lock);
  /* Its routes may be forgotten by now. */
  sure &= !has_lost (&self->rest) && !has_lost (&self->rest_change);
  for (guint i = 0; i < self->routes->len; i++)
    sure &= !has_lost (&((EvbusSpoolRoute *) self->routes->pdata[i])->now.ledger);
  g_mutex_unlock (&self->lock);

  return sure;
}

gboolean
evbus_spool_find_routes (EvbusSpool    *self,
                         const GArray  *seqs,
                         GArray        *holders,
                         gboolean      *sure,
                         GError       **error)
{
  GHashTableIter iter;
  EvbusSpoolSet *set;

  *sure = FALSE;
  g_hash_table_iter_init (&iter, self->sets_by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    {
      for (guint i = 0; i < seqs->len; i++)
        {
          gint64 seq = g_array_index (seqs, gint64, i);
          int found = set->last >= seq ? has_event (self, set, seq, error) : 0;

          if (found < 0)
            return FALSE;
          for (guint j = 0; found > 0 && j < set->n_routes; j++)
            add_holder (holders, set->routes[j], seq);
          /* The set of the put, which is there as long as one of its routes has the event. */
          *sure |= found > 0 && i == 0 && !set->partial;
        }
    }

  if (!*sure)
    *sure = find_dead_routes (self, seqs, holders);
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
evbus_spool_find_fate (EvbusSpool              *self,
                       const EvbusSpoolHolder  *holder,
                       const GArray            *seqs,
                       EvbusFate               *fate,
                       char                   **reason)
{
  EvbusSpoolRoute *route = holder->route;
  gboolean needed, skipped, lost, all = FALSE;

  *reason = NULL;
  g_mutex_lock (&self->lock);
  needed = evbus_spool_cursor_needs (&route->now, holder->seq);
  skipped = is_skipped (&route->now, holder->seq);
  lost = has_lost (&route->now.ledger);
  g_mutex_unlock (&self->lock);
  if (needed)
    return FALSE;

  if (is_dying (self, route, seqs, reason) || find_dead (self, route, seqs, NULL, &all, reason))
    *fate = EVBUS_FATE_DEAD;
  else if (skipped)
    *fate = EVBUS_FATE_EXPIRED;
  else
    *fate = all && !lost ? EVBUS_FATE_DELIVERED : EVBUS_FATE_SETTLED;
  return TRUE;
}
