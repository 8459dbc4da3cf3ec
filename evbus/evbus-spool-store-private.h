/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the files of the spool share. "Writer" is explained in
 * evbus-spool-private.h; "lock" is the spool's mutex. */

#pragma once

#include "evbus-clock-private.h"
#include "evbus-record-private.h"
#include "evbus-spool-private.h"
#include "evbus-sql-private.h"

G_BEGIN_DECLS

/* The place of an event in its table: the set of its routes, then its number. So
 * the events of one set stand together, in order. */
#define EVBUS_SPOOL_SEQ_BITS 50
#define EVBUS_SPOOL_MAX_SEQ  (((gint64) 1 << EVBUS_SPOOL_SEQ_BITS) - 1)
#define EVBUS_SPOOL_MAX_SET  8190
#define EVBUS_SPOOL_PLACE(set, seq) (((gint64) (set) << EVBUS_SPOOL_SEQ_BITS) | (seq))

/* Those after @after up to @to. */
typedef struct {
  gint64 after;
  gint64 to;
} EvbusSpoolRange;

/* How far a route is, and what it has done: one row of the table `route`. */
typedef struct {
  gboolean    orphan;
  gboolean    doubtful;  /* of an orphan: it is in doubt whose it is */
  gint64      position;
  gint64      last;      /* the newest event stored for the route */
  GArray     *pending;   /* gint64, ascending */
  GArray     *skipped;   /* EvbusSpoolRange, ascending, all after position */
  EvbusLedger ledger;
  guint64     weight;    /* of what is queued */
  guint64     dead_weight; /* bytes of the records of its dead letters */
} EvbusSpoolCursor;

/* Events with the same routes. */
typedef struct {
  guint32           id;
  guint             n_routes;      /* lock, written by the Writer */
  EvbusSpoolRoute **routes;        /* lock, written by the Writer; by id */
  gint64            first;         /* Writer: no event before this one is of this set: its number may have been another one's */
  gint64            last;          /* lock, written by the Writer: the newest event that is committed */
  gboolean          partial;       /* Writer: its events may have had other routes, too: such that are forgotten, or
                                    * have a row of their own */
  gboolean          stored;        /* Writer: its row is on disk */
  gboolean          deletable;     /* Writer: there may be events to be deleted */
  gint64            delete_again;  /* Writer: monotonic: that has failed, and is not tried before; 0: it has not */
  gboolean          empty;         /* Writer: there are no events */
  gboolean          retired;       /* Writer: its row names a forgotten route: it gets no more events, and goes when it is empty */
  guint             n_appended;    /* Writer: in this transaction */
  guint64           weight;        /* Writer: of those */
  gint64            last_appended; /* Writer */
} EvbusSpoolSet;

struct _EvbusSpoolRoute
{
  gatomicrefcount   ref_count;
  EvbusSpool       *spool;
  gint64            id;
  GRefString       *key;         /* lock */
  gboolean          forgotten;   /* lock, written by the Writer */
  GPtrArray        *sets;        /* lock, written by the Writer: EvbusSpoolSet */
  EvbusSpoolCursor  now;         /* lock */
  guint64           n_skipped;   /* lock: events over the budget, since the spool was opened */
  gboolean          dirty;       /* lock: differs from what is on disk */
  EvbusSpoolCursor  stored;      /* Writer: as of the transaction under way, or the last */
  EvbusSpoolCursor  written;     /* Writer: as it is on disk */
  GRefString       *stored_key;  /* Writer: the key as of the same as `stored` */
  GRefString       *written_key; /* Writer: the key on disk, the same object as it was in `key`; NULL: there is no row */
  gint64            spent_since; /* Writer: monotonic, since when it is an orphan that has nothing; 0: it is none */
  gboolean          staged;      /* Writer: in this transaction */
  EvbusLedger       change;      /* Writer: of the transaction under way; not yet in `now` */
  guint64           change_weight;
  gint64            change_dead_weight;
  gint64            change_last;
  GRefString       *change_key;  /* Writer: that the transaction under way gives to an orphan; nullable */
};

/* A dead letter on its way to the disk. */
typedef struct {
  EvbusSpoolRoute *route;       /* has a reference */
  GByteArray      *record;
} EvbusSpoolDying;

