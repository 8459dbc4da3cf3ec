/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The thread of a route: takes batches out of the window, has the plugin
 * publish them, and judges what came of it. */

#include "evbus-route-private.h"

#include "evbus-batch-private.h"
#include "evbus-cause-private.h"
#include "evbus-context-private.h"
#include "evbus-error.h"
#include "evbus-listener-private.h"
#include "evbus-mailbox-private.h"
#include "evbus-plugin-host-private.h"
#include "evbus-retry-private.h"
#include "evbus-source-private.h"

/* Used by the route's thread alone. */
typedef struct {
  EvbusRoute    *route;
  EvbusListener *listener;
  GMainLoop     *loop;
  EvbusIngress  *ingress;
  EvbusContext  *ctx;          /* set while the ingress is open */
  GCancellable  *cancellable;
  EvbusBatch    *batch;
  guint          max_events;   /* in a batch, by the settings */
  guint          limit;        /* in the next batch: less while a batch of poison is halved */
  guint          failures;     /* in a row */
  gint64         not_before;   /* monotonic: the next try */
  gboolean       hopeless;     /* no ingress can be made */
  gboolean       abandoned;    /* the listener gave this thread up during a call */
} Worker;

static void
begin_call (Worker *self)
{
  EvbusRoute *route = self->route;
  gint64 deadline = g_get_monotonic_time () + route->spec->delivery.timeout;
  gboolean abort_now;

  if (self->cancellable == NULL || g_cancellable_is_cancelled (self->cancellable))
    {
      g_clear_object (&self->cancellable);
      self->cancellable = g_cancellable_new ();
    }

  g_mutex_lock (&route->lock);
  route->call = g_object_ref (self->cancellable);
  route->call_deadline = deadline;
  abort_now = route->phase == EVBUS_PHASE_ABORT;
  g_mutex_unlock (&route->lock);

  if (abort_now)
    g_cancellable_cancel (self->cancellable);
  evbus_listener_watch (self->listener, deadline);
}

/* Returns whether the call was told to give up. */
static gboolean
end_call (Worker *self)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  g_clear_object (&route->call);
  self->abandoned = route->finished;
  g_mutex_unlock (&route->lock);

  return g_cancellable_is_cancelled (self->cancellable);
}

/* When an event that waits since @since is too old; -1: never. */
static gint64
expiry_of (EvbusRoute *route,
           EvbusEvent *event,
           gint64      since)
{
  gint64 max_age = route->spec->delivery.max_age;

  if (event->max_age > 0 && (max_age <= 0 || event->max_age < max_age))
    max_age = event->max_age;

  return max_age > 0 ? since + max_age : -1;
}

static gint64
held_since (EvbusRoute *route,
            guint       index)
{
  return g_array_index (route->hand.since, gint64, index);
}

/* Lets go of the first @n held events, but for those whose byte in @keep is
 * set. */
static void
let_go (EvbusRoute   *route,
        guint         n,
        const guint8 *keep)
{
  evbus_hand_keep (&route->hand, n, keep);

  g_mutex_lock (&route->lock);
  route->n_held = route->hand.events->len;
  route->held_weight = route->hand.weight;
  g_mutex_unlock (&route->lock);
}

static void
let_go_of_all (EvbusRoute *route)
{
  evbus_hand_drop (&route->hand);

  g_mutex_lock (&route->lock);
  route->n_held = 0;
  route->held_weight = 0;
  g_mutex_unlock (&route->lock);
}

/* Whether one of the held events may be too old; without looking at each. */
static gboolean
may_have_expired (EvbusRoute *route,
                  gint64      now)
{
  gint64 max_age = route->spec->delivery.max_age;

  return (max_age > 0 && now >= held_since (route, 0) + max_age) ||
         (route->hand.next_expiry > 0 && now >= route->hand.next_expiry);
}

static void
expire_held (Worker *self,
             gint64  now)
{
  EvbusRoute *route = self->route;
  guint n = route->hand.events->len;
  g_autoptr(GPtrArray) expired = NULL;
  g_autofree guint8 *keep = NULL;

  if (!may_have_expired (route, now))
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

  let_go (route, n, keep);
  evbus_route_give_up (route, expired, G_STRUCT_OFFSET (EvbusLedger, expired),
                       "it grew older than max_age");
}

