/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters, and forgetting a route with all of its own. */

#include "evbus-spool-store-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* A page whose letters go stands in the log before its space is free: all of a step have to
 * find room in the reserve. */
#define STEP_BYTES_WHEN_FULL (128 * 1024)

static guint64
get_step_bytes (EvbusSpool *self)
{
  return self->full ? STEP_BYTES_WHEN_FULL : EVBUS_SPOOL_STEP_BYTES;
}

void
evbus_spool_dead_free (EvbusSpoolDead *dead)
{
  g_clear_pointer (&dead->event, evbus_event_unref);
  g_free (dead->route);
  g_free (dead->reason);
  g_free (dead);
}

/* NULL: its route is gone. */
static EvbusSpoolDead *
parse_row (EvbusSpool   *self,
           sqlite3_stmt *row)
{
  EvbusRecordInfo info;
  EvbusEvent *event = evbus_record_parse (sqlite3_column_blob (row, 2), sqlite3_column_bytes (row, 2),
                                          self->ahead, evbus_clock_get_boot_time (), &info);
  EvbusSpoolRoute *route;
  EvbusSpoolDead *dead;

  dead = g_new0 (EvbusSpoolDead, 1);
  dead->number = sqlite3_column_int64 (row, 0);
  dead->event = event;
  if (event == NULL)
    {
      dead->reason = g_strdup ("its record in the spool is damaged; it can only be dropped");
    }
  else
    {
      dead->reason = g_utf8_make_valid (info.reason != NULL ? info.reason : "", info.reason_length);
      dead->died = info.died;
    }
  g_mutex_lock (&self->lock);
  route = evbus_spool_find_route (self, sqlite3_column_int64 (row, 1));
  dead->route = route != NULL ? g_strdup (route->key) : NULL;
  g_mutex_unlock (&self->lock);
  if (dead->route == NULL)
    g_clear_pointer (&dead, evbus_spool_dead_free);
  return dead;
}

/* A reference of it: it may be forgotten at any time. */
static EvbusSpoolRoute *
find_key (EvbusSpool  *self,
          const char  *key,
          GError     **error)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);
  EvbusSpoolRoute *route = evbus_spool_find_key (self, key);

  if (route == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND, "%s: the spool has no route \"%s\"", self->path, key);
  return route != NULL ? evbus_spool_route_ref (route) : NULL;
}

GPtrArray *
evbus_spool_list_dead (EvbusSpool  *self,
                       const char  *route_key,
                       gint64       after,
                       guint        max_events,
                       GError     **error)
{
  g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_dead_free);
  g_autoptr(EvbusSpoolRoute) route = route_key != NULL ? find_key (self, route_key, error) : NULL;
  g_autoptr(EvbusSql) sql = NULL;
  sqlite3_stmt *rows;
  gsize weight = 0;
  int row = 0;

  if (route_key != NULL && route == NULL)
    return NULL;
  sql = evbus_spool_schema_open_reader (self, error);
  rows = sql == NULL ? NULL
       : evbus_sql_get (sql, route != NULL ? EVBUS_SQL_LIST_DEAD_OF_ROUTE : EVBUS_SQL_LIST_DEAD, error);
  if (rows == NULL)
    return NULL;

  /* Those whose route is forgotten are passed over, so more rows may be looked at. */
  sqlite3_bind_int64 (rows, 1, after);
  sqlite3_bind_int64 (rows, 2, -1);
  if (route != NULL)
    sqlite3_bind_int64 (rows, 3, route->id);
  while (found->len < max_events && (weight < EVBUS_DEAD_PAGE_BYTES || found->len == 0) &&
         (row = evbus_sql_step (sql, rows, error)) > 0)
    {
      EvbusSpoolDead *dead = parse_row (self, rows);

      weight += sqlite3_column_bytes (rows, 2);
      if (dead != NULL)
        g_ptr_array_add (found, dead);
    }
  if (row < 0)
    {
      evbus_spool_mark_damaged (self, sql, NULL);
      return NULL;
    }
  return g_steal_pointer (&found);
}

gboolean
evbus_spool_last_dead (EvbusSpool       *self,
                       EvbusSpoolRoute  *route,
                       gint64           *last,
                       GError          **error)
{
  g_autoptr(EvbusSql) sql = evbus_spool_schema_open_reader (self, error);
  sqlite3_stmt *row = sql == NULL ? NULL
                    : evbus_sql_get (sql, route != NULL ? EVBUS_SQL_LAST_DEAD : EVBUS_SQL_LAST_DEAD_OF_ALL, error);

  if (row == NULL)
    return FALSE;
  if (route != NULL)
    sqlite3_bind_int64 (row, 1, route->id);
  if (evbus_sql_step (sql, row, error) < 1)
    return FALSE;
  *last = sqlite3_column_int64 (row, 0);
  return TRUE;
}

