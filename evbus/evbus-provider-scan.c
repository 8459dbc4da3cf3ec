/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the search path holds. Reading all the files takes milliseconds, which each
 * route that a program adds would pay; so what was read is kept, with the state that
 * each folder and file was in. */

#include <string.h>
#include <sys/stat.h>

#include "evbus-provider-private.h"

/* A change this soon after another one may leave no other time of change behind. */
#define SETTLED_SECONDS 1

/* The state of a path; all 0 where there is nothing. */
typedef struct
{
  char            *path;
  ino_t            inode;
  off_t            size;
  struct timespec  changed;
} Stamp;

/* Immutable once it is made. */
typedef struct
{
  gatomicrefcount  ref_count;
  char            *path;        /* the search path */
  GArray          *stamps;      /* of all that was looked at, before it was */
  GPtrArray       *providers;
  GHashTable      *serializers; /* name → the file of the plugin that has it */
  gboolean         settled;     /* a change from now on shows in a stamp */
} Scan;

/* Guards last, and nothing else. */
static GMutex  last_lock;
static Scan   *last;

static void
stamp_clear (gpointer data)
{
  g_free (((Stamp *) data)->path);
}

static Scan *
scan_new (char **folders)
{
  Scan *scan = g_new0 (Scan, 1);

  g_atomic_ref_count_init (&scan->ref_count);
  scan->path = g_strjoinv (":", folders);
  scan->stamps = g_array_new (FALSE, TRUE, sizeof (Stamp));
  g_array_set_clear_func (scan->stamps, stamp_clear);
  scan->providers = g_ptr_array_new_with_free_func (g_object_unref);
  scan->serializers = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return scan;
}

static void
scan_unref (Scan *scan)
{
  if (scan == NULL || !g_atomic_ref_count_dec (&scan->ref_count))
    return;
  g_free (scan->path);
  g_array_unref (scan->stamps);
  g_ptr_array_unref (scan->providers);
  g_hash_table_unref (scan->serializers);
  g_free (scan);
}

/* ---- what has changed ---- */

static Stamp
look (const char *path)
{
  struct stat info;
  Stamp stamp = { NULL, };

  if (stat (path, &info) == 0)
    {
      stamp.inode = info.st_ino;
      stamp.size = info.st_size;
      /* Not that of the contents, which can be set back. */
      stamp.changed = info.st_ctim;
    }
  return stamp;
}

static void
remember (Scan       *scan,
          const char *path)
{
  Stamp stamp = look (path);

  stamp.path = g_strdup (path);
  g_array_append_val (scan->stamps, stamp);
}

static gboolean
is_current (Scan  *scan,
            char **folders)
{
  g_autofree char *path = g_strjoinv (":", folders);

  if (!scan->settled || strcmp (scan->path, path) != 0)
    return FALSE;
  for (guint i = 0; i < scan->stamps->len; i++)
    {
      const Stamp *before = &g_array_index (scan->stamps, Stamp, i);
      Stamp now = look (before->path);

      if (now.inode != before->inode || now.size != before->size ||
          now.changed.tv_sec != before->changed.tv_sec || now.changed.tv_nsec != before->changed.tv_nsec)
        return FALSE;
    }
  return TRUE;
}

static gboolean
is_settled (Scan *scan)
{
  gint64 now = g_get_real_time () / G_USEC_PER_SEC;

  for (guint i = 0; i < scan->stamps->len; i++)
    if (g_array_index (scan->stamps, Stamp, i).changed.tv_sec + SETTLED_SECONDS >= now)
      return FALSE;
  return TRUE;
}

/* ---- the folders ---- */

char **
evbus_provider_search_path (void)
{
  g_autoptr(GStrvBuilder) builder = g_strv_builder_new ();
  const char *value = g_getenv ("EVBUS_PLUGIN_PATH");
  g_auto(GStrv) folders = g_strsplit (value != NULL ? value : "", ":", -1);

  for (gsize i = 0; folders[i] != NULL; i++)
    if (*folders[i] != '\0')
      g_strv_builder_add (builder, folders[i]);
  g_strv_builder_add (builder, EVBUS_PLUGINDIR);
  return g_strv_builder_end (builder);
}

static gint
compare_names (gconstpointer a,
               gconstpointer b)
{
  return strcmp (*(const char * const *) a, *(const char * const *) b);
}

