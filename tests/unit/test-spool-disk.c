/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The folder and the disk below it: who has it, who may read it, and that space
 * comes back. */

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "spool-test.h"

#include "evbus-limits-private.h"
#include "evbus-spool-store-private.h"

#define DEADLINE (60 * G_TIME_SPAN_SECOND)
#define MANY_TRIES 6      /* more than what the last commit has begun */

static int n_warnings;   /* atomic */

static GLogWriterOutput
count_warnings (GLogLevelFlags   level,
                const GLogField *fields,
                gsize            n_fields,
                gpointer         data)
{
  if (level == G_LOG_LEVEL_WARNING)
    g_atomic_int_inc (&n_warnings);
  return G_LOG_WRITER_HANDLED;
}

static gint64
size_of (Fixture    *fixture,
         const char *name)
{
  g_autofree char *path = g_build_filename (fixture->directory, name, NULL);
  GStatBuf status;

  return g_stat (path, &status) == 0 ? status.st_size : 0;
}

static void
test_lock (Fixture       *fixture,
           gconstpointer  data)
{
  g_autofree char *pid = g_strdup_printf ("process %d", (int) getpid ());
  g_autofree char *name = NULL;   /* under valgrind it is not that of this program */
  g_autoptr(GError) error = NULL;

  g_assert_true (g_file_get_contents ("/proc/self/comm", &name, NULL, NULL));
  g_assert_null (evbus_spool_open (fixture->directory, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_BUSY);
  g_assert_nonnull (strstr (error->message, pid));
  g_assert_nonnull (strstr (error->message, g_strchomp (name)));
  g_assert_nonnull (strstr (error->message, fixture->directory));
}

static void
test_permissions (void)
{
  static const char *const names[] = { "spool.db", "spool.db-wal", "spool.db-shm", "lock", "reserve" };
  g_autofree char *parent = g_dir_make_tmp ("evbus-spool-XXXXXX", NULL);
  g_autofree char *directory = g_build_filename (parent, "deep", "er", NULL);
  mode_t old = umask (0);
  GStatBuf status;
  EvbusSpool *spool = evbus_spool_open (directory, NULL);

  umask (old);
  g_assert_nonnull (spool);
  g_assert_cmpint (g_stat (directory, &status), ==, 0);
  g_assert_cmpint (status.st_mode & 07777, ==, 0700);
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autofree char *path = g_build_filename (directory, names[i], NULL);

      g_assert_cmpint (g_stat (path, &status), ==, 0);
      g_assert_cmpint (status.st_mode & 07777, ==, 0600);
    }
  evbus_spool_unref (spool);

  /* One that is there becomes private. */
  g_assert_cmpint (chmod (directory, 0755), ==, 0);
  spool = evbus_spool_open (directory, NULL);
  g_assert_cmpint (g_stat (directory, &status), ==, 0);
  g_assert_cmpint (status.st_mode & 07777, ==, 0700);
  evbus_spool_unref (spool);
}

