/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The rows of the routes, and that of the spool as a whole: each with a checksum,
 * because one wrong bit in a position would lose events unseen. */

#include "evbus-spool-store-private.h"

#include <string.h>
#include <zlib.h>

#include "evbus-error.h"

/* The columns of a row that are numbers, in their order. Format 1 had no more than
 * the first twelve of them. */
enum {
  ID, ORPHAN, POSITION, LAST, ACCEPTED, DELIVERED, DEAD, EXPIRED, DROPPED, QUEUED, RETRIED, WEIGHT,
  DEAD_WEIGHT, DUPLICATES, N_NUMBERS
};
#define N_NUMBERS_1 DEAD_WEIGHT
#define N_COLUMNS_1 16

/* The row of the route 0 is that of the spool as a whole. It has these numbers where
 * a route has those of pending events. */
enum { UNROUTED, REPEATED, BOOT, BOOT_TIME, WALL_TIME, STEADY_TIME, KNOWN_IDS, N_TOTALS };

/* The first ones with format 3 had no more. */
#define N_TOTALS_3 KNOWN_IDS

/* The column `orphan`. To who knows no doubt every number but 0 is an orphan's. */
enum { IN_USE, ORPHANED, DOUBTFUL };

static void
cursor_to_numbers (const EvbusSpoolCursor *cursor,
                   gint64                  id,
                   gint64                 *numbers)
{
  const EvbusLedger *ledger = &cursor->ledger;
  const gint64 values[N_NUMBERS] = {
    id, cursor->orphan ? (cursor->doubtful ? DOUBTFUL : ORPHANED) : IN_USE, cursor->position, cursor->last, ledger->accepted, ledger->delivered, ledger->dead,
    ledger->expired, ledger->dropped, ledger->queued, ledger->retried, cursor->weight,
    cursor->dead_weight, ledger->duplicates,
  };

  memcpy (numbers, values, sizeof values);
}

/* Of the row: numbers (i64, little-endian), key, pending, skipped. */
static gint64
get_crc (const gint64           *numbers,
         guint                   n_numbers,
         const char             *key,
         const EvbusSpoolCursor *cursor)
{
  gint64 values[N_NUMBERS];
  uLong crc;

  for (guint i = 0; i < n_numbers; i++)
    values[i] = GINT64_TO_LE (numbers[i]);
  crc = crc32 (0, (const Bytef *) values, n_numbers * sizeof *values);
  crc = crc32 (crc, (const Bytef *) key, strlen (key));
  if (cursor->pending->len > 0)
    crc = crc32 (crc, (const Bytef *) cursor->pending->data, cursor->pending->len * sizeof (gint64));
  if (cursor->skipped->len > 0)
    crc = crc32 (crc, (const Bytef *) cursor->skipped->data, cursor->skipped->len * sizeof (EvbusSpoolRange));
  return (gint64) crc;
}

static gboolean
write_row (EvbusSql                *sql,
           gint64                   id,
           const char              *key,
           const EvbusSpoolCursor  *cursor,
           GError                 **error)
{
  gint64 n[N_NUMBERS];

  cursor_to_numbers (cursor, id, n);
  return evbus_sql_call (sql, EVBUS_SQL_PUT_ROUTE, error, "isiiibbiiiiiiiiiii", n[ID], key, n[ORPHAN],
                         n[POSITION], n[LAST],
                         cursor->pending->data, (gsize) cursor->pending->len * sizeof (gint64),
                         cursor->skipped->data, (gsize) cursor->skipped->len * sizeof (EvbusSpoolRange),
                         n[ACCEPTED], n[DELIVERED], n[DEAD], n[EXPIRED], n[DROPPED], n[QUEUED], n[RETRIED],
                         n[WEIGHT], get_crc (n, N_NUMBERS, key, cursor), n[DEAD_WEIGHT], n[DUPLICATES]);
}

gboolean
evbus_spool_write_route (EvbusSpool       *self,
                         EvbusSpoolRoute  *route,
                         GError          **error)
{
  return write_row (self->sql, route->id, route->stored_key, &route->stored, error);
}