/* Sorted, so that which of two comes first is no accident. */
static GPtrArray *
list_folder (Scan       *scan,
             const char *folder)
{
  GPtrArray *paths = g_ptr_array_new_with_free_func (g_free);
  g_autoptr(GDir) dir = NULL;
  const char *name;

  remember (scan, folder);
  dir = g_dir_open (folder, 0, NULL);
  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    g_ptr_array_add (paths, g_build_filename (folder, name, NULL));
  g_ptr_array_sort (paths, compare_names);
  return paths;
}

static void
warn_once (const char *filename,
           const char *message)
{
  static GMutex lock;
  static GHashTable *warned;
  char *line = g_strdup_printf ("%s: %s; the plugin is left out", filename, message);
  gboolean is_new;

  g_mutex_lock (&lock);
  if (warned == NULL)
    warned = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  /* A folder that changes for ever must not grow this for ever. */
  if (g_hash_table_size (warned) >= 1024)
    g_hash_table_remove_all (warned);
  is_new = g_hash_table_add (warned, g_strdup (line));
  g_mutex_unlock (&lock);

  if (is_new)
    g_warning ("%s", line);
  g_free (line);
}

static void
scan_file (Scan       *scan,
           const char *filename,
           gboolean    installed)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusProvider) provider = NULL;
  g_autofree char *serializer = NULL;

  remember (scan, filename);
  provider = evbus_provider_new_from_file (filename, installed, &serializer, &error);
  if (error != NULL)
    warn_once (filename, error->message);
  if (provider != NULL && evbus_provider_find_by_name (scan->providers, evbus_provider_get_name (provider)) == NULL)
    g_ptr_array_add (scan->providers, g_steal_pointer (&provider));
  if (serializer != NULL && !g_hash_table_contains (scan->serializers, serializer))
    g_hash_table_insert (scan->serializers, g_steal_pointer (&serializer), g_strdup (filename));
}

static void
scan_folder (Scan       *scan,
             const char *folder,
             const char *suffix,
             gboolean    installed)
{
  g_autoptr(GPtrArray) paths = list_folder (scan, folder);

  for (guint i = 0; i < paths->len; i++)
    {
      const char *path = g_ptr_array_index (paths, i);

      if (g_str_has_suffix (path, suffix))
        scan_file (scan, path, installed);
    }
  for (guint i = 0; i < paths->len; i++)
    {
      g_autoptr(GPtrArray) inner = list_folder (scan, g_ptr_array_index (paths, i));

      for (guint j = 0; j < inner->len; j++)
        if (g_str_has_suffix (g_ptr_array_index (inner, j), suffix))
          scan_file (scan, g_ptr_array_index (inner, j), installed);
    }
}

static Scan *
scan_all (char **folders)
{
  Scan *scan = scan_new (folders);

  for (gsize i = 0; folders[i] != NULL; i++)
    scan_folder (scan, folders[i], ".plugin", TRUE);
  /* A plugin anywhere is better than a word about it. */
  for (gsize i = 0; folders[i] != NULL; i++)
    scan_folder (scan, folders[i], ".provider", FALSE);
  scan->settled = is_settled (scan);
  return scan;
}

static Scan *
get_last (void)
{
  Scan *scan;

  g_mutex_lock (&last_lock);
  scan = last;
  if (scan != NULL)
    g_atomic_ref_count_inc (&scan->ref_count);
  g_mutex_unlock (&last_lock);
  return scan;
}

/* Takes the reference. */
static void
set_last (Scan *scan)
{
  Scan *before;

  g_mutex_lock (&last_lock);
  before = last;
  last = scan;
  g_mutex_unlock (&last_lock);
  scan_unref (before);
}

/* Returns: (transfer full): what the search path holds now */
static Scan *
scan_now (void)
{
  g_auto(GStrv) folders = evbus_provider_search_path ();
  Scan *scan = get_last ();

  if (scan == NULL || !is_current (scan, folders))
    {
      scan_unref (scan);
      /* Under no lock: a file that cannot be used is logged. */
      scan = scan_all (folders);
      g_atomic_ref_count_inc (&scan->ref_count);
      set_last (scan);
    }
  return scan;
}

GPtrArray *
evbus_provider_scan (void)
{
  Scan *scan = scan_now ();
  GPtrArray *providers = g_ptr_array_ref (scan->providers);

  scan_unref (scan);
  return providers;
}

GHashTable *
evbus_provider_scan_serializers (void)
{
  Scan *scan = scan_now ();
  GHashTable *serializers = g_hash_table_ref (scan->serializers);

  scan_unref (scan);
  return serializers;
}
