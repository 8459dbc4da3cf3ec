/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-route-worker-private.h"

#include "evbus-clock-private.h"

/* The route's own, but no more than the whole spool's. */
static gint64
get_max_age (EvbusRoute *route)
{
  gint64 max_age = route->spec->delivery.max_age;
  gint64 of_spool = g_atomic_int_get (&route->queue->spool_max_age) * (gint64) G_USEC_PER_SEC;

  return of_spool > 0 && (max_age <= 0 || of_spool < max_age) ? of_spool : max_age;
}

/* When an event that waits since @since, which may be before this boot, is too
 * old: boot time; -1: never. */
static gint64
expiry_of (EvbusRoute *route,
           EvbusEvent *event,
           gint64      since)
{
  gint64 max_age = get_max_age (route);

  if (event->max_age > 0 && (max_age <= 0 || event->max_age < max_age))
    max_age = event->max_age;

  return max_age > 0 ? MAX (0, since + max_age) : -1;
}

static gint64
held_since (EvbusRoute *route,
            guint       index)
{
  return evbus_chunk_since (route->hand.origins->pdata[index], route->hand.events->pdata[index]);
}

/* Lets go of the first @n held events, but for those whose byte in @keep is
 * set. */
void
evbus_worker_let_go (EvbusWorker  *self,
                     guint         n,
                     const guint8 *keep)
{
  EvbusRoute *route = self->route;

  evbus_hand_keep (&route->hand, n, keep);

  g_mutex_lock (&route->lock);
  route->n_held = route->hand.events->len;
  route->held_weight = route->hand.weight;
  g_mutex_unlock (&route->lock);
}

void
evbus_worker_let_go_first (EvbusWorker *self,
                           guint        n)
{
  EvbusRoute *route = self->route;

  evbus_hand_drop_first (&route->hand, n);

  g_mutex_lock (&route->lock);
  route->n_held = route->hand.events->len;
  route->held_weight = route->hand.weight;
  g_mutex_unlock (&route->lock);
}

void
evbus_worker_let_go_all (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  evbus_hand_drop (&route->hand);

  g_mutex_lock (&route->lock);
  route->n_held = 0;
  route->held_weight = 0;
  g_mutex_unlock (&route->lock);
}

gboolean
evbus_worker_may_have_expired (EvbusWorker *self,
                               guint        first,
                               gint64       now)
{
  EvbusRoute *route = self->route;
  gint64 max_age = get_max_age (route);

  return (max_age > 0 && now >= held_since (route, first) + max_age) ||
         (route->hand.next_expiry > 0 && now >= route->hand.next_expiry);
}

/* What was too old: dead letters, where they are kept. */
static void
expire (EvbusWorker  *self,
        guint         n,
        const guint8 *keep,
        GPtrArray    *expired)
{
  g_autofree EvbusSpoolDeath *lost = NULL;
  EvbusLedger outcome = { 0 };
  gsize weight = 0;

  if (expired->len == 0)
    return;

  lost = g_new (EvbusSpoolDeath, expired->len);
  for (guint i = 0; i < expired->len; i++)
    {
      EvbusEvent *event = expired->pdata[i];

      weight += event->weight;
      self->position = MAX (self->position, event->seq);
      lost[i].event = event;
      lost[i].reason = "it grew older than max_age";
    }
  *(evbus_worker_keeps_dead (self) ? &outcome.dead : &outcome.expired) = expired->len;
  evbus_worker_settle (self, n, keep, &outcome, weight, lost, expired->len);
}

static void
expire_held (EvbusWorker *self,
             gint64       now)
{
  EvbusRoute *route = self->route;
  guint n = route->hand.events->len;
  g_autoptr(GPtrArray) expired = NULL;
  g_autofree guint8 *keep = NULL;

  if (!evbus_worker_may_have_expired (self, 0, now))
    return;

  expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  keep = g_new (guint8, n);
  for (guint i = 0; i < n; i++)
    {
      EvbusEvent *event = route->hand.events->pdata[i];
      gint64 expiry = expiry_of (route, event, held_since (route, i));

      keep[i] = expiry < 0 || now < expiry;
      if (!keep[i])
        g_ptr_array_add (expired, evbus_event_ref (event));
    }
  if (expired->len == 0)
    return;

  expire (self, n, keep, expired);
  evbus_worker_let_go (self, n, keep);
}

/* Takes what is too old out of the window. Returns when the next one is, or
 * -1. */
static gint64
take_expired_locked (EvbusRoute *route,
                     gint64      now,
                     GPtrArray  *expired)
{
  EvbusEvent *oldest;
  gint64 since;

  while ((oldest = evbus_window_peek (&route->window, &since)) != NULL)
    {
      gint64 expiry = expiry_of (route, oldest, since);

      if (expiry < 0 || now < expiry)
        return expiry;
      evbus_window_drop_oldest (&route->window, route->window.n_events - 1, G_MAXSIZE, expired);
    }

  return -1;
}

