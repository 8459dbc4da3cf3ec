/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-batch-private.h"
#include "evbus-context.h"
#include "evbus-ingress.h"
#include "evbus-listener-private.h"
#include "evbus-route-private.h"
#include "evbus-spooler-private.h"

G_BEGIN_DECLS

/* The thread of a route, in four files: -route-worker.c is the thread with
 * its steps, -route-hand.c fills and empties its hand, -route-publish.c has the
 * plugin publish what is in it, and -route-extend.c gives it more meanwhile. */

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
  guint          in_flight;    /* without confirmation, by the settings … */
  gsize          in_flight_bytes;   /* … and how much */
  guint          n_given;      /* of the held events: in the batch of the publish that is under way */
  guint          n_booked;     /* of that batch: delivered, and no longer held */
  guint          allowance;    /* in a batch: 1 while the circuit is open, @max_events while it is closed */
  guint          limit;        /* in the next batch: @allowance, less while … */
  gboolean       halving;      /* … a batch of poison is halved: as long as what it had is in the hand */
  guint          failures;     /* in a row */
  gint64         not_before;   /* monotonic: the next try */
  gboolean       paused;       /* this and the next as the step found them in the route */
  guint          n_orders;
  gboolean       no_linger;    /* the next batch is not waited for */
  gboolean       hopeless;     /* there is no plugin, or it makes no ingress that works */
  gboolean       abandoned;    /* the listener gave this thread up during a call */
  EvbusSpoolReader *reader;    /* from when the route fell behind */
  gint64         read_again;   /* monotonic: not before, after an error */
  gint64         position;     /* seq of the last event that was taken into the hand */
  gint64         resume_to;    /* up to here the spool knows one by one what is not settled: after an
                                * earlier life, or where something was damaged */
} EvbusWorker;

/* evbus-route-worker.c: around every call into the plugin. The second returns
 * whether the call was told to give up. */
void         evbus_worker_begin_call  (EvbusWorker     *self);
gboolean     evbus_worker_end_call    (EvbusWorker     *self);
/* The next try comes after a pause; until then the route is in @state. */
void         evbus_worker_back_off    (EvbusWorker     *self,
                                       EvbusRouteState  state,
                                       const char      *reason);

/* evbus-route-hand.c: takes the next batch into the hand. FALSE: there is none
 * now. */
gboolean     evbus_worker_fetch       (EvbusWorker     *self);
/* Lets go of the first @n held events, but for those whose byte in @keep is
 * set. */
void         evbus_worker_let_go      (EvbusWorker     *self,
                                       guint            n,
                                       const guint8    *keep);
void         evbus_worker_let_go_all  (EvbusWorker     *self);
void         evbus_worker_let_go_first (EvbusWorker    *self,
                                       guint            n);
/* Puts more of the window into the hand, until there are @max_events events, or @max_bytes,
 * in it. */
void         evbus_worker_take        (EvbusWorker     *self,
                                       guint            max_events,
                                       gsize            max_bytes);
/* Whether one of the held events from the @first on may be too old; without looking at each. */
gboolean     evbus_worker_may_have_expired (EvbusWorker *self,
                                       guint            first,
                                       gint64           now);
/* While nothing can be tried: expires what is too old, and sleeps until @when
 * (monotonic; -1: for ever), until the next one is, or until there is news. */
void         evbus_worker_sleep       (EvbusWorker     *self,
                                       gint64           when);
/* The same for a route without a thread, but for the sleep. */
void         evbus_route_expire       (EvbusRoute      *self);

/* evbus-route-backlog.c: reads on from the spool, if the window is empty. FALSE:
 * there is nothing more now. */
gboolean     evbus_worker_refill      (EvbusWorker     *self);
/* Books what becomes of the first @n held events, but for those whose byte in
 * @keep is set (NULL: for none), before they are let go of; also in the spool. @lost
 * are those that are given up, of which each is told. */
void         evbus_worker_settle      (EvbusWorker           *self,
                                       guint                  n,
                                       const guint8          *keep,
                                       const EvbusLedger     *outcome,
                                       gsize                  weight,
                                       const EvbusSpoolDeath *lost,
                                       guint                  n_lost);
/* Where there are too many dead letters that the spool could not write, the route backs
 * off, so that it makes no more of them. Returns whether it does. */
gboolean     evbus_worker_waits_for_spool (EvbusWorker       *self);
/* Whether what it gives up becomes a dead letter. */
gboolean     evbus_worker_keeps_dead  (EvbusWorker           *self);

/* evbus-route-extend.c: EvbusBatchMore, @data is the worker. */
guint        evbus_worker_extend      (guint            n_confirmed,
                                       gpointer         data);

/* evbus-route-publish.c: publishes what is in the hand and judges what came of
 * it. */
void         evbus_worker_publish     (EvbusWorker     *self);
/* What the plugin puts from now on is caused by what is in the batch. */
void         evbus_worker_set_cause   (EvbusWorker     *self);
EvbusOutcome evbus_worker_get_outcome (const GError    *error);
/* In words for a person; @call: "open" or "publish". */
char        *evbus_worker_describe    (EvbusWorker     *self,
                                       const char      *call,
                                       gboolean         cancelled,
                                       const GError    *error);

G_END_DECLS
