/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The durable log: one SQLite database that holds every accepted event until
 * each of its routes has settled it, with one cursor for each route, the dead
 * letters, and the ledgers.
 *
 * Threads. "Writer" is the thread that commits, the listener's (any one thread
 * before it is started): it alone calls the functions of the first group.
 * Routes read with a reader of their own, and say how far they are with
 * evbus_spool_settle(), from any thread; that is written with the next commit. */

#pragma once

#include "evbus-event-private.h"
#include "evbus-fate.h"
#include "evbus-ledger.h"
#include "evbus-spool-condition.h"

G_BEGIN_DECLS

typedef struct _EvbusSpool       EvbusSpool;
typedef struct _EvbusSpoolRoute  EvbusSpoolRoute;    /* counted; the spool has one until the route is forgotten */
typedef struct _EvbusSpoolReader EvbusSpoolReader;

/* Opens the spool in @directory, or makes it (folder 0700, files 0600). Blocks.
 *
 * A damaged or foreign database is set aside under a new name in the same
 * folder, what can be read of it (each record has a checksum) is taken over into
 * a new one. Errors: %EVBUS_ERROR_BUSY, naming its process, if another one has
 * the spool; %EVBUS_ERROR_SPOOL_FAILED if it was written by a newer version (it
 * is left untouched), if the folder holds what is not of a spool, or if folder or file
 * cannot be made. */
EvbusSpool  *evbus_spool_open          (const char   *directory,
                                        GError      **error);

/* Who waits for that. */
typedef struct {
  GCancellable *cancellable;             /* nullable: ends it; what is there stays as it was */
  void        (*progress) (const char *what,
                           gpointer    data);
                                         /* nullable: how far it is, for a person, where it takes long; once a second */
  gpointer      data;
} EvbusSpoolOpening;

EvbusSpool  *evbus_spool_open_with     (const char              *directory,
                                        const EvbusSpoolOpening *opening,
                                        GError                 **error);
EvbusSpool  *evbus_spool_ref           (EvbusSpool   *self);
/* The last one closes the database; a clean close leaves no WAL behind. */
void         evbus_spool_unref         (EvbusSpool   *self);
const char  *evbus_spool_get_directory (EvbusSpool   *self);
/* @note: (out) (transfer full) (nullable) (optional): for a person: what was set aside
 * and how much was taken over, or what is wrong; NULL if there is nothing to say. Any
 * thread. */
EvbusSpoolCondition
             evbus_spool_get_condition (EvbusSpool   *self,
                                        char        **note);
/* Has @func called whenever that may be another one, on any thread and under no lock. To
 * be called once. */
typedef void (*EvbusSpoolWatch) (gpointer data);
void         evbus_spool_watch         (EvbusSpool      *self,
                                        EvbusSpoolWatch  func,
                                        gpointer         data,
                                        GDestroyNotify   free_data);

/* The last settlements are written, the database is closed and the lock given
 * back; for the writer, once no reader is left. Calls of evbus_spool_settle() that
 * come later (from a thread that was given up) change nothing. */
void         evbus_spool_close         (EvbusSpool   *self);

/* ---- Routes: these change memory alone, under the spool's mutex, from any
 * thread; the rows are written with the next commit. */

/* Who keeps a route beyond the locks under which none is forgotten has a reference. One that is
 * forgotten can still be asked and told anything, for as long as the spool is there. */
EvbusSpoolRoute *evbus_spool_route_ref    (EvbusSpoolRoute  *route);
void             evbus_spool_route_unref  (EvbusSpoolRoute  *route);

/* A new route of that key (borrowed), which no other one has: it starts at the present. */
EvbusSpoolRoute *evbus_spool_add_route    (EvbusSpool       *self,
                                           const char       *key);
/* The route of that key, made if there is none yet. It is no orphan from now on. */
EvbusSpoolRoute *evbus_spool_adopt_route  (EvbusSpool       *self,
                                           const char       *key);
