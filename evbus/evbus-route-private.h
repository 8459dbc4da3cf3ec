/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-notifier-private.h"
#include "evbus-queue-private.h"
#include "evbus-route-spec-private.h"
#include "evbus-route.h"
#include "evbus-spool-private.h"
#include "evbus-window-private.h"

G_BEGIN_DECLS

typedef struct _EvbusListener EvbusListener;

typedef enum {
  EVBUS_PHASE_RUN,
  EVBUS_PHASE_DRAIN,   /* deliver what is there, then finish */
  EVBUS_PHASE_ABORT,   /* finish now, dropping what is left */
} EvbusPhase;

struct _EvbusRoute
{
  GObject          parent_instance;

  EvbusRouteSpec  *spec;
  char            *label;            /* "file 'orders-*'", for messages */
  EvbusQueue      *queue;
  EvbusNotifier   *notifier;
  EvbusMailbox    *mailbox;
  GMainContext    *context;          /* of the route's thread */
  GSource         *work;             /* in @context: woken when there is something to do */
  EvbusSpool      *spool;            /* or NULL; this and the next two are set before an event can come */
  struct _EvbusSpooler *spooler;
  EvbusSpoolRoute *spool_route;
  gboolean         from_profiles;    /* else from add_route(), and a reload leaves it alone */
  guint64          dropped_before_stop; /* used on the listener's thread alone */
  int              figures_moved;    /* atomic; set by who settles, cleared by the notifier */

  /* Under the queue's lock. */
  EvbusLedger      ledger;
  gsize            queued_weight;
  gboolean         shares;           /* another one has, or had, the same part of the spool: both count some of it */
  GQueue           waiting;          /* EvbusPut that need this route, oldest first */
  guint64          tally;            /* of the put that was added up last: its number, and what it … */
  guint            tally_events;     /* … needs of this route, if the number is this put's */
  gsize            tally_weight;

  GMutex           backlog_lock;     /* held while the spool is read for this route, or expires what it
                                      * has not read; before @lock */

  GMutex           lock;
  /* Under @lock. */
  gboolean         behind;           /* there is more in the spool than in memory */
  gint64           pushed_to;        /* the newest event the listener had for this route */
  gint64           read_to;          /* the newest that is, or was, in memory; 0: none yet */
  gboolean         leaves;           /* it was removed: what it has not begun stays in the spool */
  EvbusWindow      window;
  EvbusHand        hand;             /* what the route's thread has taken and not settled; changed by that
                                      * thread alone, and during a call while @booking */
  guint            n_held;           /* of which this many, and this much, still count */
  gsize            held_weight;
  gboolean         awake;            /* @work was woken and has not seen the window empty since */
  EvbusRouteState  state;
  char            *reason;
  EvbusPhase       phase;
  gboolean         finished;         /* takes no more: what is pushed is dropped */
  gboolean         abandoned;        /* its thread was given up during a call, and what it held is booked */
  gint64           drain_until;      /* monotonic; 0: no limit */
  gboolean         paused;           /* by a person */
  gboolean         hurry;            /* the next try is now; until its thread has seen it */
  guint            n_orders;         /* changes of @phase, @paused and @hurry by others: its thread does not
                                      * go to sleep over one that it has not seen */
  GCancellable    *call;             /* of the call into the plugin that is under way, or NULL */
  gint64           call_deadline;    /* monotonic */
  gboolean         call_told;        /* @call is cancelled by now, or about to be */
  gboolean         booking;          /* during a call too: what it holds changes; set by its thread */
  gboolean         stepping;         /* its thread is in a step, where what it holds may change unless it is
                                      * in a call, or has ended; set by that thread */

  /* On the listener's thread. */
  gboolean         started;          /* its thread was, which may have ended since */
  gint64           start_again;      /* monotonic: when to try once more to start its thread; 0: never */
};

EvbusRoute *evbus_route_new          (EvbusRouteSpec  *spec,
                                      EvbusQueue      *queue,
                                      EvbusNotifier   *notifier);

/* A reference of each. */
GPtrArray  *evbus_route_array_copy   (GPtrArray       *routes);

/* On the listener's thread: the route's share of a run of events. */
void        evbus_route_push         (EvbusRoute      *self,
                                      EvbusChunk      *chunk);

