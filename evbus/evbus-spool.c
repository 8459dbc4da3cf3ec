/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The folder of the spool: who has it, what is in it, open and close. */

#include "evbus-spool-store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* What could not be written is tried again after so long, where nothing else happens. */
#define TRY_AGAIN_US G_TIME_SPAN_SECOND

static gboolean
fail_on (const char  *path,
         const char  *what,
         GError     **error)
{
  int reason = errno;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: cannot %s: %s", path, what, g_strerror (reason));
  return FALSE;
}

/* A new folder is durable once the one above it was synced. A start that was
 * killed may have made it, or some above: they are all synced until there is a
 * database. One that cannot be read was not made by this user. */
static void
sync_parents (const char *directory)
{
  g_autofree char *path = g_canonicalize_filename (directory, NULL);
  g_autofree char *parent = g_path_get_dirname (path);
  int fd = g_open (parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

  if (fd >= 0)
    {
      if (fsync (fd) != 0)
        g_debug ("%s: %s", parent, g_strerror (errno));
      close (fd);
    }
  if (!g_str_equal (parent, path))
    sync_parents (parent);
}

/* What a start that was killed can have left before there was a database, and what a new
 * file system has. */
static gboolean
is_nobodys (const char *name)
{
  static const char *const names[] = { "lock", "reserve", "damaged", "lost+found", NULL };

  return g_strv_contains (names, name);
}

/* A folder that holds what is somebody else's is none for a spool: to make it private would
 * shut them out. */
static gboolean
check_directory (const char  *directory,
                 GError     **error)
{
  g_autoptr(GDir) dir = g_dir_open (directory, 0, NULL);
  g_autofree char *foreign = NULL;
  const char *name;

  /* What cannot be read is met again soon. */
  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      if (g_str_has_prefix (name, "spool.db"))
        return TRUE;
      if (foreign == NULL && !is_nobodys (name))
        foreign = g_filename_display_name (name);
    }
  if (foreign == NULL)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
               "%s: this folder is not a spool's: it holds \"%s\"; name one that is empty, or not there yet",
               directory, foreign);
  return FALSE;
}

static gboolean
make_directory (const char  *directory,
                GError     **error)
{
  g_autofree char *database = g_build_filename (directory, "spool.db", NULL);

  if (g_mkdir_with_parents (directory, 0700) != 0)
    return fail_on (directory, "make the folder of the spool", error);
  if (!check_directory (directory, error))
    return FALSE;
  if (!g_file_test (database, G_FILE_TEST_EXISTS))
    sync_parents (directory);
  /* It may have been there, for everyone to read. */
  if (g_chmod (directory, 0700) != 0)
    return fail_on (directory, "make the folder private", error);
  return TRUE;
}

static void
say_busy (int          fd,
          const char  *directory,
          GError     **error)
{
  char owner[256] = "";
  gssize n = pread (fd, owner, sizeof owner - 1, 0);
  char *name;

  owner[MAX (n, 0)] = '\0';
  g_strchomp (owner);
  name = strchr (owner, ' ');
  if (name == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BUSY, "%s: another process has this spool", directory);
      return;
    }
  *name++ = '\0';
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BUSY,
               "%s: %s, process %s, has this spool; stop it, or name another folder", directory, name, owner);
}

/* Held until the file is closed, however the process ends. */
static int
take_lock (const char  *directory,
           GError     **error)
{
  g_autofree char *path = g_build_filename (directory, "lock", NULL);
  g_autofree char *comm = NULL;
  g_autofree char *owner = NULL;
  int fd = g_open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

  if (fd < 0)
    {
      fail_on (path, "open", error);
      return -1;
    }
  if (flock (fd, LOCK_EX | LOCK_NB) != 0)
    {
      if (errno == EWOULDBLOCK)
        say_busy (fd, directory, error);
      else
        fail_on (path, "lock", error);
      close (fd);
      return -1;
    }

  if (!g_file_get_contents ("/proc/self/comm", &comm, NULL, NULL))
    comm = g_strdup (g_get_prgname () != NULL ? g_get_prgname () : "a program");
  owner = g_strdup_printf ("%d %s\n", (int) getpid (), g_strchomp (comm));
  /* For a person to read; the lock is held without it too. */
  if (ftruncate (fd, 0) != 0 || pwrite (fd, owner, strlen (owner), 0) < 0)
    g_debug ("%s: %s", path, g_strerror (errno));
  return fd;
}

