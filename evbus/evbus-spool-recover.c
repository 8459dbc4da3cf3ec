/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A damaged or foreign database is never written to: it is set aside, and what
 * can be read of it goes into a new one. */

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

gboolean
evbus_spool_recover (EvbusSpool  *self,
                     const char  *reason,
                     GError     **error)
{
  g_autofree char *name = find_name (self->path);
  g_autofree char *mark = g_build_filename (self->directory, "damaged", NULL);
  gboolean damaged;

  if (!set_aside (self, name, error) || !evbus_spool_open_database (self, &damaged, error))
    return FALSE;

  self->condition = EVBUS_SPOOL_RECOVERED;
  self->note = g_strdup_printf ("%s; set aside as %s", reason, name);
  g_unlink (mark);
  return TRUE;
}
