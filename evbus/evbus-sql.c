/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* SQLite with the errors and the statements of the spool. */

#include "evbus-sql-private.h"

#include <errno.h>
#include <stdarg.h>

#include "evbus-error.h"

static const char *const texts[] = {
  [EVBUS_SQL_BEGIN] = "BEGIN IMMEDIATE",
  [EVBUS_SQL_COMMIT] = "COMMIT",
  [EVBUS_SQL_PUT_EVENT] = "INSERT INTO event (place, record) VALUES (?1, ?2)",
  [EVBUS_SQL_SALVAGE_EVENT] = "INSERT OR IGNORE INTO event (place, record) VALUES (?1, ?2)",
  [EVBUS_SQL_GET_EVENT] = "SELECT record FROM event WHERE place = ?1",
  [EVBUS_SQL_FIRST_EVENT] = "SELECT min(place) FROM event WHERE place > ?1 AND place <= ?2",
  [EVBUS_SQL_LAST_EVENT] = "SELECT max(place) FROM event WHERE place > ?1 AND place <= ?2",
  [EVBUS_SQL_WALK_EVENTS] = "SELECT place, record FROM event WHERE place > ?1 ORDER BY place",
  [EVBUS_SQL_WEIGH_EVENTS] =
    "SELECT max(place), count(*), total(size), min(place) FROM (SELECT place, length(record) AS size FROM event "
    "WHERE place > ?1 AND place <= ?2 ORDER BY place LIMIT ?3)",
  [EVBUS_SQL_SIZE_EVENTS] = "SELECT place, length(record) FROM event",
  [EVBUS_SQL_DELETE_EVENTS] = "DELETE FROM event WHERE place > ?1 AND place <= ?2",
  [EVBUS_SQL_PUT_SET] = "INSERT OR REPLACE INTO route_set (set_id, routes) VALUES (?1, ?2)",
  [EVBUS_SQL_PUT_SET_COPY] = "INSERT OR REPLACE INTO event (place, record) VALUES (?1, ?2)",
  [EVBUS_SQL_LOAD_SETS] = "SELECT set_id, routes FROM route_set ORDER BY set_id",
  /* Of the same length, so it is written over what is there. */
  [EVBUS_SQL_BLANK_SET] = "UPDATE route_set SET routes = zeroblob(length(routes)) WHERE set_id = ?1",
  [EVBUS_SQL_BLANK_SET_COPY] = "UPDATE event SET record = zeroblob(length(record)) WHERE place = ?1",
  [EVBUS_SQL_DELETE_SET] = "DELETE FROM route_set WHERE set_id = ?1",
  [EVBUS_SQL_PUT_ROUTE] =
    "INSERT INTO route (route_id, key, orphan, position, last, pending, skipped, accepted, delivered, dead, "
    "expired, dropped, queued, retried, queued_weight, crc, dead_weight, duplicates) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18) "
    "ON CONFLICT (route_id) DO UPDATE SET key = ?2, orphan = ?3, position = ?4, last = ?5, pending = ?6, skipped = ?7, "
    "accepted = ?8, delivered = ?9, dead = ?10, expired = ?11, dropped = ?12, queued = ?13, retried = ?14, "
    "queued_weight = ?15, crc = ?16, dead_weight = ?17, duplicates = ?18",
  [EVBUS_SQL_FREE_ROUTE_KEY] = "UPDATE route SET key = 'was:' || route_id WHERE route_id = ?1",
  [EVBUS_SQL_DELETE_ROUTE] = "DELETE FROM route WHERE route_id = ?1",
  /* All columns there are: fewer in a file of an older format. */
  [EVBUS_SQL_LOAD_ROUTES] = "SELECT * FROM route ORDER BY route_id",
  [EVBUS_SQL_PUT_KNOWN_ID] = "INSERT OR REPLACE INTO known_id (seq, id) VALUES (?1, ?2)",
  [EVBUS_SQL_MOVE_REPLAYED_ID] = "UPDATE known_id SET seq = ?2 WHERE seq = ?1 AND typeof(id) = 'blob'",
  [EVBUS_SQL_ADD_REPLAYED_ID] =
    "INSERT INTO known_id (seq, id) SELECT ?2, CAST(id AS BLOB) FROM known_id WHERE seq = ?1 AND typeof(id) = 'text'",
  [EVBUS_SQL_LOAD_KNOWN_IDS] = "SELECT id, seq FROM known_id ORDER BY seq DESC LIMIT ?1",
  [EVBUS_SQL_LOAD_KNOWN_ID_ROWS] = "SELECT seq, id FROM known_id ORDER BY seq",
  [EVBUS_SQL_TRIM_KNOWN_IDS] =
    "DELETE FROM known_id WHERE seq <= (SELECT seq FROM known_id ORDER BY seq LIMIT 1 OFFSET ?1 - 1)",
  [EVBUS_SQL_PUT_DEAD] = "INSERT INTO dead (route_id, record) VALUES (?1, ?2)",
  [EVBUS_SQL_GET_DEAD] = "SELECT route_id, record FROM dead WHERE number = ?1",
  [EVBUS_SQL_LIST_DEAD] =
    "SELECT number, route_id, record FROM dead WHERE number > ?1 ORDER BY number LIMIT ?2",
  [EVBUS_SQL_LIST_DEAD_OF_ROUTE] =
    "SELECT number, route_id, record FROM dead WHERE number > ?1 AND route_id = ?3 ORDER BY number LIMIT ?2",
  [EVBUS_SQL_NEWEST_DEAD] = "SELECT route_id, record FROM dead ORDER BY number DESC LIMIT ?1",
  [EVBUS_SQL_DEAD_NUMBERS] =
    "SELECT number FROM dead WHERE route_id = ?1 AND number > ?2 AND number <= ?3 ORDER BY number LIMIT ?4",
  [EVBUS_SQL_LAST_DEAD] = "SELECT ifnull(max(number), 0) FROM dead WHERE route_id = ?1",
  [EVBUS_SQL_LAST_DEAD_OF_ALL] = "SELECT ifnull(max(number), 0) FROM dead",
  [EVBUS_SQL_WEIGH_ALL_DEAD] = "SELECT total(length(record)) FROM dead WHERE route_id = ?1",
  [EVBUS_SQL_DELETE_DEAD] = "DELETE FROM dead WHERE number = ?1",
  [EVBUS_SQL_DELETE_DEAD_OF_ROUTE] = "DELETE FROM dead WHERE route_id = ?1 AND number <= ?2",
};