/* Gives the route another key, which no other one has; it is no orphan from now
 * on. */
void             evbus_spool_rename_route (EvbusSpool       *self,
                                           EvbusSpoolRoute  *route,
                                           const char       *key);
/* Its configuration is gone: it keeps its backlog and gets no new events. */
void             evbus_spool_orphan_route (EvbusSpool       *self,
                                           EvbusSpoolRoute  *route);
/* Likewise, because it is in doubt whose it is: the spool's note says so, after the next start too,
 * until it has an owner, a name or nothing. */
void             evbus_spool_doubt_route  (EvbusSpool       *self,
                                           EvbusSpoolRoute  *route);
/* All routes that were stored, orphans too: a new array that has references. */
GPtrArray       *evbus_spool_list_routes  (EvbusSpool       *self);
/* Writer. Forgets an orphan: its queued events and dead letters are dropped. Commits. */
gboolean         evbus_spool_forget_route (EvbusSpool       *self,
                                           EvbusSpoolRoute  *route,
                                           GError          **error);

/* Writer. Gives the orphan another key, which no other one has. Commits, also on a full disk,
 * with the help of the reserve; FALSE: it has the one it had. Errors: %EVBUS_ERROR_NOT_FOUND if it is
 * forgotten, and those of evbus_spool_commit(). */
gboolean         evbus_spool_name_orphan  (EvbusSpool       *self,
                                           EvbusSpoolRoute  *orphan,
                                           const char       *key,
                                           GError          **error);

/* Writer. How much longer (microseconds) the route is kept, for its configuration to come
 * back: an orphan that has neither queued events nor dead letters is not for ever.
 * %G_MAXINT64: it is none. */
gint64           evbus_spool_route_get_rest  (EvbusSpoolRoute  *route);

/* Valid until the route is renamed, which is done under the broker's lock: for who has that. */
const char      *evbus_spool_route_get_key   (EvbusSpoolRoute *route);
/* From any thread. */
char            *evbus_spool_route_dup_key   (EvbusSpoolRoute *route);
gboolean         evbus_spool_route_is_orphan (EvbusSpoolRoute *route);
gboolean         evbus_spool_route_is_doubtful (EvbusSpoolRoute *route);
/* The ledger as it is, or will be, on disk: it counts an event once it is
 * committed. @queued_weight: (nullable). */
void             evbus_spool_route_get_ledger (EvbusSpoolRoute *route,
                                               EvbusLedger     *ledger,
                                               guint64         *queued_weight);
/* Bytes of its dead letters' records. */
guint64          evbus_spool_route_get_dead_weight (EvbusSpoolRoute *route);
/* Writer. What is counted for no route: unrouted and repeated of @figures. */
void             evbus_spool_set_figures      (EvbusSpool      *self,
                                               const EvbusLedger *figures);
/* The sums of the routes that were forgotten, and what is counted for no route. */
void             evbus_spool_get_rest         (EvbusSpool      *self,
                                               EvbusLedger     *ledger);
/* The sequence number of the newest event stored for the route (0: none), and
 * whether there are events at or before it that the route has not read. */
gint64           evbus_spool_route_get_last  (EvbusSpoolRoute *route);

/* ---- Writer: a transaction
 *
 * begin, any number of appends, then commit or roll_back. What routes have
 * settled meanwhile, new dead letters and a share of the deletion of events that
 * all their routes have settled go into the same transaction. */

void         evbus_spool_begin        (EvbusSpool       *self);
/* Before it, where more than %EVBUS_SPOOL_COMMIT_BYTES will be appended: makes
 * room in the log, so that it keeps its bound. */
void         evbus_spool_make_way     (EvbusSpool       *self);
/* Stores @event for @routes (sorted by nothing in particular, no route twice) and
 * sets its seq, which is greater than that of every event before. Errors are
 * kept for the commit. @known_id: the producer gave the id, which is stored so that
 * it is known after a restart. */
