/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the listener's watch finds out about a route whose thread may not be
 * able to say it itself. */

#include "evbus-route-private.h"

#include "evbus-limits-private.h"

/* After the deadline of a stop the routes are told to end; this is how long a
 * call that is under way is given to do so. */
#define ABORT_GRACE_US (G_USEC_PER_SEC / 2)

static void
look_at_call (EvbusRoute *route,
              gint64      now,
              EvbusLook  *look)
{
  gint64 stuck_at = route->call_deadline + EVBUS_STUCK_GRACE_US;

  if (route->call == NULL)
    return;

  if (now < route->call_deadline)
    {
      look->next = MIN (look->next, route->call_deadline);
      return;
    }

  if (!g_cancellable_is_cancelled (route->call))
    look->cancel = g_object_ref (route->call);
  if (now >= stuck_at)
    look->stuck = route->state != EVBUS_ROUTE_STATE_STUCK;
  else
    look->next = MIN (look->next, stuck_at);
}

static void
look_at_drain (EvbusRoute *route,
               gint64      now,
               EvbusLook  *look)
{
  if (route->drain_until == 0)
    return;

  if (now >= route->drain_until + ABORT_GRACE_US ||
      look->stuck || route->state == EVBUS_ROUTE_STATE_STUCK)
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

EvbusLook
evbus_route_look (EvbusRoute *self,
                  gint64      now)
{
  EvbusLook look = { .next = G_MAXINT64 };

  g_mutex_lock (&self->lock);
  look_at_call (self, now, &look);
  look_at_drain (self, now, &look);
  g_mutex_unlock (&self->lock);

  return look;
}
