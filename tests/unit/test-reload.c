/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Profiles applied again to a broker that runs. */

#include "evbus-test.h"

#include <glib/gstdio.h>
#include <string.h>

#define N_HOOKS 3

typedef struct {
  EvbusTestHook *hooks[N_HOOKS];
  EvbusBroker *broker;
  guint n_changes;             /* of the list */
} Fixture;

static void
on_items_changed (GListModel *routes,
                  guint       position,
                  guint       removed,
                  guint       added,
                  Fixture    *fixture)
{
  fixture->n_changes++;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  static const char *const names[N_HOOKS] = { "a", "b", "c" };

  for (guint i = 0; i < N_HOOKS; i++)
    fixture->hooks[i] = evbus_test_hook_new (names[i]);
  fixture->broker = evbus_test_broker_new ();
  g_signal_connect (evbus_broker_get_routes (fixture->broker), "items-changed",
                    G_CALLBACK (on_items_changed), fixture);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "queued"), ==, 0);
  g_signal_handlers_disconnect_by_data (evbus_broker_get_routes (fixture->broker), fixture);
  g_object_unref (fixture->broker);
  for (guint i = 0; i < N_HOOKS; i++)
    evbus_test_hook_free (fixture->hooks[i]);
}

static guint
n_routes (Fixture *fixture)
{
  return g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker));
}

static EvbusRoute *
route_at (Fixture *fixture,
          guint    index)
{
  return g_list_model_get_item (evbus_broker_get_routes (fixture->broker), index);
}

#define THREE \
  "hook:\n" \
  "  one: {name: a}\n" \
  "  two: {name: b}\n" \
  "  three: {name: c, delivery: {batch: 7}}\n"

/* Nothing changed: the same objects, with their figures and open plugins. */
static void
test_unchanged (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusRoute *before[3];

  evbus_test_apply (fixture->broker, THREE);
  evbus_test_start (fixture->broker);
  g_assert_cmpuint (n_routes (fixture), ==, 3);
  evbus_test_put_numbers (fixture->broker, "one", 0, 5);
  for (guint i = 0; i < 3; i++)
    before[i] = route_at (fixture, i);
  evbus_test_wait_ledger (before[0], "delivered=5");
  evbus_test_wait_until (evbus_route_get_state (before[0]) == EVBUS_ROUTE_STATE_RUNNING);
  evbus_test_iterate ();
  fixture->n_changes = 0;

  /* The same, written otherwise. */
  evbus_test_apply (fixture->broker,
                    "# a comment\n"
                    "{\"hook\": {\"one\": {\"name\": \"a\"}, \"two\": {\"name\": \"b\"},\n"
                    " \"three\": {\"delivery\": {\"batch\": 7}, \"name\": \"c\"}}}\n");
  g_assert_cmpuint (n_routes (fixture), ==, 3);
  for (guint i = 0; i < 3; i++)
    {
      g_autoptr(EvbusRoute) after = route_at (fixture, i);

      g_assert_true (before[i] == after);
    }
  evbus_test_iterate ();
  g_assert_cmpuint (fixture->n_changes, ==, 0);
  evbus_test_assert_ledger (before[0], "accepted=5 delivered=5");
  evbus_test_put_numbers (fixture->broker, "one", 5, 5);
  evbus_test_wait_ledger (before[0], "accepted=10 delivered=10");
  g_assert_cmpuint (fixture->hooks[0]->n_open, ==, 1);
  g_assert_cmpuint (fixture->hooks[0]->n_close, ==, 0);
  for (guint i = 0; i < 3; i++)
    g_object_unref (before[i]);
}