static void
test_no_folder (void)
{
  g_autoptr(GError) error = NULL;

  g_assert_null (evbus_spool_open ("/proc/evbus/spool", &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
  g_assert_nonnull (strstr (error->message, "/proc/evbus/spool"));
}

/* Somebody's folder is left as it is. */
static void
test_foreign_folder (void)
{
  g_autofree char *directory = g_dir_make_tmp ("evbus-spool-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (directory, "letter.txt", NULL);
  g_autofree char *lock = g_build_filename (directory, "lock", NULL);
  g_autoptr(GError) error = NULL;
  EvbusSpool *spool;
  GStatBuf status;

  g_assert_cmpint (chmod (directory, 0755), ==, 0);
  g_assert_true (g_file_set_contents (path, "dear", -1, NULL));
  g_assert_null (evbus_spool_open (directory, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
  g_assert_nonnull (strstr (error->message, directory));
  g_assert_nonnull (strstr (error->message, "\"letter.txt\"; name one that is empty"));
  g_assert_cmpint (g_stat (directory, &status), ==, 0);
  g_assert_cmpint (status.st_mode & 07777, ==, 0755);
  g_assert_false (g_file_test (lock, G_FILE_TEST_EXISTS));

  /* What a start that was killed early has left is ours. */
  g_assert_cmpint (g_unlink (path), ==, 0);
  g_assert_true (g_file_set_contents (lock, "1 evbusd\n", -1, NULL));
  spool = evbus_spool_open (directory, NULL);
  g_assert_nonnull (spool);
  evbus_spool_unref (spool);
  /* And so is a spool beside which somebody has put something. */
  g_assert_true (g_file_set_contents (path, "dear", -1, NULL));
  spool = evbus_spool_open (directory, NULL);
  g_assert_nonnull (spool);
  evbus_spool_unref (spool);
  spool_test_remove (directory);
}

static void
test_clean_close (Fixture       *fixture,
                  gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");

  spool_test_put (fixture->spool, &route, 1, 1, 100, NULL);
  g_assert_cmpint (size_of (fixture, "spool.db-wal"), >, 0);
  evbus_spool_unref (fixture->spool);
  g_assert_cmpint (size_of (fixture, "spool.db-wal"), ==, 0);
  spool_test_open (fixture);
}

/* Whether this process holds a lock on the database: its locks hinder others alone. */
static gboolean
is_locked (Fixture *fixture)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  struct flock wanted = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
  pid_t pid = fork ();
  int status, fd;

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      fd = open (path, O_RDWR | O_CLOEXEC);
      _exit (fd < 0 || fcntl (fd, F_GETLK, &wanted) != 0 ? 2 : wanted.l_type != F_UNLCK && wanted.l_pid == getppid ());
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), <, 2);
  return WEXITSTATUS (status) == 1;
}

/* One that is closed and still known, as a broker that a collector frees late, leaves the locks of
 * the next one of the process alone. */
static void
test_locks_of_the_next (Fixture       *fixture,
                        gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpool *first = fixture->spool;

  spool_test_put (fixture->spool, &route, 1, 1, 10, NULL);
  g_assert_true (is_locked (fixture));
  evbus_spool_close (first);
  g_assert_false (is_locked (fixture));

  spool_test_open (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_put (fixture->spool, &route, 1, 11, 20, NULL);
  g_assert_true (is_locked (fixture));
  evbus_spool_unref (first);
  g_assert_true (is_locked (fixture));
}

static void
test_newer (void)
{
  g_autofree char *directory = g_dir_make_tmp ("evbus-spool-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (directory, "spool.db", NULL);
  g_autofree char *before = NULL, *after = NULL;
  g_autoptr(GError) error = NULL;
  gsize size_before, size_after;
  sqlite3 *db;

  evbus_spool_unref (evbus_spool_open (directory, NULL));
  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "PRAGMA user_version = 99", NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close (db);
  g_assert_true (g_file_get_contents (path, &before, &size_before, NULL));

  g_assert_null (evbus_spool_open (directory, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
  g_assert_nonnull (strstr (error->message, "newer"));
  g_assert_nonnull (strstr (error->message, path));
  g_assert_true (g_file_get_contents (path, &after, &size_after, NULL));
  g_assert_cmpmem (before, size_before, after, size_after);
  spool_test_remove (directory);
}

/* The log stays within its bound, and all files shrink when a backlog is gone. */
static void
test_space (Fixture       *fixture,
            gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 deadline, seqs[1000];
  guint n = 0;

  for (guint i = 0; i < 100; i++)
    {
      spool_test_append (fixture->spool, &route, 1, n, n + 999, 1500, seqs);
      g_assert_true (evbus_spool_commit (fixture->spool, NULL));
      n += 1000;
      g_assert_cmpint (size_of (fixture, "spool.db-wal"), <=, EVBUS_SPOOL_WAL_BYTES);
    }
  g_assert_cmpint (size_of (fixture, "spool.db") + size_of (fixture, "spool.db-wal"), >, 100 * 1024 * 1024);

  spool_test_deliver (fixture->spool, route, n, seqs[999], NULL, 0);
  deadline = g_get_monotonic_time () + DEADLINE;
  while (size_of (fixture, "spool.db") + size_of (fixture, "spool.db-wal") + size_of (fixture, "reserve") >
         16 * 1024 * 1024)
    {
      evbus_spool_maintain (fixture->spool);
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_assert_cmpint (size_of (fixture, "spool.db-wal"), <=, EVBUS_SPOOL_WAL_BYTES);
    }
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), ==, 0);
}

/* ---- The log, while others read. */

typedef struct {
  EvbusSpool *spool;
  EvbusSpoolRoute *route;
  int quit;           /* atomic */
  guint n_turns;      /* the thread's, until it is joined */
} Looker;

/* A route that reads its backlog, and begins again at its end. */
static gpointer
read_on (gpointer data)
{
  Looker *self = data;

  while (!g_atomic_int_get (&self->quit))
    {
      g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (self->spool, self->route, NULL);
      gboolean more = TRUE;

      while (more && !g_atomic_int_get (&self->quit))
        {
          g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

          g_assert_true (evbus_spool_reader_read (reader, 256, 1024 * 1024, events, NULL, NULL));
          more = events->len > 0;
          self->n_turns += more;
        }
    }
  return NULL;
}

/* The look at all that is stored, without its pauses. */
static gpointer
look_on (gpointer data)
{
  Looker *self = data;
  g_autoptr(EvbusSql) sql = evbus_spool_schema_open_reader (self->spool, NULL);

  while (!g_atomic_int_get (&self->quit))
    {
      EvbusSpoolCheck *check = evbus_spool_check_new (self->spool, sql);

      while (evbus_spool_check_step (check) == EVBUS_SPOOL_CHECK_MORE && !g_atomic_int_get (&self->quit))
        self->n_turns++;
      evbus_spool_check_free (check);
    }
  return NULL;
}

static void
test_log_with_readers (Fixture       *fixture,
                       gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  Looker reader = { fixture->spool, route }, looker = { fixture->spool, route };
  GThread *reading, *looking;
  gint64 largest = 0;

  spool_test_put (fixture->spool, &route, 1, 0, 999, NULL);
  reading = g_thread_new ("reader", read_on, &reader);
  looking = g_thread_new ("looker", look_on, &looker);
  for (guint i = 1; i <= 60; i++)
    {
      spool_test_append (fixture->spool, &route, 1, 1000 * i, 1000 * i + 999, 1500, NULL);
      g_assert_true (evbus_spool_commit (fixture->spool, NULL));
      largest = MAX (largest, size_of (fixture, "spool.db-wal"));
    }
  g_atomic_int_set (&reader.quit, TRUE);
  g_atomic_int_set (&looker.quit, TRUE);
  g_thread_join (reading);
  g_thread_join (looking);
  g_test_message ("the log had %" G_GINT64_FORMAT " MiB; %u reads, %u looks", largest / 1024 / 1024, reader.n_turns,
                  looker.n_turns);
  g_assert_cmpint (largest, <=, EVBUS_SPOOL_WAL_BYTES);
  g_assert_cmpuint (reader.n_turns, >, 0);
  g_assert_cmpuint (looker.n_turns, >, 0);
}

static void
commit_megabyte (Fixture         *fixture,
                 EvbusSpoolRoute *route)
{
  spool_test_append (fixture->spool, &route, 1, 0, 99, 10000, NULL);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
}

/* One who is none of ours stays in a transaction: commits go on, it is told, and passes. */
static void
test_log_with_an_outsider (Fixture       *fixture,
                           gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  const int bound = EVBUS_SPOOL_WAL_BYTES / 4096;
  sqlite3 *db;

  g_atomic_int_set (&n_warnings, 0);
  commit_megabyte (fixture, route);
  g_assert_cmpint (sqlite3_open_v2 (path, &db, SQLITE_OPEN_READONLY, NULL), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "BEGIN; SELECT count (*) FROM event", NULL, NULL, NULL), ==, SQLITE_OK);
  while (fixture->spool->wal_pages < bound * 3 / 4)
    commit_megabyte (fixture, route);
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 0);
  while (fixture->spool->wal_pages < bound + 1024)
    commit_megabyte (fixture, route);
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);

  sqlite3_close (db);
  for (guint i = 0; i < 3; i++)
    commit_megabyte (fixture, route);
  g_assert_cmpint (fixture->spool->wal_pages, <, bound / 2);
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);
}

