/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whether an event comes in: its routes are found, and their budgets and the
 * queue's are asked, all at once and under one lock. */

#include "evbus-admission-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

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

gboolean
evbus_admission_couples (EvbusRoute *route)
{
  EvbusOverflow overflow = route->spec->delivery.overflow;

  return overflow == EVBUS_OVERFLOW_REJECT || overflow == EVBUS_OVERFLOW_BLOCK;
}

/* What a route can hold: its window, or its share of the spool. */
static guint
max_events_of (EvbusRoute *route)
{
  return route->queue->durable ? G_MAXUINT : route->spec->delivery.window_events;
}

static gsize
max_weight_of (EvbusRoute *route)
{
  const EvbusDelivery *delivery = &route->spec->delivery;

  if (!route->queue->durable)
    return delivery->window_bytes;
  return MIN (delivery->spool_bytes, evbus_room_get_most (&route->queue->room));
}

gboolean
evbus_admission_ever_fits (EvbusRoute *route,
                           guint       n_events,
                           gsize       weight)
{
  /* A single event always fits into a route that is empty. */
  return !evbus_admission_couples (route) || n_events <= 1 ||
         (n_events <= max_events_of (route) && weight <= max_weight_of (route));
}

/* What is queued for a route; where it takes another's place, that one's too. */
static void
get_queued (EvbusRoute *route,
            guint64    *n_events,
            gsize      *weight)
{
  GPtrArray *holders = route->shares ? evbus_queue_get_holders_locked (route->queue, route->spool_route) : NULL;

  *n_events = route->ledger.queued;
  *weight = route->queued_weight;
  for (guint i = 0; holders != NULL && i < holders->len; i++)
    {
      EvbusRoute *other = holders->pdata[i];

      if (other == route)
        continue;
      *n_events += other->ledger.queued;
      *weight += other->queued_weight;
    }
}

gboolean
evbus_admission_fits (EvbusRoute *route,
                      guint       n_events,
                      gsize       weight)
{
  guint64 n_queued;
  gsize queued;

  if (!evbus_admission_couples (route))
    return TRUE;
  get_queued (route, &n_queued, &queued);
  if (n_queued == 0 && n_events == 1)
    return TRUE;
  if (n_queued + n_events > max_events_of (route) || queued + weight > max_weight_of (route))
    return FALSE;
  if (evbus_room_fits (&route->queue->room, queued, weight))
    {
      route->queue->room.let_in = TRUE;
      return TRUE;
    }
  route->queue->room.wanted = TRUE;
  return FALSE;
}

gboolean
evbus_admission_queue_fits (EvbusQueue *self,
                            guint       n_events,
                            gsize       weight)
{
  return self->n_events + n_events <= self->max_events &&
         self->weight + weight <= self->max_weight;
}

guint
evbus_admission_next_run (EvbusPut *put,
                          guint     first,
                          gsize    *weight)
{
  EvbusRouteSet *set = put->events[first]->set;
  guint i = first;

  *weight = 0;
  do
    *weight += put->events[i++]->weight;
  while (i < put->n_events && put->events[i]->set == set);

  return i;
}

static void
book (EvbusRoute *route,
      guint       n_events,
      gsize       weight)
{
  route->ledger.accepted += n_events;
  route->ledger.queued += n_events;
  route->queued_weight += weight;
}

static void
unbook (EvbusRoute *route,
        guint       n_events,
        gsize       weight)
{
  route->ledger.accepted -= n_events;
  route->ledger.queued -= n_events;
  route->queued_weight -= weight;
}

/* Whether what a set of routes is given counts for those that may not lose anything: only where a
 * spool is. */
static gboolean
is_coupling (EvbusQueue    *self,
             EvbusRouteSet *set)
{
  for (guint i = 0; self->room.max != 0 && i < set->n_routes; i++)
    {
      if (evbus_admission_couples (set->routes[i]))
        return TRUE;
    }
  return FALSE;
}

/* Undoes what book_put() did before it met the route that is full: the runs
 * before the event @last, and @n_routes routes of the run that begins there. */
static void
unbook_put (EvbusQueue *queue,
            EvbusPut   *put,
            guint       last,
            guint       n_routes)
{
  guint end;

  for (guint first = 0; first <= last; first = end)
    {
      EvbusRouteSet *set = put->events[first]->set;
      gsize weight;
      guint n = first < last ? set->n_routes : n_routes;

      end = evbus_admission_next_run (put, first, &weight);
      for (guint i = 0; i < n; i++)
        unbook (set->routes[i], end - first, weight);
      if (first < last && is_coupling (queue, set))
        queue->room.coupled -= weight;
    }
}

