/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An event's routes are a set that is stored once. Names that clients choose can
 * make many different sets of a thousand patterns, so those of more than one
 * route are bounded: beyond, an event is stored for each of its routes alone. */

#include "evbus-spool-store-private.h"

#include <string.h>
#include <zlib.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

#define HEAD 28u
#define HEAD_1 20u

/* In place of a route: the set had others, which are forgotten; its events may have had others. */
#define RETIRED -1
#define PARTIAL 0

void
evbus_spool_set_free (EvbusSpoolSet *set)
{
  g_free (set->routes);
  g_free (set);
}

static int
compare_ids (gconstpointer a,
             gconstpointer b)
{
  const EvbusSpoolRoute *left = *(EvbusSpoolRoute *const *) a;
  const EvbusSpoolRoute *right = *(EvbusSpoolRoute *const *) b;

  return (left->id > right->id) - (left->id < right->id);
}

/* The routes, which are sorted, as a key. No route has the number 0. */
static GBytes *
make_key (EvbusSpoolRoute **routes,
          guint             n_routes,
          gboolean          partial)
{
  guint n = 0;
  gint64 *ids = g_new (gint64, n_routes + 1);

  if (partial)
    ids[n++] = PARTIAL;
  for (guint i = 0; i < n_routes; i++)
    ids[n++] = routes[i]->id;
  return g_bytes_new_take (ids, n * sizeof *ids);
}

/* @routes: sorted. */
static EvbusSpoolSet *
add_set (EvbusSpool       *self,
         guint32           id,
         gint64            first,
         gboolean          retired,
         EvbusSpoolRoute **routes,
         guint             n_routes,
         gboolean          partial)
{
  EvbusSpoolSet *set = g_new0 (EvbusSpoolSet, 1);

  set->id = id;
  set->first = first;
  set->n_routes = n_routes;
  set->partial = partial;
  set->routes = g_memdup2 (routes, n_routes * sizeof *routes);
  set->empty = TRUE;
  set->retired = retired;
  g_hash_table_insert (self->sets_by_id, GUINT_TO_POINTER (id), set);
  if (!retired)
    g_hash_table_insert (self->sets_by_routes, make_key (routes, n_routes, partial), set);

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < n_routes; i++)
    g_ptr_array_add (routes[i]->sets, set);
  g_mutex_unlock (&self->lock);
  return set;
}

/* Two sets can have become the same one since a route was forgotten. */
static void
remove_set (EvbusSpool    *self,
            EvbusSpoolSet *set)
{
  g_autoptr(GBytes) key = make_key (set->routes, set->n_routes, set->partial);

  if (g_hash_table_lookup (self->sets_by_routes, key) == set)
    g_hash_table_remove (self->sets_by_routes, key);
  g_mutex_lock (&self->lock);
  for (guint i = 0; i < set->n_routes; i++)
    g_ptr_array_remove (set->routes[i]->sets, set);
  g_mutex_unlock (&self->lock);
  if (self->last_set == set)
    self->last_set = NULL;
  g_hash_table_remove (self->sets_by_id, GUINT_TO_POINTER (set->id));
}

/* Makes room by removing sets without events. Their rows are replaced when the
 * number is used again. */
static void
remove_empty_sets (EvbusSpool *self)
{
  g_autoptr(GList) sets = g_hash_table_get_values (self->sets_by_id);

  for (GList *at = sets; at != NULL; at = at->next)
    {
      EvbusSpoolSet *set = at->data;

      if (set->empty && set->n_appended == 0)
        remove_set (self, set);
    }
}

static guint32
get_free_id (EvbusSpool *self)
{
  for (guint32 id = 1; id <= EVBUS_SPOOL_MAX_SET; id++)
    {
      if (!g_hash_table_contains (self->sets_by_id, GUINT_TO_POINTER (id)))
        return id;
    }
  return 0;
}

