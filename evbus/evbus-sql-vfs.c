/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* SQLite's own files, but for its log: what is appended there goes to the system in
 * one piece before it is synced or read.
 *
 * SQLite writes two pieces for each page of a commit, its header and the page, and has
 * no setting for it. With 100 pages a commit that was a quarter of the listener's
 * time; in turn with this, on a loaded machine, 35,000 and 55,000 durable puts a second. */

#include "evbus-sql-private.h"

#include <string.h>

#define NAME "evbus"

/* A longer commit is written in such pieces. SQLite writes no more at once than 17 bits
 * can say (seekAndWriteFd() of os_unix.c). */
#define PIECE (124 * 1024)

typedef struct {
  sqlite3_file   base;
  sqlite3_file  *real;      /* behind this structure, in the same block */
  guint8        *piece;     /* NULL until the first write */
  sqlite3_int64  offset;    /* in the file, of @piece */
  int            length;
} Log;

static sqlite3_vfs *
real_vfs (sqlite3_vfs *vfs)
{
  return vfs->pAppData;
}

static Log *
get_log (sqlite3_file *file)
{
  return (Log *) file;
}

static int
flush (Log *log)
{
  int length = log->length;

  log->length = 0;
  if (length == 0)
    return SQLITE_OK;
  return log->real->pMethods->xWrite (log->real, log->piece, length, log->offset);
}

static int
log_close (sqlite3_file *file)
{
  Log *log = get_log (file);
  int flushed = flush (log);
  int closed = log->real->pMethods->xClose (log->real);

  sqlite3_free (log->piece);
  return flushed != SQLITE_OK ? flushed : closed;
}

static int
log_read (sqlite3_file *file, void *data, int amount, sqlite3_int64 offset)
{
  Log *log = get_log (file);
  int code = flush (log);

  if (!evbus_sql_may_read ())
    return SQLITE_IOERR_READ;
  return code != SQLITE_OK ? code : log->real->pMethods->xRead (log->real, data, amount, offset);
}

static int
log_write (sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset)
{
  Log *log = get_log (file);

  if (log->piece == NULL)
    log->piece = sqlite3_malloc (PIECE);
  if (log->length > 0 && (offset != log->offset + log->length || log->length + amount > PIECE))
    {
      int code = flush (log);

      if (code != SQLITE_OK)
        return code;
    }
  if (log->piece == NULL || amount > PIECE)
    return log->real->pMethods->xWrite (log->real, data, amount, offset);

  if (log->length == 0)
    log->offset = offset;
  memcpy (log->piece + log->length, data, amount);
  log->length += amount;
  return SQLITE_OK;
}

static int
log_truncate (sqlite3_file *file, sqlite3_int64 size)
{
  Log *log = get_log (file);
  int code = flush (log);

  return code != SQLITE_OK ? code : log->real->pMethods->xTruncate (log->real, size);
}

static int
log_sync (sqlite3_file *file, int flags)
{
  Log *log = get_log (file);
  int code = flush (log);

  return code != SQLITE_OK ? code : log->real->pMethods->xSync (log->real, flags);
}

static int
log_file_size (sqlite3_file *file, sqlite3_int64 *size)
{
  Log *log = get_log (file);
  int code = flush (log);

  return code != SQLITE_OK ? code : log->real->pMethods->xFileSize (log->real, size);
}

static int
log_lock (sqlite3_file *file, int lock)
{
  return get_log (file)->real->pMethods->xLock (get_log (file)->real, lock);
}

static int
log_unlock (sqlite3_file *file, int lock)
{
  return get_log (file)->real->pMethods->xUnlock (get_log (file)->real, lock);
}

static int
log_check_reserved_lock (sqlite3_file *file, int *reserved)
{
  return get_log (file)->real->pMethods->xCheckReservedLock (get_log (file)->real, reserved);
}

static int
log_file_control (sqlite3_file *file, int op, void *argument)
{
  return get_log (file)->real->pMethods->xFileControl (get_log (file)->real, op, argument);
}

static int
log_sector_size (sqlite3_file *file)
{
  return get_log (file)->real->pMethods->xSectorSize (get_log (file)->real);
}

static int
log_device_characteristics (sqlite3_file *file)
{
  return get_log (file)->real->pMethods->xDeviceCharacteristics (get_log (file)->real);
}

static const sqlite3_io_methods log_methods = {
  .iVersion = 1,
  .xClose = log_close,
  .xRead = log_read,
  .xWrite = log_write,
  .xTruncate = log_truncate,
  .xSync = log_sync,
  .xFileSize = log_file_size,
  .xLock = log_lock,
  .xUnlock = log_unlock,
  .xCheckReservedLock = log_check_reserved_lock,
  .xFileControl = log_file_control,
  .xSectorSize = log_sector_size,
  .xDeviceCharacteristics = log_device_characteristics,
};

/* All other files are as SQLite opens them: it uses their own methods from then on. */
static int
vfs_open (sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
  Log *log = get_log (file);
  int code;

  if ((flags & SQLITE_OPEN_WAL) == 0)
    return real_vfs (vfs)->xOpen (real_vfs (vfs), name, file, flags, out_flags);

  memset (log, 0, sizeof *log);
  log->real = (sqlite3_file *) (log + 1);
  code = real_vfs (vfs)->xOpen (real_vfs (vfs), name, log->real, flags, out_flags);
  if (code == SQLITE_OK)
    log->base.pMethods = &log_methods;
  return code;
}

const char *
evbus_sql_get_vfs (void)
{
  static sqlite3_vfs vfs;
  static gsize registered = 0;

  if (g_once_init_enter (&registered))
    {
      sqlite3_vfs *real = sqlite3_vfs_find (NULL);

      vfs = *real;
      vfs.pNext = NULL;
      vfs.zName = NAME;
      vfs.szOsFile = (int) sizeof (Log) + real->szOsFile;
      vfs.pAppData = real;
      vfs.xOpen = vfs_open;
      g_once_init_leave (&registered, sqlite3_vfs_register (&vfs, FALSE) == SQLITE_OK ? 1 : 2);
    }
  return registered == 1 ? NAME : NULL;
}
