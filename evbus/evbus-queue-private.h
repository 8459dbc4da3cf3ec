/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "evbus-follows-private.h"
#include "evbus-known-ids-private.h"
#include "evbus-ledger.h"
#include "evbus-limits-private.h"
#include "evbus-notifier-private.h"
#include "evbus-put-private.h"
#include "evbus-route-table-private.h"
#include "evbus-spool-private.h"
#include "evbus-window-private.h"

G_BEGIN_DECLS

/* How many chunks the listener takes under one lock; a few more where a put must
 * not be torn. */
#define EVBUS_TAKE_CHUNKS 64
/* And how much: with the last chunk it fits into one transaction of the spool. */
#define EVBUS_TAKE_BYTES (EVBUS_SPOOL_COMMIT_BYTES / 2)

/* What the spool holds, for those routes that would rather hold up their producers than lose
 * anything: as it was when the budget was last looked at, and what was accepted since. */
typedef struct {
  gsize max;       /* what it may hold; 0: there is none, or it is not looked at yet */
  gsize weight;    /* what it holds, with what is accepted and not stored yet */
  gsize coupled;   /* of that, what such routes have queued, at most */
  gsize largest;   /* what the one can lose that can lose the most */
  gboolean settled; /* something was since, so there is more room than this says … */
  gboolean wanted; /* … and a put would have come in, or may have */
  gboolean told;   /* who looks at the budget was told so */
  gboolean let_in; /* a put of such a route found room since */
  gint64 delay;    /* how long after that it is looked at */
} EvbusRoom;

/* The broker's queue, where admission is decided. The lock of the GAsyncQueue
 * guards everything here, the ledgers of all routes included: one short
 * critical section a put, in which an event is accepted by all of its routes
 * or by none, and in which a ledger can be read that always balances. */
typedef struct _EvbusQueue {
  gatomicrefcount  ref_count;
  GSource         *source;         /* the listener's, woken when there is something again */
  struct _EvbusNotifier *notifier; /* or NULL; set by the broker before a put can come */
  GAsyncQueue     *chunks;

  /* Under the lock of @chunks. */
  EvbusChunk      *open;           /* the last in @chunks, to which events are still appended */
  guint            n_events;
  gsize            weight;
  guint            max_events;
  gsize            max_weight;
  gboolean         awake;          /* the listener was woken and has not seen the queue empty since */
  gboolean         closed;
  gboolean         reject_unrouted;
  int              durable;        /* puts are answered once they are in the spool; atomic for who has no lock */
  EvbusRoom        room;
  GSource         *look;           /* of the spool: told where the budget should be looked at soon; NULL: there is none */
  guint            spool_max_age;  /* atomic: seconds, the age at which all in the spool expires; 0: none */
  guint64          n_pushed;       /* since the beginning */
  guint64          n_taken;        /* written by the listener's thread alone, once there is one */
  guint64          unrouted;
  gboolean         totals_moved; /* since the lock was taken */
  guint64          repeated;       /* puts of a known id */
  gboolean         figures_moved;  /* one of these two has changed since the spool took them … */
  gboolean         figures_told;   /* … and it was told to take them */
  GSource         *figures;        /* of the spool: told a while after they have changed; NULL: there is none */
  GPtrArray       *routes;         /* whose ledgers count; borrowed, they retire before they go */
  GHashTable      *holders;        /* EvbusSpoolRoute → GPtrArray of those of @routes that have it, the oldest first */
  EvbusLedger      retired;        /* of the routes that are gone */
  EvbusRouteTable *table;
  GQueue           waiting;        /* EvbusPut, oldest first; a reference of each */
  gsize            waiting_weight;
  GQueue           for_space;      /* of @waiting, the first at all of their routes that found the queue full */
  guint64          n_looks;        /* at puts of @waiting, whether they can come in; for the tests */
  guint64          tally;          /* number of the put that was added up last */
  EvbusKnownIds    known_ids;
  EvbusFollows     follows;
  GQueue           to_find;        /* EvbusPut that repeat an event which is in the spool; a reference of each */
  gboolean         told;           /* the notifier, that there is news for followers, which nobody has taken yet */
  GHashTable      *unrouted_names; /* profile names that were logged */
  GPtrArray       *to_log;         /* of those, the ones to be logged outside the lock */
  GPtrArray       *garbage;        /* route sets to be freed outside the lock */
} EvbusQueue;

EvbusQueue *evbus_queue_new         (GSource          *source);
EvbusQueue *evbus_queue_ref         (EvbusQueue       *self);
void        evbus_queue_unref       (EvbusQueue       *self);

/* Accepts the put or says why not. */
gboolean    evbus_queue_try_put     (EvbusQueue       *self,
                                     EvbusPut         *put,
                                     GError          **error);

