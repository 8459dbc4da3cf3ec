/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The tables, and how a connection is set up. doc/spool.md describes them. */

#include "evbus-spool-store-private.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "evbus-error.h"

/* "Evbs" */
#define APPLICATION_ID 0x45766273
#define FORMAT_VERSION 3

/* Pages that are changed stay in memory until the commit; all that is read is
 * read once. */
#define WRITER_PRAGMAS \
  "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = OFF;" \
  "PRAGMA cache_size = -8192; PRAGMA cache_spill = OFF; PRAGMA journal_size_limit = 33554432;" \
  "PRAGMA temp_store = MEMORY;"
#define READER_PRAGMAS \
  "PRAGMA query_only = ON; PRAGMA cache_size = -512; PRAGMA wal_autocheckpoint = 0;"

static const char tables[] =
  "BEGIN IMMEDIATE;"
  "CREATE TABLE event (place INTEGER PRIMARY KEY, record BLOB NOT NULL);"
  "CREATE TABLE route_set (set_id INTEGER PRIMARY KEY, routes BLOB NOT NULL);"
  "CREATE TABLE route (route_id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, orphan INTEGER NOT NULL,"
  " position INTEGER NOT NULL, last INTEGER NOT NULL, pending BLOB NOT NULL, skipped BLOB NOT NULL,"
  " accepted INTEGER NOT NULL, delivered INTEGER NOT NULL, dead INTEGER NOT NULL, expired INTEGER NOT NULL,"
  " dropped INTEGER NOT NULL, queued INTEGER NOT NULL, retried INTEGER NOT NULL,"
  " queued_weight INTEGER NOT NULL, crc INTEGER NOT NULL, dead_weight INTEGER NOT NULL,"
  " duplicates INTEGER NOT NULL);"
  "CREATE TABLE dead (number INTEGER PRIMARY KEY AUTOINCREMENT, route_id INTEGER NOT NULL, record BLOB NOT NULL);"
  "CREATE INDEX dead_by_route ON dead (route_id, number);"
  "CREATE TABLE known_id (seq INTEGER PRIMARY KEY, id TEXT NOT NULL);"
  "PRAGMA application_id = " G_STRINGIFY (APPLICATION_ID) ";"
  "PRAGMA user_version = " G_STRINGIFY (FORMAT_VERSION) ";"
  "COMMIT;";

/* A look at the root of each table and at its last page. */
static const char *const probes[] = {
  "SELECT count(*) FROM (SELECT place, record FROM event ORDER BY place LIMIT 1)",
  "SELECT count(*) FROM (SELECT place, record FROM event ORDER BY place DESC LIMIT 1)",
  "SELECT count(*) FROM (SELECT set_id, routes FROM route_set)",
  "SELECT count(*) FROM (SELECT route_id, pending, crc FROM route)",
  "SELECT count(*) FROM (SELECT number, record FROM dead ORDER BY number LIMIT 1)",
  "SELECT count(*) FROM (SELECT number, record FROM dead ORDER BY number DESC LIMIT 1)",
  "SELECT count(*) FROM (SELECT number FROM dead INDEXED BY dead_by_route ORDER BY route_id LIMIT 1)",
  "SELECT count(*) FROM (SELECT seq, id FROM known_id ORDER BY seq DESC LIMIT 1)",
  "SELECT count(*) FROM (SELECT name, seq FROM sqlite_sequence)",
};

/* A set that does not say which event is its first one has had all from the beginning. */
static gboolean
migrate_sets (EvbusSql  *sql,
              gboolean  *damaged,
              GError   **error)
{
  return TRUE;
}

/* What leads from each format to the next one, within a transaction. */
static gboolean (*const steps[]) (EvbusSql  *sql,
                                  gboolean  *damaged,
                                  GError   **error) = {
  [1] = evbus_spool_migrate_routes,
  [2] = migrate_sets,
};

G_STATIC_ASSERT (G_N_ELEMENTS (steps) == FORMAT_VERSION);

static gboolean
create_tables (EvbusSql  *sql,
               GError   **error)
{
  return evbus_sql_exec (sql, "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;", error) &&
         evbus_sql_exec (sql, "PRAGMA journal_mode = WAL;", error) &&
         evbus_sql_exec (sql, WRITER_PRAGMAS, error) &&
         evbus_sql_exec (sql, tables, error);
}

/* SQLite takes a header with an unknown format for one that may only be read. */
static gboolean
check_writable (EvbusSql  *sql,
                GError   **error)
{
  if (sqlite3_db_readonly (sql->db, "main") != 1)
    return TRUE;
  sql->damaged = g_access (sql->path, W_OK) == 0;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: %s", sql->path,
               sql->damaged ? "its header is damaged" : "cannot be written to; see its owner and mode");
  return FALSE;
}

/* What SQLite does not take although it could read it, a format that it does not know or a
 * table that is not there, is no error of the disk. */
static void
note_logic_error (EvbusSql *sql)
{
  sql->damaged |= sqlite3_errcode (sql->db) == SQLITE_ERROR;
}

/* A kill while all free pages were given back leaves it so that each commit does that. */
static gboolean
stop_full_vacuum (EvbusSql  *sql,
                  GError   **error)
{
  gint64 mode;

  return evbus_sql_number (sql, "PRAGMA auto_vacuum", &mode, error) &&
         (mode != 1 || evbus_sql_exec (sql, "PRAGMA auto_vacuum = INCREMENTAL", error));
}

