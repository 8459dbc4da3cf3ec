/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where there is a spool: a route that falls behind has no more than its window
 * in memory and reads the rest back when that is empty, and what it has settled is
 * written down. */

#include "evbus-route-worker-private.h"

#include "evbus-limits-private.h"
#include "evbus-source-private.h"

void
evbus_route_bind_spool_locked (EvbusRoute      *self,
                               EvbusSpool      *spool,
                               EvbusSpooler    *spooler,
                               EvbusSpoolRoute *spool_route)
{
  self->spool = evbus_spool_ref (spool);
  self->spooler = evbus_spooler_ref (spooler);
  self->pushed_to = evbus_spool_route_get_last (spool_route);
  self->behind = evbus_queue_bind_locked (self->queue, self, spool_route);
}

gboolean
evbus_route_defer_locked (EvbusRoute *self,
                          EvbusChunk *chunk)
{
  const EvbusDelivery *delivery = &self->spec->delivery;

  self->pushed_to = chunk->events[chunk->n_events - 1]->seq;
  if (self->pushed_to <= self->read_to)
    return TRUE;   /* it was read from the spool before it was handed on */
  if (!self->behind &&
      (self->n_held + self->window.n_events == 0 ||
       (self->n_held + self->window.n_events + chunk->n_events <= delivery->window_events &&
        self->held_weight + self->window.weight + chunk->weight <= delivery->window_bytes)))
    {
      self->read_to = self->pushed_to;
      return FALSE;
    }

  self->behind = TRUE;
  return TRUE;
}

/* Whether there is something in the spool that is not in memory, and the window
 * has room for it. */
static gboolean
wants_more (EvbusWorker *self,
            gint64      *read_to,
            gint64      *pushed_to)
{
  EvbusRoute *route = self->route;
  gboolean wants;

  g_mutex_lock (&route->lock);
  wants = route->behind && route->window.n_events == 0;
  *read_to = route->read_to;
  *pushed_to = route->pushed_to;
  g_mutex_unlock (&route->lock);

  return wants;
}

static gboolean
open_reader (EvbusWorker  *self,
             gint64        read_to,
             GError      **error)
{
  EvbusRoute *route = self->route;

  if (self->reader != NULL)
    return TRUE;

  /* What stands before @read_to was in memory. */
  if (read_to > 0)
    self->reader = evbus_spool_reader_new_after (route->spool, route->spool_route, read_to, error);
  else
    self->reader = evbus_spool_reader_new (route->spool, route->spool_route, error);
  if (self->reader == NULL)
    return FALSE;

  if (read_to == 0)
    self->resume_to = evbus_spool_reader_get_position (self->reader);
  return TRUE;
}

/* Puts what was read into the window. Returns whether the route is live again:
 * there was no more. */
static gboolean
fill_window (EvbusWorker *self,
             GPtrArray   *events,
             gint64       pushed_to)
{
  EvbusRoute *route = self->route;
  EvbusChunk *chunk = NULL;
  gint64 read_to = evbus_spool_reader_get_position (self->reader);
  gboolean live;

  if (events->len > 0)
    {
      chunk = evbus_chunk_new (NULL, events->len);
      for (guint i = 0; i < events->len; i++)
        evbus_chunk_append (chunk, evbus_event_ref (events->pdata[i]));
    }

  g_mutex_lock (&route->lock);
  route->read_to = MAX (route->read_to, read_to);
  if (chunk != NULL)
    evbus_window_push (&route->window, chunk);
  /* Not by what was pushed alone: events accepted before a reload are pushed to the route
   * before this one. A reader may be ahead of what the listener has handed on; then that
   * comes again and is only taken note of. */
  live = evbus_spool_reader_is_at_end (self->reader) && route->pushed_to <= MAX (read_to, pushed_to);
  if (live)
    {
      route->behind = FALSE;
      route->read_to = MAX (route->read_to, pushed_to);
    }
  g_mutex_unlock (&route->lock);

  g_clear_pointer (&chunk, evbus_chunk_unref);
  return live;
}

