/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Transactions. What a route's row says, its dead letters and the deletion of
 * what it has settled go to the disk together, so the row is consistent in
 * itself at any time. */

#include "evbus-spool-store-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* So many copies are settled before a commit deletes events: whole pages go at
 * once then, instead of a little of the same one each time. */
#define DELETE_AFTER 2048

/* Known ids are trimmed so many at a time. */
#define TRIM_KNOWN 4096

static void
clear_staged (EvbusSpool *self)
{
  for (guint i = 0; i < self->staged_sets->len; i++)
    {
      EvbusSpoolSet *set = self->staged_sets->pdata[i];

      set->n_appended = 0;
      set->weight = 0;
    }
  for (guint i = 0; i < self->staged_routes->len; i++)
    {
      EvbusSpoolRoute *route = self->staged_routes->pdata[i];

      memset (&route->change, 0, sizeof route->change);
      route->change_weight = 0;
      route->change_dead_weight = 0;
      route->change_last = 0;
      evbus_spool_keep_key (&route->change_key, NULL);
      route->staged = FALSE;
    }
  g_ptr_array_set_size (self->staged_sets, 0);
  g_ptr_array_set_size (self->staged_routes, 0);
  g_ptr_array_set_size (self->gone_sets, 0);
  self->weight_added = self->weight_removed = 0;
  memset (&self->rest_change, 0, sizeof self->rest_change);
  g_clear_error (&self->failure);
  self->in_transaction = FALSE;
  self->alone = FALSE;
}

void
evbus_spool_stage_route (EvbusSpool      *self,
                         EvbusSpoolRoute *route)
{
  if (route->staged)
    return;
  route->staged = TRUE;
  g_ptr_array_add (self->staged_routes, route);
}

static void
start (EvbusSpool *self)
{
  self->in_transaction = TRUE;
  self->seq_before = self->seq;
  self->n_known_before = self->n_known;
}

void
evbus_spool_begin (EvbusSpool *self)
{
  g_return_if_fail (!self->in_transaction);

  start (self);
  if (self->full && !evbus_spool_make_reserve (self))
    g_set_error (&self->failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL,
                 "%s: the disk is full; nothing was stored, try again when there is space", self->path);
  else
    evbus_sql_call (self->sql, EVBUS_SQL_BEGIN, &self->failure, "");
}

void
evbus_spool_store_event (EvbusSpool    *self,
                         EvbusSpoolSet *set,
                         EvbusEvent    *event)
{
  EvbusRecordInfo info = {
    .kind = EVBUS_RECORD_EVENT, .place = set->id, .seq = event->seq, .ahead = self->ahead,
  };

  g_byte_array_set_size (self->record, 0);
  evbus_record_append (self->record, event, &info);
  if (!evbus_sql_call (self->sql, EVBUS_SQL_PUT_EVENT, &self->failure, "ib",
                       EVBUS_SPOOL_PLACE (set->id, event->seq),
                       self->record->data, (gsize) self->record->len))
    return;

  /* Numbers are given again after a commit that failed. */
  if (set->n_appended == 0 && !set->stored)
    set->first = event->seq;
  if (set->n_appended++ == 0)
    g_ptr_array_add (self->staged_sets, set);
  set->weight += event->weight;
  set->last_appended = event->seq;
  self->weight_added += self->record->len;
}

/* Most often the routes are those of the event before. */
static EvbusSpoolSet *
find_set (EvbusSpool       *self,
          EvbusSpoolRoute **routes,
          guint             n_routes)
{
  gsize bytes = n_routes * sizeof *routes;

  if (self->last_set == NULL || self->last_routes->len != n_routes ||
      memcmp (self->last_routes->data, routes, bytes) != 0)
    {
      self->last_set = evbus_spool_get_set (self, routes, n_routes, FALSE);
      g_array_set_size (self->last_routes, 0);
      g_array_append_vals (self->last_routes, routes, n_routes);
    }
  return self->last_set;
}

static void
store_for_each (EvbusSpool       *self,
                EvbusEvent       *event,
                EvbusSpoolRoute **routes,
                guint             n_routes)
{
  for (guint i = 0; i < n_routes && self->failure == NULL; i++)
    {
      EvbusSpoolSet *set = evbus_spool_get_set (self, routes + i, 1, TRUE);

      if (set != NULL)
        evbus_spool_store_event (self, set, event);
      else
        g_set_error (&self->failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
                     "%s: too many routes have events; forget orphaned ones", self->path);
    }
}