void         evbus_spool_append       (EvbusSpool       *self,
                                       EvbusEvent       *event,
                                       EvbusSpoolRoute **routes,
                                       guint             n_routes,
                                       gboolean          known_id);
/* Returns once everything is on disk. FALSE: nothing that was appended since
 * begin is stored, sequence numbers and ledgers are as before. Errors:
 * %EVBUS_ERROR_SPOOL_FULL (the disk is full; settlements are still written, with
 * the help of a reserve that is given up for them), %EVBUS_ERROR_SPOOL_FAILED
 * (an I/O error: whether the events are stored is not known). */
gboolean     evbus_spool_commit       (EvbusSpool       *self,
                                       GError          **error);
/* A transaction without events: settlements, deletions, returning of space,
 * checkpoints that are due. Returns whether there is more to do now. */
gboolean     evbus_spool_maintain     (EvbusSpool       *self);
/* Whether there is something for evbus_spool_maintain() to write. Writer. */
gboolean     evbus_spool_is_dirty     (EvbusSpool       *self);
/* Writer. When what evbus_spool_maintain() could not do is to be tried again (monotonic), or
 * G_MAXINT64. */
gint64       evbus_spool_get_next_try (EvbusSpool       *self);
/* Writer. Whether puts fail, as the disk is full: that is looked at again and again. */
gboolean     evbus_spool_is_full      (EvbusSpool       *self);

/* Over its budget a route loses its own oldest events: marks as expired those
 * after @after (what the route has in memory ends there) until at most
 * @max_weight is queued (%G_MAXUINT64: any), and those put before @put_before by the steady clock
 * (%G_MININT64: none); at most @max_events at a time. They are appended to
 * @expired (EvbusEvent, transfer full; may be NULL), but for damaged ones. Returns
 * how many, @weight (nullable): of which weight.
 *
 * What is skipped so is one range (after, to], stored with the route beside its
 * position: @after is the same until the route has read past it, and then the
 * range is merged into the position. Its ledger is booked here. */
guint        evbus_spool_expire_oldest (EvbusSpool      *self,
                                        EvbusSpoolRoute *route,
                                        gint64           after,
                                        guint64          max_weight,
                                        gint64           put_before,
                                        guint            max_events,
                                        GPtrArray       *expired,
                                        guint64         *weight);
/* Writer. The same of a route that nobody has, which has nothing in memory. */
guint        evbus_spool_expire_orphan (EvbusSpool      *self,
                                        EvbusSpoolRoute *route,
                                        guint64          max_weight,
                                        gint64           put_before,
                                        guint            max_events,
                                        GPtrArray       *expired);
/* Writer. Whether events that all their routes have settled are still to be
 * deleted, and weigh meanwhile. */
gboolean     evbus_spool_has_settled   (EvbusSpool      *self);
/* Bytes of the events and dead letters that are stored. Any thread. */
guint64      evbus_spool_get_weight    (EvbusSpool      *self);

/* The ids that producers gave, oldest first (GPtrArray of char *, transfer
 * full): at most %EVBUS_KNOWN_IDS. @seqs: (out): of their events (gint64), in step, and so
 * is @replayed (gboolean): the number is not that of the put, but of a dead letter of that
 * event which went back to its route. */
GPtrArray   *evbus_spool_load_known_ids (EvbusSpool     *self,
                                        GArray          *seqs,
                                        GArray          *replayed);

/* evbus-spool-find.c. Writer, outside of a transaction. Which route has, or had, an event
 * under which of its numbers. */
typedef struct {
  EvbusSpoolRoute *route;
  gint64           seq;
} EvbusSpoolHolder;

/* @holders: (out): the routes (EvbusSpoolHolder) for which the event was stored, as far as
 * that can be told still, each once. @seqs: its numbers (gint64), that of the put first, then
 * those of its dead letters that were replayed. @sure: (out): there are no others but such
 * that have delivered it for certain. FALSE: error. */
