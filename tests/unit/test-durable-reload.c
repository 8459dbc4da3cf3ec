/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Reloads of a broker with a spool: a route that was changed, removed or brought
 * back goes on with what it had, and what is in doubt is refused. (A start is not: test-durable-doubt.c.) */

#include <sqlite3.h>

#include "durable-test.h"

static EvbusRoute *
route_at (Fixture *fixture,
          guint    index)
{
  return g_list_model_get_item (evbus_broker_get_routes (fixture->broker), index);
}

/* The fixture's broker, but its routes are those of @yaml. */
static void
begin_with (Fixture    *fixture,
            const char *yaml)
{
  g_clear_object (&fixture->route);
  fixture->broker = durable_new_broker (fixture);
  evbus_broker_set_stop_timeout (fixture->broker, 30000);
  evbus_test_apply (fixture->broker, yaml);
  evbus_test_start (fixture->broker);
}

static void
end_now (Fixture *fixture)
{
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  durable_end (fixture);
}

/* Holds the only route at its first batch. */
static void
get_stuck (Fixture *fixture,
           guint    n)
{
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, n);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
}

#define WITH(settings) "evbus: {stop_timeout: 30}\nhook: {'*': {name: durable" settings "}}\n"
#define SMALL ", delivery: {batch: 7, window: {events: 20}}"

static void
assert_one_at_a_time (Fixture *fixture)
{
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_overlaps), ==, 0);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), <=,
                    evbus_test_hook_read (fixture->hook, &fixture->hook->n_close) + 1);
}

/* It goes on with its backlog, when the one before has closed. */
static void
test_changed (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusRoute) after = NULL;

  begin_with (fixture, WITH (SMALL));
  get_stuck (fixture, 500);
  evbus_test_apply (fixture->broker, WITH (", delivery: {batch: 3}"));
  after = route_at (fixture, 0);
  durable_put (fixture, 500);
  evbus_test_assert_ledger (fixture->broker, "accepted=1000 queued=1000");
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), ==, 1);

  evbus_test_hook_release (fixture->hook);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (after, "accepted=1000 delivered=1000");
  evbus_test_assert_ledger (fixture->broker, "accepted=1000 delivered=1000");
  assert_one_at_a_time (fixture);
  end_now (fixture);

  begin_with (fixture, WITH (", delivery: {batch: 3}"));
  evbus_test_assert_ledger (fixture->broker, "accepted=1000 delivered=1000");
}

static void
put_large (Fixture       *fixture,
           GAsyncResult **result)
{
  g_autofree char *text = g_strnfill (700, '1');
  g_autoptr(GBytes) body = g_bytes_new (text, strlen (text));

  evbus_producer_put_bytes_async (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, NULL, NULL,
                                  evbus_test_store_result, result);
}

/* What the one before has still counts for the one in its place: it has no second share while that closes. */
static void
test_full (Fixture       *fixture,
           gconstpointer  data)
{
  const char *overflow = data;
  g_autofree char *before = g_strdup_printf (WITH (", delivery: {overflow: %s, spool: {bytes: 1KiB}}"), overflow);
  g_autofree char *after = g_strdup_printf (WITH (", delivery: {overflow: %s, spool: {bytes: 1KiB}, batch: 3}"), overflow);
  g_autoptr(GAsyncResult) first = NULL;
  g_autoptr(GAsyncResult) second = NULL;
  g_autoptr(EvbusRoute) route = NULL;
  g_autoptr(GError) error = NULL;
  g_autoptr(GBytes) body = g_bytes_new_static ("1", 1);
  g_autofree char *id = NULL;

  begin_with (fixture, before);
  evbus_test_hook_hold (fixture->hook);
  put_large (fixture, &first);
  evbus_test_wait_until (first != NULL && evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_apply (fixture->broker, after);
  route = route_at (fixture, 0);
  put_large (fixture, &second);
  if (g_str_equal (overflow, "reject"))
    {
      evbus_test_wait_until (second != NULL);
      id = evbus_producer_put_finish (EVBUS_PRODUCER (fixture->broker), second, &error);
      evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "full .1 events, ");
      g_clear_object (&second);
      evbus_test_hook_release (fixture->hook);
      evbus_test_wait_ledger (route, "accepted=1 delivered=1");
      put_large (fixture, &second);
    }
  else
    {
      id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, NULL, &error);
      evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "older puts wait");
      evbus_test_hook_release (fixture->hook);
    }
  g_assert_null (id);
  evbus_test_wait_until (second != NULL);
  evbus_test_wait_ledger (route, "accepted=2 delivered=2");
  assert_one_at_a_time (fixture);
}

