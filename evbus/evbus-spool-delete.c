/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An event goes when all routes of its set have settled it. What a route has
 * settled is a few ranges: all up to its position but for what is pending, and
 * what it skips. */

#include "evbus-spool-store-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* Of one transaction: puts wait for its end. */
#define MAX_ROWS 16384
#define MAX_BYTES (4 * 1024 * 1024)
#define MAX_TIME (8 * G_TIME_SPAN_MILLISECOND)

/* Where it has failed it is tried again after so long. */
#define DELETE_AGAIN_US (60 * (gint64) G_USEC_PER_SEC)

/* Gaps between so many pending events are looked at: each is a look into the tree. */
#define MAX_PENDING 64

static void
add_range (GArray *ranges,
           gint64  after,
           gint64  to)
{
  EvbusSpoolRange *last = ranges->len > 0 ? &g_array_index (ranges, EvbusSpoolRange, ranges->len - 1) : NULL;
  EvbusSpoolRange range = { after, to };

  if (after >= to)
    return;
  if (last != NULL && last->to >= after)
    last->to = MAX (last->to, to);
  else
    g_array_append_val (ranges, range);
}

void
evbus_spool_settled_ranges (EvbusSpoolRoute *route,
                            GArray          *ranges)
{
  const EvbusSpoolCursor *cursor = &route->stored;
  guint n = MIN (cursor->pending->len, MAX_PENDING);
  gint64 after = 0;

  g_array_set_size (ranges, 0);
  for (guint i = 0; i < n; i++)
    {
      gint64 pending = g_array_index (cursor->pending, gint64, i);

      add_range (ranges, after, pending - 1);
      after = pending;
    }
  if (cursor->pending->len > n)
    return;

  add_range (ranges, after, cursor->position);
  for (guint i = 0; i < cursor->skipped->len; i++)
    {
      const EvbusSpoolRange *skipped = &g_array_index (cursor->skipped, EvbusSpoolRange, i);

      add_range (ranges, MAX (skipped->after, after), skipped->to);
    }
}

static void
intersect (GArray       *ranges,
           const GArray *other)
{
  g_autoptr(GArray) both = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolRange));
  guint i = 0, j = 0;

  while (i < ranges->len && j < other->len)
    {
      const EvbusSpoolRange *a = &g_array_index (ranges, EvbusSpoolRange, i);
      const EvbusSpoolRange *b = &g_array_index (other, EvbusSpoolRange, j);

      add_range (both, MAX (a->after, b->after), MIN (a->to, b->to));
      if (a->to < b->to)
        i++;
      else
        j++;
    }
  g_array_set_size (ranges, 0);
  if (both->len > 0)
    g_array_append_vals (ranges, both->data, both->len);
}

static void
get_deletable (EvbusSpoolSet *set,
               GArray        *ranges)
{
  g_autoptr(GArray) of_route = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolRange));

  g_array_set_size (ranges, 0);
  add_range (ranges, 0, EVBUS_SPOOL_MAX_SEQ);
  for (guint i = 0; i < set->n_routes && ranges->len > 0; i++)
    {
      evbus_spool_settled_ranges (set->routes[i], of_route);
      intersect (ranges, of_route);
    }
}

/* How much one transaction may still delete. */
typedef struct {
  gint64 n_rows;
  gint64 n_bytes;
  gint64 until;     /* monotonic */
} Allowance;

static gboolean
is_used_up (const Allowance *allowance)
{
  return allowance->n_rows <= 0 || allowance->n_bytes <= 0 || g_get_monotonic_time () >= allowance->until;
}