/* Returns the route that has no room, or NULL with all routes booked. @total: the weight of all
 * that has routes. */
static EvbusRoute *
book_put (EvbusQueue *queue,
          EvbusPut   *put,
          gsize       total)
{
  guint end;

  for (guint first = 0; first < put->n_events; first = end)
    {
      EvbusRouteSet *set = put->events[first]->set;
      gsize weight;

      end = evbus_admission_next_run (put, first, &weight);
      for (guint i = 0; i < set->n_routes; i++)
        {
          EvbusRoute *route = set->routes[i];

          if (!evbus_admission_fits (route, end - first, weight))
            {
              unbook_put (queue, put, first, i);
              return route;
            }
          book (route, end - first, weight);
        }
      if (is_coupling (queue, set))
        queue->room.coupled += weight;
    }

  queue->room.weight += total;
  return NULL;
}

void
evbus_admission_tally_locked (EvbusQueue *self,
                              EvbusPut   *put)
{
  guint end;

  self->tally++;
  put->n_routed = 0;
  put->routed_weight = 0;

  for (guint first = 0; first < put->n_events; first = end)
    {
      EvbusRouteSet *set = put->events[first]->set;
      gsize weight;

      end = evbus_admission_next_run (put, first, &weight);
      if (set->n_routes > 0)
        {
          put->n_routed += end - first;
          put->routed_weight += weight;
        }
      for (guint i = 0; i < set->n_routes; i++)
        {
          EvbusRoute *route = set->routes[i];

          if (route->tally != self->tally)
            {
              route->tally = self->tally;
              route->tally_events = 0;
              route->tally_weight = 0;
            }
          route->tally_events += end - first;
          route->tally_weight += weight;
        }
    }
}

/* The first route of @put of which @is_it holds, or NULL. */
static EvbusRoute *
find_route (EvbusPut  *put,
            gboolean (*is_it) (EvbusRoute *route))
{
  EvbusRouteSet *set = NULL;

  for (guint i = 0; i < put->n_events; i++)
    {
      if (put->events[i]->set == set)
        continue;
      set = put->events[i]->set;
      for (guint j = 0; j < set->n_routes; j++)
        {
          if (is_it (set->routes[j]))
            return set->routes[j];
        }
    }

  return NULL;
}

static gboolean
is_too_small (EvbusRoute *route)
{
  return !evbus_admission_ever_fits (route, route->tally_events, route->tally_weight);
}

static gboolean
is_waited_for (EvbusRoute *route)
{
  return route->waiting.length > 0;
}

/* Once a put cannot be accepted now: whether it ever could be. */
static gboolean
check_windows (EvbusQueue  *self,
               EvbusPut    *put,
               GError     **error)
{
  EvbusRoute *route;

  if (put->n_events == 1)
    return TRUE;

  evbus_admission_tally_locked (self, put);
  route = find_route (put, is_too_small);
  if (route == NULL)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
               "%u events of %" G_GSIZE_FORMAT " bytes together are more than route %s can hold "
               "(%u events, %" G_GSIZE_FORMAT " bytes)",
               route->tally_events, route->tally_weight, route->label,
               max_events_of (route), max_weight_of (route));
  return FALSE;
}

static EvbusVerdict
refuse_full_route (EvbusRoute  *route,
                   GError     **error)
{
  guint64 n_queued;
  gboolean whole;
  gsize queued;

  get_queued (route, &n_queued, &queued);
  whole = queued < max_weight_of (route) && !evbus_room_fits (&route->queue->room, queued, 1);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
               "route %s is full (%" G_GUINT64_FORMAT " events, %" G_GSIZE_FORMAT " bytes queued%s)",
               route->label, n_queued, queued,
               whole ? ", and the whole spool, see 'evbus: spool: bytes', has no room for more of them" : "");
  return route->spec->delivery.overflow == EVBUS_OVERFLOW_BLOCK ? EVBUS_VERDICT_FULL_ROUTE
                                                                : EVBUS_VERDICT_REFUSED;
}

/* What can be said without asking the routes. Counts the events that have
 * routes, of which @weight is the sum. */
static EvbusVerdict
check_put (EvbusQueue  *self,
           EvbusPut    *put,
           guint       *n_routed,
           gsize       *weight,
           GError     **error)
{
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
          ++*n_routed;
          *weight += event->weight;
        }
      else if (self->reject_unrouted || put->to_be_routed)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_UNROUTED,
                       "no route matches profile '%s'", event->profile);
          return EVBUS_VERDICT_REFUSED;
        }
    }

  if (*n_routed > self->max_events || *weight > self->max_weight)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
                   "%u events of %" G_GSIZE_FORMAT " bytes together are more than the queue can hold "
                   "(%u events, %" G_GSIZE_FORMAT " bytes)",
                   *n_routed, *weight, self->max_events, self->max_weight);
      return EVBUS_VERDICT_REFUSED;
    }

  return EVBUS_VERDICT_ACCEPTED;
}

