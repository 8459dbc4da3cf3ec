/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What the kernel says of a process.
 */

#include "bench-process.h"

#include <string.h>

/* A number of /proc/.../status, by its name at the start of a line. */
static gboolean
status_field (const char  *path,
              const char  *field,
              guint64     *value,
              GError     **error)
{
  g_autofree char *contents = NULL;
  g_autofree char *start = g_strdup_printf ("\n%s:", field);
  const char *found;

  if (!g_file_get_contents (path, &contents, NULL, error))
    return FALSE;

  found = strstr (contents, start);
  if (found == NULL)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "%s: no field '%s'", path, field);
      return FALSE;
    }

  *value = g_ascii_strtoull (found + strlen (start), NULL, 10);
  return TRUE;
}

/* @pid is a number or "self". */
gboolean
bench_process_rss (const char  *pid,
                   double      *mib,
                   GError     **error)
{
  g_autofree char *path = g_build_filename ("/proc", pid, "status", NULL);
  guint64 kib;

  if (!status_field (path, "VmRSS", &kib, error))
    return FALSE;
  *mib = kib / 1024.0;
  return TRUE;
}

/* How often any thread has gone to sleep by itself, which is how often it had
 * been woken. A thread that ends meanwhile takes its figure with it. */
gboolean
bench_process_wakeups (const char  *pid,
                       guint64     *wakeups,
                       GError     **error)
{
  g_autofree char *tasks = g_build_filename ("/proc", pid, "task", NULL);
  g_autoptr (GDir) dir = g_dir_open (tasks, 0, error);
  const char *task;
  guint64 switches;

  if (dir == NULL)
    return FALSE;

  *wakeups = 0;
  while ((task = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (tasks, task, "status", NULL);

      if (!status_field (path, "voluntary_ctxt_switches", &switches, error))
        return FALSE;
      *wakeups += switches;
    }
  return TRUE;
}