static void
test_changed (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusRoute) one = NULL, two = NULL, three = NULL;
  g_autoptr(EvbusRoute) new_zero = NULL, new_one = NULL, new_three = NULL;

  evbus_test_apply (fixture->broker, THREE);
  evbus_test_start (fixture->broker);
  one = route_at (fixture, 0);
  two = route_at (fixture, 1);
  three = route_at (fixture, 2);
  evbus_test_put_numbers (fixture->broker, "two", 0, 5);
  evbus_test_wait_ledger (two, "delivered=5");

  /* A new one first, two gone, three with other data. */
  evbus_test_apply (fixture->broker,
                    "hook:\n"
                    "  zero: {name: b}\n"
                    "  one: {name: a}\n"
                    "  three: {name: c, delivery: {batch: 8}}\n");
  g_assert_cmpuint (n_routes (fixture), ==, 3);
  new_zero = route_at (fixture, 0);
  new_one = route_at (fixture, 1);
  new_three = route_at (fixture, 2);
  g_assert_cmpstr (evbus_route_get_profile (new_zero), ==, "zero");
  g_assert_true (new_one == one);
  g_assert_true (new_three != three);
  g_assert_cmpstr (evbus_route_get_profile (new_three), ==, "three");

  evbus_test_put_numbers (fixture->broker, "zero", 5, 5);
  evbus_test_put_numbers (fixture->broker, "three", 0, 5);
  evbus_test_put_numbers (fixture->broker, "two", 0, 3);
  evbus_test_wait_ledger (new_zero, "accepted=5 delivered=5");
  evbus_test_wait_ledger (new_three, "accepted=5 delivered=5");
  evbus_test_assert_ledger (two, "accepted=5 delivered=5");
  evbus_test_wait_until (evbus_route_get_state (two) == EVBUS_ROUTE_STATE_STOPPED);
  evbus_test_wait_until (evbus_route_get_state (three) == EVBUS_ROUTE_STATE_STOPPED);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "unrouted"), ==, 3);
  evbus_test_wait_until (fixture->n_changes > 0);
}

/* What a removed route still had is dropped, and counted so. */
static void
test_removed_with_events (Fixture       *fixture,
                          gconstpointer  data)
{
  g_autoptr(EvbusRoute) two = NULL;

  evbus_test_apply (fixture->broker, THREE);
  evbus_test_start (fixture->broker);
  two = route_at (fixture, 1);
  evbus_test_hook_hold (fixture->hooks[1]);
  evbus_test_put_numbers (fixture->broker, "two", 0, 500);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hooks[1],
                                               &fixture->hooks[1]->n_waiting) == 1);
  evbus_test_apply (fixture->broker, "hook:\n  one: {name: a}\n");
  g_assert_cmpuint (n_routes (fixture), ==, 1);
  evbus_test_put_numbers (fixture->broker, "one", 0, 5);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hooks[0]) == 5);
  evbus_test_hook_release (fixture->hooks[1]);
  evbus_test_wait_ledger (two, "accepted=500 queued=0");
  evbus_test_wait_until (evbus_test_hook_read (fixture->hooks[1],
                                               &fixture->hooks[1]->n_running) == 0);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hooks[1]) ==
                         evbus_test_figure (two, "delivered"));
}

/* A set of profiles with a mistake in it changes nothing. */
static void
test_bad (Fixture       *fixture,
          gconstpointer  data)
{
  static const char *const bad[] = {
    "hook:\n  one: {name: a}\n  two: {nam: b}\n",
    "hook:\n  one: {}\n",
    "hook: [\n",
    "hook:\n  one: {name: a, delivery: {overflow: explode}}\n",
    "match_plugin: telepathy\nhook:\n  one: {name: a}\n",
  };
  g_autofree char *folder = g_dir_make_tmp ("evbus-reload-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "evbus-reload-test.yaml", NULL);
  EvbusRoute *before[3];

  evbus_test_apply (fixture->broker, THREE);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 3; i++)
    before[i] = route_at (fixture, i);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_true (g_file_set_contents (path, bad[i], -1, NULL));
      g_assert_false (evbus_broker_load_profiles (fixture->broker, path, &error));
      evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, "evbus-reload-test.yaml:\\d");
      g_assert_cmpuint (n_routes (fixture), ==, 3);
      for (guint j = 0; j < 3; j++)
        {
          g_autoptr(EvbusRoute) after = route_at (fixture, j);

          g_assert_true (after == before[j]);
        }
    }
  g_unlink (path);
  g_rmdir (folder);
  {
    g_autoptr(GError) error = NULL;

    g_assert_false (evbus_broker_load_profiles (fixture->broker, path, &error));
    g_assert_nonnull (error);
    evbus_test_assert_says (error->message, "evbus-reload-test.yaml");
  }
  evbus_test_put_numbers (fixture->broker, "one", 0, 5);
  evbus_test_wait_ledger (before[0], "accepted=5 delivered=5");
  for (guint i = 0; i < 3; i++)
    g_object_unref (before[i]);
}