G_STATIC_ASSERT (G_N_ELEMENTS (texts) == EVBUS_SQL_N);

EvbusSql *
evbus_sql_open (const char  *path,
                int          flags,
                gboolean    *damaged,
                GError     **error)
{
  g_autoptr(EvbusSql) self = g_new0 (EvbusSql, 1);

  self->path = g_strdup (path);
  if (sqlite3_open_v2 (path, &self->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                       evbus_sql_get_vfs ()) != SQLITE_OK)
    {
      evbus_sql_fail (self, "open", error);
      if (damaged != NULL)
        *damaged = self->damaged;
      return NULL;
    }

  sqlite3_extended_result_codes (self->db, 1);
  sqlite3_busy_timeout (self->db, EVBUS_SQL_BUSY_TIMEOUT_MS);
  evbus_sql_ask_patience (self->db);
  return g_steal_pointer (&self);
}

void
evbus_sql_close (EvbusSql *self)
{
  for (guint i = 0; i < EVBUS_SQL_N; i++)
    sqlite3_finalize (self->statements[i]);
  sqlite3_close (self->db);
  g_free (self->path);
  g_free (self);
}

/* No space, in whatever words: SQLite knows ENOSPC alone. Where it is a sync that says so
 * (NFS, quotas, a thin volume), all is written, and may be found by the next start. */
static gboolean
is_full (int extended,
         int reason)
{
  if (extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC)
    return FALSE;
  if ((extended & 0xff) == SQLITE_FULL)
    return TRUE;
  return (extended & 0xff) == SQLITE_IOERR && (reason == ENOSPC || reason == EDQUOT || reason == EFBIG);
}