/* With a spool they are kept until it has a thread that writes them off. */
void
evbus_route_expire (EvbusRoute *self)
{
  g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

  if (self->spool != NULL)
    return;

  g_mutex_lock (&self->lock);
  take_expired_locked (self, evbus_clock_get_boot_time (), expired);
  g_mutex_unlock (&self->lock);

  if (expired->len > 0)
    evbus_route_give_up (self, expired, G_STRUCT_OFFSET (EvbusLedger, expired),
                         "it grew older than max_age");
}

void
evbus_worker_sleep (EvbusWorker *self,
                    gint64       when)
{
  EvbusRoute *route = self->route;
  g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  gint64 now = evbus_clock_get_boot_time ();
  gint64 expiry;

  if (route->hand.events->len > 0)
    expire_held (self, now);
  if (route->hand.events->len == 0)
    evbus_worker_refill (self);

  g_mutex_lock (&route->lock);
  if (route->hand.events->len > 0)
    expiry = expiry_of (route, route->hand.events->pdata[0], held_since (route, 0));
  else
    expiry = take_expired_locked (route, now, expired);
  if (expiry >= 0)
    expiry = evbus_clock_to_monotonic (expiry);
  if (expiry >= 0 && (when < 0 || expiry < when))
    when = expiry;

  /* Under the lock: who pushes wakes only after it, and is not overwritten. */
  if (route->n_held == 0 && route->window.n_events == 0)
    route->awake = FALSE;
  if (expired->len > 0 && route->behind)
    when = 0;   /* there may be more of them in the spool */
  if (route->n_orders == self->n_orders)
    g_source_set_ready_time (route->work, when);
  g_mutex_unlock (&route->lock);

  expire (self, 0, NULL, expired);
}

/* A batch that is not full waits for more, if the owner wants that. */
static gint64
lingers_until_locked (EvbusWorker *self,
                      gint64       now)
{
  EvbusRoute *route = self->route;
  const EvbusDelivery *delivery = &route->spec->delivery;
  gint64 since;

  if (delivery->linger == 0 || self->no_linger || route->phase != EVBUS_PHASE_RUN || route->hurry ||
      route->window.n_events >= self->max_events || route->window.weight >= delivery->batch_bytes ||
      evbus_window_peek (&route->window, &since) == NULL || now >= since + delivery->linger)
    return -1;

  return since + delivery->linger;
}

static void
take_locked (EvbusWorker *self,
             guint        max_events,
             gsize        max_bytes)
{
  EvbusRoute *route = self->route;

  evbus_window_take (&route->window, max_events, max_bytes, &route->hand);
  route->n_held = route->hand.events->len;
  route->held_weight = route->hand.weight;
}

void
evbus_worker_take (EvbusWorker *self,
                   guint        max_events,
                   gsize        max_bytes)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  take_locked (self, max_events, max_bytes);
  g_mutex_unlock (&route->lock);

  if (route->hand.events->len > 0)
    self->position = evbus_hand_last (&route->hand)->seq;
}

/* Takes the next batch out of the window, if there is one now. */
static void
take_batch (EvbusWorker *self,
            gint64       now)
{
  EvbusRoute *route = self->route;
  gint64 lingers_until;

  g_mutex_lock (&route->lock);
  lingers_until = lingers_until_locked (self, now);
  if (lingers_until < 0)
    {
      take_locked (self, self->max_events, route->spec->delivery.batch_bytes);
      self->no_linger = FALSE;
    }
  else
    /* Under the lock: what ends the lingering wakes only after it, and is not
     * overwritten. */
    g_source_set_ready_time (route->work, evbus_clock_to_monotonic (lingers_until));
  if (route->n_held == 0)
    route->awake = FALSE;
  g_mutex_unlock (&route->lock);

  if (route->hand.events->len > 0)
    self->position = evbus_hand_last (&route->hand)->seq;
}

/* Takes the next batch into the hand. FALSE: there is none now. */
gboolean
evbus_worker_fetch (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  gint64 now = evbus_clock_get_boot_time ();

  /* What an extension left to be looked at. */
  if (route->hand.events->len > 0)
    expire_held (self, now);
  while (route->hand.events->len == 0)
    {
      self->halving = FALSE;
      self->limit = self->allowance;
      take_batch (self, now);
      if (route->hand.events->len == 0 && !evbus_worker_refill (self))
        return FALSE;
      if (route->hand.events->len > 0)
        expire_held (self, now);
    }

  return TRUE;
}