/* A provider without a plugin: its route says so, the others work. */
static void
test_missing_provider (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(EvbusRoute) missing = NULL, one = NULL;
  g_autofree char *reason = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_clear_logs ();
  evbus_test_apply (fixture->broker, "carrier-pigeon:\n  one: {loft: 3}\nhook:\n  one: {name: a}\n");
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*carrier-pigeon*", NULL, NULL),
                    >=, 1);
  evbus_test_start (fixture->broker);
  missing = route_at (fixture, 0);
  one = route_at (fixture, 1);
  g_assert_cmpstr (evbus_route_get_provider (missing), ==, "carrier-pigeon");
  g_assert_cmpint (evbus_route_get_state (missing), ==, EVBUS_ROUTE_STATE_FAILED);
  reason = evbus_route_dup_reason (missing);
  evbus_test_assert_says (reason, "carrier-pigeon");
  evbus_test_put_numbers (fixture->broker, "one", 0, 5);
  evbus_test_wait_ledger (one, "accepted=5 delivered=5");
  evbus_test_assert_ledger (missing, "accepted=5 queued=5");
  evbus_test_apply (fixture->broker, "hook:\n  one: {name: a}\n");
  evbus_test_wait_ledger (missing, "queued=0");
  evbus_test_assert_ledger (missing, "accepted=5 dropped=5");

  g_assert_null (evbus_broker_add_route (fixture->broker, "carrier-pigeon", "one", NULL, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_NO_PROVIDER, "carrier-pigeon");
}

/* What is known and not installed is no mistake, and nothing else waits for it. */
static void
test_known_provider (Fixture       *fixture,
                     gconstpointer  data)
{
  g_autoptr(EvbusRoute) known = NULL, one = NULL;
  g_autofree char *reason = NULL;

  evbus_test_apply (fixture->broker, "dove:\n- one: {loft: {host: localhost}}\nhook:\n  one: {name: a}\n");
  evbus_test_start (fixture->broker);
  known = route_at (fixture, 0);
  one = route_at (fixture, 1);
  g_assert_cmpint (evbus_route_get_state (known), ==, EVBUS_ROUTE_STATE_FAILED);
  reason = evbus_route_dup_reason (known);
  evbus_test_assert_says (reason, "the provider 'pigeon' \\(dove: .*\\) is known, but its plugin is not installed");
  evbus_test_put_numbers (fixture->broker, "one", 0, 5);
  evbus_test_wait_ledger (one, "accepted=5 delivered=5");
  evbus_test_assert_ledger (known, "accepted=5 queued=5");
  evbus_test_apply (fixture->broker, "hook:\n  one: {name: a}\n");
  evbus_test_wait_ledger (known, "accepted=5 dropped=5");
}

typedef struct {
  EvbusBroker *broker;
  gint stop;
  guint n_put;
} Producer;

static gpointer
put_until_told (gpointer data)
{
  Producer *producer = data;

  while (!g_atomic_int_get (&producer->stop) && producer->n_put < 50000)
    evbus_test_put_numbers (producer->broker, "one", producer->n_put++, 1);
  return NULL;
}

