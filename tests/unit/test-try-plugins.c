/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The plugins of a configuration are tried before it is put in place: what fails is told, and one that
 * does not return holds up nobody. */

#include "evbus-test.h"

#include <glib/gstdio.h>

#define MAX_TRIALS 8

typedef struct {
  EvbusProfiles *profiles;
  GCancellable *cancellable;
  GAsyncResult *result;
} Trial;

/* The file that holds the plugin `broken-gate` while it is there. */
static char *gate;

static void
begin (Trial      *trial,
       const char *yaml)
{
  g_autoptr(GError) error = NULL;

  trial->profiles = evbus_profiles_new_for_data (yaml, -1, "p.yaml", &error);
  g_assert_no_error (error);
  trial->cancellable = g_cancellable_new ();
  trial->result = NULL;
  evbus_profiles_try_plugins_async (trial->profiles, trial->cancellable, evbus_test_store_result, &trial->result);
}

static gboolean
finish (Trial   *trial,
        GError **error)
{
  gboolean done;

  evbus_test_wait_until (trial->result != NULL);
  done = evbus_profiles_try_plugins_finish (trial->profiles, trial->result, error);
  g_clear_object (&trial->result);
  g_clear_object (&trial->profiles);
  g_clear_object (&trial->cancellable);
  return done;
}

static void
assert_works (const char *yaml)
{
  g_autoptr(GError) error = NULL;
  Trial trial;

  begin (&trial, yaml);
  g_assert_true (finish (&trial, &error));
  g_assert_no_error (error);
}

static void
test_works (void)
{
  /* What has no plugin is told in another place. */
  assert_works ("carrier-pigeon: {a: {}}\n");
  /* The second time it is proven. */
  for (guint i = 0; i < 2; i++)
    assert_works ("sink: {a: {}, b: {}}\ninternal: {c: {}}\n");
}

/* A line for each plugin, however many routes it has; of those that work there is none. */
static void
test_fails (void)
{
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) lines = NULL;
  Trial trial;

  begin (&trial, "broken-nothing: {a: {}, b: {}}\nsink: {c: {}}\nbroken-symbol: {d: {}}\n");
  g_assert_false (finish (&trial, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN);
  lines = g_strsplit (error->message, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 2);
  evbus_test_assert_says (lines[0], "^p.yaml:1:.*broken-nothing 'a': .");
  evbus_test_assert_says (lines[1], "^p.yaml:3:.*broken-symbol 'd': .");
}

/* Before it began. */
static void
test_cancelled (void)
{
  g_autoptr(EvbusProfiles) profiles = evbus_profiles_new_for_data ("broken-empty: {a: {}}\n", -1, "p.yaml", NULL);
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  g_cancellable_cancel (cancellable);
  evbus_profiles_try_plugins_async (profiles, cancellable, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  g_assert_false (evbus_profiles_try_plugins_finish (profiles, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

static gboolean
on_deadline (gpointer cancellable)
{
  g_cancellable_cancel (cancellable);
  return G_SOURCE_REMOVE;
}

/* FALSE: there is no thread for it. Lets go of those that are held. */
static gboolean
works_again (void)
{
  g_autoptr(GError) error = NULL;
  Trial trial;

  g_unlink (gate);
  begin (&trial, "broken-empty: {a: {}}\n");
  g_assert_false (finish (&trial, &error));
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_BUSY))
    return FALSE;
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN);
  return TRUE;
}

/* The wait ends at its deadline, and says which one is to blame (that of the first: those of the others
 * may not have begun). The threads stay with the plugin, and
 * there are not ever more of them. */
static void
test_never_returns (void)
{
  g_autoptr(GError) error = NULL;
  Trial trials[MAX_TRIALS], one_more;

  begin (&trials[0], "sink: {b: {}}\nbroken-gate: {a: {}}\n");
  evbus_test_wait_until (g_file_test (gate, G_FILE_TEST_EXISTS));
  for (guint i = 1; i < MAX_TRIALS; i++)
    begin (&trials[i], "broken-gate: {a: {}}\n");
  begin (&one_more, "broken-gate: {a: {}}\n");
  g_assert_false (finish (&one_more, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_BUSY, "8 threads are held by plugins");
  g_clear_error (&error);

  g_timeout_add (1, on_deadline, trials[0].cancellable);
  for (guint i = 0; i < MAX_TRIALS; i++)
    {
      if (i > 0)
        g_cancellable_cancel (trials[i].cancellable);
      g_assert_false (finish (&trials[i], &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      if (i == 0)
        evbus_test_assert_says (error->message, "tried of p.yaml:2:.*broken-gate 'a'");
      g_clear_error (&error);
    }
  g_assert_true (g_file_test (gate, G_FILE_TEST_EXISTS));

  /* What is proven needs no thread. */
  assert_works ("sink: {a: {}}\n");
  evbus_test_wait_until (works_again ());
}

int
main (int   argc,
      char *argv[])
{
  g_autofree char *folder = NULL;
  int status;

  evbus_test_init (&argc, &argv);
  g_log_set_always_fatal (G_LOG_FATAL_MASK);   /* libpeas warns */
  folder = g_dir_make_tmp ("evbus-try-XXXXXX", NULL);
  gate = g_build_filename (folder, "gate", NULL);
  g_setenv ("EVBUS_TEST_GATE", gate, TRUE);

  g_test_add_func ("/try-plugins/works", test_works);
  g_test_add_func ("/try-plugins/fails", test_fails);
  g_test_add_func ("/try-plugins/cancelled", test_cancelled);
  g_test_add_func ("/try-plugins/never-returns", test_never_returns);
  status = g_test_run ();
  g_unlink (gate);
  g_rmdir (folder);
  g_free (gate);
  return status;
}