gboolean
evbus_spool_list_dead_numbers (EvbusSpool       *self,
                               EvbusSpoolRoute  *route,
                               gint64            after,
                               gint64            last,
                               guint             max_numbers,
                               GArray           *numbers,
                               GError          **error)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_DEAD_NUMBERS, error);
  int row = -1;

  if (rows == NULL)
    return FALSE;
  sqlite3_bind_int64 (rows, 1, route->id);
  sqlite3_bind_int64 (rows, 2, after);
  sqlite3_bind_int64 (rows, 3, last);
  sqlite3_bind_int64 (rows, 4, max_numbers);
  while ((row = evbus_sql_step (self->sql, rows, error)) > 0)
    {
      gint64 number = sqlite3_column_int64 (rows, 0);

      g_array_append_val (numbers, number);
    }
  return row == 0;
}

/* In a transaction: looks the dead letter up, and takes it out of its table
 * unless it has to stay. Returns whether it did. */
static gboolean
take_dead (EvbusSpool          *self,
           gint64               number,
           EvbusSpoolDeadStep  *step,
           EvbusSpoolRoute    **route,
           EvbusEvent         **event)
{
  sqlite3_stmt *row = evbus_sql_get (self->sql, EVBUS_SQL_GET_DEAD, &self->failure);
  gsize size = 0;
  int found = -1;

  if (row != NULL)
    {
      sqlite3_bind_int64 (row, 1, number);
      found = evbus_sql_step (self->sql, row, &self->failure);
    }
  *route = NULL;
  if (found > 0)
    {
      size = sqlite3_column_bytes (row, 1);
      *route = evbus_spool_find_route (self, sqlite3_column_int64 (row, 0));
      if (step->replay)
        *event = evbus_record_parse (sqlite3_column_blob (row, 1), size, self->ahead, evbus_clock_get_boot_time (), NULL);
      sqlite3_reset (row);
    }

  if (*route == NULL || (step->only != NULL && step->only != *route) || (step->replay && *event == NULL))
    step->missing = step->missing != 0 ? step->missing : number;
  else if (step->replay && evbus_spool_route_is_orphan (*route))
    step->orphan = *route;
  else if (evbus_sql_call (self->sql, EVBUS_SQL_DELETE_DEAD, &self->failure, "i", number))
    {
      self->weight_removed += size;
      evbus_spool_stage_route (self, *route);
      (*route)->change_dead_weight -= size;
      step->weight += size;
      return TRUE;
    }
  g_clear_pointer (event, evbus_event_unref);
  return FALSE;
}

/* A producer may ask for the event by its id. Of several routes each may replay its letter, so the
 * number of the put stays known beside theirs. */
static void
follow_replayed (EvbusSpool *self,
                 gint64      old,
                 gint64      seq)
{
  sqlite3 *db = self->sql->db;
  gint64 before = sqlite3_total_changes (db);

  if (!evbus_sql_call (self->sql, EVBUS_SQL_MOVE_REPLAYED_ID, &self->failure, "ii", old, seq) ||
      sqlite3_total_changes (db) != before)
    return;
  evbus_sql_call (self->sql, EVBUS_SQL_ADD_REPLAYED_ID, &self->failure, "ii", old, seq);
  self->n_known += sqlite3_total_changes (db) - before;
}

/* Not a new copy, as what is appended else, but one that was dead. Its age begins
 * anew: else one that died of it would do so again at once. */
static void
replay (EvbusSpool      *self,
        EvbusSpoolRoute *route,
        EvbusEvent      *event)
{
  EvbusSpoolSet *set = evbus_spool_get_set (self, &route, 1, FALSE);
  gint64 old = event->seq;

  event->since = evbus_clock_get_boot_time ();
  event->seq = ++self->seq;
  if (set != NULL)
    evbus_spool_store_event (self, set, event);
  else if (self->failure == NULL)
    g_set_error (&self->failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
                 "%s: too many routes have events; forget orphaned ones", self->path);
  if (self->failure == NULL)
    follow_replayed (self, old, event->seq);
  evbus_spool_stage_route (self, route);
  route->change.accepted--;
  route->change.dead--;
}

