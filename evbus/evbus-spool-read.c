/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reading a route's backlog. */

#include "evbus-spool-store-private.h"

#include "evbus-error.h"

struct _EvbusSpoolReader
{
  EvbusSpool      *spool;
  EvbusSpoolRoute *route;
  EvbusSql        *sql;
  EvbusSpoolScan   scan;
  gint64           position;
  GArray          *pending;      /* gint64: to be read first */
  guint            n_pending;    /* of those, how many were */
  gboolean         at_end;       /* the last read found all that was stored when it began */

  /* How many there are to be found up to @until, by the ledger; 0: enough is known. */
  gint64           until;
  guint64          n_expected;
  guint64          n_skipped;    /* those of the route before */
  guint64          n_found;
};

EvbusSpoolReader *
evbus_spool_reader_new (EvbusSpool       *spool,
                        EvbusSpoolRoute  *route,
                        GError          **error)
{
  EvbusSql *sql = evbus_spool_schema_open_reader (spool, error);
  EvbusSpoolReader *self;

  if (sql == NULL)
    return NULL;
  self = g_new0 (EvbusSpoolReader, 1);
  self->spool = evbus_spool_ref (spool);
  self->route = evbus_spool_route_ref (route);
  self->sql = sql;
  evbus_spool_scan_init (&self->scan, sql);
  g_mutex_lock (&spool->lock);
  self->position = route->now.position;
  self->pending = g_array_copy (route->now.pending);
  self->until = route->now.last;
  self->n_expected = route->now.ledger.queued;
  self->n_skipped = route->n_skipped;
  g_mutex_unlock (&spool->lock);
  return self;
}

EvbusSpoolReader *
evbus_spool_reader_new_after (EvbusSpool       *spool,
                              EvbusSpoolRoute  *route,
                              gint64            after,
                              GError          **error)
{
  EvbusSpoolReader *self = evbus_spool_reader_new (spool, route, error);

  if (self != NULL)
    {
      self->position = after;
      self->until = 0;
      g_array_set_size (self->pending, 0);
    }
  return self;
}

guint
evbus_spool_reader_n_pending (EvbusSpoolReader *self)
{
  return self->pending->len - self->n_pending;
}

gboolean
evbus_spool_reader_is_at_end (EvbusSpoolReader *self)
{
  return self->at_end;
}

void
evbus_spool_reader_list_pending (EvbusSpoolReader *self,
                                 GArray           *seqs)
{
  if (self->n_pending < self->pending->len)
    g_array_append_vals (seqs, &g_array_index (self->pending, gint64, self->n_pending),
                         self->pending->len - self->n_pending);
}

void
evbus_spool_reader_free (EvbusSpoolReader *self)
{
  evbus_spool_scan_clear (&self->scan);
  evbus_sql_close (self->sql);
  g_array_unref (self->pending);
  evbus_spool_route_unref (self->route);
  evbus_spool_unref (self->spool);
  g_free (self);
}

gint64
evbus_spool_reader_get_position (EvbusSpoolReader *self)
{
  return self->position;
}

/* Moves the position over ranges that the route skips. Returns up to where there
 * is none. */
static gint64
pass_skipped (EvbusSpoolReader *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->spool->lock);
  GArray *skipped = self->route->now.skipped;

  /* A range that the route's position has passed is part of it by now. */
  self->position = MAX (self->position, self->route->now.position);
  for (guint i = 0; i < skipped->len; i++)
    {
      EvbusSpoolRange *range = &g_array_index (skipped, EvbusSpoolRange, i);

      if (self->position < range->after)
        return range->after;
      self->position = MAX (self->position, range->to);
    }
  return EVBUS_SPOOL_MAX_SEQ;
}

/* What is still wanted, and what was found. */
typedef struct {
  gint64     ahead;       /* of the spool */
  gint64     now;         /* the boot time */
  GPtrArray *events;
  guint      max_events;
  gsize      max_weight;
  guint     *n_damaged;
  gint64     until;       /* up to where events are counted */
  guint64    n_found;
  gboolean   misplaced;   /* an event stood where another one belongs */
} Reading;

/* FALSE: there is enough; the event was not taken. */
static gboolean
take_record (Reading      *reading,
             gint64        seq,
             const guint8 *record,
             gsize         size)
{
  EvbusEvent *event;

  if (reading->max_events == 0)
    return FALSE;
  event = record != NULL ? evbus_record_parse (record, size, reading->ahead, reading->now, NULL) : NULL;
  if (event == NULL)
    {
      (*reading->n_damaged)++;
      reading->n_found += seq <= reading->until;
      return TRUE;
    }
  reading->misplaced |= event->seq != seq;
  if (reading->misplaced || (event->weight > reading->max_weight && reading->events->len > 0))
    {
      evbus_event_unref (event);
      return FALSE;
    }

  g_ptr_array_add (reading->events, event);
  reading->n_found += seq <= reading->until;
  reading->max_events--;
  reading->max_weight -= MIN (event->weight, reading->max_weight);
  return TRUE;
}

