/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs a fuzz target as a plain test: over each file of the folder given, over
 * each beginning of it, and over each with one byte changed at a time.
 * EVBUS_FUZZ_STEP=N takes only every Nth beginning and byte, for a run that is
 * slow anyway.
 */

#include "fuzz.h"

#include <glib.h>
#include <string.h>

/* Files larger than this are run as they are, or the test would take minutes. */
#define MUTATED_BYTES 512

static gsize step = 1;

static void
run_copy (const guint8 *data,
          gsize         size)
{
  /* Exactly as large as it says, for the sanitizers to see a read beyond. */
  g_autofree guint8 *copy = g_memdup2 (data, size);

  LLVMFuzzerTestOneInput (copy, size);
}

static void
run_mutated (const guint8 *data,
             gsize         size)
{
  static const guint8 flips[] = { 0x01, 0x20, 0x80, 0xff };
  g_autofree guint8 *copy = g_memdup2 (data, size);
  gsize i, j;

  for (i = 0; i < size; i += step)
    run_copy (data, i);
  for (i = 0; i < size; i += step)
    {
      for (j = 0; j < G_N_ELEMENTS (flips); j++)
        {
          copy[i] = data[i] ^ flips[j];
          run_copy (copy, size);
        }
      copy[i] = data[i];
    }
}

static void
test_file (gconstpointer path)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *data = NULL;
  gsize size;

  g_file_get_contents (path, &data, &size, &error);
  g_assert_no_error (error);

  run_copy ((const guint8 *) data, size);
  if (size <= MUTATED_BYTES)
    run_mutated ((const guint8 *) data, size);
}

int
main (int    argc,
      char **argv)
{
  g_autoptr(GDir) folder = NULL;
  g_autoptr(GError) error = NULL;
  const char *name;

  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (argc, ==, 2);
  if (g_getenv ("EVBUS_FUZZ_STEP") != NULL)
    step = MAX (1, g_ascii_strtoull (g_getenv ("EVBUS_FUZZ_STEP"), NULL, 10));

  folder = g_dir_open (argv[1], 0, &error);
  g_assert_no_error (error);
  while ((name = g_dir_read_name (folder)) != NULL)
    {
      g_autofree char *test = g_strdup_printf ("/corpus/%s", name);

      g_test_add_data_func_full (test, g_build_filename (argv[1], name, NULL), test_file, g_free);
    }
  return g_test_run ();
}