/* What did not change goes on without loss, doubling or disorder, whatever is
 * reloaded around it. */
static void
test_under_load (Fixture       *fixture,
                 gconstpointer  data)
{
#define WIDE "  one: {name: a, delivery: {window: {events: 100000, bytes: 1GiB}}}\n"
  static const char *const others[] = {
    "hook:\n" WIDE "  two: {name: b}\n",
    "hook:\n  o*e: {name: c}\n" WIDE,
    "hook:\n" WIDE "  '*': {name: b, delivery: {batch: 3}}\n  '?ne': {name: c}\n",
  };
  Producer producer = { .broker = fixture->broker };
  g_autoptr(EvbusRoute) one = NULL;
  GThread *thread;

  evbus_test_apply (fixture->broker, others[0]);
  evbus_test_start (fixture->broker);
  one = route_at (fixture, 0);
  thread = g_thread_new ("producer", put_until_told, &producer);
  for (guint i = 0; i < 60; i++)
    {
      g_autoptr(EvbusRoute) found = NULL;

      evbus_test_apply (fixture->broker, others[i % 3]);
      found = route_at (fixture, i % 3 == 1 ? 1 : 0);
      g_assert_true (found == one);
      evbus_test_iterate ();
    }
  g_atomic_int_set (&producer.stop, TRUE);
  g_thread_join (thread);
  evbus_test_wait_ledger (one, "queued=0");
  evbus_test_wait_until (evbus_test_hook_length (fixture->hooks[0]) ==
                         evbus_test_figure (one, "delivered"));
  g_assert_cmpuint (evbus_test_figure (one, "accepted"), ==, producer.n_put);
  g_assert_cmpuint (evbus_test_figure (one, "delivered"), ==, producer.n_put);
  for (guint i = 0; i < producer.n_put; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hooks[0], i)), ==, i);
}

static gpointer
put_new_names (gpointer data)
{
  Producer *producer = data;

  while (!g_atomic_int_get (&producer->stop) && producer->n_put < 30000)
    {
      g_autofree char *name = g_strdup_printf ("naaaaaaaaaa%u", producer->n_put);

      evbus_test_put_numbers (producer->broker, name, producer->n_put++, 1);
    }
  return NULL;
}

/* Names that nobody has put before are looked up, which takes its time with such
 * a pattern, while the routes change. */
static void
test_new_names (Fixture       *fixture,
                gconstpointer  data)
{
  Producer producer = { .broker = fixture->broker };
  g_autoptr(EvbusRoute) kept = NULL;
  GThread *thread;

#define KEPT "match_plugin: regex\nhook:\n  'n(a+)+': {name: b}\n" \
             "  'n.*': {name: a, delivery: {window: {events: 100000}}}\n"
  evbus_test_apply (fixture->broker, KEPT);
  evbus_test_start (fixture->broker);
  kept = route_at (fixture, 1);
  thread = g_thread_new ("producer", put_new_names, &producer);
  for (guint i = 0; i < 200; i++)
    evbus_test_apply (fixture->broker, i % 2 == 0 ? KEPT "  'm.*': {name: c}\n"
                                                  : KEPT);
  g_atomic_int_set (&producer.stop, TRUE);
  g_thread_join (thread);
  evbus_test_wait_ledger (kept, "queued=0");
  g_assert_cmpuint (evbus_test_figure (kept, "accepted"), ==, producer.n_put);
  g_assert_cmpuint (evbus_test_figure (kept, "delivered"), ==, producer.n_put);
  for (guint i = 0; i < producer.n_put; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hooks[0], i)), ==, i);
}

/* The routes of an event are those of the moment in which it is accepted: one
 * that waits for a route that goes, goes to what came instead. */
