/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The space of a backlog comes back by itself, soon after it is drained: of
 * a million events where EVBUS_TEST_LONG is set. */

#include "durable-test.h"

#define N_EVENTS 40000
#define N_EVENTS_LONG 1000000
#define BODY 400
#define SMALL (16 * 1024 * 1024)

static guint64
size_of_folder (Fixture *fixture)
{
  g_autoptr(GDir) dir = g_dir_open (fixture->directory, 0, NULL);
  const char *name;
  guint64 size = 0;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (fixture->directory, name, NULL);
      GStatBuf status;

      if (g_stat (path, &status) == 0)
        size += status.st_size;
    }
  return size;
}

static void
put_many (Fixture *fixture,
          guint    n)
{
  g_autofree char *text = g_strnfill (BODY, 'x');

  for (guint i = 0; i < n; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      do
        {
          g_clear_error (&error);
          id = evbus_producer_put_nowait (EVBUS_PRODUCER (fixture->broker), "k", g_variant_new_string (text), NULL,
                                          &error);
          if (error != NULL)
            g_thread_yield ();
        }
      while (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL));
      g_assert_no_error (error);
    }
}

static gboolean
take_all (EvbusTestHook *hook,
          EvbusContext  *ctx,
          EvbusBatch    *batch,
          GCancellable  *cancellable,
          GError       **error)
{
  if (g_atomic_int_get ((int *) hook->user_data))
    {
      evbus_batch_confirm_all (batch);
      return TRUE;
    }
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "not yet");
  return FALSE;
}

static void
test_drained (Fixture       *fixture,
              gconstpointer  data)
{
  guint n = g_getenv ("EVBUS_TEST_LONG") != NULL ? N_EVENTS_LONG : N_EVENTS;
  int open = FALSE;
  gint64 began, drained, small;

  fixture->hook->publish = take_all;
  fixture->hook->user_data = &open;
  put_many (fixture, n);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "accepted") == n);
  evbus_test_wait_until (size_of_folder (fixture) > SMALL);

  began = g_get_monotonic_time ();
  g_atomic_int_set (&open, TRUE);
  evbus_route_flush (fixture->route);
  while (evbus_test_figure (fixture->route, "queued") > 0)
    g_main_context_iteration (NULL, TRUE);   /* its figures are told until they come to rest */
  drained = g_get_monotonic_time ();
  evbus_test_wait_until (size_of_folder (fixture) <= SMALL);
  small = g_get_monotonic_time ();
  g_test_message ("drained in %.1f s, the space was back after %.1f s", (drained - began) / 1e6, (small - drained) / 1e6);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);
  g_test_add ("/durable-space/drained", Fixture, "{'retry': <{'max': <'100ms'>}>, 'spool': <{'bytes': <'16GiB'>}>}",
              durable_set_up, test_drained, durable_tear_down);
  return g_test_run ();
}
