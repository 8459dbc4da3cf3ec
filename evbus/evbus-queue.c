/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-admission-private.h"
#include "evbus-clock-private.h"

#include "evbus-limits-private.h"
#include "evbus-route-private.h"
#include "evbus-source-private.h"

/* What is counted for no route goes to the disk no more often than that: it has no event
 * with which it would go there. */
#define FIGURES_US G_USEC_PER_SEC

EvbusQueue *
evbus_queue_new (GSource *source)
{
  EvbusQueue *self = g_new0 (EvbusQueue, 1);
  g_autoptr(GPtrArray) no_routes = g_ptr_array_new ();

  g_atomic_ref_count_init (&self->ref_count);
  self->source = g_source_ref (source);
  self->chunks = g_async_queue_new_full ((GDestroyNotify) evbus_chunk_unref);
  self->max_events = EVBUS_DEFAULT_QUEUE_EVENTS;
  self->max_weight = EVBUS_DEFAULT_QUEUE_BYTES;
  self->table = evbus_route_table_new (no_routes, 1);
  g_queue_init (&self->waiting);
  g_queue_init (&self->for_space);
  evbus_known_ids_init (&self->known_ids, EVBUS_KNOWN_IDS, (GDestroyNotify) evbus_put_unref);
  evbus_follows_init (&self->follows, &self->known_ids);
  g_queue_init (&self->to_find);
  self->unrouted_names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->routes = g_ptr_array_new ();
  self->holders = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) g_ptr_array_unref);
  self->to_log = g_ptr_array_new_with_free_func (g_free);
  self->garbage = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_route_set_free);

  return self;
}

EvbusQueue *
evbus_queue_ref (EvbusQueue *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_queue_unref (EvbusQueue *self)
{
  EvbusChunk *chunk;

  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  while ((chunk = g_async_queue_try_pop (self->chunks)) != NULL)
    {
      evbus_route_set_release (chunk->set, 1, self->garbage);
      evbus_chunk_unref (chunk);
    }
  evbus_route_table_forget (self->table, self->garbage);
  evbus_route_table_unref (self->table);
  evbus_follows_clear (&self->follows);
  evbus_known_ids_clear (&self->known_ids);
  g_clear_pointer (&self->notifier, evbus_notifier_unref);
  g_ptr_array_unref (self->garbage);
  g_ptr_array_unref (self->to_log);
  g_hash_table_unref (self->holders);
  g_ptr_array_unref (self->routes);
  g_hash_table_unref (self->unrouted_names);
  g_async_queue_unref (self->chunks);
  g_clear_pointer (&self->figures, g_source_unref);
  g_clear_pointer (&self->look, g_source_unref);
  g_source_unref (self->source);
  g_free (self);
}

void
evbus_queue_lock (EvbusQueue *self)
{
  g_async_queue_lock (self->chunks);
}

static void
log_unrouted (GPtrArray *profiles)
{
  for (guint i = 0; i < profiles->len; i++)
    {
      const char *profile = profiles->pdata[i];

      g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE,
                        "EVBUS_PROFILE", profile,
                        "MESSAGE", "no route matches profile '%s': its events are accepted and "
                        "counted as unrouted (said once for each name)", profile);
    }
}

void
evbus_queue_unlock (EvbusQueue *self)
{
  gboolean wake = (self->n_events > 0 || self->to_find.length > 0) && !self->awake;
  gboolean totals_moved = self->totals_moved && self->notifier != NULL;
  gboolean tell = self->figures_moved && !self->figures_told && self->figures != NULL;
  gboolean look = self->room.wanted && self->room.settled && !self->room.told && self->look != NULL;
  gint64 look_delay = self->room.delay;
  gboolean news = self->follows.news.length > 0 && !self->told && self->notifier != NULL;
  g_autoptr(GPtrArray) garbage = NULL;
  g_autoptr(GPtrArray) to_log = NULL;

  self->totals_moved = FALSE;
  if (wake)
    self->awake = TRUE;
  if (tell)
    self->figures_told = TRUE;
  if (look)
    self->room.told = TRUE;
  if (news)
    self->told = TRUE;
  if (self->garbage->len > 0)
    {
      garbage = self->garbage;
      self->garbage = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_route_set_free);
    }
  if (self->to_log->len > 0)
    {
      to_log = self->to_log;
      self->to_log = g_ptr_array_new_with_free_func (g_free);
    }

  g_async_queue_unlock (self->chunks);

  if (wake)
    evbus_source_wake (self->source);
  if (tell)
    g_source_set_ready_time (self->figures, g_get_monotonic_time () + FIGURES_US);
  if (look)
    g_source_set_ready_time (self->look, g_get_monotonic_time () + look_delay);
  if (news)
    evbus_notifier_changed_later (self->notifier, 1);
  if (to_log != NULL)
    log_unrouted (to_log);
  if (totals_moved)
    evbus_notifier_totals_moved (self->notifier);
}