/* What was accepted and not yet stored when the route was changed, and then nothing more. */
static void
test_silence (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusRoute) after = NULL;

  begin_with (fixture, WITH (", delivery: {batch: 1, window: {events: 20}}"));
  get_stuck (fixture, 100);
  durable_put (fixture, 2000);
  evbus_test_apply (fixture->broker, WITH (", delivery: {batch: 1}"));
  after = route_at (fixture, 0);

  evbus_test_hook_release (fixture->hook);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (after, "accepted=2100 delivered=2100");
  evbus_test_assert_ledger (fixture->broker, "accepted=2100 delivered=2100");
  assert_one_at_a_time (fixture);
}

/* A is replaced by B, which is replaced by C and that by D, before A has closed.
 * The later ones are given no time at all. */
static void
test_chain (Fixture       *fixture,
            gconstpointer  data)
{
  static const char *const delivery[] = { "2", "3", "4" };
  g_autoptr(EvbusRoute) last = NULL;
  EvbusRoute *between[2] = { NULL, NULL };

  begin_with (fixture, WITH (SMALL));
  get_stuck (fixture, 300);
  for (guint i = 0; i < G_N_ELEMENTS (delivery); i++)
    {
      g_autofree char *yaml = g_strdup_printf (WITH (", delivery: {batch: %s}"), delivery[i]);

      evbus_test_apply (fixture->broker, yaml);
      g_clear_object (&last);
      last = route_at (fixture, 0);
      if (i < 2)
        g_set_weak_pointer (&between[i], last);
      durable_put (fixture, 100);
      evbus_broker_set_stop_timeout (fixture->broker, 0);
    }
  /* Those between are given up. */
  evbus_test_wait_until (between[0] == NULL && between[1] == NULL);
  g_assert_cmpuint (evbus_test_figure (last, "accepted"), ==, 100);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), ==, 1);
  evbus_test_assert_ledger (fixture->broker, "accepted=600 queued=600");

  evbus_test_hook_release (fixture->hook);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (last, "accepted=600 delivered=600");
  evbus_test_assert_ledger (fixture->broker, "accepted=600 delivered=600");
  assert_one_at_a_time (fixture);
}

/* Removed and brought back before the first one has closed. */
static void
test_back_at_once (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(EvbusRoute) back = NULL;

  begin_with (fixture, WITH (SMALL));
  get_stuck (fixture, 300);
  evbus_test_apply (fixture->broker, "evbus: {stop_timeout: 30}\ninternal: {nobody: }\n");
  evbus_test_apply (fixture->broker, WITH (SMALL));
  back = route_at (fixture, 0);
  durable_put (fixture, 200);
  evbus_test_assert_ledger (fixture->broker, "accepted=500 queued=500");

  evbus_test_hook_release (fixture->hook);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (back, "accepted=500 delivered=500");
  evbus_test_assert_ledger (fixture->broker, "accepted=500 delivered=500");
  assert_one_at_a_time (fixture);
}