/* SQLite would make it with what the umask leaves of 0644; the other files get
 * the mode of this one. */
static gboolean
make_file (EvbusSpool  *self,
           GError     **error)
{
  self->db_fd = g_open (self->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (self->db_fd < 0)
    return fail_on (self->path, "make the spool", error);
  return fchmod (self->db_fd, 0600) == 0 || fail_on (self->path, "make the spool private", error);
}

gboolean
evbus_spool_sync_directory (const char  *directory,
                            GError     **error)
{
  int fd = g_open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  gboolean done;

  if (fd < 0)
    return fail_on (directory, "open the folder", error);
  done = fsync (fd) == 0 || fail_on (directory, "sync the folder", error);
  close (fd);
  return done;
}

/* FALSE: it could not be. */
static gboolean
make_mark (EvbusSpool *self)
{
  g_autofree char *path = g_build_filename (self->directory, "damaged", NULL);
  int fd = g_open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

  if (fd < 0)
    return FALSE;
  close (fd);
  return evbus_spool_sync_directory (self->directory, NULL);
}

void
evbus_spool_mark_damaged (EvbusSpool *self,
                          EvbusSql   *sql,
                          const char *what)
{
  if (!sql->damaged)
    return;
  if (g_atomic_int_compare_and_exchange (&self->marked, FALSE, TRUE) && !make_mark (self))
    g_atomic_int_set (&self->marked, FALSE);
  evbus_spool_set_found (self, what != NULL ? what : "damage was met while it was read");
}

/* What is in the tables, into memory. */
static gboolean
load (EvbusSpool  *self,
      gboolean    *damaged,
      GError     **error)
{
  gboolean done = evbus_spool_load_routes (self, damaged, error) && evbus_spool_load_sets (self, damaged, error) &&
                  (self->counted || (evbus_spool_count_known_ids (self, error) && evbus_spool_weigh (self, error)));

  *damaged |= self->sql->damaged;
  return done;
}

/* To close any descriptor of the file ends SQLite's locks on it: not before that has closed
 * its own. */
static void
close_file (EvbusSpool *self)
{
  if (self->db_fd >= 0)
    close (self->db_fd);
  self->db_fd = -1;
}

static void
unload (EvbusSpool *self)
{
  g_hash_table_remove_all (self->sets_by_routes);
  g_hash_table_remove_all (self->sets_by_id);
  g_ptr_array_set_size (self->routes, 0);
  self->seq = self->horizon = self->last_route_id = 0;
  self->weight = self->n_known = 0;
  self->counted = FALSE;
  g_clear_pointer (&self->sql, evbus_sql_close);
  close_file (self);
}

gboolean
evbus_spool_open_database (EvbusSpool  *self,
                           gboolean    *damaged,
                           GError     **error)
{
  *damaged = FALSE;
  if (make_file (self, error))
    self->sql = evbus_spool_schema_open (self->path, &self->condition, damaged, error);
  if (self->sql != NULL && load (self, damaged, error) && evbus_spool_sync_directory (self->directory, error))
    {
      self->more_to_delete = g_hash_table_size (self->sets_by_id) > 0;
      return TRUE;
    }
  unload (self);
  return FALSE;
}

/* TRUE: damage was met when it was at work last. It is not written to then, in
 * whatever format it is; one that is none of ours or a newer one is told as always. */
static gboolean
is_marked (EvbusSpool  *self,
           gboolean    *damaged,
           GError     **error)
{
  g_autofree char *mark = g_build_filename (self->directory, "damaged", NULL);
  gint64 version = 0;

  if (!g_file_test (mark, G_FILE_TEST_EXISTS) || !g_file_test (self->path, G_FILE_TEST_EXISTS) ||
      !evbus_spool_schema_check (self->path, &version, damaged, NULL))
    return FALSE;
  *damaged = TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: was found damaged", self->path);
  return TRUE;
}

/* Opens it; should the disk be full, once more with the space of the reserve. */
static gboolean
try_open (EvbusSpool  *self,
          gboolean    *damaged,
          GError     **error)
{
  g_autoptr(GError) failure = NULL;

  if (is_marked (self, damaged, error))
    return FALSE;
  if (evbus_spool_open_database (self, damaged, &failure))
    return TRUE;
  if (g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    {
      evbus_spool_release_reserve (self->directory);
      return evbus_spool_open_database (self, damaged, error);
    }
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

EvbusSpool *
evbus_spool_new (const char *directory,
                 const char *name)
{
  EvbusSpool *self = g_new0 (EvbusSpool, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->ahead = evbus_clock_begin ();
  self->directory = g_strdup (directory);
  self->path = g_build_filename (directory, name, NULL);
  self->lock_fd = -1;
  self->db_fd = -1;
  self->delete_again = G_MAXINT64;
  g_mutex_init (&self->lock);
  self->routes = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_route_unref);
  self->sets_by_id = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify) evbus_spool_set_free);
  self->sets_by_routes = g_hash_table_new_full (g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);
  self->last_routes = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolRoute *));
  self->staged_sets = g_ptr_array_new ();
  self->staged_routes = g_ptr_array_new ();
  self->gone_sets = g_ptr_array_new ();
  self->dying = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_dying_free);
  self->deaths = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_dying_free);
  self->record = g_byte_array_new ();
  return self;
}