void
evbus_take_init (EvbusTake *self)
{
  self->chunks = g_ptr_array_new ();
  self->sets = g_ptr_array_new ();
  self->weight = 0;
}

void
evbus_take_clear (EvbusTake *self)
{
  g_ptr_array_unref (self->chunks);
  g_ptr_array_unref (self->sets);
}

static gboolean
take_chunk_locked (EvbusQueue *self,
                   EvbusTake  *take)
{
  EvbusChunk *chunk = g_async_queue_try_pop_unlocked (self->chunks);

  if (chunk == NULL)
    return FALSE;

  if (chunk == self->open)
    self->open = NULL;
  take->weight += chunk->weight;
  g_ptr_array_add (take->chunks, chunk);
  g_ptr_array_add (take->sets, g_steal_pointer (&chunk->set));
  self->n_events -= chunk->n_events;
  self->n_taken += chunk->n_events;
  self->weight -= chunk->weight;

  return (take->chunks->len < EVBUS_TAKE_CHUNKS && take->weight < EVBUS_TAKE_BYTES) || chunk->goes_on;
}

gboolean
evbus_queue_take (EvbusQueue *self,
                  EvbusTake  *take)
{
  GQueue done = G_QUEUE_INIT;
  gint64 now;

  evbus_queue_lock (self);

  for (guint i = 0; i < take->sets->len; i++)
    evbus_route_set_release (take->sets->pdata[i], 1, self->garbage);
  g_ptr_array_set_size (take->chunks, 0);
  g_ptr_array_set_size (take->sets, 0);
  take->weight = 0;

  while (take_chunk_locked (self, take))
    ;

  if (take->chunks->len == 0)
    self->awake = FALSE;
  else if (self->for_space.length > 0)
    evbus_waiting_queue_has_room_locked (self, &done);

  evbus_queue_unlock (self);

  now = evbus_clock_get_boot_time ();
  for (guint i = 0; i < take->chunks->len; i++)
    ((EvbusChunk *) take->chunks->pdata[i])->picked_up = now;
  evbus_waiting_answer (&done);
  return take->chunks->len > 0;
}

static void
settle_chunk_locked (EvbusQueue    *self,
                     EvbusChunk    *chunk,
                     EvbusRouteSet *set,
                     const GError  *refusal,
                     GQueue        *answers)
{
  for (guint i = 0; i < chunk->n_events; i++)
    {
      if (chunk->events[i]->known_id || chunk->events[i]->followed)
        evbus_queue_settle_event_locked (self, chunk->events[i], set, refusal, answers);
    }
}

/* Puts that were settled on the way. */
static void
take_answers_locked (EvbusQueue *self,
                     GQueue     *answers)
{
  GQueue settled = evbus_follows_steal_answers (&self->follows);
  EvbusPut *put;

  while ((put = g_queue_pop_head (&settled)) != NULL)
    g_queue_push_tail (answers, put);
}

void
evbus_queue_stored (EvbusQueue *self,
                    EvbusTake  *take,
                    GQueue     *answers)
{
  evbus_queue_lock (self);
  for (guint i = 0; i < take->chunks->len; i++)
    settle_chunk_locked (self, take->chunks->pdata[i], take->sets->pdata[i], NULL, answers);
  take_answers_locked (self, answers);
  evbus_queue_unlock (self);
}

static void
unbook_locked (EvbusRoute *route,
               EvbusEvent *event)
{
  route->ledger.queued--;
  route->queued_weight -= event->weight;
  if (event->has_receipt)
    route->ledger.accepted--;
  else
    route->ledger.dropped++;
}

static void
have_room_locked (EvbusQueue    *self,
                  EvbusRouteSet *set,
                  GQueue        *done)
{
  for (guint i = 0; i < set->n_routes; i++)
    {
      if (set->routes[i]->waiting.length > 0)
        evbus_waiting_route_has_room_locked (self, set->routes[i], done);
    }
}