gboolean
evbus_spool_write_total (EvbusSpool  *self,
                         guint64      weight,
                         GError     **error)
{
  gint64 numbers[N_TOTALS];
  EvbusSpoolCursor total;
  EvbusClockMark mark;
  gboolean written;

  evbus_spool_cursor_init (&total);
  total.position = self->seq;
  total.last = self->last_route_id;
  total.weight = weight;
  total.ledger = self->rest;   /* which this thread alone writes */
  evbus_ledger_add (&total.ledger, &self->rest_change);
  numbers[UNROUTED] = total.ledger.unrouted;
  numbers[REPEATED] = total.ledger.repeated;
  evbus_clock_mark (self->ahead, &mark);
  numbers[BOOT] = mark.boot;
  numbers[BOOT_TIME] = mark.boot_time;
  numbers[WALL_TIME] = mark.wall_time;
  numbers[STEADY_TIME] = mark.steady_time;
  numbers[KNOWN_IDS] = self->n_known;
  g_array_append_vals (total.pending, numbers, N_TOTALS);
  written = write_row (self->sql, 0, "", &total, error);
  evbus_spool_cursor_clear (&total);
  return written;
}

static gboolean
read_array (sqlite3_stmt *row,
            int           column,
            GArray       *array)
{
  guint size = g_array_get_element_size (array);
  int bytes = sqlite3_column_bytes (row, column);

  if (bytes % size != 0)
    return FALSE;
  g_array_set_size (array, 0);
  if (bytes > 0)
    g_array_append_vals (array, sqlite3_column_blob (row, column), bytes / size);
  return TRUE;
}

/* FALSE: the row is damaged. */
static gboolean
read_row (sqlite3_stmt      *row,
          gint64            *id,
          const char       **key,
          EvbusSpoolCursor  *cursor)
{
  static const int columns[N_NUMBERS] = { 0, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 16, 17 };
  guint n_numbers = sqlite3_column_count (row) == N_COLUMNS_1 ? N_NUMBERS_1 : N_NUMBERS;
  gint64 n[N_NUMBERS] = { 0 };

  for (guint i = 0; i < n_numbers; i++)
    n[i] = sqlite3_column_int64 (row, columns[i]);
  *id = n[ID];
  *key = (const char *) sqlite3_column_text (row, 1);
  if (*key == NULL || !read_array (row, 5, cursor->pending) || !read_array (row, 6, cursor->skipped))
    return FALSE;

  cursor->orphan = n[ORPHAN] != IN_USE;
  cursor->doubtful = n[ORPHAN] == DOUBTFUL;
  cursor->position = n[POSITION];
  cursor->last = n[LAST];
  cursor->ledger.accepted = n[ACCEPTED];
  cursor->ledger.delivered = n[DELIVERED];
  cursor->ledger.dead = n[DEAD];
  cursor->ledger.expired = n[EXPIRED];
  cursor->ledger.dropped = n[DROPPED];
  cursor->ledger.queued = n[QUEUED];
  cursor->ledger.retried = n[RETRIED];
  cursor->ledger.duplicates = n[DUPLICATES];
  cursor->weight = n[WEIGHT];
  cursor->dead_weight = n[DEAD_WEIGHT];
  return sqlite3_column_int64 (row, 15) == get_crc (n, n_numbers, *key, cursor) &&
         evbus_ledger_balances (&cursor->ledger);
}

static void
take_totals (EvbusSpool             *self,
             const EvbusSpoolCursor *total)
{
  const gint64 *numbers = (gint64 *) (gpointer) total->pending->data;

  self->seq = self->horizon = total->position;
  self->last_route_id = total->last;
  self->weight = total->weight;
  self->rest = total->ledger;
  if (total->pending->len < N_TOTALS_3)
    return;
  self->rest.unrouted = numbers[UNROUTED];
  self->rest.repeated = numbers[REPEATED];
  self->clock.boot = numbers[BOOT];
  self->clock.boot_time = numbers[BOOT_TIME];
  self->clock.wall_time = numbers[WALL_TIME];
  self->clock.steady_time = numbers[STEADY_TIME];
  self->ahead = evbus_clock_resume (&self->clock);
  self->counted = total->pending->len >= N_TOTALS;
  if (self->counted)
    self->n_known = numbers[KNOWN_IDS];
}

gboolean
evbus_spool_count_known_ids (EvbusSpool  *self,
                             GError     **error)
{
  gint64 n;

  if (!evbus_sql_number (self->sql, "SELECT count(*) FROM known_id", &n, error))
    return FALSE;
  self->n_known = n;
  return TRUE;
}

