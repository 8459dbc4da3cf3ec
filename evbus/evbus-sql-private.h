/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>
#include <sqlite3.h>

G_BEGIN_DECLS

/* Something waits for a lock only while another connection resets the WAL. */
#define EVBUS_SQL_BUSY_TIMEOUT_MS 5000

/* The statements of the spool, by number: evbus-sql.c has their text. */
typedef enum {
  EVBUS_SQL_BEGIN,
  EVBUS_SQL_COMMIT,
  EVBUS_SQL_PUT_EVENT,
  EVBUS_SQL_SALVAGE_EVENT,
  EVBUS_SQL_GET_EVENT,
  EVBUS_SQL_FIRST_EVENT,
  EVBUS_SQL_LAST_EVENT,
  EVBUS_SQL_WALK_EVENTS,
  EVBUS_SQL_WEIGH_EVENTS,
  EVBUS_SQL_SIZE_EVENTS,
  EVBUS_SQL_DELETE_EVENTS,
  EVBUS_SQL_PUT_SET,
  EVBUS_SQL_PUT_SET_COPY,
  EVBUS_SQL_LOAD_SETS,
  EVBUS_SQL_BLANK_SET,
  EVBUS_SQL_BLANK_SET_COPY,
  EVBUS_SQL_DELETE_SET,
  EVBUS_SQL_PUT_ROUTE,
  EVBUS_SQL_FREE_ROUTE_KEY,
  EVBUS_SQL_DELETE_ROUTE,
  EVBUS_SQL_LOAD_ROUTES,
  EVBUS_SQL_PUT_KNOWN_ID,
  EVBUS_SQL_MOVE_REPLAYED_ID,
  EVBUS_SQL_ADD_REPLAYED_ID,
  EVBUS_SQL_LOAD_KNOWN_IDS,
  EVBUS_SQL_LOAD_KNOWN_ID_ROWS,
  EVBUS_SQL_TRIM_KNOWN_IDS,
  EVBUS_SQL_PUT_DEAD,
  EVBUS_SQL_GET_DEAD,
  EVBUS_SQL_LIST_DEAD,
  EVBUS_SQL_LIST_DEAD_OF_ROUTE,
  EVBUS_SQL_NEWEST_DEAD,
  EVBUS_SQL_DEAD_NUMBERS,
  EVBUS_SQL_LAST_DEAD,
  EVBUS_SQL_LAST_DEAD_OF_ALL,
  EVBUS_SQL_WEIGH_ALL_DEAD,
  EVBUS_SQL_DELETE_DEAD,
  EVBUS_SQL_DELETE_DEAD_OF_ROUTE,
  EVBUS_SQL_N,
} EvbusSqlStatement;

/* A connection to the database and its statements, for one thread at a time. */
typedef struct {
  sqlite3      *db;
  char         *path;
  int           reason;                    /* errno of the last call that failed, or 0 */
  gboolean      damaged;                   /* an error said that the file is no sound database */
  sqlite3_stmt *statements[EVBUS_SQL_N];   /* made when they are first used; the Writer's at the start */
} EvbusSql;

/* How long somebody waits for what SQLite does on a thread. */
typedef struct {
  gboolean (*goes_on) (gpointer data);   /* FALSE: what is under way fails, and changes nothing */
  gpointer   data;
  guint      n_reads;                    /* of the log so far */
} EvbusSqlPatience;

/* For this thread, and what it opens from now on; NULL: for ever. */
void          evbus_sql_set_patience (EvbusSqlPatience  *of_thread);
void          evbus_sql_ask_patience (sqlite3           *db);
gboolean      evbus_sql_may_read     (void);

/* How files are opened; NULL: as SQLite does. */
const char   *evbus_sql_get_vfs     (void);

/* @flags: those of sqlite3_open_v2(). @damaged: (out) (optional): set where it cannot be opened
 * because what the file begins with cannot be read. */
EvbusSql     *evbus_sql_open      (const char         *path,
                                   int                 flags,
                                   gboolean           *damaged,
                                   GError            **error);
void          evbus_sql_close     (EvbusSql           *self);

/* Says what the last call that failed says: EVBUS_ERROR_SPOOL_FULL or
 * EVBUS_ERROR_SPOOL_FAILED, with the file, what was tried (@what) and the
 * reason. Returns FALSE. */
gboolean      evbus_sql_fail      (EvbusSql           *self,
                                   const char         *what,
                                   GError            **error);

/* The statement, ready to be bound; NULL: error. */
sqlite3_stmt *evbus_sql_get       (EvbusSql           *self,
                                   EvbusSqlStatement   which,
                                   GError            **error);
/* Runs a statement that has no rows. @types: a letter for each parameter,
 * i (gint64), s (const char *), b (const void *, gsize). */
gboolean      evbus_sql_call      (EvbusSql           *self,
                                   EvbusSqlStatement   which,
                                   GError            **error,
                                   const char         *types,
                                   ...);
/* Goes to the next row: 1; there is none: 0, and the statement is reset; -1: error,
 * likewise. */
int           evbus_sql_step      (EvbusSql           *self,
                                   sqlite3_stmt       *statement,
                                   GError            **error);
gboolean      evbus_sql_exec      (EvbusSql           *self,
                                   const char         *text,
                                   GError            **error);
/* The number in the first column of the first row. */
gboolean      evbus_sql_number    (EvbusSql           *self,
                                   const char         *text,
                                   gint64             *number,
                                   GError            **error);
/* Ends a transaction, if one is open, without what was done in it. */
void          evbus_sql_roll_back (EvbusSql           *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusSql, evbus_sql_close)

G_END_DECLS