/* The thread of the checkpoints: evbus-spool-space.c. */
typedef struct _EvbusSpoolKeeper EvbusSpoolKeeper;

/* What of its work on the disk can fail, and work again. */
typedef enum {
  EVBUS_SPOOL_WRITE,          /* a commit */
  EVBUS_SPOOL_MOVE_LOG,       /* a checkpoint */
  EVBUS_SPOOL_LOOK,           /* the look at all that is stored */
  EVBUS_SPOOL_N_TASKS
} EvbusSpoolTask;

struct _EvbusSpool
{
  gatomicrefcount     ref_count;
  char               *directory;
  char               *path;
  const EvbusSpoolOpening *opening;     /* nullable; while it is opened */
  int                 lock_fd;
  int                 db_fd;            /* of the database, for its space on the disk */
  EvbusSpoolCondition condition;
  char               *note;
  EvbusSpoolKeeper   *keeper;
  EvbusSpoolWatch     watch;            /* lock: this and the next two, set once */
  gpointer            watch_data;
  GDestroyNotify      watch_free;
  gboolean            closed;           /* lock, written by the Writer */
  EvbusClockMark      clock;            /* what its steady clock showed last, as it was read; boot 0: not known */
  gint64              ahead;            /* of that clock; set when it is opened */
  int                 marked;           /* atomic: the folder says that the database is damaged */
  int                 said_found;       /* atomic: `found` is set, or about to be */

  /* Writer. */
  EvbusSql           *sql;
  gint64              seq;              /* the last one given to an event */
  gint64              last_route_id;    /* the last one given to a route */
  GHashTable         *sets_by_id;
  GHashTable         *sets_by_routes;   /* GBytes of the routes' ids, after a 0 if it is partial → EvbusSpoolSet */
  GArray             *last_routes;      /* of the last append, as they were given */
  EvbusSpoolSet      *last_set;
  guint64             n_known;          /* rows of known_id */
  gboolean            counted;          /* what is stored of the whole has that number, too; then what the routes have
                                         * queued is the bytes of records */
  guint64             n_settled;        /* copies, since events were deleted last */
  gboolean            more_to_delete;
  gint64              delete_again;     /* monotonic: when a set that was passed over is tried again, or G_MAXINT64 */
  int                 wal_pages;        /* after the last commit */
  int                 next_restart;     /* of those: where it is tried again to begin the log anew */
  gint64              say_log_again;    /* monotonic: from when on that it grows may be said again */
  gboolean            full;             /* the reserve is given up */
  gint64              next_try;         /* monotonic: when to try to have it again */

  /* Writer: the transaction under way. */
  gboolean            in_transaction;
  gboolean            alone;            /* what was settled meanwhile is not part of it, nor are new dead letters */
  GError             *failure;
  gint64              seq_before;
  guint64             n_known_before;
  guint64             weight_added;     /* bytes of records */
  guint64             weight_removed;
  EvbusLedger         rest_change;      /* not yet in `rest` */
  GPtrArray          *staged_sets;
  GPtrArray          *staged_routes;
  GPtrArray          *gone_sets;        /* those whose rows it deletes */
  GPtrArray          *dying;            /* EvbusSpoolDying */
  GByteArray         *record;           /* the one being made */

  GMutex              lock;
  GPtrArray          *routes;           /* lock */
  gint64              horizon;          /* lock: everything up to here is committed */
  guint64             weight;           /* lock: bytes of the records of events and dead letters */
  EvbusLedger         rest;             /* lock, written by the Writer: sums of the routes that were forgotten, and what is no route's */
  GPtrArray          *deaths;           /* lock: EvbusSpoolDying */
  guint64             deaths_weight;    /* lock: bytes of those, and of those being written */
  char               *found;            /* lock: damage that was found since, set once; for a person */
  char               *failed[EVBUS_SPOOL_N_TASKS];   /* lock: why each could not be done the last time; nullable */
  gboolean            shows_full;       /* lock, written by the Writer: `full`, for others */
  gboolean            dirty;            /* lock */
};

/* ---- evbus-spool.c */