/* Expires what is too old while nothing can be tried. Returns when the next
 * one is, or -1. */
static gint64
expire_waiting (Worker *self,
                gint64  now)
{
  EvbusRoute *route = self->route;
  g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  gint64 next = -1;
  gint64 since;
  EvbusEvent *oldest;

  if (route->hand.events->len > 0)
    {
      expire_held (self, now);
      if (route->hand.events->len > 0)
        return expiry_of (route, route->hand.events->pdata[0], held_since (route, 0));
    }

  g_mutex_lock (&route->lock);
  while ((oldest = evbus_window_peek (&route->window, &since)) != NULL)
    {
      next = expiry_of (route, oldest, since);
      if (next < 0 || now < next)
        break;
      evbus_window_drop_oldest (&route->window, route->window.n_events - 1, G_MAXSIZE, expired);
      next = -1;
    }
  g_mutex_unlock (&route->lock);

  if (expired->len > 0)
    evbus_route_give_up (route, expired, G_STRUCT_OFFSET (EvbusLedger, expired),
                         "it grew older than max_age");
  return next;
}

/* Sleeps until @when, or until an event expires before. */
static void
sleep_until (Worker *self,
             gint64  when)
{
  gint64 expiry = expire_waiting (self, g_get_monotonic_time ());

  if (expiry >= 0 && (when < 0 || expiry < when))
    when = expiry;
  g_source_set_ready_time (self->route->work, when);
}

static void
back_off (Worker          *self,
          EvbusRouteState  state,
          const char      *reason)
{
  const EvbusDelivery *delivery = &self->route->spec->delivery;

  self->not_before = g_get_monotonic_time () +
                     evbus_retry_delay (self->failures++, delivery->retry_min, delivery->retry_max);
  evbus_route_set_state (self->route, state, reason);
}

static EvbusOutcome
outcome_of_error (const GError *error)
{
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN))
    return EVBUS_OUTCOME_BROKEN;
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_POISON))
    return EVBUS_OUTCOME_POISON;
  return EVBUS_OUTCOME_TRANSIENT;
}

static char *
describe_failure (Worker       *self,
                  const char   *call,
                  gboolean      cancelled,
                  const GError *error)
{
  const char *message = error != NULL ? error->message
                                      : "a fault of the plugin: it failed without saying why "
                                        "(an exception, if it is written in another language)";

  if (!cancelled)
    return g_strdup (message);

  return g_strdup_printf ("%s took longer than %.3g s: %s", call,
                          self->route->spec->delivery.timeout / (double) G_USEC_PER_SEC, message);
}

static gboolean
make_ingress (Worker *self)
{
  EvbusRoute *route = self->route;
  g_autoptr(GError) error = NULL;

  if (self->ingress != NULL)
    return TRUE;
  if (self->hopeless)
    return FALSE;

  if (route->spec->info != NULL)
    {
      evbus_route_set_state (route, EVBUS_ROUTE_STATE_OPENING, NULL);
      begin_call (self);
      self->ingress = evbus_plugin_host_create_ingress (route->spec->info, &error);
      end_call (self);
      if (self->ingress != NULL)
        return TRUE;
      evbus_route_set_state (route, EVBUS_ROUTE_STATE_FAILED,
                             error != NULL ? error->message : "the plugin made no ingress");
    }

  self->hopeless = TRUE;
  return FALSE;
}

static gboolean
open_ingress (Worker *self)
{
  EvbusRoute *route = self->route;
  g_autoptr(EvbusContext) ctx = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *reason = NULL;
  gboolean opened = FALSE;
  gboolean cancelled = FALSE;

  if (self->ctx != NULL)
    return TRUE;

  ctx = evbus_context_new (route->spec, route->mailbox, &error);
  if (ctx != NULL)
    {
      begin_call (self);
      opened = evbus_ingress_open (self->ingress, ctx, self->cancellable, &error);
      cancelled = end_call (self);
    }
  if (opened)
    {
      self->ctx = g_steal_pointer (&ctx);
      self->failures = 0;
      evbus_route_set_state (route, EVBUS_ROUTE_STATE_RUNNING, NULL);
      return TRUE;
    }

  reason = describe_failure (self, "open", cancelled, error);
  back_off (self, outcome_of_error (error) == EVBUS_OUTCOME_TRANSIENT ? EVBUS_ROUTE_STATE_RETRYING
                                                                      : EVBUS_ROUTE_STATE_BROKEN,
            reason);
  return FALSE;
}

