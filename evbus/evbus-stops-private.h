/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-route-private.h"

G_BEGIN_DECLS

/* Those who wait for the end of a listener, and what they are told: whether
 * something had to be dropped. Used on the listener's thread; the answer, which
 * does not change once that thread has ended, on any. */
typedef struct {
  GPtrArray *waiting;      /* Stop */
  guint64    left_over;    /* events that were dropped because of the stop */
  char      *first_route;  /* the first that has dropped some */
} EvbusStops;

void evbus_stops_init    (EvbusStops       *self);
void evbus_stops_clear   (EvbusStops       *self);

/* Has @task answered when all is over. If it can be cancelled, @on_cancelled is
 * called on the thread that does so. */
void evbus_stops_add     (EvbusStops       *self,
                          GTask            *task,
                          GCallback         on_cancelled,
                          gpointer          data,
                          GDestroyNotify    free_data);

/* From here on what @route drops is left over. */
void evbus_stops_begin   (EvbusStops       *self,
                          EvbusRoute       *route);
/* @route has ended. */
void evbus_stops_end     (EvbusStops       *self,
                          EvbusRoute       *route);
/* @route drops @n_events without having begun. */
void evbus_stops_count   (EvbusStops       *self,
                          EvbusRoute       *route,
                          guint64           n_events);

void evbus_stops_answer  (const EvbusStops *self,
                          GTask            *task);
void evbus_stops_answer_all (EvbusStops    *self);

G_END_DECLS