void
evbus_queue_take_back (EvbusQueue   *self,
                       EvbusTake    *take,
                       const GError *refusal,
                       GQueue       *answers)
{
  GQueue done = G_QUEUE_INIT;

  evbus_queue_lock (self);
  for (guint i = 0; i < take->chunks->len; i++)
    {
      EvbusChunk *chunk = take->chunks->pdata[i];
      EvbusRouteSet *set = take->sets->pdata[i];

      settle_chunk_locked (self, chunk, set, refusal, answers);
      for (guint j = 0; j < chunk->n_events; j++)
        {
          for (guint k = 0; k < set->n_routes; k++)
            unbook_locked (set->routes[k], chunk->events[j]);
        }
    }
  for (guint i = 0; i < take->sets->len; i++)
    have_room_locked (self, take->sets->pdata[i], &done);
  evbus_queue_unlock (self);

  evbus_waiting_answer (&done);
}

GPtrArray *
evbus_queue_get_holders_locked (EvbusQueue *self,
                                gpointer    spool_route)
{
  return g_hash_table_lookup (self->holders, spool_route);
}

/* Whether no other route has counted some of what it has. */
static gboolean
is_sole_holder_locked (EvbusQueue *self,
                       EvbusRoute *route)
{
  GPtrArray *holders = evbus_queue_get_holders_locked (self, route->spool_route);

  return holders != NULL && holders->len == 1;
}

void
evbus_queue_settle (EvbusQueue        *self,
                    EvbusRoute        *route,
                    const EvbusLedger *outcome,
                    guint              n_events,
                    gsize              weight,
                    const EvbusLeft   *left)
{
  GQueue done = G_QUEUE_INIT;
  GQueue answers;

  evbus_queue_lock (self);
  route->ledger.delivered += outcome->delivered;
  route->ledger.dead += outcome->dead;
  route->ledger.expired += outcome->expired;
  route->ledger.dropped += outcome->dropped;
  route->ledger.retried += outcome->retried;
  route->ledger.duplicates += outcome->duplicates;
  route->ledger.queued -= n_events;
  route->queued_weight -= weight;
  self->room.settled |= n_events > 0;
  /* One that is damaged leaves without its weight, since nobody knows it. */
  if (route->ledger.queued == 0 && route->queued_weight != 0 && is_sole_holder_locked (self, route))
    route->queued_weight = 0;
  if (left != NULL)
    evbus_queue_report_locked (self, route, left);
  if (route->waiting.length > 0 && n_events > 0)
    evbus_waiting_route_has_room_locked (self, route, &done);
  answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
  evbus_waiting_answer (&done);
}

EvbusRouteTable *
evbus_queue_swap_table_locked (EvbusQueue      *self,
                               EvbusRouteTable *table,
                               GQueue          *done)
{
  EvbusRouteTable *old = self->table;

  self->table = table;
  evbus_waiting_resolve_locked (self, done);
  evbus_route_table_forget (old, self->garbage);
  return old;
}

guint64
evbus_queue_set_table (EvbusQueue      *self,
                       EvbusRouteTable *table,
                       GQueue          *done)
{
  EvbusRouteTable *old;
  guint64 n_pushed;

  evbus_queue_lock (self);
  old = evbus_queue_swap_table_locked (self, evbus_route_table_ref (table), done);
  n_pushed = self->n_pushed;
  evbus_queue_unlock (self);

  evbus_route_table_unref (old);
  return n_pushed;
}

void
evbus_queue_clear_table (EvbusQueue *self)
{
  g_autoptr(GPtrArray) no_routes = g_ptr_array_new ();
  EvbusRouteTable *table = evbus_route_table_new (no_routes, G_MAXUINT64);
  GQueue done = G_QUEUE_INIT;

  evbus_queue_set_table (self, table, &done);
  evbus_route_table_unref (table);
  evbus_waiting_answer (&done);
}

void
evbus_queue_set_budget (EvbusQueue *self,
                        guint       max_events,
                        gsize       max_weight,
                        GQueue     *done)
{
  evbus_queue_lock (self);
  self->max_events = max_events;
  self->max_weight = max_weight;
  evbus_waiting_ask_again_locked (self, done);
  evbus_queue_unlock (self);
}

guint
evbus_queue_get_max_events (EvbusQueue *self)
{
  guint max_events;

  evbus_queue_lock (self);
  max_events = self->max_events;
  evbus_queue_unlock (self);

  return max_events;
}