/* The inode to which nothing can be written, 0: there is none; atomic. */
static gsize broken_file;
static int n_refused;    /* atomic: writes to it */

static ssize_t
write_unless_broken (int         fd,
                     const void *data,
                     size_t      size,
                     off_t       offset)
{
  struct stat status;

  if (fstat (fd, &status) == 0 && status.st_ino == g_atomic_pointer_get (&broken_file))
    {
      g_atomic_int_inc (&n_refused);
      errno = EIO;
      return -1;
    }
  return pwrite (fd, data, size, offset);
}

static void
break_file (ino_t file)
{
  sqlite3_vfs *vfs = sqlite3_vfs_find ("unix");

  for (guint i = 0; i < 2; i++)
    vfs->xSetSystemCall (vfs, i == 0 ? "pwrite" : "pwrite64", file != 0 ? (sqlite3_syscall_ptr) write_unless_broken : NULL);
  g_atomic_pointer_set (&broken_file, file);
}

/* Commits write the log alone and go on; that it cannot go into the database is told once, and passes by itself. */
static void
test_log_on_a_broken_disk (Fixture       *fixture,
                           gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  const int bound = EVBUS_SPOOL_WAL_BYTES / 4096;
  gint64 deadline = g_get_monotonic_time () + DEADLINE;
  g_autofree char *note = NULL;
  GStatBuf status;
  int n_before;

  g_assert_cmpint (g_stat (path, &status), ==, 0);
  break_file (status.st_ino);
  g_atomic_int_set (&n_warnings, 0);
  while (evbus_spool_get_condition (fixture->spool, NULL) == EVBUS_SPOOL_CONDITION_INTACT && fixture->spool->wal_pages < bound)
    commit_megabyte (fixture, route);
  commit_megabyte (fixture, route);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, &note), ==, EVBUS_SPOOL_CONDITION_FAILED);
  g_assert_nonnull (strstr (note, path));
  g_assert_nonnull (strstr (note, "cannot move its log into the database: disk I/O error"));
  g_assert_nonnull (strstr (note, "Input/output error; puts and delivery go on"));
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);

  /* Nobody puts anything: it is tried again and again nevertheless. */
  n_before = g_atomic_int_get (&n_refused);
  while (g_atomic_int_get (&n_refused) < n_before + MANY_TRIES)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_thread_yield ();
    }
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);
  g_atomic_pointer_set (&broken_file, 0);
  while (evbus_spool_get_condition (fixture->spool, NULL) != EVBUS_SPOOL_CONDITION_INTACT)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_thread_yield ();
    }
  for (guint i = 0; i < 3; i++)
    commit_megabyte (fixture, route);
  g_assert_cmpint (fixture->spool->wal_pages, <, bound / 4);
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);
  break_file (0);
}

