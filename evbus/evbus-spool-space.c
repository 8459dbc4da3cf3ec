/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The space on the disk: checkpoints, pages given back, and the reserve.
 *
 * Checkpoints are made by a thread of their own, the keeper. It works beside the
 * commits, so it never quite catches up with them, and SQLite begins the log anew
 * only where nothing is left, for which there has to be a moment without a commit: either
 * there is one by itself, or from some size on the Writer does the little that is left. It
 * makes a whole checkpoint itself only before the log becomes too large. */

#include "evbus-spool-store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

#define PAGE 4096

/* Of the log: checkpoints beside the commits are due; the Writer makes the rest of one, if
 * little is left; it has to make a whole one. The largest transaction comes on top of the last. */
#define SOFT_PAGES 2048
#define LATE_PAGES (16 * 1024 * 1024 / PAGE)
#define HARD_PAGES (32 * 1024 * 1024 / PAGE)

/* How long a commit waits for readers at most: ours are done with their batch by then. If one
 * is not, commits go on, and it is tried again when the log has grown by so much. */
#define READERS_MS 100
#define AGAIN_PAGES (1024 * 1024 / PAGE)

/* Between two messages that the log is too large. */
#define SAY_US (60 * (gint64) G_USEC_PER_SEC)

/* What the keeper may leave for the Writer: little enough for one commit to be
 * hardly later than the others. */
#define FEW_LEFT 512

/* A larger log is truncated once nothing was committed for a while: while it is,
 * commits wait, and to make it longer again is slower than to write over it. */
#define KEPT_WAL_BYTES (1024 * 1024)
#define TRUNCATE_AFTER G_USEC_PER_SEC

/* Free pages of the database that are kept for what comes. */
#define KEPT_FREE_PAGES 1024

/* So many more are allocated than are needed. */
#define SPARE_PAGES 512

/* Few enough pages in use to move them all to the front in one transaction. */
#define FEW_PAGES 1024

/* A transaction gives them back so many at a time, and for so long. */
#define STEP_PAGES 32
#define SHRINK_TIME (8 * G_TIME_SPAN_MILLISECOND)

/* After a start the keeper looks once at all that is stored, when others have had
 * their turn, and at a twentieth of the speed. */
#define CHECK_AFTER G_TIME_SPAN_SECOND
#define CHECK_PAUSE (20 * G_TIME_SPAN_MILLISECOND)
#define CHECK_SHARE 20
#define CHECK_AGAIN (60 * G_TIME_SPAN_SECOND)

#define RETRY_RESERVE (250 * G_TIME_SPAN_MILLISECOND)

G_STATIC_ASSERT (HARD_PAGES * PAGE + 2 * EVBUS_SPOOL_COMMIT_BYTES <= EVBUS_SPOOL_WAL_BYTES);

struct _EvbusSpoolKeeper
{
  GThread         *thread;
  EvbusSpool      *spool;
  EvbusSql        *sql;          /* the thread's, after it was started */
  EvbusSpoolCheck *check;        /* the thread's: under way, or NULL */
  gint64           check_at;     /* the thread's: monotonic, when to go on with it; -1: never */
  GMutex           checkpoint;   /* held during one, by whoever makes it */
  int              n_done;       /* atomic; up to which page of the log its last checkpoint came, 0: none since
                                  * the log began anew */

  GMutex           lock;
  GCond            wake;
  gboolean         due;          /* lock */
  gint64           truncate_at;  /* lock; monotonic, -1: there is no need */
  gboolean         quit;         /* lock */
};