static void
drop (EvbusSpool      *self,
      EvbusSpoolRoute *route)
{
  evbus_spool_stage_route (self, route);
  route->change.dead--;
  route->change.dropped++;
}

typedef struct {
  const gint64 *numbers;
  guint n_numbers;
  EvbusSpoolDeadStep *step;
} Move;

/* In a transaction. */
static void
move_some (EvbusSpool *self,
           gpointer    data)
{
  Move *move = data;
  EvbusSpoolDeadStep *step = move->step;

  for (guint i = 0; i < move->n_numbers && self->failure == NULL && step->weight < get_step_bytes (self); i++)
    {
      EvbusSpoolRoute *route = NULL;
      EvbusEvent *event = NULL;

      step->n_seen++;
      if (!take_dead (self, move->numbers[i], step, &route, &event))
        continue;
      step->n_done++;
      if (step->routes != NULL)
        g_ptr_array_add (step->routes, route);
      if (!step->replay)
        {
          drop (self, route);
          continue;
        }
      g_array_append_val (step->old_seqs, event->seq);
      replay (self, route, event);
      g_ptr_array_add (step->events, event);
    }
}

/* In a transaction, perhaps once more. */
static void
drop_some (EvbusSpool *self,
           gpointer    data)
{
  EvbusSpoolDeadStep *step = ((Move *) data)->step;

  *step = (EvbusSpoolDeadStep) { .only = step->only, .routes = step->routes, .events = step->events };
  if (step->routes != NULL)
    g_ptr_array_set_size (step->routes, 0);
  move_some (self, data);
}

gboolean
evbus_spool_step_dead (EvbusSpool          *self,
                       const gint64        *numbers,
                       guint                n_numbers,
                       EvbusSpoolDeadStep  *step,
                       GError             **error)
{
  Move move = { numbers, n_numbers, step };

  if (!step->replay)
    return evbus_spool_change (self, drop_some, &move, error);
  evbus_spool_begin (self);
  move_some (self, &move);
  return evbus_spool_commit (self, error);
}

gboolean
evbus_spool_set_missing (EvbusSpool  *self,
                         gint64       number,
                         GError     **error)
{
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
               "%s: there is no dead letter %" G_GINT64_FORMAT ", or it should be replayed and its record is damaged: then it "
               "is listed, and can only be dropped", self->path, number);
  return FALSE;
}

/* Which dead letters of a route go, and to which account. */
typedef struct {
  EvbusSpoolRoute *route;
  gsize account;
  guint max_letters;
  guint64 max_weight;
  gint64 put_before;

  guint n;          /* out */
} Loss;

/* @last: (out): the number of the newest of them. */
static void
choose_oldest (EvbusSpool  *self,
               Loss        *loss,
               gint64      *last,
               guint64     *weight,
               GError     **error)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_LIST_DEAD_OF_ROUTE, error);
  guint64 max_weight = MIN (loss->max_weight, get_step_bytes (self));

  if (rows == NULL)
    return;
  sqlite3_bind_int64 (rows, 1, 0);
  sqlite3_bind_int64 (rows, 2, loss->max_letters);
  sqlite3_bind_int64 (rows, 3, loss->route->id);
  while (*weight < max_weight && evbus_sql_step (self->sql, rows, error) > 0)
    {
      EvbusRecordInfo info;

      /* One that is damaged is of no age. */
      if (loss->put_before != G_MAXINT64 &&
          evbus_record_check (sqlite3_column_blob (rows, 2), sqlite3_column_bytes (rows, 2), &info) > 0 &&
          info.put >= loss->put_before)
        break;
      *last = sqlite3_column_int64 (rows, 0);
      *weight += sqlite3_column_bytes (rows, 2);
      loss->n++;
    }
  sqlite3_reset (rows);
}

/* In a transaction, perhaps once more. */
static void
lose_some (EvbusSpool *self,
           gpointer    data)
{
  Loss *loss = data;
  EvbusSpoolRoute *route = loss->route;
  gint64 last = 0;
  guint64 weight = 0;

  loss->n = 0;
  choose_oldest (self, loss, &last, &weight, &self->failure);
  if (self->failure == NULL && loss->n > 0)
    evbus_sql_call (self->sql, EVBUS_SQL_DELETE_DEAD_OF_ROUTE, &self->failure, "ii", route->id, last);
  self->weight_removed += weight;
  evbus_spool_stage_route (self, route);
  route->change.dead -= loss->n;
  G_STRUCT_MEMBER (guint64, &route->change, loss->account) += loss->n;
  route->change_dead_weight -= weight;
}