/* Where @sql has met damage: says so in the folder, so that the next start recovers what
 * can be read, in the log and as the condition. @what: (nullable): for a person. Any
 * thread, under no lock. */
void             evbus_spool_mark_damaged     (EvbusSpool            *self,
                                               EvbusSql              *sql,
                                               const char            *what);

EvbusSpool      *evbus_spool_new              (const char            *directory,
                                               const char            *name);
void             evbus_spool_free             (EvbusSpool            *self);
/* Opens the database that is there, makes it if there is none. @damaged: (out). */
gboolean         evbus_spool_open_database    (EvbusSpool            *self,
                                               gboolean              *damaged,
                                               GError               **error);
gboolean         evbus_spool_sync_directory   (const char            *directory,
                                               GError               **error);

/* ---- evbus-spool-condition.c: under no lock */

/* From any thread: it is damaged; the first time counts. */
void             evbus_spool_set_found        (EvbusSpool            *self,
                                               const char            *what);
/* From any thread: whether that could be done (NULL) the last time; of what the disk lacks space for
 * evbus_spool_set_full() tells. */
void             evbus_spool_set_failed       (EvbusSpool            *self,
                                               EvbusSpoolTask         task,
                                               const GError          *error);
/* Writer: whether the disk is full. */
void             evbus_spool_set_full         (EvbusSpool            *self,
                                               gboolean               full);
/* Whoever watches the condition is told. */
void             evbus_spool_tell             (EvbusSpool            *self);

/* ---- evbus-spool-recover.c */

/* Sets the damaged database aside and opens a new one with what can be read of
 * it. @reason: for a person. */
gboolean         evbus_spool_recover          (EvbusSpool            *self,
                                               const char            *reason,
                                               GError               **error);
/* Finishes a recovery that was interrupted after the new database was complete. */
gboolean         evbus_spool_finish_recovery  (EvbusSpool            *self,
                                               GError               **error);

/* ---- evbus-spool-salvage.c */

/* Fills the new, empty database @to with what can be read of the file @from. */
gboolean         evbus_spool_salvage          (EvbusSpool            *to,
                                               const char            *from,
                                               guint64               *n_events,
                                               guint64               *n_dead,
                                               GError               **error);

/* ---- evbus-spool-schema.c */

/* Whether the database is one of ours, and of which version; without a change to any
 * file. @damaged: (out): it is not. */
gboolean         evbus_spool_schema_check     (const char            *path,
                                               gint64                *version,
                                               gboolean              *damaged,
                                               GError               **error);
/* The connection of the Writer, the tables made if @path is empty, or brought to the
 * present format. @damaged: (out): the file is no spool or not a sound one. */
EvbusSql        *evbus_spool_schema_open      (const char            *path,
                                               EvbusSpoolCondition   *condition,
                                               gboolean              *damaged,
                                               GError               **error);
/* Another connection, for reading. */
EvbusSql        *evbus_spool_schema_open_reader (EvbusSpool          *self,
                                               GError               **error);

/* ---- evbus-spool-routes.c */

void             evbus_spool_cursor_init      (EvbusSpoolCursor      *self);
void             evbus_spool_cursor_clear     (EvbusSpoolCursor      *self);
void             evbus_spool_cursor_copy      (EvbusSpoolCursor      *self,
                                               const EvbusSpoolCursor *from);
EvbusSpoolRoute *evbus_spool_route_new        (EvbusSpool            *spool,
                                               gint64                 id,
                                               const char            *key);
/* @at becomes a reference of @key, which may be NULL. */
void             evbus_spool_keep_key         (GRefString           **at,
                                               GRefString            *key);
EvbusSpoolRoute *evbus_spool_find_route       (EvbusSpool            *self,
                                               gint64                 id);
EvbusSpoolRoute *evbus_spool_find_key         (EvbusSpool            *self,
                                               const char            *key);
/* Whether the route has not settled event @seq, which is one of its own. */
gboolean         evbus_spool_cursor_needs     (const EvbusSpoolCursor *self,
                                               gint64                 seq);

/* ---- evbus-spool-rows.c */