static gboolean
is_busy (int code)
{
  return (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED;
}

/* With the keeper's mutex. @patience: how long it waits for those who read or write.
 * @all: (out): the whole log is in the database. */
static int
checkpoint_locked (EvbusSpoolKeeper  *self,
                   EvbusSql          *sql,
                   int                mode,
                   int                patience,
                   gboolean          *all,
                   GError           **error)
{
  int n_pages = 0, n_done = 0, code;

  sqlite3_busy_timeout (sql->db, patience);
  errno = 0;
  code = sqlite3_wal_checkpoint_v2 (sql->db, NULL, mode, &n_pages, &n_done);
  sql->reason = errno;
  if (code != SQLITE_OK && !is_busy (code))
    evbus_sql_fail (sql, "move its log into the database", error);
  sqlite3_busy_timeout (sql->db, EVBUS_SQL_BUSY_TIMEOUT_MS);

  *all = code == SQLITE_OK && n_done == n_pages;
  /* After one of the Writer's the log begins anew, or it is tried again. */
  if (sql != self->sql)
    g_atomic_int_set (&self->n_done, 0);
  else if (code == SQLITE_OK)
    g_atomic_int_set (&self->n_done, n_done);
  return code;
}

/* What there is to say of one; under no lock. */
static void
tell_checkpoint (EvbusSpool   *self,
                 EvbusSql     *sql,
                 gboolean      all,
                 const GError *failure)
{
  if (failure != NULL)
    evbus_spool_mark_damaged (self, sql, NULL);
  if (all || (failure != NULL && !g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL)))
    evbus_spool_set_failed (self, EVBUS_SPOOL_MOVE_LOG, failure);
}

static int
checkpoint (EvbusSpoolKeeper *self,
            EvbusSql         *sql,
            int               mode,
            int               patience)
{
  g_autoptr(GError) failure = NULL;
  gboolean all;
  int code;

  g_mutex_lock (&self->checkpoint);
  code = checkpoint_locked (self, sql, mode, patience, &all, &failure);
  g_mutex_unlock (&self->checkpoint);
  tell_checkpoint (self->spool, sql, all, failure);
  return code;
}

/* FALSE: it failed. */
static gboolean
make_checkpoint (EvbusSpoolKeeper *self)
{
  int code = checkpoint (self, self->sql, SQLITE_CHECKPOINT_PASSIVE, EVBUS_SQL_BUSY_TIMEOUT_MS);

  return code == SQLITE_OK || is_busy (code);
}

/* FALSE: somebody reads, or writes; or it failed. */
static gboolean
truncate_log (EvbusSpoolKeeper *self)
{
  /* What can be done beside commits, so that they wait for little. */
  make_checkpoint (self);
  /* It is not in a hurry, and while it waited for a reader a commit would for it. */
  return checkpoint (self, self->sql, SQLITE_CHECKPOINT_TRUNCATE, 0) == SQLITE_OK;
}

static void
check_some (EvbusSpoolKeeper *self)
{
  gint64 began = g_get_monotonic_time (), now;
  EvbusSpoolCheckResult result;

  if (self->check == NULL)
    self->check = evbus_spool_check_new (self->spool, self->sql);
  result = evbus_spool_check_step (self->check);
  now = g_get_monotonic_time ();
  if (result == EVBUS_SPOOL_CHECK_MORE)
    self->check_at = now + MAX (CHECK_PAUSE, CHECK_SHARE * (now - began));
  else if (result == EVBUS_SPOOL_CHECK_FAILED)
    self->check_at = now + CHECK_AGAIN;
  if (result != EVBUS_SPOOL_CHECK_DONE)
    return;
  g_clear_pointer (&self->check, evbus_spool_check_free);
  self->check_at = -1;
}

/* Until a checkpoint is due, or the earlier of the two times. */
static void
wait_for_work (EvbusSpoolKeeper *self)
{
  while (!self->quit && !self->due)
    {
      /* -1 becomes the largest. */
      gint64 until = (gint64) MIN ((guint64) self->truncate_at, (guint64) self->check_at);

      if (until < 0)
        g_cond_wait (&self->wake, &self->lock);
      else if (g_get_monotonic_time () >= until)
        return;
      else
        g_cond_wait_until (&self->wake, &self->lock, until);
    }
}

static gboolean
is_time (gint64 at)
{
  return at >= 0 && at <= g_get_monotonic_time ();
}