/* 1: it was found and taken; 0: it is in no set; -1: error; 2: there is enough. */
static int
read_one (EvbusSpoolReader  *self,
          GArray            *sets,
          gint64             seq,
          Reading           *reading,
          GError           **error)
{
  sqlite3_stmt *row = evbus_sql_get (self->sql, EVBUS_SQL_GET_EVENT, error);

  for (guint i = 0; i < sets->len && row != NULL; i++)
    {
      gboolean taken;
      int found;

      sqlite3_bind_int64 (row, 1, EVBUS_SPOOL_PLACE (g_array_index (sets, guint32, i), seq));
      found = evbus_sql_step (self->sql, row, error);
      if (found < 0)
        return -1;
      if (found == 0)
        continue;
      taken = take_record (reading, seq, sqlite3_column_blob (row, 0), sqlite3_column_bytes (row, 0));
      sqlite3_reset (row);
      return taken ? 1 : 2;
    }
  return row != NULL ? 0 : -1;
}

/* FALSE: error. */
static gboolean
read_pending (EvbusSpoolReader  *self,
              Reading           *reading,
              GError           **error)
{
  gint64 horizon;
  g_autoptr(GArray) sets = evbus_spool_scan_sets (self->route, 0, &horizon);

  while (self->n_pending < self->pending->len)
    {
      int found = read_one (self, sets, g_array_index (self->pending, gint64, self->n_pending), reading, error);

      if (found < 0)
        return FALSE;
      if (found == 2)
        return TRUE;
      if (found == 0)
        return evbus_spool_scan_fail (&self->scan, self->position, error);
      self->n_pending++;
    }
  return TRUE;
}

/* -1: error; 0: there is enough; 1: up to @to everything was read. */
static int
read_range (EvbusSpoolReader  *self,
            gint64             to,
            Reading           *reading,
            GError           **error)
{
  const guint8 *record = NULL;
  gsize size = 0;
  gint64 seq = -1;
  int found = -1;

  if (!evbus_spool_scan_begin (&self->scan, self->route, self->position, to, error))
    return -1;
  while (reading->max_events > 0 &&
         (found = evbus_spool_scan_next (&self->scan, &seq, &record, &size, error)) > 0 &&
         take_record (reading, seq, record, size))
    self->position = seq;
  evbus_spool_scan_end (&self->scan);

  /* A wrong key: what follows it in the tree cannot be relied on. */
  if (reading->misplaced)
    {
      evbus_spool_scan_fail (&self->scan, self->position, error);
      return -1;
    }
  if (reading->max_events == 0)
    return 0;
  return found < 0 ? -1 : found == 0;
}

/* How many events the ledger knows of that no tree leads to, now that the reader is
 * at the end of what there was. */
static guint
count_missing (EvbusSpoolReader *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->spool->lock);
  guint64 found = self->n_found + self->route->n_skipped - self->n_skipped;

  self->until = 0;
  if (found >= self->n_expected)
    return 0;
  self->sql->damaged = TRUE;
  return (guint) MIN (self->n_expected - found, G_MAXUINT);
}

gboolean
evbus_spool_reader_read (EvbusSpoolReader  *self,
                         guint              max_events,
                         gsize              max_weight,
                         GPtrArray         *events,
                         guint             *n_damaged,
                         GError           **error)
{
  guint n_lost = 0;
  GPtrArray *found = g_ptr_array_new ();
  Reading reading = {
    .ahead = self->spool->ahead, .now = evbus_clock_get_boot_time (), .events = found, .max_events = max_events,
    .max_weight = max_weight, .n_damaged = &n_lost, .until = self->until,
  };
  gboolean at_end = FALSE;
  gboolean done = self->n_pending == self->pending->len || read_pending (self, &reading, error);

  while (done && self->n_pending == self->pending->len)
    {
      gint64 to = pass_skipped (self);
      int result = read_range (self, to, &reading, error);

      done = result >= 0;
      at_end = result > 0 && to == EVBUS_SPOOL_MAX_SEQ;
      if (result <= 0 || at_end)
        break;
      self->position = MAX (self->position, to);
    }

  self->at_end = done && at_end;
  self->n_found += reading.n_found;
  /* What is pending may stand before the position, and not be read yet. */
  if (done && self->until > 0 && self->n_pending == self->pending->len && (at_end || self->position >= self->until))
    n_lost += count_missing (self);
  evbus_spool_mark_damaged (self->spool, self->sql, NULL);
  if (n_damaged != NULL)
    *n_damaged = n_lost;
  /* What was read before an error is not read again. */
  if (!done && (found->len > 0 || n_lost > 0))
    {
      done = TRUE;
      g_clear_error (error);
    }
  g_ptr_array_extend_and_steal (events, found);
  return done;
}