/* Within a transaction: brings the table of format 1 to format 2. @damaged: (out). */
gboolean         evbus_spool_migrate_routes   (EvbusSql              *sql,
                                               gboolean              *damaged,
                                               GError               **error);
/* Takes over the rows of another database that are sound: whether all are. */
gboolean         evbus_spool_salvage_routes   (EvbusSpool            *self,
                                               EvbusSql              *from);
gboolean         evbus_spool_load_routes      (EvbusSpool            *self,
                                               gboolean              *damaged,
                                               GError               **error);
/* Writes `stored`. */
gboolean         evbus_spool_write_route      (EvbusSpool            *self,
                                               EvbusSpoolRoute       *route,
                                               GError               **error);
/* Writes what concerns the spool as a whole: as the row of the route 0. */
gboolean         evbus_spool_write_total      (EvbusSpool            *self,
                                               guint64                weight,
                                               GError               **error);

/* The rows of known_id, where their number was not stored. */
gboolean         evbus_spool_count_known_ids  (EvbusSpool            *self,
                                               GError               **error);

/* ---- evbus-spool-sets.c */

/* With what a set begins on disk: "EVS2", and "EVS1", which has no first event. */
#define EVBUS_SPOOL_SET_MAGIC   0x32535645u
#define EVBUS_SPOOL_SET_MAGIC_1 0x31535645u

void             evbus_spool_set_free         (EvbusSpoolSet         *set);
gboolean         evbus_spool_load_sets        (EvbusSpool            *self,
                                               gboolean              *damaged,
                                               GError               **error);
/* A set that has a row, of the routes that are known; of two with one number the one that
 * begins later. */
void             evbus_spool_add_stored_set   (EvbusSpool            *self,
                                               guint32                id,
                                               gint64                 first,
                                               GArray                *route_ids);
/* The set of exactly those routes, or NULL if there is no room for one more. @partial: its events
 * have others, too. */
EvbusSpoolSet   *evbus_spool_get_set          (EvbusSpool            *self,
                                               EvbusSpoolRoute      **routes,
                                               guint                  n_routes,
                                               gboolean               partial);
/* @forgotten: one of its routes, which is left out, or NULL. */
gboolean         evbus_spool_write_set        (EvbusSpool            *self,
                                               EvbusSpoolSet         *set,
                                               EvbusSpoolRoute       *forgotten,
                                               GError               **error);
/* Whether a set is stored at @data: its length, or 0. @keys: (nullable), char *. */
gsize            evbus_spool_set_check        (const guint8          *data,
                                               gsize                  size,
                                               guint32               *id,
                                               gint64                *first,
                                               GArray                *route_ids,
                                               GPtrArray             *keys);
/* In a transaction: deletes the row of a set that has no events. */
gboolean         evbus_spool_delete_set       (EvbusSpool            *self,
                                               EvbusSpoolSet         *set,
                                               GError               **error);
/* After it: the sets whose rows it has deleted. */
void             evbus_spool_remove_gone_sets (EvbusSpool            *self);
/* Takes @route out of all sets. */
void             evbus_spool_forget_sets      (EvbusSpool            *self,
                                               EvbusSpoolRoute       *route);

/* ---- evbus-spool-write.c */

/* Writer: a part of the transaction under way. */
void             evbus_spool_stage_route      (EvbusSpool            *self,
                                               EvbusSpoolRoute       *route);
void             evbus_spool_store_event      (EvbusSpool            *self,
                                               EvbusSpoolSet         *set,
                                               EvbusEvent            *event);
/* Writes what adds no event, and so can free space: a full disk does not refuse it, and
 * nothing goes with it there. Where the disk is found to be full only now, which gives up the
 * reserve, it is tried once more: @change, a part of the transaction, is called again. FALSE:
 * nothing was changed. */
typedef void   (*EvbusSpoolChange)            (EvbusSpool            *self,
                                               gpointer               data);
gboolean         evbus_spool_change           (EvbusSpool            *self,
                                               EvbusSpoolChange       change,
                                               gpointer               data,
                                               GError               **error);
void             evbus_spool_dying_free       (EvbusSpoolDying       *dying);

/* ---- evbus-spool-delete.c */