static gpointer
run_keeper (gpointer data)
{
  EvbusSpoolKeeper *self = data;

  g_mutex_lock (&self->lock);
  for (wait_for_work (self); !self->quit; wait_for_work (self))
    {
      gboolean due = self->due, truncate = is_time (self->truncate_at), done = TRUE;

      self->due = FALSE;
      if (truncate)
        self->truncate_at = -1;
      g_mutex_unlock (&self->lock);
      if (truncate)
        done = truncate_log (self);
      else if (due)
        done = make_checkpoint (self);
      else
        check_some (self);
      g_mutex_lock (&self->lock);
      if (!done && self->truncate_at < 0)
        self->truncate_at = g_get_monotonic_time () + TRUNCATE_AFTER;
    }
  g_mutex_unlock (&self->lock);
  return NULL;
}

static int
on_commit (gpointer    data,
           sqlite3    *db,
           const char *name,
           int         n_pages)
{
  EvbusSpool *spool = data;

  if (n_pages < spool->wal_pages)
    {
      g_atomic_int_set (&spool->keeper->n_done, 0);
      spool->next_restart = 0;
    }
  spool->wal_pages = n_pages;
  return SQLITE_OK;
}

static void
start_keeper (EvbusSpoolKeeper *self)
{
  g_autoptr(GError) error = NULL;

  self->thread = g_thread_try_new ("evbus-spool", run_keeper, self, &error);
  if (self->thread == NULL)
    g_warning ("%s: no thread can be started for it: %s; it goes on without, with commits that wait for "
               "checkpoints and no check for damage; raise the limit of tasks", self->spool->path, error->message);
}

EvbusSpoolKeeper *
evbus_spool_keeper_new (EvbusSpool *spool)
{
  EvbusSpoolKeeper *self = g_new0 (EvbusSpoolKeeper, 1);
  gint64 n;

  g_mutex_init (&self->checkpoint);
  g_mutex_init (&self->lock);
  g_cond_init (&self->wake);
  self->spool = spool;
  self->check_at = g_get_monotonic_time () + CHECK_AFTER;
  self->truncate_at = -1;
  sqlite3_wal_hook (spool->sql->db, on_commit, spool);

  /* Without it, the Writer makes all checkpoints. The look into the database
   * tells the connection that there is a log. */
  self->sql = evbus_sql_open (spool->path, SQLITE_OPEN_READWRITE, NULL, NULL);
  if (self->sql != NULL &&
      evbus_sql_exec (self->sql, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;", NULL) &&
      evbus_sql_number (self->sql, "SELECT count(*) FROM sqlite_schema", &n, NULL))
    start_keeper (self);
  return self;
}

void
evbus_spool_keeper_free (EvbusSpoolKeeper *self)
{
  if (self->thread != NULL)
    {
      g_mutex_lock (&self->lock);
      self->quit = TRUE;
      g_cond_signal (&self->wake);
      g_mutex_unlock (&self->lock);
      g_thread_join (self->thread);
    }
  g_clear_pointer (&self->check, evbus_spool_check_free);
  g_clear_pointer (&self->sql, evbus_sql_close);
  g_mutex_clear (&self->checkpoint);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->wake);
  g_free (self);
}

static void
wake_keeper (EvbusSpoolKeeper *self)
{
  g_mutex_lock (&self->lock);
  self->due = TRUE;
  g_cond_signal (&self->wake);
  g_mutex_unlock (&self->lock);
}

/* Not before there is a pause. */
static void
ask_to_truncate (EvbusSpoolKeeper *self)
{
  g_mutex_lock (&self->lock);
  if (self->truncate_at < 0)
    {
      self->truncate_at = g_get_monotonic_time () + TRUNCATE_AFTER;
      g_cond_signal (&self->wake);
    }
  g_mutex_unlock (&self->lock);
}

static void
put_off_truncation (EvbusSpoolKeeper *self)
{
  g_mutex_lock (&self->lock);
  if (self->truncate_at >= 0)
    self->truncate_at = g_get_monotonic_time () + TRUNCATE_AFTER;
  g_mutex_unlock (&self->lock);
}

/* What the keeper left: the next transaction begins the log anew, if nobody reads. */
static void
finish_checkpoint (EvbusSpool *self)
{
  g_autoptr(GError) failure = NULL;
  gboolean all;

  if (!g_mutex_trylock (&self->keeper->checkpoint))
    return;
  checkpoint_locked (self->keeper, self->sql, SQLITE_CHECKPOINT_PASSIVE, EVBUS_SQL_BUSY_TIMEOUT_MS, &all, &failure);
  g_mutex_unlock (&self->keeper->checkpoint);
  tell_checkpoint (self, self->sql, all, failure);
}

