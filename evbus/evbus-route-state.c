/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How a route is doing, and what it is to do: both are told from any thread. */

#include "evbus-route-private.h"

#include "evbus-enum-types.h"
#include "evbus-source-private.h"

void
evbus_route_log_state (EvbusRoute      *self,
                       EvbusRouteState  state,
                       const char      *reason)
{
  GEnumClass *klass = g_type_class_peek (EVBUS_TYPE_ROUTE_STATE);
  const char *nick = g_enum_get_value (klass, state)->value_nick;
  gboolean bad = state >= EVBUS_ROUTE_STATE_RETRYING;

  g_log_structured (G_LOG_DOMAIN, bad ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_INFO,
                    "EVBUS_ROUTE", self->label,
                    "EVBUS_ROUTE_STATE", nick,
                    "MESSAGE", "route %s: %s%s%s", self->label, nick,
                    reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

gboolean
evbus_route_change_state_locked (EvbusRoute      *self,
                                 EvbusRouteState  state,
                                 const char      *reason)
{
  gboolean other = self->state != state;

  if (!other && g_strcmp0 (self->reason, reason) == 0)
    return FALSE;

  self->state = state;
  g_free (self->reason);
  self->reason = g_strdup (reason);
  /* Under the lock, so that the last change that is told is the last one. */
  evbus_notifier_state_changed (self->notifier, self, state, reason);

  return other || reason != NULL;
}

void
evbus_route_set_state (EvbusRoute      *self,
                       EvbusRouteState  state,
                       const char      *reason)
{
  g_autofree char *valid = NULL;
  gboolean log;

  /* It may come from a plugin, and goes to where text must be UTF-8. */
  if (reason != NULL)
    reason = valid = g_utf8_make_valid (reason, -1);

  g_mutex_lock (&self->lock);
  log = evbus_route_change_state_locked (self, state, reason);
  g_mutex_unlock (&self->lock);

  if (log)
    evbus_route_log_state (self, state, reason);
}

void
evbus_route_drain_by (EvbusRoute *self,
                      gint64      deadline,
                      gboolean    leaves)
{
  g_mutex_lock (&self->lock);
  if (self->drain_until == 0 || self->drain_until > deadline)
    self->drain_until = deadline;
  self->leaves |= leaves;
  /* What waits would be lost; in a spool it waits on. */
  if (self->spool == NULL)
    self->paused = FALSE;
  g_mutex_unlock (&self->lock);

  evbus_route_set_phase (self, EVBUS_PHASE_DRAIN);
}

void
evbus_route_set_phase (EvbusRoute *self,
                       EvbusPhase  phase)
{
  g_autoptr(GCancellable) call = NULL;

  g_mutex_lock (&self->lock);
  if (phase > self->phase)
    self->phase = phase;
  self->n_orders++;
  if (phase == EVBUS_PHASE_ABORT && self->call != NULL)
    call = g_object_ref (self->call);
  g_mutex_unlock (&self->lock);

  if (call != NULL)
    g_cancellable_cancel (call);
  evbus_source_wake (self->work);
}

static void
set_paused (EvbusRoute *self,
            gboolean    paused)
{
  g_mutex_lock (&self->lock);
  self->paused = paused;
  self->n_orders++;
  g_mutex_unlock (&self->lock);

  evbus_source_wake (self->work);
}

/**
 * evbus_route_pause:
 * @self: a route
 *
 * Has the route deliver nothing until [method@Route.resume]. A publish that is
 * under way comes to its end first; then the state is
 * %EVBUS_ROUTE_STATE_PAUSED. The plugin stays open.
 *
 * What the route has, and what comes meanwhile, waits. It grows older, and where it
 * is too much it goes the way of any route that falls behind: `max_age`,
 * `overflow` and the budgets of the spool hold.
 *
 * A pause lasts as long as the process at most. A route that replaces this one in
 * a reload is paused like it. When the broker stops, or the route is removed, what
 * waits stays in the spool; without a spool the pause ends, and it is delivered
 * while there is time.
 *
 * Since: 1.0
 */
void
evbus_route_pause (EvbusRoute *self)
{
  g_return_if_fail (EVBUS_IS_ROUTE (self));

  set_paused (self, TRUE);
}

/**
 * evbus_route_resume:
 * @self: a route
 *
 * Ends a pause. The route goes on where it was, and tries at once.
 *
 * Since: 1.0
 */
void
evbus_route_resume (EvbusRoute *self)
{
  g_return_if_fail (EVBUS_IS_ROUTE (self));

  set_paused (self, FALSE);
}

/**
 * evbus_route_get_paused:
 * @self: a route
 *
 * Whether the route was told to pause; a publish may still be under way.
 *
 * Returns: %TRUE from [method@Route.pause] to [method@Route.resume]
 *
 * Since: 1.0
 */
gboolean
evbus_route_get_paused (EvbusRoute *self)
{
  gboolean paused;

  g_return_val_if_fail (EVBUS_IS_ROUTE (self), FALSE);

  g_mutex_lock (&self->lock);
  paused = self->paused;
  g_mutex_unlock (&self->lock);

  return paused;
}

/**
 * evbus_route_flush:
 * @self: a route
 *
 * Has the route try now what it would try later: it waits neither for the next try
 * after a failure nor for a batch to fill. Returns at once; what comes of it is in
 * the state and the ledger. A route that is paused stays so.
 *
 * Since: 1.0
 */
void
evbus_route_flush (EvbusRoute *self)
{
  g_return_if_fail (EVBUS_IS_ROUTE (self));

  g_mutex_lock (&self->lock);
  self->hurry = TRUE;
  self->n_orders++;
  g_mutex_unlock (&self->lock);

  evbus_source_wake (self->work);
}

/**
 * evbus_route_get_status:
 * @self: a route
 * @reason: (out) (optional) (nullable) (transfer full): why the route is in that state,
 *   a sentence for a person
 *
 * How the route is doing, and why, in one look. Who asks for the two one after the other can
 * get the reason of another state, or none.
 *
 * Returns: the state
 *
 * Since: 1.0
 */
EvbusRouteState
evbus_route_get_status (EvbusRoute  *self,
                        char       **reason)
{
  EvbusRouteState state;

  g_return_val_if_fail (EVBUS_IS_ROUTE (self), EVBUS_ROUTE_STATE_STOPPED);

  g_mutex_lock (&self->lock);
  state = self->state;
  if (reason != NULL)
    *reason = g_strdup (self->reason);
  g_mutex_unlock (&self->lock);

  return state;
}

/**
 * evbus_route_get_state: (get-property state)
 * @self: a route
 *
 * How the route is doing. With the reason of that state: [method@Route.get_status].
 *
 * Returns: the state
 *
 * Since: 1.0
 */
EvbusRouteState
evbus_route_get_state (EvbusRoute *self)
{
  g_return_val_if_fail (EVBUS_IS_ROUTE (self), EVBUS_ROUTE_STATE_STOPPED);

  return evbus_route_get_status (self, NULL);
}

/**
 * evbus_route_dup_reason:
 * @self: a route
 *
 * Why the route is in its state. With that state: [method@Route.get_status].
 *
 * Returns: (transfer full) (nullable): a sentence for a person
 *
 * Since: 1.0
 */
char *
evbus_route_dup_reason (EvbusRoute *self)
{
  char *reason;

  g_return_val_if_fail (EVBUS_IS_ROUTE (self), NULL);

  evbus_route_get_status (self, &reason);
  return reason;
}