static gboolean
is_room (EvbusSpool *self,
         guint       n_routes)
{
  GHashTableIter iter;
  EvbusSpoolSet *set;
  guint n_large = 0;

  g_hash_table_iter_init (&iter, self->sets_by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    n_large += set->n_routes > 1;
  return g_hash_table_size (self->sets_by_id) < EVBUS_SPOOL_MAX_SET && (n_routes <= 1 || n_large < EVBUS_SPOOL_SETS);
}

static gboolean
make_room (EvbusSpool *self,
           guint       n_routes)
{
  if (is_room (self, n_routes))
    return TRUE;
  remove_empty_sets (self);
  return is_room (self, n_routes);
}

EvbusSpoolSet *
evbus_spool_get_set (EvbusSpool       *self,
                     EvbusSpoolRoute **routes,
                     guint             n_routes,
                     gboolean          partial)
{
  g_autofree EvbusSpoolRoute **sorted = g_memdup2 (routes, n_routes * sizeof *routes);
  g_autoptr(GBytes) key = NULL;
  EvbusSpoolSet *set;

  qsort (sorted, n_routes, sizeof *sorted, compare_ids);
  key = make_key (sorted, n_routes, partial);
  set = g_hash_table_lookup (self->sets_by_routes, key);
  if (set != NULL || !make_room (self, n_routes))
    return set;
  return add_set (self, get_free_id (self), 0, FALSE, sorted, n_routes, partial);
}

/* Returns 1. */
static guint32
append_route (GByteArray *blob,
              gint64      id,
              const char *key)
{
  gint64 number = GINT64_TO_LE (id);
  guint32 length = GUINT32_TO_LE ((guint32) strlen (key));

  g_byte_array_append (blob, (guint8 *) &number, sizeof number);
  g_byte_array_append (blob, (guint8 *) &length, sizeof length);
  g_byte_array_append (blob, (guint8 *) key, strlen (key));
  return 1;
}

/* Magic, length, CRC32 of what follows, number of the set, of the routes; the first event
 * (i64); for each route its id (i64), the length of its key (u32), its key. All numbers u32
 * where nothing else is said, little-endian. The keys are there for a recovery; so is a
 * second one, before the first event of the set. A retired one begins with a route -1 and a
 * partial one with a route 0, without keys, which are as unknown as those that are forgotten. */
gboolean
evbus_spool_write_set (EvbusSpool       *self,
                       EvbusSpoolSet    *set,
                       EvbusSpoolRoute  *forgotten,
                       GError          **error)
{
  g_autoptr(GByteArray) blob = g_byte_array_new ();
  guint32 head[5] = { GUINT32_TO_LE (EVBUS_SPOOL_SET_MAGIC), 0, 0, GUINT32_TO_LE (set->id) };
  gint64 first = GINT64_TO_LE (set->first);
  guint32 n = 0;

  g_byte_array_append (blob, (guint8 *) head, sizeof head);
  g_byte_array_append (blob, (guint8 *) &first, sizeof first);
  if (set->retired || forgotten != NULL)
    n += append_route (blob, RETIRED, "");
  else if (set->partial)
    n += append_route (blob, PARTIAL, "");
  for (guint i = 0; i < set->n_routes; i++)
    {
      if (set->routes[i] != forgotten)
        n += append_route (blob, set->routes[i]->id, set->routes[i]->stored_key);
    }
  head[1] = GUINT32_TO_LE (blob->len);
  head[4] = GUINT32_TO_LE (n);
  memcpy (blob->data, head, sizeof head);
  head[2] = GUINT32_TO_LE ((guint32) crc32 (0, blob->data + 12, blob->len - 12));
  memcpy (blob->data, head, sizeof head);

  return evbus_sql_call (self->sql, EVBUS_SQL_PUT_SET, error, "ib", (gint64) set->id, blob->data, (gsize) blob->len) &&
         evbus_sql_call (self->sql, EVBUS_SQL_PUT_SET_COPY, error, "ib", EVBUS_SPOOL_PLACE (set->id, 0), blob->data,
                         (gsize) blob->len);
}

/* Blank before they go: a recovery that finds neither table reads whatever is in the pages, and the
 * number is soon another set's. */
gboolean
evbus_spool_delete_set (EvbusSpool     *self,
                        EvbusSpoolSet  *set,
                        GError        **error)
{
  gint64 copy = EVBUS_SPOOL_PLACE (set->id, 0);

  if (!evbus_sql_call (self->sql, EVBUS_SQL_BLANK_SET, error, "i", (gint64) set->id) ||
      !evbus_sql_call (self->sql, EVBUS_SQL_BLANK_SET_COPY, error, "i", copy) ||
      !evbus_sql_call (self->sql, EVBUS_SQL_DELETE_SET, error, "i", (gint64) set->id) ||
      !evbus_sql_call (self->sql, EVBUS_SQL_DELETE_EVENTS, error, "ii", copy - 1, copy))
    return FALSE;
  g_ptr_array_add (self->gone_sets, set);
  return TRUE;
}

void
evbus_spool_remove_gone_sets (EvbusSpool *self)
{
  for (guint i = 0; i < self->gone_sets->len; i++)
    remove_set (self, self->gone_sets->pdata[i]);
  g_ptr_array_set_size (self->gone_sets, 0);
}

static guint32
get_u32 (const guint8 *data)
{
  guint32 value;

  memcpy (&value, data, sizeof value);
  return GUINT32_FROM_LE (value);
}

static gint64
get_i64 (const guint8 *data)
{
  gint64 value;

  memcpy (&value, data, sizeof value);
  return GINT64_FROM_LE (value);
}

gsize
evbus_spool_set_check (const guint8 *data,
                       gsize         size,
                       guint32      *id,
                       gint64       *first,
                       GArray       *route_ids,
                       GPtrArray    *keys)
{
  gboolean has_first = size >= HEAD && get_u32 (data) == EVBUS_SPOOL_SET_MAGIC;
  gsize length, at = has_first ? HEAD : HEAD_1;
  guint32 n;

  if (size < at || !(has_first || get_u32 (data) == EVBUS_SPOOL_SET_MAGIC_1))
    return 0;
  length = get_u32 (data + 4);
  if (length < at || length > size || get_u32 (data + 8) != crc32 (0, data + 12, length - 12))
    return 0;

  *id = get_u32 (data + 12);
  n = get_u32 (data + 16);
  *first = has_first ? get_i64 (data + HEAD_1) : 0;
  for (guint32 i = 0; i < n; i++)
    {
      gint64 route_id;
      guint32 bytes;

      if (length - at < 12)
        return 0;
      route_id = get_i64 (data + at);
      bytes = get_u32 (data + at + 8);
      at += 12;
      if (length - at < bytes)
        return 0;
      g_array_append_val (route_ids, route_id);
      if (keys != NULL)
        g_ptr_array_add (keys, g_strndup ((const char *) data + at, bytes));
      at += bytes;
    }
  return length;
}

void
evbus_spool_add_stored_set (EvbusSpool *self,
                            guint32     id,
                            gint64      first,
                            GArray     *route_ids)
{
  g_autoptr(GPtrArray) routes = g_ptr_array_new ();
  EvbusSpoolSet *set = g_hash_table_lookup (self->sets_by_id, GUINT_TO_POINTER (id));
  gboolean retired = FALSE;

  if (id == 0 || id > EVBUS_SPOOL_MAX_SET || (set != NULL && set->first >= first))
    return;
  if (set != NULL)
    remove_set (self, set);
  for (guint i = 0; i < route_ids->len; i++)
    {
      gint64 route_id = g_array_index (route_ids, gint64, i);
      EvbusSpoolRoute *route = evbus_spool_find_route (self, route_id);

      retired |= route == NULL && route_id != PARTIAL;
      if (route != NULL && !g_ptr_array_find (routes, route, NULL))
        g_ptr_array_add (routes, route);
    }
  set = add_set (self, id, first, retired, (EvbusSpoolRoute **) routes->pdata, routes->len,
                 routes->len < route_ids->len);
  set->stored = TRUE;
  set->empty = FALSE;
  set->deletable = TRUE;
}

/* FALSE: the row is damaged. */
static gboolean
take_set (EvbusSpool   *self,
          sqlite3_stmt *row)
{
  g_autoptr(GArray) ids = g_array_new (FALSE, FALSE, sizeof (gint64));
  gint64 first = 0;
  guint32 id = 0;

  if (evbus_spool_set_check (sqlite3_column_blob (row, 1), sqlite3_column_bytes (row, 1), &id, &first, ids, NULL) == 0 ||
      (gint64) id != sqlite3_column_int64 (row, 0))
    return FALSE;
  evbus_spool_add_stored_set (self, id, first, ids);
  return g_hash_table_contains (self->sets_by_id, GUINT_TO_POINTER (id));
}

/* The first or last event of a set after @after: 0 if there is none. FALSE: error. */
static gboolean
look_up (EvbusSpool         *self,
         EvbusSpoolSet      *set,
         EvbusSqlStatement   which,
         gint64              after,
         gint64             *seq,
         GError            **error)
{
  sqlite3_stmt *row = evbus_sql_get (self->sql, which, error);

  if (row == NULL)
    return FALSE;
  sqlite3_bind_int64 (row, 1, EVBUS_SPOOL_PLACE (set->id, after));
  sqlite3_bind_int64 (row, 2, EVBUS_SPOOL_PLACE (set->id, EVBUS_SPOOL_MAX_SEQ));
  if (evbus_sql_step (self->sql, row, error) <= 0)
    return FALSE;
  *seq = sqlite3_column_int64 (row, 0) & EVBUS_SPOOL_MAX_SEQ;
  sqlite3_reset (row);
  return TRUE;
}

static gboolean
fail_on_damage (EvbusSpool  *self,
                const char  *what,
                gboolean    *damaged,
                GError     **error)
{
  *damaged = TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: %s", self->path, what);
  return FALSE;
}

/* The newest event of each set: two looks into the tree, from the end and from
 * there on, because a wrong key above the leaves can hide what comes after it. */
static gboolean
load_last (EvbusSpool     *self,
           EvbusSpoolSet  *set,
           gboolean       *damaged,
           GError        **error)
{
  gint64 next = 0;

  if (!look_up (self, set, EVBUS_SQL_LAST_EVENT, 0, &set->last, error) ||
      !look_up (self, set, EVBUS_SQL_FIRST_EVENT, set->last, &next, error))
    return FALSE;
  set->empty = set->last == 0;
  return next == 0 || fail_on_damage (self, "a wrong key in the table of events", damaged, error);
}

/* The newest event of a route is there, if the route has not settled it. */
static gboolean
check_last (EvbusSpool       *self,
            EvbusSpoolRoute  *route,
            gboolean         *damaged,
            GError          **error)
{
  gint64 last = route->now.last;

  if (last == 0 || !evbus_spool_cursor_needs (&route->now, last))
    return TRUE;
  for (guint i = 0; i < route->sets->len; i++)
    {
      if (((EvbusSpoolSet *) route->sets->pdata[i])->last >= last)
        return TRUE;
    }
  return fail_on_damage (self, "the newest event of a route is missing", damaged, error);
}

gboolean
evbus_spool_load_sets (EvbusSpool  *self,
                       gboolean    *damaged,
                       GError     **error)
{
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_LOAD_SETS, error);
  GHashTableIter iter;
  EvbusSpoolSet *set;
  int row = -1;

  while (rows != NULL && (row = evbus_sql_step (self->sql, rows, error)) > 0)
    {
      if (!take_set (self, rows))
        {
          sqlite3_reset (rows);
          return fail_on_damage (self, "a damaged row in the table of sets", damaged, error);
        }
    }
  if (row < 0)
    return FALSE;

  g_hash_table_iter_init (&iter, self->sets_by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &set))
    {
      if (!load_last (self, set, damaged, error))
        return FALSE;
    }
  for (guint i = 0; i < self->routes->len; i++)
    {
      if (!check_last (self, self->routes->pdata[i], damaged, error))
        return FALSE;
    }
  return TRUE;
}

void
evbus_spool_forget_sets (EvbusSpool      *self,
                         EvbusSpoolRoute *route)
{
  g_autoptr(GPtrArray) sets = g_ptr_array_copy (route->sets, NULL, NULL);

  self->last_set = NULL;
  for (guint i = 0; i < sets->len; i++)
    {
      EvbusSpoolSet *set = sets->pdata[i];
      g_autoptr(GBytes) old_key = make_key (set->routes, set->n_routes, set->partial);
      guint kept = 0;

      if (g_hash_table_lookup (self->sets_by_routes, old_key) == set)
        g_hash_table_remove (self->sets_by_routes, old_key);

      g_mutex_lock (&self->lock);
      for (guint j = 0; j < set->n_routes; j++)
        {
          if (set->routes[j] != route)
            set->routes[kept++] = set->routes[j];
        }
      set->n_routes = kept;
      g_ptr_array_remove (route->sets, set);
      g_mutex_unlock (&self->lock);

      set->partial = TRUE;
      /* Not a set of its new routes for what is to come. It is removed when its events are gone. */
      set->retired = set->deletable = TRUE;
      self->more_to_delete = TRUE;
    }
}
