/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Room in the spool for what cannot be made to leave it again: the events of routes that
 * would rather hold up their producers than lose anything (overflow reject, block).
 *
 * All of them together get seven eighths of the whole, so that the others have something.
 * Of that each may have six times what would be left free, which is three quarters of the whole
 * for one alone, and some for each that comes later: see Choudhury and Hahne, "Dynamic queue
 * length thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6
 * (1998), 130-140. Where the whole is full, it is the one with the most that makes room: such a
 * route by being held back, any other one by losing its oldest (evbus-budget.c). */

#include "evbus-admission-private.h"

#include "evbus-route-private.h"

#define TIMES_FREE 6

/* From a put that found no room until the spool's budget is looked at: what is settled meanwhile is
 * written down together. Twice as long after each look that has let nobody in. */
#define LOOK_US (5 * G_TIME_SPAN_MILLISECOND)
#define MAX_LOOK_US (100 * G_TIME_SPAN_MILLISECOND)

static gsize
get_cap (const EvbusRoom *self)
{
  return self->max / 8 * 7;
}

gsize
evbus_room_get_most (const EvbusRoom *self)
{
  return self->max == 0 ? G_MAXSIZE : get_cap (self) / (TIMES_FREE + 1) * TIMES_FREE;
}

gboolean
evbus_room_fits (const EvbusRoom *self,
                 gsize            queued,
                 gsize            weight)
{
  gsize coupled = self->coupled + weight;

  if (self->max == 0)
    return TRUE;
  if (coupled > get_cap (self) || queued + weight > TIMES_FREE * (get_cap (self) - coupled))
    return FALSE;

  return self->weight + weight <= self->max || queued + weight <= self->largest;
}

void
evbus_queue_watch_room (EvbusQueue *self,
                        GSource    *source)
{
  evbus_queue_lock (self);
  self->look = g_source_ref (source);
  evbus_queue_unlock (self);
}

void
evbus_queue_set_room_max (EvbusQueue *self,
                          gsize       max)
{
  evbus_queue_lock (self);
  if (self->room.max != 0)
    self->room.max = max;
  evbus_queue_unlock (self);
}

void
evbus_queue_begin_look (EvbusQueue *self)
{
  evbus_queue_lock (self);
  self->room.settled = FALSE;
  evbus_queue_unlock (self);
}

void
evbus_queue_set_room (EvbusQueue *self,
                      gsize       max,
                      gsize       stored,
                      gsize       largest)
{
  EvbusRoom room = { .max = max, .weight = stored, .largest = largest, .delay = LOOK_US };
  GQueue done = G_QUEUE_INIT;
  gboolean helped;
  gint64 delay;

  evbus_queue_lock (self);
  room.weight += self->weight;
  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusRoute *route = self->routes->pdata[i];

      if (evbus_admission_couples (route))
        room.coupled += route->queued_weight;
    }
  /* What several of them have is stored once. */
  room.coupled = MIN (room.coupled, room.weight);
  room.settled = self->room.settled;
  helped = !self->room.told || self->room.let_in;
  delay = self->room.delay;
  self->room = room;
  for (guint i = 0; i < self->routes->len; i++)
    {
      EvbusRoute *route = self->routes->pdata[i];

      if (route->waiting.length > 0)
        evbus_waiting_route_has_room_locked (self, route, &done);
    }
  if (!helped && done.length == 0)
    self->room.delay = CLAMP (delay * 2, LOOK_US, MAX_LOOK_US);
  evbus_queue_unlock (self);

  evbus_waiting_answer (&done);
}
