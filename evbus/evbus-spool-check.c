/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Looks at all that is stored, once after each start, a little at a time: whether
 * the records are sound and stand in order where they belong, and whether there are
 * as many as the ledgers say. What is wrong is told before a route comes to it, and
 * the next start recovers.
 *
 * Each step is a transaction of its own, so a long look does not keep the log from
 * being emptied. */

#include "evbus-spool-store-private.h"

/* Of one step. */
#define STEP_ROWS 256
#define STEP_BYTES (1024 * 1024)

typedef struct {
  EvbusSpoolRoute  *route;
  EvbusSpoolCursor  then;       /* when the look began */
  guint64           n_found;    /* of those that were queued then */
} Checked;

struct _EvbusSpoolCheck
{
  EvbusSpool *spool;
  EvbusSql   *sql;              /* borrowed */
  GPtrArray  *routes;           /* Checked */
  GHashTable *sets;             /* number → GPtrArray of Checked, borrowed */
  gint64      horizon;          /* what is stored later is not looked at */
  gint64      place;            /* up to where it has looked */
  guint64     n_bad;            /* records */
  GError     *failure;          /* why this step could not read; nullable */
};

static void
checked_free (Checked *self)
{
  evbus_spool_cursor_clear (&self->then);
  evbus_spool_route_unref (self->route);
  g_free (self);
}

static void
add_route (EvbusSpoolCheck *self,
           EvbusSpoolRoute *route)
{
  Checked *checked = g_new0 (Checked, 1);

  checked->route = evbus_spool_route_ref (route);
  evbus_spool_cursor_init (&checked->then);
  evbus_spool_cursor_copy (&checked->then, &route->now);
  g_ptr_array_add (self->routes, checked);
  for (guint i = 0; i < route->sets->len; i++)
    {
      gpointer id = GUINT_TO_POINTER (((EvbusSpoolSet *) route->sets->pdata[i])->id);
      GPtrArray *of_set = g_hash_table_lookup (self->sets, id);

      if (of_set == NULL)
        {
          of_set = g_ptr_array_new ();
          g_hash_table_insert (self->sets, id, of_set);
        }
      g_ptr_array_add (of_set, checked);
    }
}

EvbusSpoolCheck *
evbus_spool_check_new (EvbusSpool *spool,
                       EvbusSql   *sql)
{
  EvbusSpoolCheck *self = g_new0 (EvbusSpoolCheck, 1);

  self->spool = spool;
  self->sql = sql;
  self->routes = g_ptr_array_new_with_free_func ((GDestroyNotify) checked_free);
  self->sets = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) g_ptr_array_unref);
  g_mutex_lock (&spool->lock);
  self->horizon = spool->horizon;
  for (guint i = 0; i < spool->routes->len; i++)
    add_route (self, spool->routes->pdata[i]);
  g_mutex_unlock (&spool->lock);
  return self;
}

void
evbus_spool_check_free (EvbusSpoolCheck *self)
{
  g_hash_table_unref (self->sets);
  g_ptr_array_unref (self->routes);
  g_clear_error (&self->failure);
  g_free (self);
}

/* ---- What is found. */

static void
tell (EvbusSpoolCheck *self,
      const char      *what)
{
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "EVBUS_SPOOL", self->spool->directory,
                    "MESSAGE", "spool %s: %s", self->spool->directory, what);
}

static void
tell_damage (EvbusSpoolCheck *self,
             const char      *what)
{
  self->sql->damaged = TRUE;
  evbus_spool_mark_damaged (self->spool, self->sql, what);
}

/* Whether the route has settled nothing since the look began. */
static gboolean
is_unchanged (Checked *checked)
{
  const EvbusSpoolCursor *now = &checked->route->now, *then = &checked->then;

  return !checked->route->forgotten && now->position == then->position && now->pending->len == then->pending->len &&
         now->ledger.delivered == then->ledger.delivered && now->ledger.dead == then->ledger.dead &&
         now->ledger.expired == then->ledger.expired && now->ledger.dropped == then->ledger.dropped;
}

static void
finish (EvbusSpoolCheck *self)
{
  guint64 n_missing = 0;

  g_mutex_lock (&self->spool->lock);
  for (guint i = 0; i < self->routes->len; i++)
    {
      Checked *checked = self->routes->pdata[i];

      /* Else a reader has been at it, which counts too. */
      if (is_unchanged (checked) && checked->n_found < checked->then.ledger.queued)
        n_missing += checked->then.ledger.queued - checked->n_found;
    }
  g_mutex_unlock (&self->spool->lock);

  if (self->n_bad > 0)
    {
      g_autofree char *what = g_strdup_printf ("%" G_GUINT64_FORMAT " events have a wrong checksum; each is dropped when "
                                               "it is its turn", self->n_bad);

      tell (self, what);
    }
  if (n_missing > 0)
    {
      g_autofree char *what = g_strdup_printf ("%" G_GUINT64_FORMAT " queued events cannot be found", n_missing);

      tell_damage (self, what);
    }
}

/* ---- The look. A step that cannot read ends with `failure`, and the row that it was at is the next one's first. */

static sqlite3_stmt *
get (EvbusSpoolCheck   *self,
     EvbusSqlStatement  which)
{
  return evbus_sql_get (self->sql, which, self->failure == NULL ? &self->failure : NULL);
}