/* Who follows an event that is neither read nor still to be read waits in vain. */
static void
report_damaged (EvbusWorker *self,
                gint64       read_to)
{
  EvbusRoute *route = self->route;
  g_autoptr(GArray) present = g_array_new (FALSE, FALSE, sizeof (gint64));
  GQueue answers;

  if (!evbus_queue_is_followed (route->queue))
    return;

  for (guint i = 0; i < route->hand.events->len; i++)
    g_array_append_val (present, ((EvbusEvent *) route->hand.events->pdata[i])->seq);
  g_mutex_lock (&route->lock);
  evbus_window_list_until (&route->window, read_to, present);
  g_mutex_unlock (&route->lock);
  if (self->reader != NULL)
    evbus_spool_reader_list_pending (self->reader, present);
  evbus_queue_drop_followed (route->queue, route->spool_route, read_to, present,
                             "its record in the spool is damaged", &answers);
  evbus_put_answer_all (&answers);
}

/* @read_to: what was read ends there, and with it what is damaged: none of it is
 * read again, or it were dropped twice. */
static void
drop_damaged (EvbusWorker *self,
              guint        n_damaged,
              gint64       read_to)
{
  EvbusRoute *route = self->route;
  const EvbusLedger outcome = { .dropped = n_damaged };

  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "EVBUS_ROUTE", route->label,
                    "MESSAGE", "route %s: %u events in the spool are damaged, and are dropped",
                    route->label, n_damaged);
  self->resume_to = MAX (self->resume_to, read_to);
  evbus_worker_settle (self, 0, NULL, &outcome, 0, NULL, 0);
  report_damaged (self, read_to);
}

gboolean
evbus_worker_waits_for_spool (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  if (!evbus_worker_keeps_dead (self) || !evbus_spool_has_many_deaths (route->spool))
    return FALSE;

  evbus_worker_back_off (self, EVBUS_ROUTE_STATE_BROKEN,
                         "too many dead letters could not be written to the spool; see to its disk");
  evbus_spooler_tend (route->spooler);
  return TRUE;
}

gboolean
evbus_worker_refill (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  const EvbusDelivery *delivery = &route->spec->delivery;
  g_autoptr(GPtrArray) events = NULL;
  g_autoptr(GError) error = NULL;
  guint n_damaged = 0;
  gboolean read;
  gint64 read_to;
  gint64 pushed_to;

  if (route->spool == NULL || !wants_more (self, &read_to, &pushed_to) ||
      g_get_monotonic_time () < self->read_again)
    return FALSE;
  if (evbus_worker_waits_for_spool (self))
    {
      self->read_again = self->not_before;
      evbus_source_wake (route->work);
      return FALSE;
    }

  events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  /* So that the listener does not expire what is being read. */
  g_mutex_lock (&route->backlog_lock);
  read = open_reader (self, read_to, &error);
  if (read)
    read = evbus_spool_reader_read (self->reader, self->max_events, delivery->batch_bytes,
                                    events, &n_damaged, &error);
  if (read)
    read_to = evbus_spool_reader_get_position (self->reader);
  if (read && fill_window (self, events, pushed_to))
    g_clear_pointer (&self->reader, evbus_spool_reader_free);
  g_mutex_unlock (&route->backlog_lock);

  if (n_damaged > 0)
    drop_damaged (self, n_damaged, read_to);
  if (!read)
    {
      /* Not once more while it waits for that. */
      evbus_worker_back_off (self, EVBUS_ROUTE_STATE_BROKEN, error->message);
      self->read_again = self->not_before;
      evbus_source_wake (route->work);
    }
  /* What ended a read behind a damaged event is met by the next one. */
  return events->len > 0 || n_damaged > 0;
}

/* The sequence numbers of what is not settled up to @self->position: the held
 * events but for those that leave, and after a restart what is read again. */