/* With a backlog that stays, the rest comes back nevertheless. */
static void
test_space_beside_backlog (Fixture       *fixture,
                           gconstpointer  data)
{
  EvbusSpoolRoute *dead = evbus_spool_adopt_route (fixture->spool, "dead");
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 deadline, seqs[1000];
  guint n = 0;

  for (guint i = 0; i < 40; i++)
    {
      spool_test_append (fixture->spool, i % 4 == 0 ? &dead : &route, 1, n, n + 999, 1500, seqs);
      g_assert_true (evbus_spool_commit (fixture->spool, NULL));
      n += 1000;
    }
  spool_test_deliver (fixture->spool, route, 30000, seqs[999], NULL, 0);
  deadline = g_get_monotonic_time () + DEADLINE;
  while (size_of (fixture, "spool.db") + size_of (fixture, "spool.db-wal") > 36 * 1024 * 1024)
    {
      evbus_spool_maintain (fixture->spool);
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_assert_cmpint (size_of (fixture, "spool.db-wal"), <=, EVBUS_SPOOL_WAL_BYTES);
    }
}

/* As a kill leaves it while all free pages are given back. */
static void
test_full_vacuum_ends (Fixture       *fixture,
                       gconstpointer  data)
{
  gint64 mode = 0;

  evbus_sql_exec (fixture->spool->sql, "PRAGMA auto_vacuum = FULL", NULL);
  spool_test_reopen (fixture);
  g_assert_true (evbus_sql_number (fixture->spool->sql, "PRAGMA auto_vacuum", &mode, NULL));
  g_assert_cmpint (mode, ==, 2);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/spool/lock", test_lock },
    { "/spool/locks-of-the-next", test_locks_of_the_next },
    { "/spool/clean-close", test_clean_close },
    { "/spool/space/drained", test_space },
    { "/spool/space/full-vacuum-ends", test_full_vacuum_ends },
    { "/spool/space/beside-backlog", test_space_beside_backlog },
    { "/spool/space/log-with-readers", test_log_with_readers },
    { "/spool/space/log-with-an-outsider", test_log_with_an_outsider },
    { "/spool/space/log-on-a-broken-disk", test_log_on_a_broken_disk },
  };

  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (count_warnings, NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, spool_test_set_up, tests[i].run, spool_test_tear_down);
  g_test_add_func ("/spool/permissions", test_permissions);
  g_test_add_func ("/spool/no-folder", test_no_folder);
  g_test_add_func ("/spool/foreign-folder", test_foreign_folder);
  g_test_add_func ("/spool/newer", test_newer);
  return g_test_run ();
}