/* Accepts the put now or when there is space, in the order of the calls, and
 * answers its task. FALSE: it waits for space. */
gboolean    evbus_queue_put         (EvbusQueue       *self,
                                     EvbusPut         *put);

/* What the listener took under one lock. Its owner hands the chunks on; the
 * route sets stay valid until the next take. */
typedef struct {
  GPtrArray *chunks;   /* EvbusChunk */
  GPtrArray *sets;     /* EvbusRouteSet, in step */
  gsize      weight;
} EvbusTake;

void        evbus_take_init         (EvbusTake        *self);
void        evbus_take_clear        (EvbusTake        *self);

/* Gives the route sets of the last take back and takes the next chunks. FALSE:
 * there are none, and the next put will wake the listener. */
gboolean    evbus_queue_take        (EvbusQueue       *self,
                                     EvbusTake        *take);

/* The events of the take are in the spool: the ids among them are final, and the
 * puts that repeated one are moved to @answers (a reference of each). */
void        evbus_queue_stored      (EvbusQueue       *self,
                                     EvbusTake        *take,
                                     GQueue           *answers);
/* They could not be stored, because of @refusal. Those whose put is to be answered
 * were never accepted; the others are booked as dropped. */
void        evbus_queue_take_back   (EvbusQueue       *self,
                                     EvbusTake        *take,
                                     const GError     *refusal,
                                     GQueue           *answers);

/* Which events have left a route, for those who follow them. */
typedef struct {
  EvbusEvent            **events;     /* all of these … */
  guint                   n_events;
  const guint8           *keep;       /* … but for those whose byte is set; NULL: for none */
  EvbusFate               fate;
  const char             *reason;     /* or NULL */
  const EvbusSpoolDeath  *lost;       /* and these, which may be among the others, for a reason each */
  guint                   n_lost;
  EvbusFate               lost_fate;
} EvbusLeft;

/* Books @n_events of @weight that have left @route: as @n_delivered and so on
 * in @outcome, whose `queued` and `accepted` are not looked at. @left: (nullable). */
void        evbus_queue_settle      (EvbusQueue        *self,
                                     EvbusRoute        *route,
                                     const EvbusLedger *outcome,
                                     guint              n_events,
                                     gsize              weight,
                                     const EvbusLeft   *left);

/* Puts @table in place. Returns how many events were pushed before. The puts that
 * this has decided go into @done: their owner calls evbus_waiting_answer(), under
 * no lock, as that may call back. */
guint64     evbus_queue_set_table   (EvbusQueue       *self,
                                     EvbusRouteTable  *table,
                                     GQueue           *done);
/* Takes @table over. Returns the one before, to be unreferenced outside of the lock. */
EvbusRouteTable *
            evbus_queue_swap_table_locked (EvbusQueue      *self,
                                           EvbusRouteTable *table,
                                           GQueue          *done);
/* For a queue that is closed: no more routes. */
void        evbus_queue_clear_table (EvbusQueue       *self);
void        evbus_queue_set_budget  (EvbusQueue       *self,
                                     guint             max_events,
                                     gsize             max_weight,
                                     GQueue           *done);
guint       evbus_queue_get_max_events (EvbusQueue    *self);
/* What was counted for no route before, as the spool knows it. From now on @source is
 * made ready soon after that changes; it asks for the figures then. */
void        evbus_queue_load_figures (EvbusQueue        *self,
                                     const EvbusLedger *stored,
                                     GSource           *source);
void        evbus_queue_take_figures (EvbusQueue        *self,
                                     EvbusLedger       *figures);
/* From now on puts are answered by who takes them, once they are in a spool. */
void        evbus_queue_set_durable (EvbusQueue       *self,
                                     gboolean          durable);
/* Without the queue's lock. */
gboolean    evbus_queue_is_durable  (EvbusQueue       *self);
void        evbus_queue_set_reject_unrouted (EvbusQueue *self,
                                     gboolean          reject_unrouted);

/* No put is accepted from now on; those that wait get EVBUS_ERROR_CLOSED. */
void        evbus_queue_close       (EvbusQueue       *self);

/* From adoption to retirement a route's ledger is part of the totals; then it
 * is folded into them, or into the route that goes on with its part of the
 * spool. */
void        evbus_queue_adopt       (EvbusQueue       *self,
                                     EvbusRoute       *route);
void        evbus_queue_retire      (EvbusQueue       *self,
                                     EvbusRoute       *route);

/* The parts of the spool that routes have, also such as are about to end: events and dead letters of each,
 * with those that are accepted and not stored yet (guint64 by EvbusSpoolRoute, transfer full). */
GHashTable *evbus_queue_list_held_locked (EvbusQueue   *self);
/* The route goes on with that part of the spool; while another one has it still, once that has
 * retired. Returns whether there is, or may be, something in it. */