static GArray *
collect_pending (EvbusWorker  *self,
                 guint         n,
                 const guint8 *keep)
{
  EvbusRoute *route = self->route;
  GArray *pending = g_array_new (FALSE, FALSE, sizeof (gint64));

  for (guint i = 0; i < route->hand.events->len; i++)
    {
      EvbusEvent *event = route->hand.events->pdata[i];

      if (i >= n || (keep != NULL && keep[i]))
        g_array_append_val (pending, event->seq);
    }

  if (self->position < self->resume_to)
    {
      g_mutex_lock (&route->lock);
      evbus_window_list_until (&route->window, self->resume_to, pending);
      g_mutex_unlock (&route->lock);
      if (self->reader != NULL)
        evbus_spool_reader_list_pending (self->reader, pending);
    }

  return pending;
}

gboolean
evbus_worker_keeps_dead (EvbusWorker *self)
{
  return self->route->spool != NULL && self->route->spec->delivery.dead_letters;
}

static void
tell_spool (EvbusWorker           *self,
            guint                  n,
            const guint8          *keep,
            const EvbusLedger     *outcome,
            gsize                  weight,
            const EvbusSpoolDeath *lost,
            guint                  n_lost)
{
  EvbusRoute *route = self->route;
  g_autoptr(GArray) pending = collect_pending (self, n, keep);

  evbus_spool_settle (route->spool, route->spool_route, MAX (self->position, self->resume_to),
                      (gint64 *) (gpointer) pending->data, pending->len,
                      outcome, weight, lost, evbus_worker_keeps_dead (self) ? n_lost : 0);
  evbus_spooler_tend (route->spooler);
}

void
evbus_worker_settle (EvbusWorker           *self,
                     guint                  n,
                     const guint8          *keep,
                     const EvbusLedger     *outcome,
                     gsize                  weight,
                     const EvbusSpoolDeath *lost,
                     guint                  n_lost)
{
  EvbusRoute *route = self->route;
  guint n_left = outcome->delivered + outcome->dead + outcome->expired + outcome->dropped;
  const EvbusLeft left = {
    .events = (EvbusEvent **) route->hand.events->pdata, .n_events = n, .keep = keep, .fate = EVBUS_FATE_DELIVERED,
    .lost = lost, .n_lost = n_lost, .lost_fate = outcome->expired > 0 ? EVBUS_FATE_EXPIRED : EVBUS_FATE_DEAD,
  };

  if (route->spool != NULL)
    tell_spool (self, n, keep, outcome, weight, lost, n_lost);
  evbus_route_settle (route, outcome, n_left, weight, &left);
  for (guint i = 0; i < n_lost; i++)
    evbus_notifier_event_failed (route->notifier, route, lost[i].event, lost[i].reason);
}

/* On the listener's thread. */
guint
evbus_route_expire_backlog (EvbusRoute *self,
                            guint64     max_weight,
                            gint64      put_before,
                            const char *reason,
                            gboolean   *busy)
{
  g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  EvbusLeft left = { .fate = EVBUS_FATE_EXPIRED, .reason = reason };
  EvbusLedger outcome = { 0 };
  guint64 weight = 0;
  gboolean behind;
  gint64 read_to;

  /* Not while it reads; there is a next time. */
  *busy = !g_mutex_trylock (&self->backlog_lock);
  if (*busy)
    return 0;

  g_mutex_lock (&self->lock);
  behind = self->behind;
  read_to = self->read_to;
  g_mutex_unlock (&self->lock);

  if (behind)
    outcome.expired = evbus_spool_expire_oldest (self->spool, self->spool_route, read_to, max_weight, put_before,
                                                 EVBUS_EXPIRE_EVENTS, expired, &weight);
  g_mutex_unlock (&self->backlog_lock);

  left.events = (EvbusEvent **) expired->pdata;
  left.n_events = expired->len;
  if (outcome.expired > 0)
    evbus_route_settle (self, &outcome, outcome.expired, weight, &left);
  for (guint i = 0; i < expired->len; i++)
    evbus_notifier_event_failed (self->notifier, self, expired->pdata[i], reason);
  return outcome.expired;
}