/* A batch that is not full waits for more, if the owner wants that. */
static gint64
lingers_until_locked (Worker *self,
                      gint64  now)
{
  EvbusRoute *route = self->route;
  const EvbusDelivery *delivery = &route->spec->delivery;
  gint64 since;

  if (delivery->linger == 0 || route->phase != EVBUS_PHASE_RUN ||
      route->window.n_events >= self->max_events || route->window.weight >= delivery->batch_bytes ||
      evbus_window_peek (&route->window, &since) == NULL || now >= since + delivery->linger)
    return -1;

  return since + delivery->linger;
}

/* Takes the next batch into the hand. FALSE: there is none now. */
static gboolean
fetch (Worker *self)
{
  EvbusRoute *route = self->route;
  const EvbusDelivery *delivery = &route->spec->delivery;
  gint64 now = g_get_monotonic_time ();
  gint64 lingers_until = -1;

  while (route->hand.events->len == 0)
    {
      self->limit = self->max_events;

      g_mutex_lock (&route->lock);
      lingers_until = lingers_until_locked (self, now);
      if (lingers_until < 0)
        evbus_window_take (&route->window, self->max_events, delivery->batch_bytes, &route->hand);
      route->n_held = route->hand.events->len;
      route->held_weight = route->hand.weight;
      if (route->n_held == 0)
        route->awake = FALSE;
      g_mutex_unlock (&route->lock);

      if (route->hand.events->len == 0)
        break;
      expire_held (self, now);
    }

  if (lingers_until >= 0)
    g_source_set_ready_time (route->work, lingers_until);
  return route->hand.events->len > 0;
}

/* What a publish came to, while its marks are read. */
typedef struct {
  EvbusLedger   outcome;
  gsize         weight;     /* of the delivered ones */
  guint8       *keep;       /* a byte for each event: to be tried again */
  guint         n_kept;
  EvbusMark     worst;      /* of those */
  char         *reason;     /* of the first of them */
  gboolean      halve;
} Verdict;

static void
keep (Verdict    *verdict,
      guint       index,
      EvbusMark   mark,
      const char *reason)
{
  verdict->keep[index] = TRUE;
  verdict->n_kept++;
  if (verdict->reason == NULL || mark > verdict->worst)
    {
      g_free (verdict->reason);
      verdict->reason = g_strdup (reason);
    }
  verdict->worst = MAX (verdict->worst, mark);
}

static void
bury (EvbusRoute *route,
      EvbusEvent *event,
      const char *reason)
{
  g_autoptr(GPtrArray) one = g_ptr_array_new ();

  g_ptr_array_add (one, event);
  evbus_route_give_up (route, one, G_STRUCT_OFFSET (EvbusLedger, dead), reason);
}

static void
read_marks (Worker     *self,
            guint       n,
            EvbusMark   rest,
            const char *rest_reason,
            Verdict    *verdict)
{
  EvbusRoute *route = self->route;
  guint n_unmarked = 0;

  for (guint i = 0; i < n; i++)
    n_unmarked += evbus_batch_get_mark (self->batch, i) == EVBUS_MARK_NONE;

  for (guint i = 0; i < n; i++)
    {
      EvbusEvent *event = route->hand.events->pdata[i];
      EvbusMark mark = evbus_batch_get_mark (self->batch, i);
      const char *reason = evbus_batch_get_message (self->batch, i);

      if (mark == EVBUS_MARK_NONE)
        {
          mark = rest;
          reason = rest_reason;
          if (rest == EVBUS_MARK_POISON && n_unmarked > 1)
            {
              /* One of them is poison; which one is found by halving. */
              verdict->halve = TRUE;
              self->limit = (n_unmarked + 1) / 2;
              verdict->keep[i] = TRUE;
              continue;
            }
          if (rest == EVBUS_MARK_POISON)
            self->limit = self->max_events;
        }

      if (mark == EVBUS_MARK_CONFIRMED)
        {
          verdict->outcome.delivered++;
          verdict->weight += event->weight;
        }
      else if (mark == EVBUS_MARK_POISON)
        {
          bury (route, event, reason);
        }
      else
        {
          keep (verdict, i, mark, reason);
        }
    }
}