gboolean
evbus_sql_fail (EvbusSql    *self,
                const char  *what,
                GError     **error)
{
  int extended = self->db != NULL ? sqlite3_extended_errcode (self->db) : SQLITE_NOMEM;
  int code = extended & 0xff;
  /* It can quote what is damaged. */
  g_autofree char *message = g_utf8_make_valid (self->db != NULL ? sqlite3_errmsg (self->db) : "out of memory", -1);

  /* Of a bad sector the rest of the file is as sound as ever: SQLite says "CORRUPTFS" for EIO at a read. */
  if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || extended == SQLITE_IOERR_CORRUPTFS)
    self->damaged = TRUE;

  if (is_full (extended, self->reason))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL,
                   "%s: the disk is full; nothing was stored, try again when there is space", self->path);
      return FALSE;
    }

  if (code == SQLITE_IOERR && self->reason != 0)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: cannot %s: %s (%d): %s", self->path, what,
                 message, extended, g_strerror (self->reason));
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: cannot %s: %s (%d)", self->path, what,
                 message, extended);
  return FALSE;
}

sqlite3_stmt *
evbus_sql_get (EvbusSql           *self,
               EvbusSqlStatement   which,
               GError            **error)
{
  if (self->statements[which] == NULL &&
      sqlite3_prepare_v3 (self->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
                          &self->statements[which], NULL) != SQLITE_OK)
    {
      evbus_sql_fail (self, texts[which], error);
      return NULL;
    }
  return self->statements[which];
}

int
evbus_sql_step (EvbusSql      *self,
                sqlite3_stmt  *statement,
                GError       **error)
{
  int code;

  /* SQLite's own memory of it (sqlite3_system_errno) leaves COMMIT out. */
  errno = 0;
  code = sqlite3_step (statement);
  self->reason = errno;

  if (code == SQLITE_ROW)
    return 1;

  if (code != SQLITE_DONE)
    evbus_sql_fail (self, sqlite3_sql (statement), error);
  sqlite3_reset (statement);
  return code == SQLITE_DONE ? 0 : -1;
}

static void
bind_all (sqlite3_stmt *statement,
          const char   *types,
          va_list       values)
{
  for (int i = 0; types[i] != '\0'; i++)
    {
      const void *data;

      switch (types[i])
        {
        case 'i':
          sqlite3_bind_int64 (statement, i + 1, va_arg (values, gint64));
          break;
        case 's':
          sqlite3_bind_text (statement, i + 1, va_arg (values, const char *), -1, SQLITE_STATIC);
          break;
        case 'b':
          data = va_arg (values, const void *);
          /* An empty one is a blob too, not NULL. */
          sqlite3_bind_blob64 (statement, i + 1, data != NULL ? data : "", va_arg (values, gsize), SQLITE_STATIC);
          break;
        default:
          g_assert_not_reached ();
        }
    }
}

gboolean
evbus_sql_call (EvbusSql           *self,
                EvbusSqlStatement   which,
                GError            **error,
                const char         *types,
                ...)
{
  sqlite3_stmt *statement = evbus_sql_get (self, which, error);
  va_list values;
  int row;

  if (statement == NULL)
    return FALSE;

  va_start (values, types);
  bind_all (statement, types, values);
  va_end (values);

  while ((row = evbus_sql_step (self, statement, error)) > 0)
    ;
  return row == 0;
}

gboolean
evbus_sql_exec (EvbusSql    *self,
                const char  *text,
                GError     **error)
{
  int code;

  errno = 0;
  code = sqlite3_exec (self->db, text, NULL, NULL, NULL);
  self->reason = errno;
  return code == SQLITE_OK || evbus_sql_fail (self, text, error);
}

gboolean
evbus_sql_number (EvbusSql    *self,
                  const char  *text,
                  gint64      *number,
                  GError     **error)
{
  sqlite3_stmt *statement = NULL;
  gboolean found = FALSE;

  errno = 0;
  if (sqlite3_prepare_v2 (self->db, text, -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step (statement) == SQLITE_ROW)
    {
      *number = sqlite3_column_int64 (statement, 0);
      found = TRUE;
    }
  else
    {
      self->reason = errno;
      evbus_sql_fail (self, text, error);
    }
  sqlite3_finalize (statement);
  return found;
}

void
evbus_sql_roll_back (EvbusSql *self)
{
  /* SQLite has ended it itself after some errors. */
  if (!sqlite3_get_autocommit (self->db))
    sqlite3_exec (self->db, "ROLLBACK", NULL, NULL, NULL);
}