void
evbus_spool_append (EvbusSpool       *self,
                    EvbusEvent       *event,
                    EvbusSpoolRoute **routes,
                    guint             n_routes,
                    gboolean          known_id)
{
  EvbusSpoolSet *set;

  g_return_if_fail (self->in_transaction);

  event->seq = ++self->seq;
  if (self->failure != NULL)
    return;

  if (n_routes > 0)
    {
      set = find_set (self, routes, n_routes);
      if (set != NULL)
        evbus_spool_store_event (self, set, event);
      else
        store_for_each (self, event, routes, n_routes);
    }
  if (known_id && self->failure == NULL &&
      evbus_sql_call (self->sql, EVBUS_SQL_PUT_KNOWN_ID, &self->failure, "is", event->seq, event->id))
    self->n_known++;
}

/* What was appended, as changes of the routes. */
static void
stage_appended (EvbusSpool *self)
{
  for (guint i = 0; i < self->staged_sets->len; i++)
    {
      EvbusSpoolSet *set = self->staged_sets->pdata[i];

      for (guint j = 0; j < set->n_routes; j++)
        {
          EvbusSpoolRoute *route = set->routes[j];

          evbus_spool_stage_route (self, route);
          route->change.accepted += set->n_appended;
          route->change.queued += set->n_appended;
          route->change_weight += set->weight;
          route->change_last = MAX (route->change_last, set->last_appended);
        }
    }
}

/* `stored` becomes what this transaction writes. */
static void
snapshot_locked (EvbusSpoolRoute *route,
                 gboolean         alone)
{
  gboolean moved = route->dirty && !alone;
  GRefString *key = alone && route->written_key != NULL ? route->written_key : route->key;

  evbus_spool_keep_key (&route->stored_key, route->change_key != NULL ? route->change_key : key);
  evbus_spool_cursor_copy (&route->stored, alone ? &route->written : &route->now);
  route->stored.doubtful &= route->change_key == NULL;
  evbus_ledger_add (&route->stored.ledger, &route->change);
  route->stored.weight += route->change_weight;
  route->stored.dead_weight += route->change_dead_weight;
  route->stored.last = MAX (route->stored.last, route->change_last);
  route->dirty = route->dirty && alone;
  for (guint i = 0; moved && i < route->sets->len; i++)
    ((EvbusSpoolSet *) route->sets->pdata[i])->deletable = TRUE;
}

static void
swap_deaths (EvbusSpool *self)
{
  GPtrArray *dying = self->dying;

  self->dying = self->deaths;
  self->deaths = dying;
}

static void
take_snapshot (EvbusSpool *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusSpoolRoute *route = self->routes->pdata[i];
      guint64 left = route->stored.ledger.queued;

      if (route->dirty && !route->forgotten && !self->alone)
        evbus_spool_stage_route (self, route);
      if (!route->staged)
        continue;
      self->more_to_delete |= route->dirty;
      snapshot_locked (route, self->alone);
      self->n_settled += left - MIN (left, route->stored.ledger.queued - route->change.queued);
    }
  if (self->alone)
    return;
  swap_deaths (self);
  self->dirty = FALSE;
}

/* It did not come to pass: what the routes had said is still to be written. */
static void
give_back (EvbusSpool *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  for (guint i = 0; i < self->staged_routes->len; i++)
    {
      EvbusSpoolRoute *route = self->staged_routes->pdata[i];

      route->dirty = TRUE;
      self->dirty = TRUE;
    }
  self->dirty |= self->dying->len > 0;
  swap_deaths (self);
  for (guint i = 0; i < self->dying->len; i++)   /* what has come since */
    g_ptr_array_add (self->deaths, self->dying->pdata[i]);
  self->dying->len = 0;
}

static gboolean
write_dying (EvbusSpool  *self,
             GError     **error)
{
  for (guint i = 0; i < self->dying->len; i++)
    {
      EvbusSpoolDying *dying = self->dying->pdata[i];

      if (dying->route->forgotten)
        continue;
      if (!evbus_sql_call (self->sql, EVBUS_SQL_PUT_DEAD, error, "ib", dying->route->id,
                           dying->record->data, (gsize) dying->record->len))
        return FALSE;
      self->weight_added += dying->record->len;
    }
  return TRUE;
}

static gboolean
trim_known (EvbusSpool  *self,
            GError     **error)
{
  if (self->n_known < EVBUS_KNOWN_IDS + TRIM_KNOWN)
    return TRUE;
  if (!evbus_sql_call (self->sql, EVBUS_SQL_TRIM_KNOWN_IDS, error, "i",
                       (gint64) (self->n_known - EVBUS_KNOWN_IDS)))
    return FALSE;
  self->n_known = EVBUS_KNOWN_IDS;
  return TRUE;
}

