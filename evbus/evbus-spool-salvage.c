/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Takes over what can be read of a damaged database: the small tables through
 * SQLite as far as it gets, then the events of all pages that some route still
 * needs, whatever became of the tree above them. */

#include "evbus-spool-store-private.h"

#include <string.h>

#include "evbus-spool-pages-private.h"

/* Of one transaction. */
#define STEP_BYTES (4 * 1024 * 1024)

#define PAGES_OF_MIB 256u

/* A route of which the row is lost begins anew; its number goes on well after all
 * that was seen. */
#define SEQ_MARGIN (1 << 20)

typedef struct {
  EvbusSpool *to;
  gboolean    routes_sound;   /* the whole table of routes could be read */
  gboolean    sets_sound;     /* likewise, of sets */
  gboolean    dead_sound;     /* likewise, of dead letters */
  GHashTable *dead;           /* gint64: which dead letters there are, by route and seq */
  GHashTable *found;          /* EvbusSpoolRoute → EvbusSpoolCursor: what was taken over */
  gint64      max_seq;
  gint64      last_put;       /* by the steady clock */
  gsize       step;           /* bytes of this transaction */
  guint64     n_events;
  guint64     n_dead;
  gint64      say_again;      /* monotonic: when to tell of the progress */
  GError     *failure;
} Salvage;

static EvbusSpoolCursor *
get_found (Salvage         *self,
           EvbusSpoolRoute *route)
{
  EvbusSpoolCursor *found = g_hash_table_lookup (self->found, route);

  if (found == NULL)
    {
      found = g_new0 (EvbusSpoolCursor, 1);
      evbus_spool_cursor_init (found);
      g_hash_table_insert (self->found, route, found);
    }
  return found;
}

static void
found_free (EvbusSpoolCursor *found)
{
  evbus_spool_cursor_clear (found);
  g_free (found);
}

/* Begins the next transaction when this one is large enough. */
static void
count_bytes (Salvage *self,
             gsize    size)
{
  self->to->weight += size;
  self->step += size;
  if (self->step < STEP_BYTES)
    return;
  self->step = 0;
  if (evbus_sql_call (self->to->sql, EVBUS_SQL_COMMIT, &self->failure, ""))
    evbus_sql_call (self->to->sql, EVBUS_SQL_BEGIN, &self->failure, "");
}

/* ---- Sets of routes. */