gboolean     evbus_spool_find_routes    (EvbusSpool      *self,
                                         const GArray    *seqs,
                                         GArray          *holders,
                                         gboolean        *sure,
                                         GError         **error);
/* What became of it at one of them. FALSE: the route has it still. @reason: (out)
 * (transfer full) (nullable). */
gboolean     evbus_spool_find_fate      (EvbusSpool             *self,
                                         const EvbusSpoolHolder *holder,
                                         const GArray           *seqs,
                                         EvbusFate              *fate,
                                         char                  **reason);

/* ---- Routes: from any thread */

/* An event a route gives up on. */
typedef struct {
  EvbusEvent *event;       /* borrowed */
  const char *reason;
} EvbusSpoolDeath;

/* Says how far a route is: every event of its own up to @position is settled, but
 * for those of @pending (sequence numbers, ascending). @change is added to its
 * ledger (delivered, dead, expired, dropped, retried count up; queued is what is
 * left, it is set by the spool to balance), @weight off its queued weight. The
 * @deaths become dead letters in the same transaction; the events are encoded here
 * and now. A @position before the last one does not take it back. Never blocks on
 * the disk.
 *
 * Of an event's age: its record holds the wall clock and the boot time (with the
 * boot's id) of its put; one that is read back in the same boot is as old as the
 * boot time says, in another boot as the wall clock says, at least 0. */
void         evbus_spool_settle        (EvbusSpool            *self,
                                        EvbusSpoolRoute       *route,
                                        gint64                 position,
                                        const gint64          *pending,
                                        guint                  n_pending,
                                        const EvbusLedger     *change,
                                        guint64                weight,
                                        const EvbusSpoolDeath *deaths,
                                        guint                  n_deaths);

/* Adds @change, which balances, to the route's ledger: what was never stored. Written with the
 * next commit. */
void         evbus_spool_book          (EvbusSpool            *self,
                                        EvbusSpoolRoute       *route,
                                        const EvbusLedger     *change);

/* Whether so many dead letters could not be written yet that no more are to be made
 * (%EVBUS_SPOOL_DEATHS_BYTES). Any thread. */
gboolean     evbus_spool_has_many_deaths (EvbusSpool          *self);

/* A reader of one route's backlog, with a connection of its own, for one thread.
 * It begins with the pending events of the route, then goes on after its
 * position, as they are when the reader is made. */
EvbusSpoolReader *evbus_spool_reader_new  (EvbusSpool       *self,
                                           EvbusSpoolRoute  *route,
                                           GError          **error);
/* The same, but it reads what comes after @after alone. */
EvbusSpoolReader *evbus_spool_reader_new_after (EvbusSpool       *spool,
                                           EvbusSpoolRoute  *route,
                                           gint64            after,
                                           GError          **error);
/* Of those pending when it was made: how many it has not read yet, and which
 * (gint64, appended). */
guint        evbus_spool_reader_n_pending (EvbusSpoolReader *self);
gboolean     evbus_spool_reader_is_at_end (EvbusSpoolReader *self);
void         evbus_spool_reader_list_pending (EvbusSpoolReader *self,
                                           GArray           *seqs);
/* Appends the next events, at most so many and so much (at least one, if there is
 * one), to @events (EvbusEvent, transfer full, seq set), oldest first. No
 * transaction is open afterwards. An event whose record is damaged is left out
 * and counted in @n_damaged. FALSE: error. */
gboolean     evbus_spool_reader_read      (EvbusSpoolReader *self,
                                           guint             max_events,
                                           gsize             max_weight,
                                           GPtrArray        *events,
                                           guint            *n_damaged,
                                           GError          **error);
/* Up to which sequence number it has read. */
gint64       evbus_spool_reader_get_position (EvbusSpoolReader *self);
void         evbus_spool_reader_free      (EvbusSpoolReader *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusSpool, evbus_spool_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusSpoolRoute, evbus_spool_route_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusSpoolReader, evbus_spool_reader_free)

/* ---- Dead letters: from any thread, with a connection of its own; block. */