/* Removed, it keeps what it has, through a restart too, and gets nothing new. */
static void
test_orphan (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(EvbusRoute) back = NULL;

  begin_with (fixture, WITH (SMALL));
  get_stuck (fixture, 300);
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  evbus_test_apply (fixture->broker, "evbus: {stop_timeout: 0}\ninternal: {nobody: }\n");
  evbus_test_put_numbers (fixture->broker, NULL, 9999, 1);
  evbus_test_assert_ledger (fixture->broker, "accepted=300 queued=300 unrouted=1");
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_test_stop_finish (fixture->broker, result, NULL);
  evbus_test_assert_ledger (fixture->broker, "accepted=300 queued=300 unrouted=1");
  g_clear_object (&fixture->broker);

  begin_with (fixture, "evbus: {stop_timeout: 0}\ninternal: {nobody: }\n");
  evbus_test_assert_ledger (fixture->broker, "accepted=300 queued=300 unrouted=1");
  evbus_test_hook_release (fixture->hook);
  evbus_test_apply (fixture->broker, WITH (SMALL));
  durable_put (fixture, 100);
  durable_assert_all (fixture);
  back = route_at (fixture, 0);
  evbus_test_wait_ledger (back, "accepted=400 delivered=400");
  evbus_test_assert_ledger (fixture->broker, "accepted=400 delivered=400");
}

static void
assert_refused (Fixture    *fixture,
                const char *yaml,
                const char *fragment)
{
  g_autofree char *path = g_build_filename (fixture->directory, "refused.yaml", NULL);
  g_autoptr(GError) error = NULL;

  g_assert_true (g_file_set_contents (path, yaml, -1, NULL));
  g_assert_false (evbus_broker_load_profiles (fixture->broker, path, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, fragment);
  g_assert_cmpint (g_unlink (path), ==, 0);
}

#define EQUAL "{'*': {name: durable}}"

/* Equal entries get every event each, and go on with what they had: through a reload,
 * a route by hand and a restart. */
static void
test_equals (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(EvbusRoute) third = NULL;
  g_autoptr(GError) error = NULL;

  begin_with (fixture, "hook: [" EQUAL "]\n");
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 10);
  evbus_test_apply (fixture->broker, "hook: [" EQUAL ", " EQUAL "]\n");
  third = evbus_broker_add_route (fixture->broker, "hook", "*",
                                  g_variant_new_parsed ("{'name': <'durable'>}"), &error);
  g_assert_no_error (error);
  durable_put (fixture, 10);
  evbus_test_assert_ledger (fixture->broker, "accepted=40 queued=40");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->broker, "accepted=40 delivered=40");

  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 5);
  evbus_test_assert_ledger (fixture->broker, "accepted=55 delivered=40 queued=15");
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  g_clear_object (&third);
  durable_end (fixture);

  /* One of them has gone: what it had is kept, for nobody to deliver. */
  begin_with (fixture, "hook: [" EQUAL ", " EQUAL "]\n");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->broker, "accepted=55 delivered=50 queued=5");
  evbus_test_apply (fixture->broker, "hook: [" EQUAL ", " EQUAL ", " EQUAL "]\n");
  evbus_test_wait_ledger (fixture->broker, "accepted=55 delivered=55");
}

/* A name stands for one route. */
static void
test_equal_names (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(EvbusRoute) second = NULL;
  g_autoptr(GError) error = NULL;

  begin_with (fixture, "hook: {'*': {name: durable, delivery: {name: mine}}}\n");
  second = evbus_broker_add_route (fixture->broker, "hook", "d*",
                                   g_variant_new_parsed ("{'name': <'durable'>, 'delivery': <{'name': <'mine'>}>}"), &error);
  g_assert_null (second);
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, "another route is named 'mine' too");
  durable_put (fixture, 10);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->broker, "accepted=10 delivered=10");
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), ==, 1);
}

/* Two of the same place, told apart by their settings; which of them a third one
 * would be, nobody can tell. */