/* A recovery that finds no row of a route has its key from its sets. */
static gboolean
write_sets_of (EvbusSpool       *self,
               EvbusSpoolRoute  *route,
               GError          **error)
{
  for (guint i = 0; i < route->sets->len; i++)
    {
      EvbusSpoolSet *set = route->sets->pdata[i];

      if (set->stored && !evbus_spool_write_set (self, set, NULL, error))
        return FALSE;
    }
  return TRUE;
}

/* A route may have a key now that is another's on disk still. */
static gboolean
change_keys (EvbusSpool  *self,
             GError     **error)
{
  for (guint i = 0; i < self->staged_routes->len; i++)
    {
      EvbusSpoolRoute *route = self->staged_routes->pdata[i];

      if (route->written_key != NULL && route->written_key != route->stored_key &&
          !(evbus_sql_call (self->sql, EVBUS_SQL_FREE_ROUTE_KEY, error, "i", route->id) &&
            write_sets_of (self, route, error)))
        return FALSE;
    }
  return TRUE;
}

/* The sync is part of it: what has failed after a write can be there after a crash, or
 * not. Before that, nothing is written but on a full disk, which is told apart. */
static gboolean
write_commit (EvbusSpool  *self,
              GError     **error)
{
  gboolean written = evbus_sql_call (self->sql, EVBUS_SQL_COMMIT, error, "");

  if (!written && error != NULL && g_error_matches (*error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED))
    g_prefix_error (error, "it is not known whether this was stored: ");
  return written;
}

/* Whether the database may need more space than was allocated for it. */
static gboolean
grows (EvbusSpool *self)
{
  gboolean named = FALSE;

  for (guint i = 0; i < self->staged_routes->len; i++)
    named |= ((EvbusSpoolRoute *) self->staged_routes->pdata[i])->change_key != NULL;
  /* On a full disk dead letters have what the reserve has given up. */
  return named || self->staged_sets->len > 0 || (self->dying->len > 0 && !self->full);
}

/* Everything but the events, which are there already, and the end. */
static gboolean
write_rest (EvbusSpool  *self,
            gboolean     delete,
            GError     **error)
{
  guint64 weight;

  for (guint i = 0; i < self->staged_sets->len; i++)
    {
      EvbusSpoolSet *set = self->staged_sets->pdata[i];

      if (!set->stored && !evbus_spool_write_set (self, set, NULL, error))
        return FALSE;
    }
  if (!change_keys (self, error))
    return FALSE;
  for (guint i = 0; i < self->staged_routes->len; i++)
    {
      if (!evbus_spool_write_route (self, self->staged_routes->pdata[i], error))
        return FALSE;
    }
  if (!write_dying (self, error) || !trim_known (self, error))
    return FALSE;
  if (delete && !evbus_spool_delete_settled (self, error))
    return FALSE;

  weight = self->weight + self->weight_added;
  weight -= MIN (weight, self->weight_removed);
  return evbus_spool_write_total (self, weight, error) &&
         (!grows (self) || evbus_spool_allocate (self, error)) &&
         write_commit (self, error);
}

static void
apply_locked (EvbusSpool *self)
{
  for (guint i = 0; i < self->staged_sets->len; i++)
    {
      EvbusSpoolSet *set = self->staged_sets->pdata[i];

      set->last = set->last_appended;
      set->stored = TRUE;
      set->empty = FALSE;
    }
  for (guint i = 0; i < self->staged_routes->len; i++)
    {
      EvbusSpoolRoute *route = self->staged_routes->pdata[i];

      evbus_spool_keep_key (&route->written_key, route->stored_key);
      if (route->change_key != NULL)
        {
          evbus_spool_keep_key (&route->key, route->change_key);
          route->now.doubtful = FALSE;
        }
      evbus_ledger_add (&route->now.ledger, &route->change);
      route->now.weight += route->change_weight;
      route->now.dead_weight += route->change_dead_weight;
      route->now.last = MAX (route->now.last, route->change_last);
      evbus_spool_cursor_copy (&route->written, &route->stored);
    }
  for (guint i = 0; i < self->dying->len; i++)
    self->deaths_weight -= ((EvbusSpoolDying *) self->dying->pdata[i])->record->len;
  evbus_ledger_add (&self->rest, &self->rest_change);
  self->weight += self->weight_added;
  self->weight -= MIN (self->weight, self->weight_removed);
  self->horizon = self->seq;
}