typedef struct {
  gint64      number;        /* of the dead letter, ascending with its death */
  char       *route;         /* the route's key */
  char       *reason;
  gint64      died;          /* microseconds since 1970 UTC; 0: not known */
  EvbusEvent *event;         /* nullable: the record is damaged, and it can only be dropped */
} EvbusSpoolDead;

void         evbus_spool_dead_free     (EvbusSpoolDead   *dead);

/* Those after number @after, at most @max_events, of one route or (NULL) of all:
 * and no more than %EVBUS_DEAD_PAGE_BYTES (but one): a page (GPtrArray of
 * EvbusSpoolDead); after the last one comes an empty one. */
GPtrArray   *evbus_spool_list_dead     (EvbusSpool       *self,
                                        const char       *route_key,
                                        gint64            after,
                                        guint             max_events,
                                        GError          **error);

/* The number of the newest dead letter of the route, or (NULL) of all; 0: there is none. */
gboolean     evbus_spool_last_dead     (EvbusSpool       *self,
                                        EvbusSpoolRoute  *route,
                                        gint64           *last,
                                        GError          **error);

/* One step of a long work on dead letters: a transaction. */
typedef struct {
  gboolean         replay;   /* else they are dropped */
  EvbusSpoolRoute *only;     /* others are as good as not there; NULL: of any route */
  GPtrArray       *routes;   /* EvbusSpoolRoute, one for each that is done; of a drop it may be NULL; and … */
  GPtrArray       *events;   /* … of a replay, in step: EvbusEvent with its new seq, to be handed to it, and … */
  GArray          *old_seqs; /* … gint64: the one that it had */

  /* Out. */
  guint            n_seen;   /* how many of the numbers were gone through; the rest is for a next step */
  guint            n_done;
  gint64           missing;  /* the first number that is not there any more; 0: none */
  EvbusSpoolRoute *orphan;   /* a route that is one: what should be replayed to it stays; or NULL */
  gsize            weight;
} EvbusSpoolDeadStep;

/* Writer. Replays dead letters: each goes back to its route's queue (ledger: dead to
 * queued), as the newest event of that route, under its old id, its age beginning
 * anew; an id that is known leads to both numbers from now on. Or drops them (ledger: dead to dropped). Commits; FALSE: nothing was done,
 * whatever @step says. */
gboolean     evbus_spool_step_dead     (EvbusSpool          *self,
                                        const gint64        *numbers,
                                        guint                n_numbers,
                                        EvbusSpoolDeadStep  *step,
                                        GError             **error);
/* Writer. Appends the numbers of the route's dead letters after @after and up to
 * @last (gint64). */
gboolean     evbus_spool_list_dead_numbers (EvbusSpool      *self,
                                        EvbusSpoolRoute     *route,
                                        gint64               after,
                                        gint64               last,
                                        guint                max_numbers,
                                        GArray              *numbers,
                                        GError             **error);
/* Writer. Takes the route's oldest away until @weight bytes of records are gone, at
 * most @max_letters and not much more than %EVBUS_SPOOL_STEP_BYTES at a time, up to the first
 * whose event was not put before @put_before (by the steady clock); they go from dead to
 * another account of the ledger, whose offset is @account. Commits.
 * @n_letters: (out): how many went. */
gboolean     evbus_spool_lose_dead     (EvbusSpool          *self,
                                        EvbusSpoolRoute     *route,
                                        gsize                account,
                                        guint                max_letters,
                                        guint64              weight,
                                        gint64               put_before,
                                        guint               *n_letters,
                                        GError             **error);
/* What the spool's steady clock shows. Any thread. */
gint64       evbus_spool_get_time        (EvbusSpool          *self);
/* Returns FALSE with %EVBUS_ERROR_NOT_FOUND. */
gboolean     evbus_spool_set_missing   (EvbusSpool       *self,
                                        gint64            number,
                                        GError          **error);


G_END_DECLS