void
evbus_spool_free (EvbusSpool *self)
{
  unload (self);
  if (self->lock_fd >= 0)
    close (self->lock_fd);
  g_ptr_array_unref (self->deaths);
  g_ptr_array_unref (self->dying);
  g_ptr_array_unref (self->gone_sets);
  g_ptr_array_unref (self->staged_routes);
  g_ptr_array_unref (self->staged_sets);
  g_array_unref (self->last_routes);
  g_hash_table_unref (self->sets_by_routes);
  g_hash_table_unref (self->sets_by_id);
  g_ptr_array_unref (self->routes);
  g_byte_array_unref (self->record);
  g_clear_error (&self->failure);
  g_mutex_clear (&self->lock);
  if (self->watch_free != NULL)
    self->watch_free (self->watch_data);
  for (guint i = 0; i < EVBUS_SPOOL_N_TASKS; i++)
    g_free (self->failed[i]);
  g_free (self->found);
  g_free (self->note);
  g_free (self->path);
  g_free (self->directory);
  g_free (self);
}

/* Who waits for the database. */
typedef struct {
  const EvbusSpoolOpening *opening;     /* nullable */
  gint64                   say_again;   /* monotonic */
} Wait;

static gboolean
is_waited_for (gpointer data)
{
  Wait *wait = data;
  gint64 now = g_get_monotonic_time ();

  if (g_cancellable_is_cancelled (wait->opening->cancellable))
    return FALSE;
  if (wait->opening->progress != NULL && now >= wait->say_again)
    {
      wait->say_again = now + G_USEC_PER_SEC;
      wait->opening->progress ("it is opened: what a crash has left in its log is read, or an older format is "
                               "brought to the present one", wait->opening->data);
    }
  return TRUE;
}

