/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whether an event comes in: its routes are found, and their budgets and the
 * queue's are asked, all at once and under one lock. */

#include "evbus-admission-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

#define MIN_CHUNK_EVENTS 8u
#define MAX_CHUNK_EVENTS 256u

static EvbusRouteSet *
find_set_locked (EvbusQueue  *self,
                 const char  *profile,
                 gboolean     may_unlock,
                 GError     **error)
{
  EvbusRouteTable *table = self->table;
  guint64 generation = table->generation;
  EvbusRouteSet *set = evbus_route_table_lookup (table, profile);
  g_autoptr(GPtrArray) matched = NULL;

  if (set != NULL)
    return set;

  if (!may_unlock)
    {
      matched = evbus_route_table_match (table, profile, error);
    }
  else
    {
      evbus_route_table_ref (table);
      evbus_queue_unlock (self);
      matched = evbus_route_table_match (table, profile, error);
      /* Before the lock: if a reload has replaced the table, its routes may go
       * with it, and they take the lock to settle their accounts. */
      evbus_route_table_unref (table);
      evbus_queue_lock (self);
    }

  if (matched == NULL)
    return NULL;
  if (generation != self->table->generation)
    return find_set_locked (self, profile, may_unlock, error);

  return evbus_route_table_remember (self->table, profile, matched, self->garbage);
}

gboolean
evbus_admission_resolve_locked (EvbusQueue  *self,
                                EvbusPut    *put,
                                gboolean     may_unlock,
                                GError     **error)
{
  guint64 generation;

  do
    {
      generation = self->table->generation;

      for (guint i = 0; i < put->n_events; i++)
        {
          EvbusEvent *event = put->events[i];
          EvbusRouteSet *set;

          if (event->set != NULL && event->set->generation == generation)
            continue;

          set = find_set_locked (self, event->profile, may_unlock, error);
          if (set == NULL)
            return FALSE;
          if (event->set != NULL)
            evbus_route_set_release (event->set, 1, self->garbage);
          set->ref_count++;
          event->set = set;
        }
    }
  while (generation != self->table->generation);

  return TRUE;
}

void
evbus_admission_release_locked (EvbusQueue *self,
                                EvbusPut   *put)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusEvent *event = put->events[i];

      if (event != NULL && event->set != NULL)
        {
          evbus_route_set_release (event->set, 1, self->garbage);
          event->set = NULL;
        }
    }
}

/* The overflow policies that couple producers to a route. */
static gboolean
couples (EvbusRoute *route)
{
  EvbusOverflow overflow = route->spec->delivery.overflow;

  return overflow == EVBUS_OVERFLOW_REJECT || overflow == EVBUS_OVERFLOW_BLOCK;
}

static gboolean
fits (EvbusRoute *route,
      EvbusEvent *event)
{
  const EvbusDelivery *delivery = &route->spec->delivery;

  return route->ledger.queued == 0 ||
         (route->ledger.queued < delivery->window_events &&
          route->queued_weight + event->weight <= delivery->window_bytes);
}

static void
book (EvbusRoute *route,
      EvbusEvent *event)
{
  route->ledger.accepted++;
  route->ledger.queued++;
  route->queued_weight += event->weight;
}

static void
unbook (EvbusRoute *route,
        EvbusEvent *event)
{
  route->ledger.accepted--;
  route->ledger.queued--;
  route->queued_weight -= event->weight;
}

/* Undoes what book_put() did before it met the route that is full. */
static void
unbook_put (EvbusPut *put,
            guint     n_events,
            guint     n_routes)
{
  for (guint i = 0; i <= n_events; i++)
    {
      EvbusEvent *event = put->events[i];
      guint n = i < n_events ? event->set->n_routes : n_routes;

      for (guint j = 0; j < n; j++)
        unbook (event->set->routes[j], event);
    }
}

/* Returns the route that has no room, or NULL with all routes booked. */
static EvbusRoute *
book_put (EvbusPut *put)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusEvent *event = put->events[i];

      for (guint j = 0; j < event->set->n_routes; j++)
        {
          EvbusRoute *route = event->set->routes[j];

          if (couples (route) && !fits (route, event))
            {
              unbook_put (put, i, j);
              return route;
            }
          book (route, event);
        }
    }

  return NULL;
}

static EvbusVerdict
refuse_full_route (EvbusPut    *put,
                   EvbusRoute  *route,
                   GError     **error)
{
  const EvbusDelivery *delivery = &route->spec->delivery;

  if (route->ledger.queued == 0)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
                   "%u events together are more than route %s can hold (%u events, %" G_GSIZE_FORMAT " bytes)",
                   put->n_events, route->label, delivery->window_events, delivery->window_bytes);
      return EVBUS_VERDICT_REFUSED;
    }

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
               "route %s is full (%" G_GUINT64_FORMAT " events, %" G_GSIZE_FORMAT " bytes queued)",
               route->label, route->ledger.queued, route->queued_weight);
  return delivery->overflow == EVBUS_OVERFLOW_BLOCK ? EVBUS_VERDICT_FULL_ROUTE
                                                    : EVBUS_VERDICT_REFUSED;
}

