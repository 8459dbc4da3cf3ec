/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-route-worker-private.h"

#include "evbus-context-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-plugin-host-private.h"
#include "evbus-retry-private.h"
#include "evbus-source-private.h"

/* Between two tries to start a thread. */
#define START_AGAIN_US G_USEC_PER_SEC

/* Dispatches of the plugin's own sources after its close. */
#define MAX_LEFTOVERS 1000

void
evbus_worker_begin_call (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  gint64 deadline = g_get_monotonic_time () + route->spec->delivery.timeout;
  gboolean abort_now;

  if (self->cancellable == NULL)
    self->cancellable = g_cancellable_new ();

  g_mutex_lock (&route->lock);
  route->call = g_object_ref (self->cancellable);
  route->call_deadline = deadline;
  route->call_told = FALSE;
  abort_now = route->phase == EVBUS_PHASE_ABORT;
  g_mutex_unlock (&route->lock);

  if (abort_now)
    g_cancellable_cancel (self->cancellable);
  evbus_listener_watch (self->listener, deadline);
}

/* Returns whether the call was told to give up. */
gboolean
evbus_worker_end_call (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  gboolean told;

  g_mutex_lock (&route->lock);
  told = route->call_told;
  g_clear_object (&route->call);
  self->abandoned = route->abandoned;
  g_mutex_unlock (&route->lock);

  told = told || g_cancellable_is_cancelled (self->cancellable);
  /* It may be cancelled only now, and must not be the next call's. */
  if (told)
    g_clear_object (&self->cancellable);
  return told;
}

void
evbus_worker_back_off (EvbusWorker     *self,
                       EvbusRouteState  state,
                       const char      *reason)
{
  const EvbusDelivery *delivery = &self->route->spec->delivery;

  self->not_before = g_get_monotonic_time () +
                     evbus_retry_delay (self->failures++, delivery->retry_min, delivery->retry_max);
  evbus_route_set_state (self->route, state, reason);
}

static void
give_up (EvbusWorker *self,
         const char  *reason)
{
  self->hopeless = TRUE;
  evbus_route_set_state (self->route, EVBUS_ROUTE_STATE_FAILED, reason);
}

static void
make_ingress (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  g_autoptr(GError) error = NULL;

  evbus_route_set_state (route, EVBUS_ROUTE_STATE_OPENING, NULL);
  evbus_worker_begin_call (self);
  self->ingress = evbus_plugin_host_create_ingress (route->spec->info, &error);
  evbus_worker_end_call (self);
  if (self->ingress != NULL || self->abandoned)
    return;

  give_up (self, error != NULL ? error->message : "the plugin made no ingress");
}

static void
open_ingress (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  g_autoptr(EvbusContext) ctx = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *reason = NULL;
  gboolean opened = FALSE;
  gboolean cancelled = FALSE;

  /* The secrets too are read within the time that a call has. */
  evbus_worker_begin_call (self);
  ctx = evbus_context_new (route->spec, route->mailbox, self->cancellable, &error);
  if (ctx != NULL)
    opened = evbus_ingress_open (self->ingress, ctx, self->cancellable, &error);
  cancelled = evbus_worker_end_call (self);
  if (self->abandoned)
    return;
  if (opened)
    {
      self->ctx = g_steal_pointer (&ctx);
      self->failures = 0;
      evbus_route_set_state (route, EVBUS_ROUTE_STATE_RUNNING, NULL);
      return;
    }

  reason = evbus_worker_describe (self, "open", cancelled, error);
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN))
    {
      give_up (self, reason);
      return;
    }
  evbus_worker_back_off (self,
                         evbus_worker_get_outcome (error) == EVBUS_OUTCOME_TRANSIENT
                         ? EVBUS_ROUTE_STATE_RETRYING : EVBUS_ROUTE_STATE_BROKEN,
                         reason);
}

/* Its finalizer is the plugin's code as well. */
static void
close_ingress (EvbusWorker *self)
{
  g_autoptr(GError) error = NULL;

  if (self->ingress == NULL)
    return;

  evbus_worker_begin_call (self);
  if (self->ctx != NULL && !evbus_ingress_close (self->ingress, self->ctx, &error))
    g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                      "EVBUS_ROUTE", self->route->label,
                      "MESSAGE", "route %s: close: %s", self->route->label,
                      error != NULL ? error->message : "failed without saying why");
  g_clear_object (&self->ctx);
  g_clear_object (&self->ingress);
  evbus_worker_end_call (self);
}