/* What was there before, or what is found there. @damaged: it has to be recovered. */
static gboolean
open_existing (EvbusSpool  *self,
               gboolean    *damaged,
               GError     **error)
{
  Wait wait = { self->opening };
  EvbusSqlPatience patience = { is_waited_for, &wait };
  g_autoptr(GError) failure = NULL;
  gboolean done;

  if (self->opening != NULL)
    evbus_sql_set_patience (&patience);
  done = try_open (self, damaged, &failure);
  evbus_sql_set_patience (NULL);

  if (done)
    return TRUE;
  if (self->opening != NULL && g_cancellable_set_error_if_cancelled (self->opening->cancellable, error))
    {
      *damaged = FALSE;
      return FALSE;
    }
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

EvbusSpool *
evbus_spool_open (const char  *directory,
                  GError     **error)
{
  return evbus_spool_open_with (directory, NULL, error);
}

EvbusSpool *
evbus_spool_open_with (const char               *directory,
                       const EvbusSpoolOpening  *opening,
                       GError                  **error)
{
  g_autoptr(GError) failure = NULL;
  EvbusSpool *self = evbus_spool_new (directory, "spool.db");
  gboolean damaged = FALSE;
  gboolean done;

  self->opening = opening;
  if (!make_directory (directory, error) || (self->lock_fd = take_lock (directory, error)) < 0)
    {
      evbus_spool_free (self);
      return NULL;
    }

  done = evbus_spool_finish_recovery (self, &failure) && open_existing (self, &damaged, &failure);
  if (!done && damaged)
    {
      g_autoptr(GError) reason = g_steal_pointer (&failure);

      done = evbus_spool_recover (self, reason->message, &failure);
    }
  if (!done)
    {
      g_propagate_error (error, g_steal_pointer (&failure));
      evbus_spool_free (self);
      return NULL;
    }

  if (self->note != NULL)
    self->condition = EVBUS_SPOOL_CONDITION_RECOVERED;
  else if (self->condition == EVBUS_SPOOL_CONDITION_MIGRATED)
    self->note = g_strdup ("it was written by an older version, and is brought to the present format");
  self->opening = NULL;
  self->keeper = evbus_spool_keeper_new (self);
  evbus_spool_make_reserve (self);
  return self;
}

EvbusSpool *
evbus_spool_ref (EvbusSpool *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_spool_close (EvbusSpool *self)
{
  if (self->closed)
    return;

  if (self->in_transaction)
    evbus_spool_commit (self, NULL);
  evbus_spool_maintain (self);

  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  g_mutex_unlock (&self->lock);
  g_clear_pointer (&self->keeper, evbus_spool_keeper_free);
  g_clear_pointer (&self->sql, evbus_sql_close);
  /* Later it would end the locks that the next one of this process has. */
  close_file (self);
  close (self->lock_fd);
  self->lock_fd = -1;
}

void
evbus_spool_unref (EvbusSpool *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  evbus_spool_close (self);
  evbus_spool_free (self);
}

const char *
evbus_spool_get_directory (EvbusSpool *self)
{
  return self->directory;
}

static void
reverse (GPtrArray *ids,
         GArray    *seqs,
         GArray    *replayed)
{
  for (guint i = 0, j = ids->len; i + 1 < j; i++)
    {
      gpointer id = ids->pdata[--j];
      gint64 seq = g_array_index (seqs, gint64, j);
      gboolean was = g_array_index (replayed, gboolean, j);

      ids->pdata[j] = ids->pdata[i];
      ids->pdata[i] = id;
      g_array_index (seqs, gint64, j) = g_array_index (seqs, gint64, i);
      g_array_index (seqs, gint64, i) = seq;
      g_array_index (replayed, gboolean, j) = g_array_index (replayed, gboolean, i);
      g_array_index (replayed, gboolean, i) = was;
    }
}

GPtrArray *
evbus_spool_load_known_ids (EvbusSpool *self,
                            GArray     *seqs,
                            GArray     *replayed)
{
  GPtrArray *ids = g_ptr_array_new_with_free_func (g_free);
  sqlite3_stmt *rows = evbus_sql_get (self->sql, EVBUS_SQL_LOAD_KNOWN_IDS, NULL);

  if (rows == NULL)
    return ids;
  sqlite3_bind_int64 (rows, 1, EVBUS_KNOWN_IDS);
  while (evbus_sql_step (self->sql, rows, NULL) > 0)
    {
      gboolean is_replayed = sqlite3_column_type (rows, 0) == SQLITE_BLOB;
      const char *id = (const char *) sqlite3_column_text (rows, 0);
      gint64 seq = sqlite3_column_int64 (rows, 1);

      /* It was valid when it was stored. */
      if (id == NULL || !g_utf8_validate (id, -1, NULL))
        continue;
      g_ptr_array_add (ids, g_strdup (id));
      g_array_append_val (seqs, seq);
      g_array_append_val (replayed, is_replayed);
    }

  /* The newest came first. */
  reverse (ids, seqs, replayed);
  return ids;
}

gboolean
evbus_spool_is_dirty (EvbusSpool *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return self->dirty || self->more_to_delete;
}

gboolean
evbus_spool_has_settled (EvbusSpool *self)
{
  return self->more_to_delete;
}

guint64
evbus_spool_get_weight (EvbusSpool *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return self->weight;
}

gint64
evbus_spool_get_next_try (EvbusSpool *self)
{
  return evbus_spool_is_dirty (self) ? g_get_monotonic_time () + TRY_AGAIN_US : self->delete_again;
}

gboolean
evbus_spool_is_full (EvbusSpool *self)
{
  return self->full;
}