/* The log could not begin anew, for a reader that stays, which is none of ours. */
static void
say_log_grows (EvbusSpool *self)
{
  gint64 now = g_get_monotonic_time ();

  if (now < self->say_log_again || self->wal_pages < (int) (EVBUS_SPOOL_WAL_BYTES / PAGE))
    return;
  self->say_log_again = now + SAY_US;
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "EVBUS_SPOOL", self->directory,
                    "MESSAGE", "spool %s: its log has %d MiB and cannot begin anew: another process stays in a transaction "
                    "on spool.db, or a backup runs; end it (said once a minute at most)",
                    self->directory, self->wal_pages / (1024 * 1024 / PAGE));
}

static void
restart_log (EvbusSpool *self)
{
  int code = checkpoint (self->keeper, self->sql, SQLITE_CHECKPOINT_RESTART, READERS_MS);

  if (code == SQLITE_OK)
    return;
  self->next_restart = self->wal_pages + AGAIN_PAGES;
  if (is_busy (code))
    say_log_grows (self);
}

void
evbus_spool_keep_wal (EvbusSpool *self)
{
  EvbusSpoolKeeper *keeper = self->keeper;

  put_off_truncation (keeper);
  if (self->wal_pages >= MAX (HARD_PAGES, self->next_restart))
    restart_log (self);
  else if (self->wal_pages >= SOFT_PAGES)
    {
      if (self->wal_pages - g_atomic_int_get (&keeper->n_done) > FEW_LEFT)
        wake_keeper (keeper);
      else if (self->wal_pages >= LATE_PAGES)
        finish_checkpoint (self);
    }
}

void
evbus_spool_empty_wal (EvbusSpool *self)
{
  checkpoint (self->keeper, self->sql, SQLITE_CHECKPOINT_TRUNCATE, EVBUS_SQL_BUSY_TIMEOUT_MS);
}

void
evbus_spool_make_way (EvbusSpool *self)
{
  g_return_if_fail (!self->in_transaction);

  if (self->wal_pages > 0)
    evbus_spool_empty_wal (self);
}

/* What the file system can spare, at most. */
static gint64
get_reserve_size (const char *directory,
                  gint64     *available)
{
  struct statvfs status;
  gint64 eighth;

  *available = 0;
  if (statvfs (directory, &status) != 0)
    return 0;
  *available = (gint64) status.f_bavail * status.f_frsize;
  eighth = (gint64) status.f_blocks * status.f_frsize / 8;
  return MIN ((gint64) EVBUS_SPOOL_RESERVE_BYTES, eighth) / PAGE * PAGE;
}

/* What is committed stands in the log, and has to find its place in the database
 * later. If that could fail for want of space, the log could never be emptied, and
 * a full disk would stay full. */
gboolean
evbus_spool_allocate (EvbusSpool  *self,
                      GError     **error)
{
  gint64 n_pages, available, n_spare;
  struct stat status;

  if (!evbus_sql_number (self->sql, "PRAGMA page_count", &n_pages, error))
    return FALSE;
  if (fstat (self->db_fd, &status) != 0 || (gint64) status.st_blocks * 512 >= n_pages * PAGE)
    return TRUE;
  /* Not all that there is: the log needs some, and it would seem full to it. */
  get_reserve_size (self->directory, &available);
  n_spare = MIN (SPARE_PAGES, available / 4 / PAGE);
  if (fallocate (self->db_fd, FALLOC_FL_KEEP_SIZE, 0, (n_pages + n_spare) * PAGE) == 0 ||
      fallocate (self->db_fd, FALLOC_FL_KEEP_SIZE, 0, n_pages * PAGE) == 0)
    return TRUE;
  /* Others say that the file system cannot do it. */
  if (errno != ENOSPC && errno != EDQUOT && errno != EFBIG)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL,
               "%s: the disk is full; nothing was stored, try again when there is space", self->path);
  return FALSE;
}