/* With a spool it is only let go of. */
static void
drop_all (EvbusWorker *self)
{
  static const char reason[] = "the route was stopped before it was delivered";
  EvbusRoute *route = self->route;
  g_autoptr(GPtrArray) dropped = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

  for (guint i = 0; i < route->hand.events->len; i++)
    g_ptr_array_add (dropped, evbus_event_ref (route->hand.events->pdata[i]));
  evbus_worker_let_go_all (self);
  evbus_route_leave_over (route, dropped, reason);
  evbus_route_drop_window (route, reason);
}

/* One that was given up calls nothing more, not close either: what it had is
 * booked, nobody waits for it, and another may be in its place by now. */
static void
finish (EvbusWorker *self)
{
  if (!self->abandoned)
    close_ingress (self);

  if (!self->abandoned)
    {
      drop_all (self);
      if (!self->hopeless)
        evbus_route_set_state (self->route, EVBUS_ROUTE_STATE_STOPPED, NULL);
    }

  g_clear_object (&self->ctx);
  g_clear_object (&self->ingress);
  g_clear_pointer (&self->reader, evbus_spool_reader_free);
  g_main_loop_quit (self->loop);
}

/* Whether it has nothing more to do, if it is to end. */
static gboolean
is_done_locked (EvbusRoute *route)
{
  /* One that leaves the configuration leaves the rest in the spool, and so does
   * one that is to deliver nothing now. */
  if (route->spool != NULL && (route->leaves || route->paused))
    return TRUE;

  return route->n_held == 0 && route->window.n_events == 0 && !route->behind;
}

/* What it waited for is not waited for any longer. */
static void
hurry_up (EvbusWorker *self)
{
  self->not_before = 0;
  self->read_again = 0;
  self->no_linger = TRUE;
}

/* Outside of a step the thread waits or is in a source of the plugin, from which
 * it may not return: then the route can be given up. @done: see above. */
static EvbusPhase
begin_step (EvbusWorker *self,
            gboolean    *done)
{
  EvbusRoute *route = self->route;
  EvbusPhase phase;
  gboolean resumed;
  gboolean hurry;

  g_mutex_lock (&route->lock);
  route->stepping = TRUE;
  self->abandoned = route->abandoned;
  phase = route->phase;
  *done = is_done_locked (route);
  self->n_orders = route->n_orders;
  self->paused = route->paused;
  resumed = !route->paused && route->state == EVBUS_ROUTE_STATE_PAUSED;
  hurry = route->hurry;
  route->hurry = FALSE;
  g_mutex_unlock (&route->lock);

  if (resumed)
    evbus_route_set_state (route, self->ctx != NULL ? EVBUS_ROUTE_STATE_RUNNING : EVBUS_ROUTE_STATE_OPENING, NULL);
  if (resumed || hurry)
    hurry_up (self);
  return phase;
}

static void
end_step (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  route->stepping = FALSE;
  g_mutex_unlock (&route->lock);
}

/* One call into the plugin, whatever comes of it, so that the plugin's own
 * sources in this context are served between any two. FALSE: there is nothing
 * to do now. */
static gboolean
advance (EvbusWorker *self)
{
  if (self->ingress == NULL)
    make_ingress (self);
  else if (self->ctx == NULL)
    open_ingress (self);
  else if (!evbus_worker_fetch (self))
    return FALSE;
  else if (!evbus_worker_waits_for_spool (self))
    evbus_worker_publish (self);

  return TRUE;
}

static void
wait_for_resume (EvbusWorker *self)
{
  evbus_route_set_state (self->route, EVBUS_ROUTE_STATE_PAUSED,
                         "it was told to pause; what it has waits until it is resumed");
  evbus_worker_sleep (self, -1);
}

/* FALSE: that was the last one. */
static gboolean
step (EvbusWorker *self,
      EvbusPhase   phase,
      gboolean     done)
{
  if (self->abandoned || phase == EVBUS_PHASE_ABORT ||
      (phase == EVBUS_PHASE_DRAIN && (done || self->hopeless)))
    return FALSE;

  if (self->hopeless)
    evbus_worker_sleep (self, -1);
  else if (self->paused)
    wait_for_resume (self);
  else if (g_get_monotonic_time () < self->not_before)
    evbus_worker_sleep (self, self->not_before);
  else if (advance (self))
    evbus_source_wake (self->route->work);

  return !self->abandoned;
}

