/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the listener's watch finds out about a route whose thread may not be
 * able to say it itself. */

#include "evbus-route-private.h"

#include "evbus-limits-private.h"
#include "evbus-mailbox-private.h"

/* After the deadline of a stop the routes are told to end; this is how long a
 * call that is under way is given to do so. */
#define ABORT_GRACE_US (G_USEC_PER_SEC / 2)

/* Threads that were given up; atomic. One that is stuck for ever is never
 * joined, so there must not be ever more of them. */
static int n_abandoned;

/* Returns whether that is worth a log. */
static gboolean
say_stuck_locked (EvbusRoute *route,
                  const char *reason)
{
  return evbus_route_change_state_locked (route, EVBUS_ROUTE_STATE_STUCK, reason);
}

/* Returns whether the call is stuck now, and was not before. */
static gboolean
look_at_call_locked (EvbusRoute *route,
                     gint64      now,
                     EvbusLook  *look)
{
  gint64 stuck_at = route->call_deadline + EVBUS_STUCK_GRACE_US;

  if (route->call == NULL)
    return FALSE;

  if (now < route->call_deadline)
    {
      look->next = MIN (look->next, route->call_deadline);
      return FALSE;
    }

  if (!route->call_told)
    look->cancel = g_object_ref (route->call);
  route->call_told = TRUE;
  if (now >= stuck_at)
    return route->state != EVBUS_ROUTE_STATE_STUCK;

  look->next = MIN (look->next, stuck_at);
  return FALSE;
}

static void
look_at_drain_locked (EvbusRoute *route,
                      gint64      now,
                      EvbusLook  *look)
{
  if (route->drain_until == 0)
    return;

  if (now >= route->drain_until + ABORT_GRACE_US || route->state == EVBUS_ROUTE_STATE_STUCK)
    {
      look->abort = route->phase != EVBUS_PHASE_ABORT;
      look->give_up = TRUE;
      look->next = MIN (look->next, now + ABORT_GRACE_US);
    }
  else if (now >= route->drain_until)
    {
      look->abort = route->phase != EVBUS_PHASE_ABORT;
      look->next = MIN (look->next, route->drain_until + ABORT_GRACE_US);
    }
  else
    {
      look->next = MIN (look->next, route->drain_until);
    }
}

/* A route for which there was no thread has nothing to drain with. */
static void
look_at_start_locked (EvbusRoute *route,
                      gint64      now,
                      EvbusLook  *look)
{
  if (route->start_again == 0)
    return;

  if (route->phase != EVBUS_PHASE_RUN)
    look->give_up = TRUE;
  else if (now >= route->start_again)
    look->start = TRUE;
  else
    look->next = MIN (look->next, route->start_again);
}

EvbusLook
evbus_route_look (EvbusRoute *self,
                  gint64      now)
{
  static const char reason[] = "the plugin was told to give up and has not returned; "
                               "its events are kept";
  EvbusLook look = { .next = G_MAXINT64 };
  gboolean log = FALSE;

  g_mutex_lock (&self->lock);
  /* Here, not by the caller: the call may come back as soon as the lock goes. */
  if (look_at_call_locked (self, now, &look))
    log = say_stuck_locked (self, reason);
  look_at_drain_locked (self, now, &look);
  look_at_start_locked (self, now, &look);
  g_mutex_unlock (&self->lock);

  if (log)
    evbus_route_log_state (self, EVBUS_ROUTE_STATE_STUCK, reason);
  return look;
}

gboolean
evbus_route_abandon (EvbusRoute *self)
{
  static const char reason[] = "the route was stopped, and its plugin did not return";
  g_autoptr(GPtrArray) dropped = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  gboolean log;

  g_mutex_lock (&self->lock);
  if ((self->call == NULL || self->booking) && self->stepping)
    {
      g_mutex_unlock (&self->lock);
      return FALSE;
    }
  self->finished = TRUE;
  self->abandoned = TRUE;
  g_atomic_int_inc (&n_abandoned);
  for (guint i = 0; i < self->n_held; i++)
    g_ptr_array_add (dropped, evbus_event_ref (self->hand.events->pdata[i]));
  self->n_held = 0;
  self->held_weight = 0;
  evbus_window_drop_oldest (&self->window, 0, 0, dropped);
  log = say_stuck_locked (self, reason);
  g_mutex_unlock (&self->lock);

  if (log)
    evbus_route_log_state (self, EVBUS_ROUTE_STATE_STUCK, reason);
  evbus_mailbox_close (self->mailbox);
  evbus_route_leave_over (self, dropped, reason);
  return TRUE;
}

guint
evbus_route_count_abandoned (void)
{
  return g_atomic_int_get (&n_abandoned);
}

void
evbus_route_come_back (void)
{
  g_atomic_int_add (&n_abandoned, -1);
}