/* Where few pages are in use, all the free ones can go at once: SQLite's full
 * vacuum at a commit. One by one, each has to be looked for in the list of free
 * pages. */
static gboolean
return_all (EvbusSpool *self)
{
  gboolean done = evbus_sql_exec (self->sql, "PRAGMA auto_vacuum = FULL", NULL) &
                  evbus_sql_exec (self->sql, "PRAGMA auto_vacuum = INCREMENTAL", NULL);

  evbus_spool_keep_wal (self);
  return done;
}

/* For each page that is given back another one moves, by the log: on a full disk that has
 * what the reserve has given up, and there may be as much of other things in it. */
static gint64
get_most_moved (EvbusSpool *self)
{
  gint64 available;

  return self->full ? get_reserve_size (self->directory, &available) / PAGE / 4 : G_MAXINT64;
}

static gboolean
return_some (EvbusSpool *self,
             gint64      n_pages)
{
  gint64 end = g_get_monotonic_time () + SHRINK_TIME;
  gboolean done = evbus_sql_exec (self->sql, "BEGIN IMMEDIATE", NULL);

  for (; done && n_pages > 0 && g_get_monotonic_time () < end; n_pages -= STEP_PAGES)
    done = evbus_sql_exec (self->sql, "PRAGMA incremental_vacuum(" G_STRINGIFY (STEP_PAGES) ")", NULL);
  done = done && evbus_sql_exec (self->sql, "COMMIT", NULL);
  evbus_sql_roll_back (self->sql);
  evbus_spool_keep_wal (self);
  return done;
}

gboolean
evbus_spool_shrink (EvbusSpool *self)
{
  gint64 kept = self->full ? 0 : KEPT_FREE_PAGES;
  gint64 most = get_most_moved (self);
  g_autofree char *wal = g_strconcat (self->path, "-wal", NULL);
  gint64 n_pages = 0, n_free = 0;
  GStatBuf status;
  gboolean more = FALSE;

  if (!evbus_sql_number (self->sql, "PRAGMA page_count", &n_pages, NULL) ||
      !evbus_sql_number (self->sql, "PRAGMA freelist_count", &n_free, NULL))
    return FALSE;

  if (n_pages - n_free <= MIN (FEW_PAGES, most) && n_free > kept)
    more = !return_all (self);
  /* Where the disk is full what few there are may be what it wants for. */
  else if (n_free > kept && (self->full || n_free > n_pages / 4))
    more = return_some (self, MIN (n_free, most));

  if (self->full)
    evbus_spool_empty_wal (self);
  else if (g_stat (wal, &status) == 0 && status.st_size > KEPT_WAL_BYTES)
    ask_to_truncate (self->keeper);
  return more && !self->full;
}


static gboolean
allocate_reserve (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, "reserve", NULL);
  gint64 available = 0, size = get_reserve_size (directory, &available);
  int fd, result;
  GStatBuf status;

  fd = g_open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return FALSE;
  if (fstat (fd, &status) == 0 && (gint64) status.st_blocks * 512 >= size)
    {
      close (fd);
      return TRUE;
    }

  /* With a little more than the reserve itself, or it is given up again at once. */
  result = available < size + size / 4 ? ENOSPC : posix_fallocate (fd, 0, size);
  if (result != 0 && ftruncate (fd, 0) != 0)
    g_debug ("%s: %s", path, g_strerror (errno));
  close (fd);
  /* A limit of the process, or a file system that cannot do it: there is no
   * reserve to wait for. */
  return result != ENOSPC && result != EDQUOT;
}

gboolean
evbus_spool_make_reserve (EvbusSpool *self)
{
  gint64 now = g_get_monotonic_time ();

  if (now < self->next_try)
    return !self->full;
  self->next_try = now + RETRY_RESERVE;
  evbus_spool_set_full (self, !allocate_reserve (self->directory));
  return !self->full;
}

void
evbus_spool_release_reserve (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, "reserve", NULL);

  if (truncate (path, 0) != 0)
    g_debug ("%s: %s", path, g_strerror (errno));
}
