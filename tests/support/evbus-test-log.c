/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  GLogLevelFlags level;
  GHashTable *fields;
} Record;

static GMutex records_lock;
static GPtrArray *records;

static void
record_free (Record *record)
{
  g_hash_table_unref (record->fields);
  g_free (record);
}

static Record *
record_new (GLogLevelFlags   level,
            const GLogField *fields,
            gsize            n_fields)
{
  Record *record = g_new0 (Record, 1);

  record->level = level & G_LOG_LEVEL_MASK;
  record->fields = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  for (gsize i = 0; i < n_fields; i++)
    g_hash_table_insert (record->fields, g_strdup (fields[i].key),
                         fields[i].length < 0 ? g_strdup (fields[i].value)
                                              : g_strndup (fields[i].value, fields[i].length));
  return record;
}

/* Warnings are part of what a route promises when its destination fails, so
 * they are kept and not fatal; criticals are, wherever they come from. */
static GLogWriterOutput
write_log (GLogLevelFlags   level,
           const GLogField *fields,
           gsize            n_fields,
           gpointer         user_data)
{
  Record *record = record_new (level, fields, n_fields);
  const char *domain = g_hash_table_lookup (record->fields, "GLIB_DOMAIN");
  const char *message = g_hash_table_lookup (record->fields, "MESSAGE");

  fprintf (stderr, "# %s: %s\n", domain != NULL ? domain : "-", message != NULL ? message : "-");
  if ((level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR)) != 0 &&
      !g_hash_table_contains (record->fields, "GLIB_OLD_LOG_API"))
    abort ();

  g_mutex_lock (&records_lock);
  g_ptr_array_add (records, record);
  g_mutex_unlock (&records_lock);
  return G_LOG_WRITER_HANDLED;
}

guint
evbus_test_count_logs (GLogLevelFlags  level,
                       const char     *message,
                       const char     *field,
                       const char     *value)
{
  guint count = 0;

  g_mutex_lock (&records_lock);
  for (guint i = 0; i < records->len; i++)
    {
      Record *record = g_ptr_array_index (records, i);
      const char *text = g_hash_table_lookup (record->fields, "MESSAGE");
      const char *found = field != NULL ? g_hash_table_lookup (record->fields, field) : NULL;

      if ((record->level & level) == 0 ||
          (message != NULL && (text == NULL || !g_pattern_match_simple (message, text))) ||
          (field != NULL && g_strcmp0 (found, value) != 0))
        continue;
      count++;
    }
  g_mutex_unlock (&records_lock);
  return count;
}

void
evbus_test_clear_logs (void)
{
  g_mutex_lock (&records_lock);
  g_ptr_array_set_size (records, 0);
  g_mutex_unlock (&records_lock);
}

/* The folders of the test plugins come before those of the environment. */
static void
find_plugins (void)
{
  g_autofree char *support = g_test_build_filename (G_TEST_BUILT, "support", NULL);
  g_autofree char *plugins = g_build_filename (support, "plugins", NULL);
  const char *given = g_getenv ("EVBUS_PLUGIN_PATH");
  g_autofree char *path = NULL;

  path = g_strjoin (":", support, plugins, given, NULL);
  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);
}

void
evbus_test_init (int    *argc,
                 char ***argv)
{
  records = g_ptr_array_new_with_free_func ((GDestroyNotify) record_free);
  g_log_set_writer_func (write_log, NULL, NULL);
  g_test_init (argc, argv, NULL);
  /* What libpeas says of a broken plugin is part of such tests. */
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  find_plugins ();
}
