/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-profile-files-private.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#include "evbus-yaml-private.h"

#define MAX_FILES 1024

typedef struct {
  EvbusReport           *report;
  EvbusProfileFilesFunc  take;
  gpointer               user_data;
} Files;

static void
report_file (Files      *files,
             const char *path,
             const char *message)
{
  g_autoptr(GRefString) name = g_ref_string_new (path);
  EvbusPlace place = { name, 0, 0 };

  evbus_report_error (files->report, &place, "%s", message);
}

static void
read_file (Files      *files,
           const char *path)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *data = NULL;
  GStatBuf info;
  gsize length;

  if (g_stat (path, &info) != 0)
    report_file (files, path, g_strerror (errno));
  else if (!S_ISREG (info.st_mode))
    report_file (files, path, "neither a file nor a folder of files; write the configuration to a file");
  else if (info.st_size > EVBUS_MAX_CONFIG_BYTES)
    report_file (files, path, "too large: a file of a configuration has at most 4 MiB; "
                 "make it several in one folder");
  else if (!g_file_get_contents (path, &data, &length, &error))
    report_file (files, path, error->message);
  else
    {
      files->take (files->user_data, data, length, path);
      explicit_bzero (data, length);
    }
}

static gboolean
has_known_suffix (const char *name)
{
  return *name != '.' && (g_str_has_suffix (name, ".yaml") || g_str_has_suffix (name, ".yml")
                          || g_str_has_suffix (name, ".json"));
}

static gint
compare_names (gconstpointer a,
               gconstpointer b)
{
  return strcmp (*(const char * const *) a, *(const char * const *) b);
}

static void
read_folder (Files      *files,
             const char *path)
{
  g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  g_autoptr(GError) error = NULL;
  g_autoptr(GDir) dir = g_dir_open (path, 0, &error);
  const char *name;

  if (dir == NULL)
    {
      report_file (files, path, error->message);
      return;
    }
  while ((name = g_dir_read_name (dir)) != NULL)
    if (has_known_suffix (name))
      g_ptr_array_add (paths, g_build_filename (path, name, NULL));
  g_ptr_array_sort (paths, compare_names);

  if (paths->len == 0)
    report_file (files, path, "the folder holds no *.yaml, *.yml or *.json");
  else if (paths->len > MAX_FILES)
    report_file (files, path, "too many files: a configuration has at most 1024");
  else
    for (guint i = 0; i < paths->len; i++)
      read_file (files, g_ptr_array_index (paths, i));
}

void
evbus_profile_files_read (const char            *path,
                          EvbusReport           *report,
                          EvbusProfileFilesFunc  take,
                          gpointer               user_data)
{
  Files files = { report, take, user_data };

  if (g_file_test (path, G_FILE_TEST_IS_DIR))
    read_folder (&files, path);
  else
    read_file (&files, path);
}
