/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A broker's life: routes come and go, start, stop. */

#include "hook-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
  guint n_failed;              /* event-failed, and what it missed */
} Fixture;

static void
on_event_failed (EvbusBroker *broker,
                 EvbusRoute  *route,
                 EvbusEvent  *event,
                 const char  *reason,
                 guint64      missed,
                 Fixture     *fixture)
{
  fixture->n_failed += 1 + (guint) missed;
  evbus_test_assert_says (reason, ".");
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("life");
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  g_signal_connect (fixture->broker, "event-failed", G_CALLBACK (on_event_failed), fixture);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_STOPPED);
  g_signal_handlers_disconnect_by_data (fixture->broker, fixture);
  hook_end (fixture->hook, fixture->broker, fixture->route);
}

static void
wait_at_gate (Fixture *fixture)
{
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
}

/* A broker runs once. */
static void
test_start (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_test_start (fixture->broker);
  g_assert_false (evbus_broker_start (fixture->broker, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS);
  g_clear_error (&error);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=10 delivered=10");

  g_assert_false (evbus_broker_start (fixture->broker, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_null (evbus_broker_add_route (fixture->broker, "internal", "x", NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
}

static void
test_never_started (Fixture       *fixture,
                    gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_stop_anyhow (fixture->broker);
  evbus_test_wait_until (fixture->n_failed == 10);
  evbus_test_assert_ledger (fixture->route, "accepted=10 dropped=10");
}

/* Everything that was accepted is delivered first. */
static void
test_stop_drains (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(GAsyncResult) stopped = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3000);
  wait_at_gate (fixture);
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &stopped);
  evbus_test_iterate ();
  g_assert_null (stopped);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (stopped != NULL);
  g_assert_true (evbus_test_stop_finish (fixture->broker, stopped, &error));
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->route, "accepted=3000 delivered=3000");
  g_assert_cmpuint (fixture->n_failed, ==, 0);
}

/* What is left over at the deadline is dropped, and each one is told. */
static void
test_stop_deadline (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(GAsyncResult) stopped = NULL;
  g_autoptr(GError) error = NULL;

  g_object_set (fixture->broker, "stop-timeout", 100u, NULL);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  wait_at_gate (fixture);
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &stopped);
  evbus_test_wait_until (stopped != NULL);
  g_assert_false (evbus_test_stop_finish (fixture->broker, stopped, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_TIMED_OUT);
  evbus_test_wait_until (fixture->n_failed == 20);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
}

static void
test_stop_cancelled (Fixture       *fixture,
                     gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) stopped = NULL;
  gint64 start = g_get_monotonic_time ();

  evbus_broker_set_stop_timeout (fixture->broker, 60000);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  wait_at_gate (fixture);
  evbus_broker_stop_async (fixture->broker, cancellable, evbus_test_store_result, &stopped);
  evbus_test_iterate ();
  g_assert_null (stopped);
  g_cancellable_cancel (cancellable);
  evbus_test_wait_until (stopped != NULL);
  g_assert_false (evbus_test_stop_finish (fixture->broker, stopped, NULL));
  g_assert_cmpint (g_get_monotonic_time () - start, <, 20 * G_USEC_PER_SEC);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
}

/* A route that is removed delivers what it has, and takes nothing new. */
static void
test_remove_delivers (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 2000);
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
  evbus_test_put_numbers (fixture->broker, NULL, 2000, 10);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "accepted=2000 delivered=2000");
  for (guint i = 0; i < 2000; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_close) == 1);
  evbus_test_assert_ledger (fixture->broker, "accepted=2000 delivered=2000 unrouted=10");
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_STOPPED);
}

static void
test_remove_deadline (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_broker_set_stop_timeout (fixture->broker, 100);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  wait_at_gate (fixture);
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=20 dropped=20 queued=0");
  evbus_test_wait_until (fixture->n_failed == 20);
}

/* The one that takes a route's place opens when that one has closed: a file or
 * a lock is never used by both. */
static void
test_replaced (Fixture       *fixture,
               gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *yaml = g_strdup_printf ("hook:\n  '*': {name: life, delivery: {batch: %u}}\n",
                                               10 + i);

      evbus_test_apply (fixture->broker, yaml);
      evbus_test_put_numbers (fixture->broker, NULL, i * 100, 100);
    }
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == 2000);
  /* The removed one may have been opened and closed as well. */
  g_assert_cmpuint (fixture->hook->n_open, >=, 20);
  g_assert_cmpuint (fixture->hook->n_overlaps, ==, 0);
  g_assert_cmpuint (fixture->hook->n_strays, ==, 0);
  for (guint i = 0; i < 2000; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
  evbus_test_wait_ledger (fixture->broker, "accepted=2000 delivered=2000 queued=0");

  /* For tear_down, which compares this route's figures with the hook's. */
  g_ptr_array_unref (evbus_test_hook_steal (fixture->hook));
}