/* As evbus_sql_step(). */
static int
next (EvbusSpoolCheck *self,
      sqlite3_stmt    *statement)
{
  return evbus_sql_step (self->sql, statement, self->failure == NULL ? &self->failure : NULL);
}

/* FALSE: it stands where another one belongs. */
static gboolean
check_record (EvbusSpoolCheck *self,
              guint32          set,
              gint64           seq,
              const guint8    *data,
              gsize            size)
{
  GPtrArray *routes = g_hash_table_lookup (self->sets, GUINT_TO_POINTER (set));
  EvbusRecordInfo info;

  /* A copy of the set, or one of a set that is gone. */
  if (seq == 0 || routes == NULL)
    return TRUE;
  for (guint i = 0; i < routes->len; i++)
    {
      Checked *checked = routes->pdata[i];

      checked->n_found += evbus_spool_cursor_needs (&checked->then, seq);
    }
  if (data == NULL || evbus_record_check (data, size, &info) != size)
    {
      self->n_bad++;
      return TRUE;
    }
  return info.kind == EVBUS_RECORD_EVENT && info.place == set && info.seq == seq;
}

/* Whether there is nothing after @after and up to @to, seen from there. FALSE, too: it cannot be read. */
static gboolean
is_gap (EvbusSpoolCheck *self,
        gint64           after,
        gint64           to)
{
  sqlite3_stmt *row = get (self, EVBUS_SQL_LAST_EVENT);
  gboolean empty;

  if (row == NULL)
    return FALSE;
  sqlite3_bind_int64 (row, 1, after);
  sqlite3_bind_int64 (row, 2, to);
  if (next (self, row) <= 0)
    return FALSE;
  empty = sqlite3_column_type (row, 0) == SQLITE_NULL;
  sqlite3_reset (row);
  return empty;
}

/* Whether the keys above lead to the row, which was come upon from the one before. FALSE, too: it cannot be read. */
static gboolean
is_led_to (EvbusSpoolCheck *self,
           gint64           place)
{
  sqlite3_stmt *row = get (self, EVBUS_SQL_GET_EVENT);
  int found;

  if (row == NULL)
    return FALSE;
  sqlite3_bind_int64 (row, 1, place);
  found = next (self, row);
  sqlite3_reset (row);
  return found > 0;
}

/* FALSE: what is above the leaves is wrong, or cannot be read. */
static gboolean
look_at (EvbusSpoolCheck *self,
         sqlite3_stmt    *row,
         gboolean         first,
         gsize           *size)
{
  gint64 place = sqlite3_column_int64 (row, 0);
  guint32 set = (guint32) (place >> EVBUS_SPOOL_SEQ_BITS);
  gint64 seq = place & EVBUS_SPOOL_MAX_SEQ;

  if (place <= self->place || (first && !is_gap (self, self->place, place - 1)) || !is_led_to (self, place))
    return FALSE;
  if (seq > self->horizon)
    {
      self->place = EVBUS_SPOOL_PLACE (set, EVBUS_SPOOL_MAX_SEQ);
      *size = STEP_BYTES;
      return TRUE;
    }
  self->place = place;
  *size = sqlite3_column_bytes (row, 1);
  return check_record (self, set, seq, sqlite3_column_blob (row, 1), *size);
}

/* FALSE: it is wrong, or cannot be read. @end: (out): there is no more. */
static gboolean
walk_some (EvbusSpoolCheck *self,
           gboolean        *end)
{
  sqlite3_stmt *rows = get (self, EVBUS_SQL_WALK_EVENTS);
  gsize size = 0, bytes = 0;
  gboolean sound = TRUE;
  guint n = 0;
  int row = 0;

  if (rows == NULL)
    return FALSE;
  sqlite3_bind_int64 (rows, 1, self->place);
  while (sound && n < STEP_ROWS && bytes < STEP_BYTES && (row = next (self, rows)) > 0)
    {
      sound = look_at (self, rows, n++ == 0, &size);
      bytes += size;
    }
  sqlite3_reset (rows);
  *end = row == 0;
  return sound && row >= 0 && (!*end || is_gap (self, self->place, G_MAXINT64));
}

/* What the disk does not give back any more is damage to SQLite, and a recovery saves the rest. */
static void
tell_wrong (EvbusSpoolCheck *self)
{
  g_autofree char *what = NULL;

  if (self->failure != NULL && self->sql->reason != 0)
    what = g_strdup_printf ("not all of it can be read: %s", g_strerror (self->sql->reason));
  tell_damage (self, what != NULL ? what : "the table of events is not in order");
}

EvbusSpoolCheckResult
evbus_spool_check_step (EvbusSpoolCheck *self)
{
  gboolean end = FALSE;
  gboolean sound;

  g_clear_error (&self->failure);
  sound = evbus_sql_exec (self->sql, "BEGIN", &self->failure) && walk_some (self, &end);
  evbus_sql_roll_back (self->sql);

  if (self->failure != NULL && !self->sql->damaged)
    {
      evbus_spool_set_failed (self->spool, EVBUS_SPOOL_LOOK, self->failure);
      return EVBUS_SPOOL_CHECK_FAILED;
    }
  if (sound)
    evbus_spool_set_failed (self->spool, EVBUS_SPOOL_LOOK, NULL);
  if (!sound)
    tell_wrong (self);
  else if (end)
    finish (self);
  return sound && !end ? EVBUS_SPOOL_CHECK_MORE : EVBUS_SPOOL_CHECK_DONE;
}
