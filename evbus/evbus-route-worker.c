/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-route-worker-private.h"

#include "evbus-context-private.h"
#include "evbus-plugin-host-private.h"
#include "evbus-retry-private.h"
#include "evbus-source-private.h"

/* Dispatches of the plugin's own sources after its close. */
#define MAX_LEFTOVERS 1000

void
evbus_worker_begin_call (EvbusWorker *self)
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
gboolean
evbus_worker_end_call (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  g_clear_object (&route->call);
  self->abandoned = route->finished;
  g_mutex_unlock (&route->lock);

  return g_cancellable_is_cancelled (self->cancellable);
}

/* Sleeps until @when, or until an event expires before. */
static void
sleep_until (EvbusWorker *self,
             gint64       when)
{
  gint64 expiry = evbus_worker_expire (self, g_get_monotonic_time ());

  if (expiry >= 0 && (when < 0 || expiry < when))
    when = expiry;
  g_source_set_ready_time (self->route->work, when);
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

static gboolean
make_ingress (EvbusWorker *self)
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
      evbus_worker_begin_call (self);
      self->ingress = evbus_plugin_host_create_ingress (route->spec->info, &error);
      evbus_worker_end_call (self);
      if (self->ingress != NULL)
        return TRUE;
      evbus_route_set_state (route, EVBUS_ROUTE_STATE_FAILED,
                             error != NULL ? error->message : "the plugin made no ingress");
    }

  self->hopeless = TRUE;
  return FALSE;
}

static gboolean
open_ingress (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  g_autoptr(EvbusContext) ctx = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *reason = NULL;
  gboolean opened = FALSE;
  gboolean cancelled = FALSE;

  if (self->ctx != NULL)
    return TRUE;

  /* The secrets too are read within the time that a call has. */
  evbus_worker_begin_call (self);
  ctx = evbus_context_new (route->spec, route->mailbox, self->cancellable, &error);
  if (ctx != NULL)
    opened = evbus_ingress_open (self->ingress, ctx, self->cancellable, &error);
  cancelled = evbus_worker_end_call (self);
  if (opened)
    {
      self->ctx = g_steal_pointer (&ctx);
      self->failures = 0;
      evbus_route_set_state (route, EVBUS_ROUTE_STATE_RUNNING, NULL);
      return TRUE;
    }

  reason = evbus_worker_describe (self, "open", cancelled, error);
  evbus_worker_back_off (self, evbus_worker_get_outcome (error) == EVBUS_OUTCOME_TRANSIENT ? EVBUS_ROUTE_STATE_RETRYING
                                                                      : EVBUS_ROUTE_STATE_BROKEN,
            reason);
  return FALSE;
}

/* One that was given up while its plugin did not return gets no close: another
 * may be in its place by now. */
static void
close_ingress (EvbusWorker *self)
{
  g_autoptr(GError) error = NULL;

  if (self->ctx != NULL && !self->abandoned)
    {
      evbus_worker_begin_call (self);
      if (!evbus_ingress_close (self->ingress, self->ctx, &error))
        g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                          "EVBUS_ROUTE", self->route->label,
                          "MESSAGE", "route %s: close: %s", self->route->label,
                          error != NULL ? error->message : "failed without saying why");
      evbus_worker_end_call (self);
    }

  g_clear_object (&self->ctx);
  g_clear_object (&self->ingress);
}

static void
finish (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  static const char reason[] = "the route was stopped before it was delivered";

  close_ingress (self);

  if (!self->abandoned)
    {
      g_autoptr(GPtrArray) dropped = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

      for (guint i = 0; i < route->hand.events->len; i++)
        g_ptr_array_add (dropped, evbus_event_ref (route->hand.events->pdata[i]));
      evbus_worker_let_go_all (self);
      if (dropped->len > 0)
        evbus_route_give_up (route, dropped, G_STRUCT_OFFSET (EvbusLedger, dropped), reason);
      evbus_route_drop_window (route, reason);
      if (!self->hopeless)
        evbus_route_set_state (route, EVBUS_ROUTE_STATE_STOPPED, NULL);
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
advance (EvbusWorker *self)
{
  if (open_ingress (self))
    {
      if (!evbus_worker_fetch (self))
        return;
      evbus_worker_publish (self);
    }
  evbus_source_wake (self->route->work);
}

/* Outside of a step the thread waits or is in a source of the plugin, from which
 * it may not return: then the route can be given up. */
static void
begin_step (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  route->stepping = TRUE;
  self->abandoned = route->finished;
  g_mutex_unlock (&route->lock);
}

static void
end_step (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  route->stepping = FALSE;
  g_mutex_unlock (&route->lock);
}

static gboolean
step (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  gboolean empty;
  EvbusPhase phase = get_phase (route, &empty);

  if (self->abandoned || phase == EVBUS_PHASE_ABORT || (phase == EVBUS_PHASE_DRAIN && (empty || self->hopeless)))
    {
      finish (self);
      return G_SOURCE_REMOVE;
    }

  if (g_get_monotonic_time () < self->not_before)
    {
      sleep_until (self, self->not_before);
      /* That may have replaced the wake-up of a change of phase. */
      if (get_phase (route, &empty) != phase)
        evbus_source_wake (route->work);
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

/* One step: at most one call into the plugin, so that the plugin's own sources
 * in this context are served between any two. */
static gboolean
work (gpointer data)
{
  EvbusWorker *self = data;
  gboolean goes_on;

  begin_step (self);
  goes_on = step (self);
  end_step (self);

  return goes_on;
}

static gpointer
run (gpointer data)
{
  EvbusWorker *self = data;
  EvbusRoute *route = self->route;

  g_main_context_push_thread_default (route->context);
  g_main_loop_run (self->loop);
  /* Plugins may have left something for the context to free; one that always
   * leaves something more is not waited for. */
  for (guint i = 0; i < MAX_LEFTOVERS && g_main_context_iteration (route->context, FALSE); i++)
    ;
  g_main_context_pop_thread_default (route->context);

  g_clear_object (&self->cancellable);
  g_object_unref (self->batch);
  /* Only now: whoever hears of it relies on no code of the plugin running. */
  evbus_listener_finished (self->listener, route);
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
  EvbusWorker *worker = g_new0 (EvbusWorker, 1);

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