static void
test_too_many_routes (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  GString *yaml = g_string_new ("internal:\n");

  for (guint i = 1; i < 1024; i++)
    g_string_append_printf (yaml, "  - nobody-%u: {}\n", i);
  evbus_test_apply (fixture->broker, yaml->str);
  g_string_free (yaml, TRUE);
  g_assert_null (evbus_broker_add_route (fixture->broker, "internal", "nobody", NULL, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, "1024|1,024");
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker)), ==, 1024);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_assert_ledger (fixture->route, "accepted=1 queued=1");
  evbus_test_stop_anyhow (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=1 dropped=1");
}

/* Bad data for a route, each named. */
static void
test_bad_route (Fixture       *fixture,
                gconstpointer  data)
{
  static const struct { const char *profile, *data, *says; } cases[] = {
    { "*", "{'nam': <'x'>}", "nam\\b.*name" },
    { "*", "@a{sv} {}", "name" },
    { "*", "{'name': <['x']>}", "name" },
    { "*", "{'name': <'x'>, 'delivery': <7>}", "delivery" },
    { "*", "{'name': <'x'>, 'delivery': <{'overfow': <'reject'>}>}", "overfow.*overflow" },
    { "*", "{'name': <'x'>, 'delivery': <{'overflow': <'explode'>}>}", "explode" },
    { "*", "{'name': <'x'>, 'delivery': <{'batch': <0>}>}", "batch" },
    { "*", "{'name': <'x'>, 'delivery': <{'batch': <-1>}>}", "batch" },
    { "*", "{'name': <'x'>, 'delivery': <{'window': <{'events': <0>}>}>}", "events|window" },
    { "*", "{'name': <'x'>, 'delivery': <{'timeout': <'soon'>}>}", "timeout|soon" },
    { "*", "{'name': <'x'>, 'delivery': <{'retry': <{'min': <'2s'>, 'max': <'1s'>}>}>}", "retry|min" },
    { "\xff", "{'name': <'x'>}", "UTF-8" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL, mistake = NULL;
      g_autoptr(GVariant) options = g_variant_parse (NULL, cases[i].data, NULL, NULL, &mistake);

      g_assert_no_error (mistake);
      g_assert_null (evbus_broker_add_route (fixture->broker, "hook", cases[i].profile, options,
                                             &error));
      g_test_message ("%s", error->message);
      evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, cases[i].says);
    }
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker)), ==, 1);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3);
  evbus_test_wait_ledger (fixture->route, "accepted=3 delivered=3");
}

/* Batches are as large as there are events, up to the bound. */
static void
test_batches (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  wait_at_gate (fixture);
  evbus_test_put_numbers (fixture->broker, NULL, 1, 100);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "accepted=101 delivered=101");
  g_assert_cmpuint (fixture->hook->largest_batch, <=, 16);
  g_assert_cmpuint (fixture->hook->n_publish, <=, 40);
}

/* The linger makes one batch of what comes one by one. */
static void
test_linger (Fixture       *fixture,
             gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 16; i++)
    {
      evbus_test_put_numbers (fixture->broker, NULL, i, 1);
      evbus_test_iterate ();
    }
  evbus_test_wait_ledger (fixture->route, "accepted=16 delivered=16");
  g_assert_cmpuint (fixture->hook->n_publish, ==, 1);
}

/* A sign of life of the broker's own thread, which waits for no plugin. */
static void
test_ping (Fixture       *fixture,
           gconstpointer  data)
{
  g_assert_true (evbus_broker_ping (fixture->broker));
  g_assert_false (evbus_broker_ping (fixture->broker));

  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  wait_at_gate (fixture);
  for (guint i = 0; i < 3; i++)
    evbus_test_wait_until (evbus_broker_ping (fixture->broker));

  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  /* Its thread may still be on its way to its end, and is not asked. */
  for (guint i = 0; i < 100; i++)
    g_assert_true (evbus_broker_ping (fixture->broker));
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/broker/start", NULL, test_start },
    { "/broker/never-started", NULL, test_never_started },
    { "/broker/stop/drains", NULL, test_stop_drains },
    { "/broker/stop/deadline", NULL, test_stop_deadline },
    { "/broker/stop/cancelled", NULL, test_stop_cancelled },
    { "/broker/remove/delivers", NULL, test_remove_delivers },
    { "/broker/remove/deadline", NULL, test_remove_deadline },
    { "/broker/replaced", NULL, test_replaced },
    { "/broker/too-many-routes", NULL, test_too_many_routes },
    { "/broker/bad-route", NULL, test_bad_route },
    { "/broker/batches", "{'batch': <16>}", test_batches },
    { "/broker/linger", "{'batch': <{'events': <16>, 'linger': <'60s'>}>}", test_linger },
    { "/broker/ping", NULL, test_ping },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
