/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A damaged or foreign database is never written to: what can be read of it goes
 * into a new one, and then it is set aside.
 *
 * Each step can be the last before a crash. The new database is made as
 * `spool.db.building` and renamed to `spool.db.new` when it is complete; a start that
 * finds the latter only finishes the renaming. */

#include "evbus-spool-store-private.h"

#include <errno.h>
#include <glib/gstdio.h>

#include "evbus-error.h"

/* The files of a database, as endings. The main one is the last to go: until then
 * a start finds it again. */
static const char *const endings[] = { "-shm", "-wal", "" };

/* A name that no file has. */
static char *
find_name (const char *path)
{
  g_autoptr(GDateTime) now = g_date_time_new_now_local ();
  g_autofree char *time = g_date_time_format (now, "%Y%m%d-%H%M%S");
  char *name = g_strdup_printf ("%s.damaged-%s", path, time);

  for (guint i = 1; g_file_test (name, G_FILE_TEST_EXISTS); i++)
    {
      g_free (name);
      name = g_strdup_printf ("%s.damaged-%s.%u", path, time, i);
    }
  return name;
}

static gboolean
set_aside (EvbusSpool  *self,
           const char  *name,
           GError     **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (endings); i++)
    {
      g_autofree char *from = g_strconcat (self->path, endings[i], NULL);
      g_autofree char *to = g_strconcat (name, endings[i], NULL);

      if (g_rename (from, to) != 0 && errno != ENOENT)
        {
          int reason = errno;

          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: it is damaged and cannot be set aside: %s",
                       from, g_strerror (reason));
          return FALSE;
        }
    }
  return evbus_spool_sync_directory (self->directory, error);
}

static char *
get_path (EvbusSpool *self,
          const char *name)
{
  return g_build_filename (self->directory, name, NULL);
}

static gboolean
rename_to (const char  *from,
           const char  *to,
           GError     **error)
{
  int reason;

  if (g_rename (from, to) == 0)
    return TRUE;
  reason = errno;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "%s: cannot be renamed to %s: %s", from, to,
               g_strerror (reason));
  return FALSE;
}

static void
remove_database (const char *path)
{
  for (guint i = 0; i < G_N_ELEMENTS (endings); i++)
    {
      g_autofree char *file = g_strconcat (path, endings[i], NULL);

      g_unlink (file);
    }
}

/* Fills `spool.db.building` and makes it `spool.db.new`. What was begun in vain is removed: where the
 * disk is full it may be what fills it. */
static gboolean
build (EvbusSpool  *self,
       guint64     *n_events,
       guint64     *n_dead,
       GError     **error)
{
  g_autofree char *new_path = get_path (self, "spool.db.new");
  EvbusSpool *to = evbus_spool_new (self->directory, "spool.db.building");
  g_autofree char *path = g_strdup (to->path);
  gboolean damaged, done;

  to->opening = self->opening;
  remove_database (path);
  done = evbus_spool_open_database (to, &damaged, error) &&
         evbus_sql_exec (to->sql, "PRAGMA wal_autocheckpoint = 1000", error) &&
         evbus_spool_salvage (to, self->path, n_events, n_dead, error) &&
         evbus_sql_exec (to->sql, "PRAGMA wal_checkpoint(TRUNCATE)", error);
  evbus_spool_free (to);
  if (!done)
    remove_database (path);
  return done && rename_to (path, new_path, error) && evbus_spool_sync_directory (self->directory, error);
}

/* The rest, which can be done again after a crash. @name: (out) (optional). */
static gboolean
replace (EvbusSpool  *self,
         char       **name,
         GError     **error)
{
  g_autofree char *aside = find_name (self->path);
  g_autofree char *new_path = get_path (self, "spool.db.new");
  g_autofree char *mark = get_path (self, "damaged");

  if (!set_aside (self, aside, error) || !rename_to (new_path, self->path, error) ||
      !evbus_spool_sync_directory (self->directory, error))
    return FALSE;
  g_unlink (mark);
  if (name != NULL)
    *name = g_steal_pointer (&aside);
  return TRUE;
}

gboolean
evbus_spool_finish_recovery (EvbusSpool  *self,
                             GError     **error)
{
  g_autofree char *new_path = get_path (self, "spool.db.new");

  if (!g_file_test (new_path, G_FILE_TEST_EXISTS))
    return TRUE;
  if (!replace (self, NULL, error))
    return FALSE;
  self->note = g_strdup ("a recovery that was interrupted is finished; the damaged files are in the folder");
  return TRUE;
}

gboolean
evbus_spool_recover (EvbusSpool  *self,
                     const char  *reason,
                     GError     **error)
{
  g_autofree char *name = NULL;
  guint64 n_events = 0, n_dead = 0;
  gboolean damaged;

  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE,
                    "EVBUS_SPOOL", self->directory,
                    "MESSAGE", "spool %s: %s; what can be read of it is recovered", self->directory, reason);
  evbus_spool_release_reserve (self->directory);
  if (!build (self, &n_events, &n_dead, error) || !replace (self, &name, error) ||
      !evbus_spool_open_database (self, &damaged, error))
    return FALSE;

  self->condition = EVBUS_SPOOL_CONDITION_RECOVERED;
  g_free (self->note);
  self->note = g_strdup_printf ("%s; it is set aside as %s, %" G_GUINT64_FORMAT " events and %" G_GUINT64_FORMAT
                                " dead letters were taken over; delete that file when nobody misses anything", reason, name, n_events, n_dead);
  return TRUE;
}