/* FALSE: error. */
static gboolean
delete_range (EvbusSpool             *self,
              EvbusSpoolSet          *set,
              const EvbusSpoolRange  *range,
              Allowance              *allowance,
              GError                **error)
{
  gint64 after = EVBUS_SPOOL_PLACE (set->id, range->after);
  gint64 to = EVBUS_SPOOL_PLACE (set->id, range->to);
  /* A few at a time, because their bytes are known only afterwards. */
  gint64 step = MIN (allowance->n_rows, 512);
  sqlite3_stmt *weigh = evbus_sql_get (self->sql, EVBUS_SQL_WEIGH_EVENTS, error);
  gint64 first, last, count, bytes;

  if (weigh == NULL)
    return FALSE;
  sqlite3_bind_int64 (weigh, 1, after);
  sqlite3_bind_int64 (weigh, 2, to);
  sqlite3_bind_int64 (weigh, 3, step);
  if (evbus_sql_step (self->sql, weigh, error) < 0)
    return FALSE;
  last = sqlite3_column_int64 (weigh, 0);
  count = sqlite3_column_int64 (weigh, 1);
  bytes = (gint64) sqlite3_column_double (weigh, 2);
  first = sqlite3_column_int64 (weigh, 3);
  sqlite3_reset (weigh);

  if (count == 0)
    return TRUE;
  /* A wrong key above the leaves has led to others, which may be needed. */
  if (first <= after)
    {
      self->sql->damaged = TRUE;
      evbus_spool_mark_damaged (self, self->sql, NULL);
      return TRUE;
    }
  if (!evbus_sql_call (self->sql, EVBUS_SQL_DELETE_EVENTS, error, "ii", after, last))
    return FALSE;
  self->weight_removed += bytes;
  allowance->n_rows -= count;
  allowance->n_bytes -= bytes;
  return count < step || is_used_up (allowance) || delete_range (self, set, range, allowance, error);
}

static gboolean
delete_from_set (EvbusSpool     *self,
                 EvbusSpoolSet  *set,
                 GArray         *ranges,
                 Allowance      *allowance,
                 GError        **error)
{
  get_deletable (set, ranges);
  for (guint i = 0; i < ranges->len; i++)
    {
      const EvbusSpoolRange *range = &g_array_index (ranges, EvbusSpoolRange, i);

      if (!delete_range (self, set, range, allowance, error))
        return FALSE;
      if (is_used_up (allowance))
        return TRUE;
    }

  set->deletable = FALSE;
  set->empty = set->n_appended == 0 && ranges->len == 1 &&
               g_array_index (ranges, EvbusSpoolRange, 0).after == 0 &&
               g_array_index (ranges, EvbusSpoolRange, 0).to >= set->last;
  /* What damage has hidden is there still, and must not come to be in another set. */
  if (!set->empty || !set->retired || self->sql->damaged)
    return TRUE;
  /* Its row and the second one, each blank and then gone. */
  allowance->n_rows -= 4;
  allowance->n_bytes -= 2 * (gint64) EVBUS_MAX_NAME_BYTES * set->n_routes;
  return evbus_spool_delete_set (self, set, error);
}

void
evbus_spool_restart_deletion (EvbusSpool *self)
{
  GHashTableIter iter;
  EvbusSpoolSet *set;

  g_hash_table_iter_init (&iter, self->sets_by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    {
      set->deletable = TRUE;
      set->empty = FALSE;
    }
  self->more_to_delete = TRUE;
}

/* A set whose deletion has failed is passed over for a while, and always where puts would fail with
 * it: what nobody needs any more may be where the file is damaged. */
static gboolean
may_delete (EvbusSpool          *self,
            const EvbusSpoolSet *set,
            gint64               now)
{
  return set->delete_again == 0 || (self->staged_sets->len == 0 && now >= set->delete_again);
}

gboolean
evbus_spool_delete_settled (EvbusSpool  *self,
                            GError     **error)
{
  g_autoptr(GArray) ranges = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolRange));
  gint64 now = g_get_monotonic_time ();
  Allowance allowance = { MAX_ROWS, MAX_BYTES, now + MAX_TIME };
  gint64 again = G_MAXINT64;
  GHashTableIter iter;
  EvbusSpoolSet *set;

  g_hash_table_iter_init (&iter, self->sets_by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    {
      g_autoptr(GError) failure = NULL;

      if (!set->deletable)
        continue;
      if (!may_delete (self, set, now))
        {
          again = MIN (again, set->delete_again);
          continue;
        }
      if (!delete_from_set (self, set, ranges, &allowance, &failure))
        {
          if (!g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
            set->delete_again = now + DELETE_AGAIN_US;
          g_propagate_error (error, g_steal_pointer (&failure));
          return FALSE;
        }
      set->delete_again = 0;
      /* Not known then whether there is more. */
      if (is_used_up (&allowance))
        return TRUE;
    }

  self->more_to_delete = FALSE;
  self->n_settled = 0;
  self->delete_again = again;
  return TRUE;
}

void
evbus_spool_resume_deletion (EvbusSpool *self)
{
  if (g_get_monotonic_time () < self->delete_again)
    return;
  self->delete_again = G_MAXINT64;
  self->more_to_delete = TRUE;
}