static gboolean
work (gpointer data)
{
  EvbusWorker *self = data;
  gboolean done;
  EvbusPhase phase = begin_step (self, &done);
  gboolean goes_on = step (self, phase, done);

  if (!goes_on)
    finish (self);
  end_step (self);

  return goes_on;
}

static void
worker_free (EvbusWorker *self)
{
  g_clear_object (&self->cancellable);
  g_object_unref (self->batch);
  g_main_loop_unref (self->loop);
  evbus_listener_unref (self->listener);
  g_object_unref (self->route);
  g_free (self);
}

/* From here on it cannot be given up any more. */
static void
announce_end (EvbusWorker *self)
{
  gboolean done;

  begin_step (self, &done);
  if (self->abandoned)
    {
      evbus_route_set_state (self->route, EVBUS_ROUTE_STATE_STOPPED, NULL);
      evbus_route_come_back ();
    }
  evbus_listener_finished (self->listener, self->route);
}

static gpointer
run (gpointer data)
{
  EvbusWorker *self = data;
  GMainContext *context = self->route->context;

  g_main_context_push_thread_default (context);
  g_main_loop_run (self->loop);
  /* Plugins may have left something for the context to free; one that always
   * leaves something more is not waited for. */
  for (guint i = 0; i < MAX_LEFTOVERS && g_main_context_iteration (context, FALSE); i++)
    ;
  g_main_context_pop_thread_default (context);

  /* Only now: whoever hears of it relies on no code of the plugin running. */
  announce_end (self);
  worker_free (self);
  return NULL;
}

static EvbusWorker *
worker_new (EvbusRoute    *route,
            EvbusListener *listener)
{
  const EvbusDelivery *delivery = &route->spec->delivery;
  EvbusWorker *self = g_new0 (EvbusWorker, 1);

  self->route = g_object_ref (route);
  self->listener = evbus_listener_ref (listener);
  self->loop = g_main_loop_new (route->context, FALSE);
  self->batch = evbus_batch_new (evbus_worker_extend, self);
  self->hopeless = route->spec->info == NULL;
  self->in_flight = delivery->in_flight > 0 ? delivery->in_flight : delivery->batch_events;
  self->in_flight_bytes = MIN (MAX (1, self->in_flight / delivery->batch_events) * delivery->batch_bytes,
                               MAX (delivery->batch_bytes, delivery->window_bytes / 2));
  self->max_events = MIN (delivery->batch_events, self->in_flight);
  self->allowance = self->max_events;

  return self;
}

/* Returns why there is none, or NULL. */
static char *
start_thread (EvbusRoute    *route,
              EvbusListener *listener)
{
  g_autoptr(GError) error = NULL;
  guint n_abandoned = evbus_route_count_abandoned ();
  EvbusWorker *worker;
  GThread *thread;

  if (n_abandoned >= EVBUS_MAX_ABANDONED)
    return g_strdup_printf ("no thread is started for it while %u threads are held by plugins "
                            "that have not returned; mend the plugin, and start the program again",
                            n_abandoned);

  worker = worker_new (route, listener);
  thread = g_thread_try_new ("evbus-route", run, worker, &error);
  if (thread == NULL)
    {
      worker_free (worker);
      return g_strdup_printf ("no thread can be started for it: %s; raise the limit of tasks, or "
                              "have fewer routes", error->message);
    }

  g_thread_unref (thread);
  route->started = TRUE;
  /* Not before: the thread sleeps until there is this source, and ends by it. */
  g_source_set_callback (route->work, work, worker, NULL);
  g_source_attach (route->work, route->context);
  evbus_source_wake (route->work);
  return NULL;
}

void
evbus_route_start (EvbusRoute    *self,
                   EvbusListener *listener)
{
  g_autofree char *reason = start_thread (self, listener);
  gint64 now = g_get_monotonic_time ();

  if (reason == NULL)
    {
      self->start_again = 0;
      /* That may not have been its first reason. */
      if (self->spec->info == NULL)
        evbus_route_set_state (self, EVBUS_ROUTE_STATE_FAILED, self->spec->missing);
      return;
    }

  self->start_again = now + START_AGAIN_US;
  evbus_route_set_state (self, EVBUS_ROUTE_STATE_FAILED, reason);
  evbus_route_expire (self);
  evbus_listener_watch (listener, self->start_again);
}