/* What @route has settled, ascending. */
void             evbus_spool_settled_ranges   (EvbusSpoolRoute       *route,
                                               GArray                *ranges);
/* After a transaction that did not come to pass: looks at everything again. */
void             evbus_spool_restart_deletion (EvbusSpool            *self);
/* Deletes some of the events that no route needs; those of a set where that has just failed are passed over. */
gboolean         evbus_spool_delete_settled   (EvbusSpool            *self,
                                               GError               **error);
/* Where it is time to try those again. */
void             evbus_spool_resume_deletion  (EvbusSpool            *self);

/* ---- evbus-spool-scan.c */

/* Goes through the events of some sets in order. */
typedef struct {
  EvbusSql  *sql;     /* borrowed */
  GPtrArray *lanes;
  guint      n_lanes; /* in use */
} EvbusSpoolScan;

void             evbus_spool_scan_init        (EvbusSpoolScan        *self,
                                               EvbusSql              *sql);
void             evbus_spool_scan_clear       (EvbusSpoolScan        *self);
/* Those of @route that are committed, after @after and up to @to. */
gboolean         evbus_spool_scan_begin       (EvbusSpoolScan        *self,
                                               EvbusSpoolRoute       *route,
                                               gint64                 after,
                                               gint64                 to,
                                               GError               **error);
/* 1: @record is the next one, valid until the next call; 0: there is none; -1: error. */
int              evbus_spool_scan_next        (EvbusSpoolScan        *self,
                                               gint64                *seq,
                                               const guint8         **record,
                                               gsize                 *size,
                                               GError               **error);
void             evbus_spool_scan_end         (EvbusSpoolScan        *self);
/* The tree is wrong after event @seq: says so in @error, and returns FALSE. */
gboolean         evbus_spool_scan_fail        (EvbusSpoolScan        *self,
                                               gint64                 seq,
                                               GError               **error);
/* The numbers of the route's sets that have events after @after (guint32).
 * @horizon: (out): up to where everything is committed. */
GArray          *evbus_spool_scan_sets        (EvbusSpoolRoute       *route,
                                               gint64                 after,
                                               gint64                *horizon);

/* ---- evbus-spool-weigh.c */

/* Counts what each route has queued, where an earlier evbus has written that down. */
gboolean         evbus_spool_weigh            (EvbusSpool            *self,
                                               GError               **error);

/* ---- evbus-spool-check.c */

typedef struct _EvbusSpoolCheck EvbusSpoolCheck;

/* Looks at what is stored now. @sql: borrowed, for the thread that makes the steps. */
EvbusSpoolCheck *evbus_spool_check_new        (EvbusSpool            *spool,
                                               EvbusSql              *sql);
typedef enum {
  EVBUS_SPOOL_CHECK_DONE,     /* and what is wrong was told */
  EVBUS_SPOOL_CHECK_MORE,
  EVBUS_SPOOL_CHECK_FAILED,   /* it could not be read, which was told: the next step is the same one */
} EvbusSpoolCheckResult;

/* Looks at some more. */
EvbusSpoolCheckResult
                 evbus_spool_check_step       (EvbusSpoolCheck       *self);
void             evbus_spool_check_free       (EvbusSpoolCheck       *self);

/* ---- evbus-spool-space.c */

EvbusSpoolKeeper *evbus_spool_keeper_new      (EvbusSpool            *spool);
void             evbus_spool_keeper_free      (EvbusSpoolKeeper      *self);
/* After a commit: a checkpoint, if one is due. */
void             evbus_spool_keep_wal         (EvbusSpool            *self);
/* Before a commit: sees to it that a checkpoint of it will find space. */
gboolean         evbus_spool_allocate         (EvbusSpool            *self,
                                               GError               **error);
/* Moves the log into the database, now, and gives its space back. */
void             evbus_spool_empty_wal        (EvbusSpool            *self);
/* Gives space back. Returns whether there is more to give. */
gboolean         evbus_spool_shrink           (EvbusSpool            *self);
/* Sees to it that there is a reserve: whether there is one. */
gboolean         evbus_spool_make_reserve     (EvbusSpool            *self);
void             evbus_spool_release_reserve  (const char            *directory);

G_END_DECLS