static void
take_set (const guint8 *data,
          gsize         size,
          gpointer      user_data)
{
  Salvage *self = user_data;
  g_autoptr(GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func (g_free);
  gint64 first;
  guint32 id;

  if (evbus_spool_set_check (data, size, &id, &first, ids, keys) == 0)
    {
      self->sets_sound = FALSE;
      return;
    }
  for (guint i = 0; i < ids->len && !self->routes_sound; i++)
    {
      gint64 route_id = g_array_index (ids, gint64, i);

      if (route_id <= 0 || evbus_spool_find_route (self->to, route_id) != NULL ||
          evbus_spool_find_key (self->to, keys->pdata[i]) != NULL || !g_utf8_validate (keys->pdata[i], -1, NULL))
        continue;
      g_ptr_array_add (self->to->routes, evbus_spool_route_new (self->to, route_id, keys->pdata[i]));
      self->to->last_route_id = MAX (self->to->last_route_id, route_id);
    }
  evbus_spool_add_stored_set (self->to, id, first, ids);
}

/* ---- Events and dead letters. */

/* Stores a row, if it is not there yet. */
static gboolean
insert (Salvage           *self,
        EvbusSqlStatement  which,
        gint64             key,
        const guint8      *data,
        gsize              size)
{
  sqlite3 *db = self->to->sql->db;
  gint64 before = sqlite3_total_changes (db);

  return evbus_sql_call (self->to->sql, which, &self->failure, "ib", key, data, size) &&
         sqlite3_total_changes (db) != before;
}

static void
take_event (Salvage               *self,
            const guint8          *data,
            gsize                  size,
            const EvbusRecordInfo *info)
{
  EvbusSpoolSet *set = g_hash_table_lookup (self->to->sets_by_id, GUINT_TO_POINTER (info->place));
  gboolean needed = FALSE;

  /* One from before is of other routes, and they have settled it. */
  for (guint i = 0; set != NULL && info->seq >= set->first && i < set->n_routes; i++)
    needed |= evbus_spool_cursor_needs (&set->routes[i]->stored, info->seq);
  if (!needed || info->seq <= 0 || info->seq > EVBUS_SPOOL_MAX_SEQ ||
      !insert (self, EVBUS_SQL_SALVAGE_EVENT, EVBUS_SPOOL_PLACE (set->id, info->seq), data, size))
    return;

  self->n_events++;
  for (guint i = 0; i < set->n_routes; i++)
    {
      EvbusSpoolRoute *route = set->routes[i];
      EvbusSpoolCursor *found = get_found (self, route);

      if (!evbus_spool_cursor_needs (&route->stored, info->seq))
        continue;
      found->ledger.queued++;
      found->weight += info->weight;
      found->last = MAX (found->last, info->seq);
      if (info->seq <= route->stored.position)
        g_array_append_val (found->pending, info->seq);
    }
  count_bytes (self, size);
}

static void
take_dead (Salvage      *self,
           const guint8 *data,
           gsize         size)
{
  EvbusRecordInfo info;
  EvbusSpoolRoute *route;
  gint64 key;

  if (evbus_record_check (data, size, &info) != size || info.kind != EVBUS_RECORD_DEAD)
    return;
  key = EVBUS_SPOOL_PLACE (info.place, info.seq);
  route = evbus_spool_find_route (self->to, info.place);
  if (route == NULL || !g_hash_table_add (self->dead, g_memdup2 (&key, sizeof key)) ||
      !evbus_sql_call (self->to->sql, EVBUS_SQL_PUT_DEAD, &self->failure, "ib", route->id, data, size))
    return;
  self->n_dead++;
  get_found (self, route)->ledger.dead++;
  get_found (self, route)->dead_weight += size;
  count_bytes (self, size);
}

/* FALSE: nobody waits for it any more, or it has failed. */
static gboolean
go_on (guint32  n_done,
       guint32  n_pages,
       gpointer user_data)
{
  Salvage *self = user_data;
  const EvbusSpoolOpening *opening = self->to->opening;
  gint64 now = g_get_monotonic_time ();

  if (self->failure == NULL && opening != NULL)
    g_cancellable_set_error_if_cancelled (opening->cancellable, &self->failure);
  if (self->failure == NULL && opening != NULL && opening->progress != NULL && now >= self->say_again)
    {
      g_autofree char *what = g_strdup_printf ("what can be read of a damaged spool is recovered: %u of %u MiB are "
                                               "looked at", n_done / PAGES_OF_MIB, n_pages / PAGES_OF_MIB);

      self->say_again = now + G_USEC_PER_SEC;
      opening->progress (what, opening->data);
    }
  return self->failure == NULL;
}

static void
take_record (const guint8 *data,
             gsize         size,
             gpointer      user_data)
{
  Salvage *self = user_data;
  EvbusRecordInfo info;
  gsize length;

  if (self->failure != NULL)
    return;
  length = evbus_record_check (data, size, &info);
  if (length == 0)
    return;
  self->max_seq = MAX (self->max_seq, MIN (info.seq, EVBUS_SPOOL_MAX_SEQ - 2 * SEQ_MARGIN));
  self->last_put = MAX (self->last_put, info.put);
  if (info.kind == EVBUS_RECORD_EVENT)
    take_event (self, data, length, &info);
  else if (!self->dead_sound)
    take_dead (self, data, length);
}

/* ---- What SQLite can read. */

static void
read_dead (Salvage  *self,
           EvbusSql *from)
{
  sqlite3_stmt *rows = evbus_sql_get (from, EVBUS_SQL_LIST_DEAD, NULL);
  int row = -1;

  if (rows != NULL)
    {
      sqlite3_bind_int64 (rows, 1, 0);
      sqlite3_bind_int64 (rows, 2, -1);
    }
  while (rows != NULL && go_on (0, 0, self) && (row = evbus_sql_step (from, rows, NULL)) > 0)
    take_dead (self, sqlite3_column_blob (rows, 2), sqlite3_column_bytes (rows, 2));
  self->dead_sound = row == 0;
}

static void
read_known_ids (Salvage  *self,
                EvbusSql *from)
{
  sqlite3_stmt *rows = evbus_sql_get (from, EVBUS_SQL_LOAD_KNOWN_ID_ROWS, NULL);

  while (rows != NULL && self->failure == NULL && evbus_sql_step (from, rows, NULL) > 0)
    {
      /* As a blob it says something else. */
      gboolean replayed = sqlite3_column_type (rows, 1) == SQLITE_BLOB;
      const char *id = (const char *) sqlite3_column_text (rows, 1);
      gint64 seq = sqlite3_column_int64 (rows, 0);

      if (id == NULL || !g_utf8_validate (id, -1, NULL))
        continue;
      if (replayed)
        evbus_sql_call (self->to->sql, EVBUS_SQL_PUT_KNOWN_ID, &self->failure, "ib", seq, id, strlen (id));
      else
        evbus_sql_call (self->to->sql, EVBUS_SQL_PUT_KNOWN_ID, &self->failure, "is", seq, id);
    }
}

/* No damage, but no descriptor or no memory left: FALSE. A recovery without the tables would
 * lose what is sound. */
static gboolean
can_read (EvbusSql  *from,
          GError   **error)
{
  g_autoptr(GError) failure = NULL;
  gint64 n;
  int code;

  if (evbus_sql_number (from, "SELECT count(*) FROM sqlite_schema", &n, &failure))
    return TRUE;
  code = sqlite3_errcode (from->db) & 0xff;
  if (code != SQLITE_CANTOPEN && code != SQLITE_NOMEM)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

/* The rows of routes that are sound; what of each is still to be found is not
 * known yet. */
static void
read_small_tables (Salvage    *self,
                   const char *path)
{
  gboolean damaged = FALSE;
  g_autoptr(EvbusSql) from = evbus_sql_open (path, SQLITE_OPEN_READONLY, &damaged, &self->failure);
  sqlite3_stmt *rows;
  int row = -1;

  /* The pages are looked at all the same. */
  if (damaged)
    g_clear_error (&self->failure);
  if (from == NULL || !can_read (from, &self->failure))
    return;
  self->sets_sound = TRUE;
  self->routes_sound = evbus_spool_salvage_routes (self->to, from);
  rows = evbus_sql_get (from, EVBUS_SQL_LOAD_SETS, NULL);
  while (rows != NULL && (row = evbus_sql_step (from, rows, NULL)) > 0)
    take_set (sqlite3_column_blob (rows, 1), sqlite3_column_bytes (rows, 1), self);
  self->sets_sound &= row == 0;
  read_dead (self, from);
  read_known_ids (self, from);
}

/* ---- The accounts. */

static int
compare_numbers (gconstpointer a,
                 gconstpointer b)
{
  gint64 left = *(const gint64 *) a, right = *(const gint64 *) b;

  return (left > right) - (left < right);
}

/* What is lost was dropped; what was not known of was accepted. */
static void
book (guint64 *account,
      guint64  found,
      guint64 *dropped,
      guint64 *accepted)
{
  if (*account > found)
    *dropped += *account - found;
  else
    *accepted += found - *account;
  *account = found;
}

static void
settle_route (Salvage         *self,
              EvbusSpoolRoute *route)
{
  EvbusSpoolCursor *found = get_found (self, route);
  EvbusLedger *ledger = &route->stored.ledger;

  book (&ledger->queued, found->ledger.queued, &ledger->dropped, &ledger->accepted);
  book (&ledger->dead, found->ledger.dead, &ledger->dropped, &ledger->accepted);
  g_array_sort (found->pending, compare_numbers);
  g_array_set_size (route->stored.pending, 0);
  if (found->pending->len > 0)
    g_array_append_vals (route->stored.pending, found->pending->data, found->pending->len);
  route->stored.weight = found->weight;
  route->stored.dead_weight = found->dead_weight;
  /* One that is lost is not missed at every start from now on. */
  route->stored.last = MAX (route->stored.position, found->last);
}

static void
write_all (Salvage *self)
{
  EvbusSpool *to = self->to;
  GHashTableIter iter;
  EvbusSpoolSet *set;

  for (guint i = 0; i < to->routes->len && self->failure == NULL; i++)
    {
      settle_route (self, to->routes->pdata[i]);
      evbus_spool_write_route (to, to->routes->pdata[i], &self->failure);
    }
  g_hash_table_iter_init (&iter, to->sets_by_id);
  while (self->failure == NULL && g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    evbus_spool_write_set (to, set, NULL, &self->failure);

  /* Where it is not known what the clock showed, none of them has aged since the last
   * one was put. */
  if (to->clock.boot == 0 && self->last_put > 0)
    to->ahead = self->last_put - evbus_clock_get_boot_time ();
  if (to->seq == 0 || to->seq < self->max_seq)
    to->seq = MAX (to->seq, self->max_seq) + SEQ_MARGIN;
  for (guint i = 0; i < to->routes->len; i++)
    to->seq = MAX (to->seq, ((EvbusSpoolRoute *) to->routes->pdata[i])->stored.position);
  if (self->failure == NULL && evbus_spool_count_known_ids (to, &self->failure))
    evbus_spool_write_total (to, to->weight, &self->failure);
  if (self->failure == NULL)
    evbus_sql_call (to->sql, EVBUS_SQL_COMMIT, &self->failure, "");
}

gboolean
evbus_spool_salvage (EvbusSpool  *to,
                     const char  *from,
                     guint64     *n_events,
                     guint64     *n_dead,
                     GError     **error)
{
  g_autoptr(GHashTable) found = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) found_free);
  g_autoptr(GHashTable) dead = g_hash_table_new_full (g_int64_hash, g_int64_equal, g_free, NULL);
  Salvage self = { .to = to, .found = found, .dead = dead };

  if (evbus_sql_call (to->sql, EVBUS_SQL_BEGIN, &self.failure, ""))
    {
      g_autoptr(EvbusSpoolPages) pages = evbus_spool_pages_open (from, &self.failure);

      go_on (0, 0, &self);
      if (self.failure == NULL)
        read_small_tables (&self, from);
      if (self.failure == NULL && !(self.routes_sound && self.sets_sound))
        evbus_spool_pages_walk (pages, take_set, go_on, &self);
      if (self.failure == NULL)
        evbus_spool_pages_walk (pages, take_record, go_on, &self);
      if (self.failure == NULL)
        write_all (&self);
    }

  *n_events = self.n_events;
  *n_dead = self.n_dead;
  if (self.failure == NULL)
    return TRUE;
  g_propagate_error (error, self.failure);
  return FALSE;
}