static gboolean
take_row (EvbusSpool   *self,
          sqlite3_stmt *row)
{
  EvbusSpoolCursor cursor;
  const char *key;
  gint64 id;
  gboolean sound;

  evbus_spool_cursor_init (&cursor);
  /* A wrong pointer in the tree shows rows twice. */
  sound = read_row (row, &id, &key, &cursor) && evbus_spool_find_route (self, id) == NULL &&
          evbus_spool_find_key (self, key) == NULL;
  if (sound && id == 0)
    {
      take_totals (self, &cursor);
    }
  else if (sound)
    {
      EvbusSpoolRoute *route = evbus_spool_route_new (self, id, key);

      evbus_spool_keep_key (&route->written_key, route->key);
      evbus_spool_cursor_copy (&route->now, &cursor);
      evbus_spool_cursor_copy (&route->stored, &cursor);
      evbus_spool_cursor_copy (&route->written, &cursor);
      g_ptr_array_add (self->routes, route);
    }
  evbus_spool_cursor_clear (&cursor);
  return sound;
}

gboolean
evbus_spool_load_routes (EvbusSpool  *self,
                         gboolean    *damaged,
                         GError     **error)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_LOAD_ROUTES, error);
  int row = -1;

  while (rows != NULL && (row = evbus_sql_step (self->sql, rows, error)) > 0)
    {
      if (!take_row (self, rows))
        {
          *damaged = TRUE;
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: a damaged row in the table of routes",
                       self->path);
          sqlite3_reset (rows);
          return FALSE;
        }
    }
  return row == 0;
}

/* A row of another format, until it is written. */
typedef struct {
  gint64            id;
  char             *key;
  EvbusSpoolCursor  cursor;
} OldRow;

static void
old_row_free (OldRow *row)
{
  evbus_spool_cursor_clear (&row->cursor);
  g_free (row->key);
  g_free (row);
}

static GPtrArray *
read_old_rows (EvbusSql  *sql,
               gboolean  *damaged,
               GError   **error)
{
  g_autoptr(GPtrArray) old = g_ptr_array_new_with_free_func ((GDestroyNotify) old_row_free);
  sqlite3_stmt *rows = evbus_sql_get (sql, EVBUS_SQL_LOAD_ROUTES, error);
  int row = -1;

  while (rows != NULL && (row = evbus_sql_step (sql, rows, error)) > 0)
    {
      OldRow *one = g_new0 (OldRow, 1);
      const char *key;

      evbus_spool_cursor_init (&one->cursor);
      g_ptr_array_add (old, one);
      if (!read_row (rows, &one->id, &key, &one->cursor))
        {
          *damaged = TRUE;
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: a damaged row in the table of routes",
                       sql->path);
          sqlite3_reset (rows);
          return NULL;
        }
      one->key = g_strdup (key);
    }
  return row == 0 ? g_steal_pointer (&old) : NULL;
}

/* Counted this once. */
static gboolean
weigh_dead (EvbusSql  *sql,
            OldRow    *row,
            GError   **error)
{
  sqlite3_stmt *weigh = evbus_sql_get (sql, EVBUS_SQL_WEIGH_ALL_DEAD, error);

  if (weigh == NULL)
    return FALSE;
  sqlite3_bind_int64 (weigh, 1, row->id);
  if (evbus_sql_step (sql, weigh, error) < 1)
    return FALSE;
  row->cursor.dead_weight = (guint64) sqlite3_column_double (weigh, 0);
  sqlite3_reset (weigh);
  return TRUE;
}

gboolean
evbus_spool_migrate_routes (EvbusSql  *sql,
                            gboolean  *damaged,
                            GError   **error)
{
  g_autoptr(GPtrArray) rows = read_old_rows (sql, damaged, error);

  if (rows == NULL ||
      !evbus_sql_exec (sql, "ALTER TABLE route ADD COLUMN dead_weight INTEGER NOT NULL DEFAULT 0;"
                            "ALTER TABLE route ADD COLUMN duplicates INTEGER NOT NULL DEFAULT 0;", error))
    return FALSE;
  for (guint i = 0; i < rows->len; i++)
    {
      OldRow *row = rows->pdata[i];

      if (!weigh_dead (sql, row, error) || !write_row (sql, row->id, row->key, &row->cursor, error))
        return FALSE;
    }
  return TRUE;
}

gboolean
evbus_spool_salvage_routes (EvbusSpool *self,
                            EvbusSql   *from)
{
  sqlite3_stmt *rows = evbus_sql_get (from, EVBUS_SQL_LOAD_ROUTES, NULL);
  gboolean sound = TRUE, has_total = FALSE;
  int row = -1;

  while (rows != NULL && (row = evbus_sql_step (from, rows, NULL)) > 0)
    {
      has_total |= sqlite3_column_int64 (rows, 0) == 0;
      sound &= take_row (self, rows);
    }
  self->weight = 0;
  return sound && has_total && row == 0;
}