static void
test_doubt (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(EvbusTestHook) other = evbus_test_hook_new ("other");

  begin_with (fixture, "hook: [{'*': {name: durable}}, {'*': {name: other}}]\n");
  evbus_test_hook_hold (other);
  get_stuck (fixture, 50);
  assert_refused (fixture, "hook: [{'*': {name: durable, delivery: {batch: 2}}},"
                           " {'*': {name: other, delivery: {batch: 2}}}]\n", "could belong to more than one route.*name");
  assert_refused (fixture, "hook: {'*': {name: durable, delivery: {batch: 2}}}\n", "could belong to more than one");
  evbus_test_assert_ledger (fixture->broker, "accepted=100 queued=100");
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker)), ==, 2);

  evbus_test_hook_release (other);
  evbus_test_hook_release (fixture->hook);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->broker, "accepted=100 delivered=100");
  end_now (fixture);
}

/* What is accepted and not stored yet could belong to either, too. */
static void
test_doubt_in_the_queue (Fixture       *fixture,
                         gconstpointer  data)
{
  g_autoptr(EvbusTestHook) other = evbus_test_hook_new ("other");
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  sqlite3 *db;

  begin_with (fixture, "hook: [{'*': {name: durable}}, {'*': {name: other}}]\n");
  durable_put (fixture, 10);
  evbus_test_wait_ledger (fixture->broker, "accepted=20 delivered=20");

  /* The listener waits for this one before it stores anything. */
  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  sqlite3_busy_timeout (db, 60000);
  g_assert_cmpint (sqlite3_exec (db, "BEGIN IMMEDIATE", NULL, NULL, NULL), ==, SQLITE_OK);
  durable_put (fixture, 10);
  assert_refused (fixture, "hook: [{'*': {name: durable, delivery: {batch: 2}}},"
                           " {'*': {name: other, delivery: {batch: 2}}}]\n", "could belong to more than one route.*name");
  sqlite3_close (db);

  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->broker, "accepted=40 delivered=40");
  end_now (fixture);
}

/* It keeps what it had without one. */
static void
test_named (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(EvbusTestHook) other = evbus_test_hook_new ("other");

  begin_with (fixture, "hook: [{'*': {name: durable}}, {'*': {name: other}}]\n");
  evbus_test_hook_hold (other);
  get_stuck (fixture, 50);
  end_now (fixture);

  evbus_test_hook_release (fixture->hook);
  begin_with (fixture, "hook: [{'*': {name: durable, delivery: {name: mine}}}, {'*': {name: other}}]\n");
  durable_assert_all (fixture);
  end_now (fixture);

  evbus_test_hook_release (other);
  begin_with (fixture, "hook: [{'*': {name: durable, delivery: {name: mine}}},"
                       " {'*': {name: other, delivery: {name: yours}}}]\n");
  evbus_test_wait_ledger (fixture->broker, "accepted=100 delivered=100");
  g_assert_cmpuint (evbus_test_hook_length (other), ==, 50);
  end_now (fixture);
}

/* A start that is refused changes nothing of what was counted. */
static void
test_refused_start (Fixture       *fixture,
                    gconstpointer  data)
{
  static const char both[] = "hook: [{'default': {name: durable}}, {'default': {name: other}}]\n";
  g_autoptr(EvbusTestHook) other = evbus_test_hook_new ("other");
  g_autoptr(GError) error = NULL;

  begin_with (fixture, both);
  evbus_test_hook_hold (other);
  get_stuck (fixture, 50);
  evbus_test_put_numbers (fixture->broker, "nobody", 0, 1);
  end_now (fixture);

  /* Who adds the routes by hand can give two the same name. */
  fixture->broker = durable_new_broker (fixture);
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr(EvbusRoute) route = NULL;

      route = evbus_broker_add_route (fixture->broker, "hook", "default",
                                      g_variant_new_parsed ("{'name': <'durable'>, 'delivery': <{'name': <'mine'>}>}"),
                                      &error);
      g_assert_no_error (error);
    }
  g_assert_false (evbus_broker_start (fixture->broker, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, "another route is named 'mine' too");
  g_clear_object (&fixture->broker);

  evbus_test_hook_release (other);
  evbus_test_hook_release (fixture->hook);
  begin_with (fixture, both);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->broker, "accepted=100 delivered=100 unrouted=1");
}