gboolean    evbus_queue_bind_locked (EvbusQueue        *self,
                                     EvbusRoute        *route,
                                     EvbusSpoolRoute   *spool_route);
/* The routes that have that part of the spool, the oldest first: the older has the counts until it has
 * closed, what comes goes to the newer. NULL: there is none. */
GPtrArray  *evbus_queue_get_holders_locked (EvbusQueue *self,
                                     gpointer           spool_route);
/* A dead event of @weight of that route goes back to its queue. Returns the one
 * to which it is to be handed, a reference; NULL: there is none. */
EvbusRoute *evbus_queue_replay      (EvbusQueue        *self,
                                     gpointer           spool_route,
                                     gsize              weight);
/* evbus-room.c: what is settled from now on may not be in what evbus_queue_set_room() will say. */
void        evbus_queue_begin_look  (EvbusQueue        *self);
/* What the spool holds now, of which all in the queue is not yet counted. Puts that
 * waited for that may come in. */
void        evbus_queue_set_room    (EvbusQueue        *self,
                                     gsize              max,
                                     gsize              stored,
                                     gsize              largest);
/* @source is made ready where puts want room, and something was settled since it was looked at. */
void        evbus_queue_watch_room  (EvbusQueue        *self,
                                     GSource           *source);
/* What it may hold has changed; the rest is looked at soon. */
void        evbus_queue_set_room_max (EvbusQueue       *self,
                                     gsize              max);
/* How many dead ones are counted for that route, of which so many can be lost;
 * G_MAXUINT64: nobody has it. */
guint64     evbus_queue_count_dead  (EvbusQueue        *self,
                                     gpointer           spool_route);
/* So many dead ones are gone: dropped by a person, or expired. @account: the offset
 * of that in EvbusLedger. */
void        evbus_queue_lose_dead   (EvbusQueue        *self,
                                     gpointer           spool_route,
                                     guint64            n_events,
                                     gsize              account);
gboolean    evbus_queue_has_spool_route (EvbusQueue    *self,
                                     gpointer           spool_route);
/* A reference of each. */
GPtrArray  *evbus_queue_dup_routes  (EvbusQueue        *self);
/* evbus-queue-ids.c, before the listener is started: ids (char *) that are in the
 * spool from before, with their events' @seqs (gint64) and @replayed (gboolean) in step. A
 * put that waits for the start and repeats one goes into @done, as above. */
void        evbus_queue_load_known_ids (EvbusQueue     *self,
                                     GPtrArray         *ids,
                                     GArray            *seqs,
                                     GArray            *replayed,
                                     GQueue            *done);

/* evbus-queue-follow.c. EvbusNews, of which the notifier was told (change 0); the caller
 * frees it. */
GQueue      evbus_queue_steal_news  (EvbusQueue        *self);
/* What has left a part of the spool that no route has. */
void        evbus_queue_report      (EvbusQueue        *self,
                                     gpointer           spool_route,
                                     const EvbusLeft   *left);
/* Whether there is anything to be reported. */
gboolean    evbus_queue_is_followed (EvbusQueue        *self);
/* All that is in that part of the spool up to @until is gone, but for those in @present
 * (gint64; nullable). The puts that this answers go into @answers, for
 * evbus_put_answer_all(). */
void        evbus_queue_drop_followed (EvbusQueue      *self,
                                     gpointer           spool_route,
                                     gint64             until,
                                     GArray            *present,
                                     const char        *reason,
                                     GQueue            *answers);
/* On the listener's thread, before the event is handed to its route: a dead letter went back to it,
 * under a new number. Whoever puts its id again waits for that. */
void        evbus_queue_follow_replayed (EvbusQueue    *self,
                                     EvbusSpool        *spool,
                                     EvbusSpoolRoute   *spool_route,
                                     EvbusEvent        *event,
                                     gint64             old_seq);
/* On the listener's thread: what became of events in the spool that were put again, for some
 * milliseconds. TRUE: there may be more of them. */
gboolean    evbus_queue_look_up     (EvbusQueue        *self,
                                     EvbusSpool        *spool);
/* Nothing more is delivered: the puts that wait for a delivery are answered. */
void        evbus_queue_end_follows (EvbusQueue        *self);

/* Snapshots; these and what concerns dead letters are in evbus-queue-ledger.c. */
void        evbus_queue_get_ledger  (EvbusQueue       *self,
                                     EvbusRoute       *route,
                                     EvbusLedger      *ledger);
gsize       evbus_queue_get_weight  (EvbusQueue       *self,
                                     EvbusRoute       *route);
/* @spool: (nullable): what it has that no route goes on with counts too. */
void        evbus_queue_get_totals  (EvbusQueue       *self,
                                     EvbusSpool       *spool,
                                     EvbusLedger      *ledger);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusQueue, evbus_queue_unref)

G_END_DECLS
