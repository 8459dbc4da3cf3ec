/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reloads at the same time, and what is called back in the midst of one. */

#include "evbus-test.h"

#include <glib/gstdio.h>

typedef struct {
  EvbusBroker *broker;
  EvbusTestHook *hook;
  guint n_answers;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("race");
  fixture->broker = evbus_test_broker_new ();
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "queued"), ==, 0);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

#define N_RELOADERS 2

static const struct {
  const char *profile, *serializer;
  guint stop_timeout;
  gboolean reject_unrouted;
  const char *yaml;
} configurations[N_RELOADERS] = {
  { "one", "json", 1000, FALSE,
    "evbus: {stop_timeout: 1s, serializer: json}\ninternal: {one: {}}\n" },
  { "two", "str", 2000, TRUE,
    "evbus: {stop_timeout: 2s, serializer: str, reject_unrouted: true}\ninternal: {two: {}}\n" },
};

typedef struct {
  Fixture *fixture;
  const char *yaml;
  const char *path;            /* or NULL: @yaml is applied as it is */
  gint *ready;
} Reloader;

static gpointer
reload_in_thread (gpointer data)
{
  Reloader *reloader = data;
  g_autoptr(GError) error = NULL;

  g_atomic_int_add (reloader->ready, -1);
  while (g_atomic_int_get (reloader->ready) > 0)
    g_thread_yield ();
  if (reloader->path == NULL)
    evbus_test_apply (reloader->fixture->broker, reloader->yaml);
  else
    g_assert_true (evbus_broker_load_profiles (reloader->fixture->broker, reloader->path, &error));
  return NULL;
}

/* Routes and settings are those of one and the same. */
static void
expect_one_of_them (EvbusBroker *broker)
{
  g_autoptr(EvbusRoute) route = NULL;
  guint i;

  evbus_test_iterate ();
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (broker)), ==, 1);
  route = g_list_model_get_item (evbus_broker_get_routes (broker), 0);
  for (i = 0; i + 1 < N_RELOADERS; i++)
    if (g_strcmp0 (configurations[i].profile, evbus_route_get_profile (route)) == 0)
      break;
  g_assert_cmpstr (evbus_route_get_profile (route), ==, configurations[i].profile);
  g_assert_cmpuint (evbus_broker_get_stop_timeout (broker), ==, configurations[i].stop_timeout);
  g_assert_cmpstr (evbus_broker_get_serializer (broker), ==, configurations[i].serializer);
  g_assert_cmpint (evbus_broker_get_reject_unrouted (broker), ==, configurations[i].reject_unrouted);
}

static void
reload_at_once (Fixture           *fixture,
                const char *const *paths)
{
  for (guint round = 0; round < 1000; round++)
    {
      Reloader reloaders[N_RELOADERS];
      GThread *threads[N_RELOADERS];
      gint ready = N_RELOADERS;

      for (guint i = 0; i < N_RELOADERS; i++)
        {
          reloaders[i] = (Reloader) { fixture, configurations[i].yaml,
                                      paths != NULL ? paths[i] : NULL, &ready };
          threads[i] = g_thread_new ("reloader", reload_in_thread, &reloaders[i]);
        }
      for (guint i = 0; i < N_RELOADERS; i++)
        g_thread_join (threads[i]);
      expect_one_of_them (fixture->broker);
    }
}

static void
test_apply (Fixture       *fixture,
            gconstpointer  data)
{
  reload_at_once (fixture, NULL);
}

static void
test_load (Fixture       *fixture,
           gconstpointer  data)
{
  g_autofree char *folder = g_dir_make_tmp ("evbus-reload-XXXXXX", NULL);
  char *paths[N_RELOADERS];

  for (guint i = 0; i < N_RELOADERS; i++)
    {
      g_autofree char *name = g_strdup_printf ("%s.yaml", configurations[i].profile);

      paths[i] = g_build_filename (folder, name, NULL);
      g_assert_true (g_file_set_contents (paths[i], configurations[i].yaml, -1, NULL));
    }
  reload_at_once (fixture, (const char *const *) paths);
  for (guint i = 0; i < N_RELOADERS; i++)
    {
      g_unlink (paths[i]);
      g_free (paths[i]);
    }
  g_rmdir (folder);
}

#define FULL "hook: {one: {name: race, delivery: {overflow: block, window: {events: 3}}}}\n"

/* Uses the broker in whatever way needs its locks. */
static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  EvbusBroker *broker = EVBUS_BROKER (source);
  Fixture *fixture = user_data;
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "internal", "more", NULL);
  g_autofree char *id = NULL;
  g_autoptr(GError) error = NULL;

  id = evbus_producer_put_finish (EVBUS_PRODUCER (broker), result, &error);
  g_assert_no_error (error);
  g_assert_true (evbus_broker_remove_route (broker, route, &error));
  evbus_test_apply (broker, "internal: {o*e: {}}\n");
  fixture->n_answers++;
}

static gboolean
apply (gpointer data)
{
  Fixture *fixture = data;

  evbus_test_apply (fixture->broker, "internal: {one: {}}\n");
  return G_SOURCE_REMOVE;
}

static gboolean
enlarge (gpointer data)
{
  Fixture *fixture = data;

  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 100}}\n" FULL);
  return G_SOURCE_REMOVE;
}

static gboolean
remove_all (gpointer data)
{
  Fixture *fixture = data;
  g_autoptr(EvbusRoute) route =
    g_list_model_get_item (evbus_broker_get_routes (fixture->broker), 0);

  g_assert_true (evbus_broker_remove_route (fixture->broker, route, NULL));
  return G_SOURCE_REMOVE;
}

static void
wait_for_answer (Fixture     *fixture,
                 GSourceFunc  func)
{
  evbus_producer_put_async (EVBUS_PRODUCER (fixture->broker), "number", g_variant_new_uint32 (3),
                            "one", NULL, on_put, fixture);
  evbus_test_iterate ();
  g_assert_cmpuint (fixture->n_answers, ==, 0);

  /* From the main loop, where a task calls back at once. */
  g_idle_add (func, fixture);
  evbus_test_wait_until (fixture->n_answers == 1);
}

/* A put that waits is answered by what changes the routes, and its callback may
 * change them once more. */
static void
test_called_back (Fixture       *fixture,
                  gconstpointer  data)
{
  GSourceFunc func = (GSourceFunc) data;

  evbus_test_apply (fixture->broker, FULL);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, "one", 0, 3);
  wait_for_answer (fixture, func);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->broker, "queued=0");
}

/* The same for one that waits for the queue, which grows. */
static void
test_grown (Fixture       *fixture,
            gconstpointer  data)
{
  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 3}}\n" FULL);
  evbus_test_put_numbers (fixture->broker, "one", 0, 2);
  evbus_test_put_numbers (fixture->broker, "nobody", 2, 1);
  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 2}}\n" FULL);
  wait_for_answer (fixture, enlarge);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->broker, "queued=0");
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
    GSourceFunc data;
  } tests[] = {
    { "/reload/race/apply", test_apply, NULL },
    { "/reload/race/load", test_load, NULL },
    { "/reload/race/called-back/apply", test_called_back, apply },
    { "/reload/race/called-back/remove", test_called_back, remove_all },
    { "/reload/race/called-back/grown", test_grown, NULL },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].data, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