static gboolean
set_up_writer (EvbusSql  *sql,
               GError   **error)
{
  if (evbus_sql_exec (sql, "PRAGMA journal_mode = WAL;" WRITER_PRAGMAS, error) && stop_full_vacuum (sql, error))
    return TRUE;
  note_logic_error (sql);
  return FALSE;
}

/* A flipped bit in the definition of a table is found here, and not by the first event. */
static gboolean
prepare_statements (EvbusSql  *sql,
                    GError   **error)
{
  for (guint i = 0; i < EVBUS_SQL_N; i++)
    {
      if (evbus_sql_get (sql, i, error) == NULL)
        {
          note_logic_error (sql);
          return FALSE;
        }
    }
  return TRUE;
}

static gboolean
probe_tables (EvbusSql  *sql,
              GError   **error)
{
  gint64 rows;

  for (guint i = 0; i < G_N_ELEMENTS (probes); i++)
    {
      if (!evbus_sql_number (sql, probes[i], &rows, error))
        {
          note_logic_error (sql);
          return FALSE;
        }
    }
  return check_writable (sql, error);
}

/* The two numbers of the header: without a change to any file, but for a kill in
 * the midst of the first transaction, which has to be undone before anything can be
 * read. */
static EvbusSql *
open_to_look (const char  *path,
              gint64      *application,
              gboolean    *damaged,
              GError     **error)
{
  g_autoptr(EvbusSql) sql = evbus_sql_open (path, SQLITE_OPEN_READONLY, damaged, error);

  if (sql == NULL || evbus_sql_number (sql, "PRAGMA application_id", application, NULL) ||
      (sqlite3_errcode (sql->db) & 0xff) != SQLITE_READONLY)
    return g_steal_pointer (&sql);
  return evbus_sql_open (path, SQLITE_OPEN_READWRITE, damaged, error);
}

gboolean
evbus_spool_schema_check (const char  *path,
                          gint64      *version,
                          gboolean    *damaged,
                          GError     **error)
{
  gint64 application = 0;
  g_autoptr(EvbusSql) sql = open_to_look (path, &application, damaged, error);

  if (sql == NULL)
    return FALSE;
  if (!evbus_sql_number (sql, "PRAGMA application_id", &application, error) ||
      !evbus_sql_number (sql, "PRAGMA user_version", version, error))
    {
      *damaged = sql->damaged;
      return FALSE;
    }

  if (application == APPLICATION_ID ? *version < 1 : application != 0 || *version != 0)
    *damaged = TRUE;
  else if (application == 0)
    *damaged = evbus_sql_number (sql, "SELECT 1 FROM sqlite_schema LIMIT 1", version, NULL);
  if (*damaged)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: not a spool of evbus", path);
      return FALSE;
    }
  if (*version > FORMAT_VERSION)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
                   "%s: written by a newer evbus (format %" G_GINT64_FORMAT ", this one knows %d); it is left as it "
                   "is: start that evbus, or name another folder", path, *version, FORMAT_VERSION);
      return FALSE;
    }
  return TRUE;
}

/* All steps, or none: a start that is killed here begins again. */
static gboolean
migrate (EvbusSql  *sql,
         gint64     version,
         gboolean  *damaged,
         GError   **error)
{
  gboolean done = evbus_sql_call (sql, EVBUS_SQL_BEGIN, error, "");

  for (; done && version < FORMAT_VERSION; version++)
    done = steps[version] (sql, damaged, error);
  done = done && evbus_sql_exec (sql, "PRAGMA user_version = " G_STRINGIFY (FORMAT_VERSION), error) &&
         evbus_sql_call (sql, EVBUS_SQL_COMMIT, error, "");
  /* A flipped bit in the version makes an old format of a new one. */
  if (!done)
    note_logic_error (sql);
  evbus_sql_roll_back (sql);
  return done;
}

EvbusSql *
evbus_spool_schema_open (const char           *path,
                         EvbusSpoolCondition  *condition,
                         gboolean             *damaged,
                         GError              **error)
{
  g_autoptr(EvbusSql) sql = NULL;
  gint64 version = 0;
  gboolean done;

  *damaged = FALSE;
  if (!evbus_spool_schema_check (path, &version, damaged, error))
    return NULL;
  sql = evbus_sql_open (path, SQLITE_OPEN_READWRITE, damaged, error);
  if (sql == NULL)
    return NULL;

  *condition = version > 0 && version < FORMAT_VERSION ? EVBUS_SPOOL_CONDITION_MIGRATED
                                                       : EVBUS_SPOOL_CONDITION_INTACT;
  if (version == 0)
    done = create_tables (sql, error);
  else
    done = set_up_writer (sql, error) && probe_tables (sql, error) &&
           (version == FORMAT_VERSION || migrate (sql, version, damaged, error)) && prepare_statements (sql, error);
  if (!done)
    {
      *damaged |= sql->damaged;
      return NULL;
    }
  return g_steal_pointer (&sql);
}

EvbusSql *
evbus_spool_schema_open_reader (EvbusSpool  *self,
                                GError     **error)
{
  g_autoptr(EvbusSql) sql = evbus_sql_open (self->path, SQLITE_OPEN_READWRITE, NULL, error);

  if (sql == NULL || !evbus_sql_exec (sql, READER_PRAGMAS, error))
    return NULL;
  return g_steal_pointer (&sql);
}
