/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-queue-private.h"

G_BEGIN_DECLS

typedef enum {
  EVBUS_VERDICT_ACCEPTED,
  EVBUS_VERDICT_FULL_QUEUE,   /* nothing can be accepted now */
  EVBUS_VERDICT_FULL_ROUTE,   /* nothing for one of the put's routes */
  EVBUS_VERDICT_REFUSED,      /* waiting would not help */
} EvbusVerdict;

void         evbus_queue_lock        (EvbusQueue  *self);
/* Wakes the listener if there is something for it, logs, frees: all of what
 * must not be done under the lock. */
void         evbus_queue_unlock      (EvbusQueue  *self);

/* Finds the routes of each event that has none of the present table.
 * @may_unlock: a new profile name is matched outside the lock, and the caller
 * must not rely on what it saw before. */
gboolean     evbus_admission_resolve_locked (EvbusQueue  *self,
                                      EvbusPut    *put,
                                      gboolean     may_unlock,
                                      GError     **error);

/* Accepts the put for all of its routes or for none. @error is set for every
 * verdict but the first. */
EvbusVerdict evbus_admission_decide_locked (EvbusQueue  *self,
                                      EvbusPut    *put,
                                      GError     **error);

/* evbus-queue-push.c: takes the events of an accepted put that have routes over. */
void         evbus_queue_push_locked (EvbusQueue  *self,
                                      EvbusPut    *put);

/* evbus-queue-follow.c, where the put is accepted: of an event that has routes, before
 * it is pushed; of one that has none; and where its id is known already. */
void         evbus_queue_follow_locked (EvbusQueue *self,
                                      EvbusPut    *put,
                                      EvbusEvent  *event);
void         evbus_queue_follow_unrouted_locked (EvbusQueue *self,
                                      EvbusPut    *put,
                                      EvbusEvent  *event);
void         evbus_queue_repeat_locked (EvbusQueue *self,
                                      EvbusPut    *put);
/* Whether it could be. */
gboolean     evbus_queue_can_follow_locked (EvbusQueue *self,
                                      EvbusPut    *put,
                                      GError     **error);
/* The event is in the spool, or (@refusal) is not accepted after all. Puts that are to be
 * answered now go into @answers. */
void         evbus_queue_settle_event_locked (EvbusQueue *self,
                                      EvbusEvent    *event,
                                      EvbusRouteSet *set,
                                      const GError  *refusal,
                                      GQueue        *answers);
/* Ends the waiting of a put whose event was accepted. FALSE: it has ended already, or is
 * answered once the event is stored. */
gboolean     evbus_queue_unfollow_locked (EvbusQueue *self,
                                      EvbusPut      *put,
                                      gboolean       cancelled);
void         evbus_queue_report_locked (EvbusQueue *self,
                                      EvbusRoute    *route,
                                      const EvbusLeft *left);

/* Gives back the routes of a put that is not accepted. */
void         evbus_admission_release_locked (EvbusQueue  *self,
                                      EvbusPut    *put);

/* Where the run of events with the same routes ends that begins with the
 * event @first of @put; the weight of the run. */
guint        evbus_admission_next_run (EvbusPut     *put,
                                       guint         first,
                                       gsize        *weight);
/* Adds up what @put needs, of each of its routes in their @tally fields. */
void         evbus_admission_tally_locked (EvbusQueue *self,
                                      EvbusPut    *put);
/* Whether its overflow policy couples producers to it: nothing of it is given up for
 * want of room. */
gboolean     evbus_admission_couples (EvbusRoute   *route);
/* Whether @route has room for a run of events now; and whether it could ever. */
gboolean     evbus_admission_fits    (EvbusRoute   *route,
                                      guint         n_events,
                                      gsize         weight);
gboolean     evbus_admission_ever_fits (EvbusRoute *route,
                                      guint         n_events,
                                      gsize         weight);

/* evbus-room.c: the same of a route with a spool, as far as it is the spool's matter. */
gboolean     evbus_room_fits         (const EvbusRoom *self,
                                      gsize         queued,
                                      gsize         weight);
gsize        evbus_room_get_most     (const EvbusRoom *self);

gboolean     evbus_admission_queue_fits (EvbusQueue *self,
                                      guint         n_events,
                                      gsize         weight);

/* Let in those of the waiting puts that now can; they are moved to @done. The
 * cost is that of the puts let in, however many wait. */
void         evbus_waiting_route_has_room_locked (EvbusQueue *self,
                                      EvbusRoute  *route,
                                      GQueue      *done);
void         evbus_waiting_queue_has_room_locked (EvbusQueue *self,
                                      GQueue      *done);
/* The same after a change that concerns every put. */
void         evbus_waiting_ask_again_locked (EvbusQueue *self,
                                      GQueue      *done);
/* Gives the waiting puts the routes of a new table. */
void         evbus_waiting_resolve_locked (EvbusQueue *self,
                                      GQueue      *done);
/* Answers and frees what is in @done, outside the lock. */
void         evbus_waiting_answer    (GQueue      *done);

G_END_DECLS