static EvbusVerdict
check_queue (EvbusQueue  *self,
             guint        n_routed,
             gsize        weight,
             GError     **error)
{
  if (n_routed > self->max_events || weight > self->max_weight)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
                   "%u events of %" G_GSIZE_FORMAT " bytes together are more than the queue can hold "
                   "(%u events, %" G_GSIZE_FORMAT " bytes)",
                   n_routed, weight, self->max_events, self->max_weight);
      return EVBUS_VERDICT_REFUSED;
    }

  if (self->n_events + n_routed > self->max_events ||
      self->weight + weight > self->max_weight)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                   "the queue is full (%u events, %" G_GSIZE_FORMAT " bytes)",
                   self->n_events, self->weight);
      return EVBUS_VERDICT_FULL_QUEUE;
    }

  return EVBUS_VERDICT_ACCEPTED;
}

/* What can be said without asking the routes. Counts the events that have
 * routes, of which @weight is the sum. */
static EvbusVerdict
check_put (EvbusQueue  *self,
           EvbusPut    *put,
           GError     **error)
{
  guint n_routed = 0;
  gsize weight = 0;

  if (self->closed)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED, "the broker was stopped");
      return EVBUS_VERDICT_REFUSED;
    }

  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusEvent *event = put->events[i];

      if (event->set->n_routes > 0)
        {
          n_routed++;
          weight += event->weight;
        }
      else if (self->reject_unrouted)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_UNROUTED,
                       "no route matches profile '%s'", event->profile);
          return EVBUS_VERDICT_REFUSED;
        }
    }

  return check_queue (self, n_routed, weight, error);
}

static void
count_unrouted (EvbusQueue *self,
                EvbusEvent *event)
{
  self->unrouted++;

  if (g_hash_table_size (self->unrouted_names) < EVBUS_UNROUTED_NAMES &&
      !g_hash_table_contains (self->unrouted_names, event->profile))
    {
      g_hash_table_add (self->unrouted_names, g_strdup (event->profile));
      g_ptr_array_add (self->to_log, g_strdup (event->profile));
    }
}

/* Chunks grow while the listener does not keep up, so that a single event
 * does not pay for many. */
static guint
next_chunk_size (EvbusQueue *self)
{
  guint size = self->open != NULL ? 4 * self->open->n_events : MIN_CHUNK_EVENTS;

  return CLAMP (size, MIN_CHUNK_EVENTS, MAX_CHUNK_EVENTS);
}

static void
append_event (EvbusQueue *self,
              EvbusEvent *event)
{
  EvbusRouteSet *set = g_steal_pointer (&event->set);

  if (self->open != NULL && self->open->set == set &&
      self->open->n_events < self->open->n_allocated)
    {
      evbus_route_set_release (set, 1, self->garbage);   /* the chunk has one */
    }
  else
    {
      self->open = evbus_chunk_new (set, next_chunk_size (self));
      g_async_queue_push_unlocked (self->chunks, self->open);
    }

  evbus_chunk_append (self->open, event);
}

static void
push_put (EvbusQueue *self,
          EvbusPut   *put)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusEvent *event = put->events[i];

      if (event->set->n_routes == 0)
        {
          count_unrouted (self, event);
          continue;
        }

      put->events[i] = NULL;
      self->n_events++;
      self->n_pushed++;
      self->weight += event->weight;
      append_event (self, event);
    }
}

EvbusVerdict
evbus_admission_decide_locked (EvbusQueue  *self,
                               EvbusPut    *put,
                               GError     **error)
{
  EvbusVerdict verdict;
  EvbusRoute *full;

  if (put->has_id && !self->closed &&
      evbus_known_ids_contains (&self->known_ids, put->events[0]->id))
    {
      evbus_admission_release_locked (self, put);
      return EVBUS_VERDICT_ACCEPTED;
    }

  verdict = check_put (self, put, error);
  if (verdict != EVBUS_VERDICT_ACCEPTED)
    return verdict;

  full = book_put (put);
  if (full != NULL)
    return refuse_full_route (put, full, error);

  if (put->has_id)
    evbus_known_ids_add (&self->known_ids, put->events[0]->id);
  push_put (self, put);
  evbus_admission_release_locked (self, put);   /* of the unrouted ones */

  return EVBUS_VERDICT_ACCEPTED;
}