/* From any thread. Tells the broker's context if that is a change. */
void        evbus_route_set_state    (EvbusRoute      *self,
                                      EvbusRouteState  state,
                                      const char      *reason);
/* The same for who holds the lock. Returns whether the change is worth a log,
 * to be written outside of it. */
gboolean    evbus_route_change_state_locked (EvbusRoute      *self,
                                             EvbusRouteState  state,
                                             const char      *reason);
void        evbus_route_log_state    (EvbusRoute      *self,
                                      EvbusRouteState  state,
                                      const char      *reason);
/* Only ever forward. ABORT cancels the call that is under way. */
void        evbus_route_set_phase    (EvbusRoute      *self,
                                      EvbusPhase       phase);
/* Lets it deliver until @deadline (monotonic; never later than one given before)
 * and then end. @leaves: it is in the configuration no more. */
void        evbus_route_drain_by     (EvbusRoute      *self,
                                      gint64           deadline,
                                      gboolean         leaves);
/* Ends a route that has no thread, or whose thread is ending: what waits, and
 * what may still come, is dropped. */
void        evbus_route_drop_window  (EvbusRoute      *self,
                                      const char      *reason);

/* Books events as given up, and says so of each of them. @count: of the
 * ledger in @outcome to which they go. */
void        evbus_route_give_up      (EvbusRoute      *self,
                                      GPtrArray       *events,
                                      goffset          count,
                                      const char      *reason);
/* What a route has when it ends: dropped, unless the spool has it still. */
void        evbus_route_leave_over   (EvbusRoute      *self,
                                      GPtrArray       *events,
                                      const char      *reason);
void        evbus_route_settle       (EvbusRoute        *self,
                                      const EvbusLedger *outcome,
                                      guint              n_events,
                                      gsize              weight,
                                      const EvbusLeft   *left);

/* evbus-route-backlog.c. Under the queue's lock: binds it to its part of the spool; before an
 * event can come. Another route may have that part still (it is in @held, see
 * evbus_queue_bind_locked()), which closes first. */
void        evbus_route_bind_spool_locked (EvbusRoute      *self,
                                           EvbusSpool      *spool,
                                           struct _EvbusSpooler *spooler,
                                           EvbusSpoolRoute *spool_route);
/* TRUE: the chunk, which is in the spool, is not taken into memory now. */
gboolean    evbus_route_defer_locked (EvbusRoute      *self,
                                      EvbusChunk      *chunk);
/* On the listener's thread: lets the oldest of what is not in memory expire, some of it at a
 * time: see evbus_spool_expire_oldest(). Returns how many. @busy: (out): it could not look now, as the
 * route reads. */
guint       evbus_route_expire_backlog (EvbusRoute    *self,
                                        guint64        max_weight,
                                        gint64         put_before,
                                        const char    *reason,
                                        gboolean      *busy);

/* evbus-route-look.c, on the listener's thread: what has to be done with a
 * route now. A call that has not come back in time either is said to be stuck. */
typedef struct {
  GCancellable *cancel;     /* a call past its timeout; a reference */
  gboolean      start;      /* its thread, which could not be started before */
  gboolean      abort;      /* past its time to drain */
  gboolean      give_up;
  gint64        next;       /* monotonic: when to look again; G_MAXINT64: nothing to look for */
} EvbusLook;

EvbusLook   evbus_route_look         (EvbusRoute      *self,
                                      gint64           now);

/* Gives up a route whose plugin does not return, from a call or from a source
 * of its own: all it has is dropped, and its thread will find that out when it
 * comes back. FALSE: its thread is busy with neither, and will end by itself. */
gboolean    evbus_route_abandon      (EvbusRoute      *self);
/* How many threads of this process are given up and have not come back; and
 * that one has. */
guint       evbus_route_count_abandoned (void);
void        evbus_route_come_back    (void);

/* In the broker's context. */
void        evbus_route_notify_state   (EvbusRoute    *self);
void        evbus_route_notify_figures (EvbusRoute    *self);

/* evbus-route-worker.c, on the listener's thread: starts the route's thread,
 * which holds references of both until it ends. If there can be none, the route
 * says so, and the listener is told when to try again. */
void        evbus_route_start        (EvbusRoute      *self,
                                      EvbusListener   *listener);

G_END_DECLS