void
evbus_queue_set_durable (EvbusQueue *self,
                         gboolean    durable)
{
  evbus_queue_lock (self);
  g_atomic_int_set (&self->durable, durable);
  evbus_queue_unlock (self);
}

gboolean
evbus_queue_is_durable (EvbusQueue *self)
{
  return g_atomic_int_get (&self->durable);
}

void
evbus_queue_set_reject_unrouted (EvbusQueue *self,
                                 gboolean    reject_unrouted)
{
  evbus_queue_lock (self);
  self->reject_unrouted = reject_unrouted;
  evbus_queue_unlock (self);
}

void
evbus_queue_close (EvbusQueue *self)
{
  GQueue done = G_QUEUE_INIT;

  evbus_queue_lock (self);
  self->closed = TRUE;
  evbus_waiting_ask_again_locked (self, &done);   /* refuses them all */
  evbus_queue_unlock (self);

  evbus_waiting_answer (&done);
}

void
evbus_queue_adopt (EvbusQueue *self,
                   EvbusRoute *route)
{
  evbus_queue_lock (self);
  g_ptr_array_add (self->routes, route);
  evbus_queue_unlock (self);
}

static void
take_over_locked (EvbusRoute        *route,
                  const EvbusLedger *ledger,
                  guint64            weight)
{
  evbus_ledger_add (&route->ledger, ledger);
  route->queued_weight += weight;
}

/* The oldest of those that are left goes on with the counts. */
static void
give_up_part_locked (EvbusQueue *self,
                     EvbusRoute *route)
{
  GPtrArray *holders = evbus_queue_get_holders_locked (self, route->spool_route);
  EvbusRoute *heir;

  g_ptr_array_remove (holders, route);
  if (holders->len == 0)
    {
      g_hash_table_remove (self->holders, route->spool_route);
      return;
    }
  heir = holders->pdata[0];
  take_over_locked (heir, &route->ledger, route->queued_weight);
  heir->shares = holders->len > 1;
}

void
evbus_queue_retire (EvbusQueue *self,
                    EvbusRoute *route)
{
  evbus_queue_lock (self);
  if (g_ptr_array_remove (self->routes, route))
    {
      /* What nobody goes on with is counted in the spool. */
      if (route->spool_route == NULL)
        evbus_ledger_add (&self->retired, &route->ledger);
      else
        give_up_part_locked (self, route);
    }
  evbus_queue_unlock (self);
}

gboolean
evbus_queue_bind_locked (EvbusQueue      *self,
                         EvbusRoute      *route,
                         EvbusSpoolRoute *spool_route)
{
  GPtrArray *holders = evbus_queue_get_holders_locked (self, spool_route);
  EvbusLedger ledger = { 0 };
  guint64 weight = 0;

  route->spool_route = evbus_spool_route_ref (spool_route);
  if (holders != NULL)
    {
      route->shares = ((EvbusRoute *) holders->pdata[0])->shares = TRUE;
    }
  else
    {
      holders = g_ptr_array_new ();
      g_hash_table_insert (self->holders, spool_route, holders);
      evbus_spool_route_get_ledger (spool_route, &ledger, &weight);
      take_over_locked (route, &ledger, weight);
    }
  g_ptr_array_add (holders, route);
  return holders->len > 1 || ledger.queued > 0;
}

GHashTable *
evbus_queue_list_held_locked (EvbusQueue *self)
{
  GHashTable *held = g_hash_table_new_full (NULL, NULL, NULL, g_free);

  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusRoute *route = self->routes->pdata[i];
      guint64 *n;

      if (route->spool_route == NULL)
        continue;
      n = g_hash_table_lookup (held, route->spool_route);
      if (n == NULL)
        g_hash_table_insert (held, route->spool_route, n = g_new0 (guint64, 1));
      *n += route->ledger.queued + route->ledger.dead;
    }
  return held;
}

gboolean
evbus_queue_has_spool_route (EvbusQueue *self,
                             gpointer    spool_route)
{
  gboolean found;

  evbus_queue_lock (self);
  found = evbus_queue_get_holders_locked (self, spool_route) != NULL;
  evbus_queue_unlock (self);

  return found;
}

GPtrArray *
evbus_queue_dup_routes (EvbusQueue *self)
{
  GPtrArray *routes;

  evbus_queue_lock (self);
  routes = evbus_route_array_copy (self->routes);
  evbus_queue_unlock (self);

  return routes;
}