/* A name goes with what it had to another place, while another route takes the
 * old one. Both wait for the one that closes. */
static void
test_name_moves (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(EvbusTestHook) other = evbus_test_hook_new ("other");

  begin_with (fixture, "evbus: {stop_timeout: 30}\nhook: {'*': {name: durable, delivery: {name: mine, window: {events: 10}}}}\n");
  get_stuck (fixture, 200);
  evbus_test_apply (fixture->broker,
                    "evbus: {stop_timeout: 30}\ninternal: {nobody: }\n"
                    "hook: {'*': {name: other}, 'd*': {name: durable, delivery: {name: mine}}}\n");
  durable_put (fixture, 100);
  evbus_test_hook_release (fixture->hook);
  durable_assert_all (fixture);
  evbus_test_wait_until (evbus_test_hook_length (other) == 100);
  evbus_test_wait_ledger (fixture->broker, "accepted=400 delivered=400");
  assert_one_at_a_time (fixture);
  end_now (fixture);
}

/* Reloads while producers run. */
static gpointer
put_all_the_time (gpointer data)
{
  Fixture *fixture = data;

  for (guint i = 0; i < 300; i++)
    evbus_test_put_numbers (fixture->broker, NULL, 100 * i, 100);
  return NULL;
}

static void
test_under_load (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(EvbusRoute) last = NULL;
  GThread *producer;

  begin_with (fixture, WITH (SMALL));
  producer = g_thread_new ("producer", put_all_the_time, fixture);
  for (guint i = 0; i < 60; i++)
    {
      g_autofree char *yaml = g_strdup_printf (WITH (", delivery: {batch: %u, window: {events: %u}}"), 1 + i % 50, 50 + 100 * (i % 4));

      guint before = evbus_test_hook_length (fixture->hook);

      evbus_test_apply (fixture->broker, yaml);
      evbus_test_wait_until (evbus_test_hook_length (fixture->hook) != before || before == 30000);
    }
  g_thread_join (producer);
  fixture->expected = 30000;
  durable_assert_all (fixture);
  last = route_at (fixture, 0);
  evbus_test_wait_ledger (last, "accepted=30000 delivered=30000");
  evbus_test_assert_ledger (fixture->broker, "accepted=30000 delivered=30000");
  assert_one_at_a_time (fixture);
  end_now (fixture);

  begin_with (fixture, "hook: {'*': {name: durable}}\n");
  evbus_test_assert_ledger (fixture->broker, "accepted=30000 delivered=30000");
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  durable_set_up_folder (fixture);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  if (fixture->broker != NULL)
    evbus_broker_set_stop_timeout (fixture->broker, 0);
  durable_tear_down (fixture, data);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, test) g_test_add ("/durable/reload/" name, Fixture, NULL, set_up, test, tear_down)
  ADD ("changed", test_changed);
  ADD ("silence", test_silence);
  g_test_add ("/durable/reload/full/reject", Fixture, "reject", set_up, test_full, tear_down);
  g_test_add ("/durable/reload/full/block", Fixture, "block", set_up, test_full, tear_down);
  ADD ("chain", test_chain);
  ADD ("back-at-once", test_back_at_once);
  ADD ("orphan", test_orphan);
  ADD ("equals", test_equals);
  ADD ("equal-names", test_equal_names);
  ADD ("doubt", test_doubt);
  ADD ("doubt/in-the-queue", test_doubt_in_the_queue);
  ADD ("named", test_named);
  ADD ("refused-start", test_refused_start);
  ADD ("name-moves", test_name_moves);
  ADD ("under-load", test_under_load);

  return g_test_run ();
}
