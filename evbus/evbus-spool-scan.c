/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The events of a route in order. It is in several sets, each of which has its
 * events in order: they are merged. Only what is committed is looked at, as the
 * Writer has said it under the lock; so nothing can come up behind the reader.
 *
 * SQLite has no checksums of pages, and a bit can be wrong. What would hide events,
 * or hand them out twice, is looked for here. */

#include "evbus-spool-store-private.h"

#include "evbus-error.h"

static const char lane_text[] = "SELECT place, record FROM event WHERE place > ?1 AND place <= ?2 ORDER BY place";

typedef struct {
  sqlite3_stmt *rows;
  gint64        place;  /* of the row it stands at; before the first: what it is to come after */
  gint64        seq;    /* of that row; G_MAXINT64: it is at the end */
} Lane;

static void
lane_free (Lane *lane)
{
  sqlite3_finalize (lane->rows);
  g_free (lane);
}

void
evbus_spool_scan_init (EvbusSpoolScan *self,
                       EvbusSql       *sql)
{
  self->sql = sql;
  self->lanes = g_ptr_array_new_with_free_func ((GDestroyNotify) lane_free);
  self->n_lanes = 0;
}

void
evbus_spool_scan_clear (EvbusSpoolScan *self)
{
  g_clear_pointer (&self->lanes, g_ptr_array_unref);
}

gboolean
evbus_spool_scan_fail (EvbusSpoolScan  *self,
                       gint64           seq,
                       GError         **error)
{
  self->sql->damaged = TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
               "%s: damaged after event %" G_GINT64_FORMAT "; the next start recovers what can be read",
               self->sql->path, seq);
  return FALSE;
}

/* SQLite believes a wrong key above the leaves: it leads into the wrong leaf, from
 * which it goes on as if it were the right one. */
static gboolean
step_lane (EvbusSpoolScan  *self,
           Lane            *lane,
           GError         **error)
{
  int row = evbus_sql_step (self->sql, lane->rows, error);
  gint64 place;

  lane->seq = G_MAXINT64;
  if (row <= 0)
    return row == 0;
  place = sqlite3_column_int64 (lane->rows, 0);
  if (place <= lane->place)
    return evbus_spool_scan_fail (self, lane->place & EVBUS_SPOOL_MAX_SEQ, error);
  lane->place = place;
  lane->seq = place & EVBUS_SPOOL_MAX_SEQ;
  return TRUE;
}

/* That nothing stands between where the lane begins and its first row, seen from
 * the latter: what a wrong key hides on the way down stands there. */
static gboolean
check_gap (EvbusSpoolScan  *self,
           gint64           after,
           gint64           to,
           GError         **error)
{
  sqlite3_stmt *row = evbus_sql_get (self->sql, EVBUS_SQL_LAST_EVENT, error);
  gboolean hidden;

  if (row == NULL)
    return FALSE;
  sqlite3_bind_int64 (row, 1, after);
  sqlite3_bind_int64 (row, 2, to);
  if (evbus_sql_step (self->sql, row, error) < 0)
    return FALSE;
  hidden = sqlite3_column_type (row, 0) != SQLITE_NULL;
  sqlite3_reset (row);
  return !hidden || evbus_spool_scan_fail (self, after & EVBUS_SPOOL_MAX_SEQ, error);
}

static gboolean
begin_lane (EvbusSpoolScan  *self,
            guint32          set,
            gint64           after,
            gint64           to,
            GError         **error)
{
  Lane *lane;

  if (self->n_lanes == self->lanes->len)
    {
      lane = g_new0 (Lane, 1);
      g_ptr_array_add (self->lanes, lane);
      if (sqlite3_prepare_v3 (self->sql->db, lane_text, -1, SQLITE_PREPARE_PERSISTENT, &lane->rows, NULL) != SQLITE_OK)
        {
          evbus_sql_fail (self->sql, lane_text, error);
          g_ptr_array_set_size (self->lanes, self->n_lanes);
          return FALSE;
        }
    }
  lane = self->lanes->pdata[self->n_lanes++];
  sqlite3_bind_int64 (lane->rows, 1, EVBUS_SPOOL_PLACE (set, after));
  sqlite3_bind_int64 (lane->rows, 2, EVBUS_SPOOL_PLACE (set, to));
  lane->place = EVBUS_SPOOL_PLACE (set, after);
  return step_lane (self, lane, error) &&
         check_gap (self, EVBUS_SPOOL_PLACE (set, after),
                    lane->seq != G_MAXINT64 ? lane->place - 1 : EVBUS_SPOOL_PLACE (set, to), error);
}

GArray *
evbus_spool_scan_sets (EvbusSpoolRoute *route,
                       gint64           after,
                       gint64          *horizon)
{
  GArray *sets = g_array_new (FALSE, FALSE, sizeof (guint32));

  g_mutex_lock (&route->spool->lock);
  *horizon = route->spool->horizon;
  for (guint i = 0; i < route->sets->len; i++)
    {
      EvbusSpoolSet *set = route->sets->pdata[i];

      if (set->last > after)
        g_array_append_val (sets, set->id);
    }
  g_mutex_unlock (&route->spool->lock);
  return sets;
}

gboolean
evbus_spool_scan_begin (EvbusSpoolScan   *self,
                        EvbusSpoolRoute  *route,
                        gint64            after,
                        gint64            to,
                        GError          **error)
{
  gint64 horizon;
  g_autoptr(GArray) sets = evbus_spool_scan_sets (route, after, &horizon);

  self->n_lanes = 0;
  to = MIN (to, horizon);
  for (guint i = 0; i < sets->len && after < to; i++)
    {
      if (!begin_lane (self, g_array_index (sets, guint32, i), after, to, error))
        {
          evbus_spool_scan_end (self);
          return FALSE;
        }
    }
  return TRUE;
}

int
evbus_spool_scan_next (EvbusSpoolScan  *self,
                       gint64          *seq,
                       const guint8   **record,
                       gsize           *size,
                       GError         **error)
{
  Lane *first = NULL;

  /* What was handed out last is gone on from now, not before. */
  for (guint i = 0; i < self->n_lanes; i++)
    {
      Lane *lane = self->lanes->pdata[i];

      if (lane->seq == *seq && !step_lane (self, lane, error))
        return -1;
      if (lane->seq != G_MAXINT64 && (first == NULL || lane->seq < first->seq))
        first = lane;
    }
  if (first == NULL)
    return 0;

  *seq = first->seq;
  *record = sqlite3_column_blob (first->rows, 1);
  *size = sqlite3_column_bytes (first->rows, 1);
  if (*record == NULL && sqlite3_errcode (self->sql->db) == SQLITE_NOMEM)
    {
      evbus_sql_fail (self->sql, lane_text, error);
      return -1;
    }
  return 1;
}

void
evbus_spool_scan_end (EvbusSpoolScan *self)
{
  for (guint i = 0; i < self->n_lanes; i++)
    sqlite3_reset (((Lane *) self->lanes->pdata[i])->rows);
  self->n_lanes = 0;
}