static void
test_waiting_put (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(EvbusRoute) full = NULL, next = NULL;
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  evbus_test_apply (fixture->broker,
                    "hook:\n  one: {name: a, delivery: {overflow: block, window: {events: 3}}}\n");
  evbus_test_start (fixture->broker);
  full = route_at (fixture, 0);
  evbus_test_hook_hold (fixture->hooks[0]);
  evbus_test_put_numbers (fixture->broker, "one", 0, 3);
  evbus_producer_put_async (EVBUS_PRODUCER (fixture->broker), "number", g_variant_new_uint32 (3),
                            "one", NULL, evbus_test_store_result, &waiting);
  evbus_test_iterate ();
  g_assert_null (waiting);

  evbus_test_apply (fixture->broker, "hook:\n  o*e: {name: b}\n");
  evbus_test_wait_until (waiting != NULL);
  id = evbus_producer_put_finish (EVBUS_PRODUCER (fixture->broker), waiting, &error);
  g_assert_no_error (error);
  next = route_at (fixture, 0);
  evbus_test_wait_ledger (next, "accepted=1 delivered=1");
  g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hooks[1], 0)), ==, 3);
  evbus_test_hook_release (fixture->hooks[0]);
  evbus_test_wait_ledger (full, "accepted=3 delivered=3");
}

/* Each open plugin is closed, on reload and at the end. */
static void
test_opened_and_closed (Fixture       *fixture,
                        gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 10; i++)
    {
      evbus_test_apply (fixture->broker, i % 2 == 0 ? "hook:\n  one: {name: a}\n"
                                                    : "hook:\n  one: {name: b}\n");
      evbus_test_put_numbers (fixture->broker, "one", i, 1);
      evbus_test_wait_until (evbus_test_hook_length (fixture->hooks[i % 2]) == i / 2 + 1);
    }
  evbus_test_stop (fixture->broker);
  for (guint i = 0; i < 2; i++)
    {
      evbus_test_wait_until (evbus_test_hook_read (fixture->hooks[i],
                                                   &fixture->hooks[i]->n_close) == 5);
      g_assert_cmpuint (fixture->hooks[i]->n_open, ==, 5);
    }
}

/* Equal entries are told apart: a destination knows each by a name of its own. */
static void
test_equal_entries (Fixture       *fixture,
                    gconstpointer  data)
{
  const char *yaml = "hook: [x: {name: a}, x: {name: a}]\n";
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusRoute) first = NULL;
  g_autoptr(EvbusRoute) second = NULL;
  g_autoptr(EvbusRoute) kept = NULL;

  evbus_test_apply (fixture->broker, yaml);
  evbus_test_start (fixture->broker);
  first = route_at (fixture, 0);
  second = route_at (fixture, 1);
  evbus_broker_remove_route (fixture->broker, first, &error);
  g_assert_no_error (error);

  evbus_test_apply (fixture->broker, yaml);
  g_assert_cmpuint (n_routes (fixture), ==, 2);
  kept = route_at (fixture, 1);
  g_assert_true (kept == second);
}

int
main (int    argc,
      char **argv)
{
  g_autofree char *known = NULL;
  g_autofree char *path = NULL;
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/reload/unchanged", test_unchanged },
    { "/reload/equal-entries", test_equal_entries },
    { "/reload/changed", test_changed },
    { "/reload/removed-with-events", test_removed_with_events },
    { "/reload/bad", test_bad },
    { "/reload/missing-provider", test_missing_provider },
    { "/reload/known-provider", test_known_provider },
    { "/reload/under-load", test_under_load },
    { "/reload/new-names", test_new_names },
    { "/reload/waiting-put", test_waiting_put },
    { "/reload/opened-and-closed", test_opened_and_closed },
  };

  /* A plugin path may have files that make a provider known. */
  known = g_build_filename (g_getenv ("G_TEST_SRCDIR"), "unit", "providers", "known", NULL);
  path = g_strconcat (known, ":", g_getenv ("EVBUS_PLUGIN_PATH"), NULL);
  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