/* A look that finds nothing old is no reason for a commit. */
static gboolean
is_any_older (EvbusSpool  *self,
              const Loss  *loss,
              GError     **error)
{
  Loss oldest = *loss;
  gint64 last = 0;
  guint64 weight = 0;

  oldest.max_letters = 1;
  choose_oldest (self, &oldest, &last, &weight, error);
  return oldest.n > 0;
}

gboolean
evbus_spool_lose_dead (EvbusSpool       *self,
                       EvbusSpoolRoute  *route,
                       gsize             account,
                       guint             max_letters,
                       guint64           weight,
                       gint64            put_before,
                       guint            *n_letters,
                       GError          **error)
{
  Loss loss = { route, account, max_letters, weight, put_before, 0 };
  GError *failure = NULL;

  *n_letters = 0;
  if (route->forgotten)
    return TRUE;
  if (put_before != G_MAXINT64 && !is_any_older (self, &loss, &failure))
    {
      if (failure == NULL)
        return TRUE;
      g_propagate_error (error, failure);
      return FALSE;
    }
  if (!evbus_spool_change (self, lose_some, &loss, error))
    return FALSE;
  *n_letters = loss.n;
  return TRUE;
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

/* In a transaction: what is left of it counts on in the totals. Letters that still wait to
 * be written go with it, too. */
static void
delete_route (EvbusSpool *self,
              gpointer    data)
{
  EvbusSpoolRoute *route = data;
  EvbusLedger *rest = &self->rest_change;

  evbus_spool_route_get_ledger (route, rest, NULL);
  rest->dropped += rest->queued + rest->dead;
  rest->queued = rest->dead = 0;
  /* Its key may be another's before the events of these sets are gone. */
  for (guint i = 0; i < route->sets->len && self->failure == NULL; i++)
    {
      EvbusSpoolSet *set = route->sets->pdata[i];

      if (set->stored)
        evbus_spool_write_set (self, set, route, &self->failure);
    }
  if (self->failure == NULL)
    evbus_sql_call (self->sql, EVBUS_SQL_DELETE_ROUTE, &self->failure, "i", route->id);
}

static void
retire_route (EvbusSpool      *self,
              EvbusSpoolRoute *route)
{
  gboolean was_doubtful;
  guint index;

  evbus_spool_forget_sets (self, route);
  g_mutex_lock (&self->lock);
  route->now.ledger.dropped += route->now.ledger.queued + route->now.ledger.dead;
  route->now.ledger.queued = route->now.ledger.dead = 0;
  route->now.weight = 0;
  was_doubtful = route->now.doubtful;
  if (g_ptr_array_find (self->routes, route, &index))
    g_ptr_array_remove_index (self->routes, index);
  g_mutex_unlock (&self->lock);

  if (was_doubtful)
    evbus_spool_tell (self);
}

gint64
evbus_spool_route_get_rest (EvbusSpoolRoute *route)
{
  gint64 now = g_get_monotonic_time ();
  gboolean spent;

  g_mutex_lock (&route->spool->lock);
  spent = route->now.orphan && route->now.ledger.queued == 0 && route->now.ledger.dead == 0;
  g_mutex_unlock (&route->spool->lock);

  if (!spent)
    {
      route->spent_since = 0;
      return G_MAXINT64;
    }
  if (route->spent_since == 0)
    route->spent_since = now;
  return MAX (0, route->spent_since + EVBUS_ORPHAN_US - now);
}

gboolean
evbus_spool_forget_route (EvbusSpool       *self,
                          EvbusSpoolRoute  *route,
                          GError          **error)
{
  guint n = 1;

  if (route->forgotten)
    return TRUE;
  if (!evbus_spool_route_is_orphan (route))
    {
      g_autofree char *key = evbus_spool_route_dup_key (route);

      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "%s: the route \"%s\" is in use; take it out of the configuration first", self->path, key);
      return FALSE;
    }

  while (n > 0)
    {
      if (!evbus_spool_lose_dead (self, route, G_STRUCT_OFFSET (EvbusLedger, dropped), EVBUS_SPOOL_STEP_LETTERS,
                                  G_MAXUINT64, G_MAXINT64, &n, error))
        return FALSE;
    }

  set_forgotten (self, route, TRUE);
  if (!evbus_spool_change (self, delete_route, route, error))
    {
      set_forgotten (self, route, FALSE);
      return FALSE;
    }
  retire_route (self, route);
  return TRUE;
}