static gboolean
finish (EvbusSpool  *self,
        gboolean     delete,
        GError     **error)
{
  stage_appended (self);
  take_snapshot (self);
  if (!write_rest (self, delete, error))
    {
      evbus_sql_roll_back (self->sql);
      give_back (self);
      self->seq = self->seq_before;
      self->n_known = self->n_known_before;
      evbus_spool_restart_deletion (self);
      clear_staged (self);
      return FALSE;
    }

  g_mutex_lock (&self->lock);
  apply_locked (self);
  g_mutex_unlock (&self->lock);
  g_ptr_array_set_size (self->dying, 0);
  evbus_spool_remove_gone_sets (self);
  clear_staged (self);
  evbus_spool_set_failed (self, EVBUS_SPOOL_WRITE, NULL);
  evbus_spool_keep_wal (self);
  return TRUE;
}

/* A transaction of settlements alone. */
static gboolean
write_settled (EvbusSpool  *self,
               GError     **error)
{
  start (self);
  if (!evbus_sql_call (self->sql, EVBUS_SQL_BEGIN, error, ""))
    {
      self->in_transaction = FALSE;
      return FALSE;
    }
  return finish (self, TRUE, error);
}

/* What fails may be the deletion, which is not tried again so soon: then the rest of it is written. */
static gboolean
try_settled (EvbusSpool  *self,
             GError     **error)
{
  g_autoptr(GError) failure = NULL;

  if (write_settled (self, &failure))
    return TRUE;
  evbus_spool_mark_damaged (self, self->sql, NULL);
  if (!g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    return write_settled (self, error);
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

/* The disk is full: settlements have to be written nevertheless, or nothing would
 * ever free space. */
static void
write_settled_when_full (EvbusSpool *self)
{
  if (!self->full)
    {
      evbus_spool_release_reserve (self->directory);
      evbus_spool_set_full (self, TRUE);
    }
  if (evbus_spool_is_dirty (self))
    write_settled (self, NULL);
  evbus_spool_shrink (self);
}

gboolean
evbus_spool_commit (EvbusSpool  *self,
                    GError     **error)
{
  g_autoptr(GError) failure = NULL;
  gboolean done = FALSE;

  g_return_val_if_fail (self->in_transaction, FALSE);

  if (self->failure != NULL)
    {
      failure = g_steal_pointer (&self->failure);
      evbus_sql_roll_back (self->sql);
      self->seq = self->seq_before;
      self->n_known = self->n_known_before;
      clear_staged (self);
    }
  else
    {
      done = finish (self, self->n_settled >= DELETE_AFTER && !self->alone, &failure);
    }
  if (done)
    return TRUE;

  evbus_spool_mark_damaged (self, self->sql, NULL);
  if (g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    write_settled_when_full (self);
  else
    evbus_spool_set_failed (self, EVBUS_SPOOL_WRITE, failure);
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

static gboolean
try_change (EvbusSpool        *self,
            EvbusSpoolChange   change,
            gpointer           data,
            GError           **error)
{
  start (self);
  self->alone = self->full;
  if (evbus_sql_call (self->sql, EVBUS_SQL_BEGIN, &self->failure, ""))
    change (self, data);
  if (!evbus_spool_commit (self, error))
    return FALSE;
  if (self->full)
    evbus_spool_shrink (self);
  return TRUE;
}

gboolean
evbus_spool_change (EvbusSpool        *self,
                    EvbusSpoolChange   change,
                    gpointer           data,
                    GError           **error)
{
  g_autoptr(GError) failure = NULL;

  g_return_val_if_fail (!self->in_transaction, FALSE);

  if (try_change (self, change, data, &failure))
    return TRUE;
  /* The reserve was given up for it, or the log was emptied. */
  if (g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    return try_change (self, change, data, error);
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

gboolean
evbus_spool_maintain (EvbusSpool *self)
{
  g_autoptr(GError) error = NULL;

  g_return_val_if_fail (!self->in_transaction, FALSE);

  evbus_spool_resume_deletion (self);
  if (evbus_spool_is_dirty (self) && !try_settled (self, &error))
    {
      if (!g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
        {
          evbus_spool_set_failed (self, EVBUS_SPOOL_WRITE, error);
          return FALSE;
        }
      write_settled_when_full (self);
    }
  if (self->full)
    evbus_spool_make_reserve (self);
  return self->more_to_delete || evbus_spool_shrink (self);
}