/* Whether @put would overtake one that waits for what it needs. A put that
 * waits itself is asked only when it is the first at all of its routes. */
static EvbusVerdict
check_turn (EvbusQueue  *self,
            EvbusPut    *put,
            GError     **error)
{
  EvbusRoute *route;

  if (self->for_space.length > 0 && self->for_space.head != put->space_link)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                           "older puts wait for space in the queue");
      return EVBUS_VERDICT_FULL_QUEUE;
    }

  route = put->state == EVBUS_PUT_WAITING ? NULL : find_route (put, is_waited_for);
  if (route == NULL)
    return EVBUS_VERDICT_ACCEPTED;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
               "older puts wait for space on route %s", route->label);
  return EVBUS_VERDICT_FULL_ROUTE;
}

static EvbusVerdict
check_queue (EvbusQueue  *self,
             guint        n_routed,
             gsize        weight,
             GError     **error)
{
  if (evbus_admission_queue_fits (self, n_routed, weight))
    return EVBUS_VERDICT_ACCEPTED;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
               "the queue is full (%u events, %" G_GSIZE_FORMAT " bytes)",
               self->n_events, self->weight);
  return EVBUS_VERDICT_FULL_QUEUE;
}

/* Books the put, or says what it has to wait for. */
static EvbusVerdict
ask_for_room (EvbusQueue  *self,
              EvbusPut    *put,
              guint        n_routed,
              gsize        weight,
              GError     **error)
{
  EvbusVerdict verdict = EVBUS_VERDICT_ACCEPTED;
  EvbusRoute *full;

  if (self->waiting.length > 0)
    verdict = check_turn (self, put, error);
  if (verdict == EVBUS_VERDICT_ACCEPTED)
    verdict = check_queue (self, n_routed, weight, error);
  if (verdict != EVBUS_VERDICT_ACCEPTED)
    return verdict;

  full = book_put (self, put, weight);
  return full == NULL ? EVBUS_VERDICT_ACCEPTED : refuse_full_route (full, error);
}

/* FALSE: the id is new. One whose event is not in the spool yet is answered
 * together with it. */
static gboolean
is_repeated (EvbusQueue *self,
             EvbusPut   *put)
{
  const EvbusKnownId *known;
  const char *id;

  if (!put->has_id || self->closed)
    return FALSE;
  id = put->events[0]->id;
  known = evbus_known_ids_find (&self->known_ids, id);
  if (known == NULL)
    return FALSE;

  if (evbus_put_follows (put))
    {
      evbus_queue_repeat_locked (self, put);
    }
  else if (!known->settled && put->task != NULL && !put->at_once)
    {
      evbus_known_ids_repeat (&self->known_ids, id, evbus_put_ref (put));
      put->has_receipt = TRUE;
    }
  self->repeated++;
  self->figures_moved = self->totals_moved = TRUE;
  return TRUE;
}

EvbusVerdict
evbus_admission_decide_locked (EvbusQueue  *self,
                               EvbusPut    *put,
                               GError     **error)
{
  EvbusVerdict verdict;
  guint n_routed = 0;
  gsize weight = 0;
  g_autoptr(GError) full = NULL;

  if (is_repeated (self, put))
    {
      evbus_admission_release_locked (self, put);
      return EVBUS_VERDICT_ACCEPTED;
    }

  verdict = check_put (self, put, &n_routed, &weight, error);
  if (verdict != EVBUS_VERDICT_ACCEPTED)
    return verdict;
  if (!evbus_queue_can_follow_locked (self, put, error))
    return EVBUS_VERDICT_REFUSED;

  if (n_routed > 0)
    verdict = ask_for_room (self, put, n_routed, weight, &full);
  if (verdict != EVBUS_VERDICT_ACCEPTED)
    {
      if (!check_windows (self, put, error))
        return EVBUS_VERDICT_REFUSED;
      g_propagate_error (error, g_steal_pointer (&full));
      return verdict;
    }

  if (put->has_id)
    evbus_known_ids_add (&self->known_ids, put->events[0]->id,
                         !self->durable || put->events[0]->set->n_routes == 0, put->events[0]->set->n_routes == 1, 0);
  evbus_queue_push_locked (self, put);
  evbus_admission_release_locked (self, put);   /* of the unrouted ones */

  return EVBUS_VERDICT_ACCEPTED;
}
