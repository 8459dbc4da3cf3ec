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

/* Gives back the routes of a put that is not accepted. */
void         evbus_admission_release_locked (EvbusQueue  *self,
                                      EvbusPut    *put);

/* Lets in those of the waiting puts that now can, oldest first; they are
 * moved to @done. */
void         evbus_waiting_pass_locked (EvbusQueue  *self,
                                      GQueue      *done);
/* A waiting put counts with each of its routes, so that none overtakes it. */
void         evbus_waiting_count_locked (EvbusPut  *put,
                                      int          difference);
/* Answers and frees what is in @done, outside the lock. */
void         evbus_waiting_answer    (GQueue      *done);

G_END_DECLS