/* In which state the publish leaves the route. */
static void
conclude (Worker  *self,
          Verdict *verdict)
{
  const char *nonsense = evbus_batch_get_nonsense (self->batch);
  g_autofree char *fault = NULL;

  if (verdict->reason != NULL)
    {
      if (verdict->outcome.delivered > 0)
        self->failures = 0;
      back_off (self,
                verdict->worst == EVBUS_MARK_BROKEN ? EVBUS_ROUTE_STATE_BROKEN
                                                    : EVBUS_ROUTE_STATE_RETRYING,
                verdict->reason);
      return;
    }

  self->failures = 0;
  if (verdict->halve)
    return;
  if (nonsense != NULL)
    fault = g_strdup_printf ("a fault of the plugin: %s", nonsense);
  evbus_route_set_state (self->route, EVBUS_ROUTE_STATE_RUNNING, fault);
}

static void
judge (Worker       *self,
       guint         n,
       gboolean      returned,
       gboolean      cancelled,
       const GError *error)
{
  static const EvbusMark marks[] = {
    [EVBUS_OUTCOME_TRANSIENT] = EVBUS_MARK_TRANSIENT,
    [EVBUS_OUTCOME_BROKEN] = EVBUS_MARK_BROKEN,
    [EVBUS_OUTCOME_POISON] = EVBUS_MARK_POISON,
  };
  EvbusRoute *route = self->route;
  Verdict verdict = { 0 };
  EvbusMark rest = EVBUS_MARK_TRANSIENT;
  g_autofree char *rest_reason = NULL;

  if (evbus_batch_get_n_confirmed (self->batch) == n && n == route->hand.events->len)
    {
      /* The common case, in which no event has to be looked at. */
      verdict.outcome.delivered = n;
      conclude (self, &verdict);
      evbus_route_settle (route, &verdict.outcome, n, route->hand.weight);
      let_go_of_all (route);
      return;
    }

  if (returned)
    rest_reason = g_strdup ("a fault of the plugin: it returned success and left events unmarked");
  else
    {
      rest_reason = describe_failure (self, "publish", cancelled, error);
      rest = marks[outcome_of_error (error)];
    }

  verdict.keep = g_new0 (guint8, n);
  read_marks (self, n, rest, rest_reason, &verdict);
  verdict.outcome.retried = verdict.n_kept;
  conclude (self, &verdict);
  evbus_route_settle (route, &verdict.outcome, verdict.outcome.delivered, verdict.weight);
  let_go (route, n, verdict.keep);

  g_free (verdict.keep);
  g_free (verdict.reason);
}

static void
publish (Worker *self)
{
  EvbusRoute *route = self->route;
  guint n = MIN (route->hand.events->len, self->limit);
  g_autoptr(GError) error = NULL;
  gboolean returned;
  gboolean cancelled;

  evbus_batch_fill (self->batch, (EvbusEvent **) route->hand.events->pdata, n);
  evbus_cause_set (route->hand.max_hops);
  begin_call (self);
  returned = evbus_ingress_publish (self->ingress, self->ctx, self->batch,
                                    self->cancellable, &error);
  cancelled = end_call (self);
  evbus_cause_clear ();

  if (!self->abandoned)
    judge (self, n, returned, cancelled, error);

  if (!evbus_batch_release (self->batch))
    {
      g_object_unref (self->batch);
      self->batch = g_object_new (EVBUS_TYPE_BATCH, NULL);
    }
}

static void
close_ingress (Worker *self)
{
  g_autoptr(GError) error = NULL;

  if (self->ctx != NULL)
    {
      begin_call (self);
      if (!evbus_ingress_close (self->ingress, self->ctx, &error))
        g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                          "EVBUS_ROUTE", self->route->label,
                          "MESSAGE", "route %s: close: %s", self->route->label,
                          error != NULL ? error->message : "failed without saying why");
      end_call (self);
    }

  g_clear_object (&self->ctx);
  g_clear_object (&self->ingress);
}

static void
finish (Worker *self)
{
  EvbusRoute *route = self->route;
  static const char reason[] = "the route was stopped before it was delivered";

  close_ingress (self);

  if (!self->abandoned)
    {
      g_autoptr(GPtrArray) dropped = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

      for (guint i = 0; i < route->hand.events->len; i++)
        g_ptr_array_add (dropped, evbus_event_ref (route->hand.events->pdata[i]));
      let_go_of_all (route);
      if (dropped->len > 0)
        evbus_route_give_up (route, dropped, G_STRUCT_OFFSET (EvbusLedger, dropped), reason);
      evbus_route_drop_window (route, reason);
      if (!self->hopeless)
        evbus_route_set_state (route, EVBUS_ROUTE_STATE_STOPPED, NULL);
      evbus_mailbox_close (route->mailbox);
      evbus_listener_finished (self->listener, route);
    }

  g_main_loop_quit (self->loop);
}

static EvbusPhase
get_phase (EvbusRoute *route,
           gboolean   *empty)
{
  EvbusPhase phase;

  g_mutex_lock (&route->lock);
  phase = route->phase;
  *empty = route->n_held == 0 && route->window.n_events == 0;
  g_mutex_unlock (&route->lock);

  return phase;
}

/* One try to deliver something. Whatever it came to, there is a next time. */
static void
advance (Worker *self)
{
  if (open_ingress (self))
    {
      if (!fetch (self))
        return;
      publish (self);
    }
  evbus_source_wake (self->route->work);
}

/* One step: at most one call into the plugin, so that the plugin's own sources
 * in this context are served between any two. */
static gboolean
work (gpointer data)
{
  Worker *self = data;
  EvbusRoute *route = self->route;
  gboolean empty;
  EvbusPhase phase = get_phase (route, &empty);

  if (phase == EVBUS_PHASE_ABORT || (phase == EVBUS_PHASE_DRAIN && (empty || self->hopeless)))
    {
      finish (self);
      return G_SOURCE_REMOVE;
    }

  if (g_get_monotonic_time () < self->not_before)
    {
      sleep_until (self, self->not_before);
    }
  else if (make_ingress (self))
    {
      advance (self);
    }
  else
    {
      /* Every push wakes, so that it is seen when the first event expires. */
      g_mutex_lock (&route->lock);
      route->awake = FALSE;
      g_mutex_unlock (&route->lock);
      sleep_until (self, -1);
      if (get_phase (route, &empty) != EVBUS_PHASE_RUN)
        evbus_source_wake (route->work);
    }

  if (self->abandoned)
    {
      finish (self);
      return G_SOURCE_REMOVE;
    }

  return G_SOURCE_CONTINUE;
}

static gpointer
run (gpointer data)
{
  Worker *self = data;
  EvbusRoute *route = self->route;

  g_main_context_push_thread_default (route->context);
  g_main_loop_run (self->loop);
  /* Plugins may have left something for the context to free. */
  while (g_main_context_iteration (route->context, FALSE))
    ;
  g_main_context_pop_thread_default (route->context);

  g_clear_object (&self->cancellable);
  g_object_unref (self->batch);
  g_main_loop_unref (self->loop);
  evbus_listener_unref (self->listener);
  g_free (self);
  g_object_unref (route);
  return NULL;
}

void
evbus_route_start (EvbusRoute    *self,
                   EvbusListener *listener)
{
  const EvbusDelivery *delivery = &self->spec->delivery;
  Worker *worker = g_new0 (Worker, 1);

  worker->route = g_object_ref (self);
  worker->listener = evbus_listener_ref (listener);
  worker->loop = g_main_loop_new (self->context, FALSE);
  worker->batch = g_object_new (EVBUS_TYPE_BATCH, NULL);
  worker->max_events = delivery->batch_events;
  if (delivery->in_flight > 0)
    worker->max_events = MIN (worker->max_events, delivery->in_flight);

  g_source_set_callback (self->work, work, worker, NULL);
  g_source_attach (self->work, self->context);
  evbus_source_wake (self->work);
  g_thread_unref (g_thread_new ("evbus-route", run, worker));
}
