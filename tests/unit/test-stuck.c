/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Plugins that are given up during a call and come back later: to a route that
 * is gone, of which nothing may be asked any more. */

#include "evbus-test.h"

#define MAX_ABANDONED 64       /* doc/limits.md */

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("stuck");
  fixture->hook->user_data = fixture;
  fixture->hook->deaf = TRUE;
  fixture->broker = evbus_test_broker_new ();
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  evbus_test_hook_hold (fixture->hook);
}

/* It has come back by now, or does so here. */
static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_ingress_release ();
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_test_ingress_n_alive () == 0);
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.queued, ==, 0);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_close), ==, 0);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_STOPPED);
  g_object_unref (fixture->route);
  g_clear_object (&fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static guint
n_running (Fixture *fixture)
{
  return evbus_test_hook_read (fixture->hook, &fixture->hook->n_running);
}

static void
remove_route (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  gboolean removed = evbus_broker_remove_route (fixture->broker, fixture->route, &error);

  g_assert_no_error (error);
  g_assert_true (removed);
}

/* From a publish: no close. */
static void
test_publish (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_stop_anyhow (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_STUCK);
}

static gboolean
open_at_gate (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              GCancellable   *cancellable,
              GError        **error)
{
  g_mutex_lock (&hook->lock);
  while (hook->held)
    g_cond_wait (&hook->changed, &hook->lock);
  g_mutex_unlock (&hook->lock);
  return TRUE;
}

/* From an open: no publish, no close. */
static void
test_open (Fixture       *fixture,
           gconstpointer  data)
{
  fixture->hook->open = open_at_gate;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (n_running (fixture) == 1);
  remove_route (fixture);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_test_ingress_n_alive () == 0);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, 0);
  evbus_test_stop (fixture->broker);
}

/* From the constructor: no open. */
static void
test_constructor (Fixture       *fixture,
                  gconstpointer  data)
{
  evbus_test_ingress_hold ();
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_ingress_n_waiting () == 1);
  remove_route (fixture);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  evbus_test_ingress_release ();
  evbus_test_wait_until (evbus_test_ingress_n_alive () == 0);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), ==, 0);
  evbus_test_stop (fixture->broker);
}

/* Two routes of one plugin are in its constructor at once, so that one which
 * never leaves it holds up no other broker. */
static void
test_constructors (Fixture       *fixture,
                   gconstpointer  data)
{
  EvbusTestHook *hook = evbus_test_hook_new ("other");
  g_autoptr(EvbusBroker) other = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (other, hook, "*", data);

  evbus_test_ingress_hold ();
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_ingress_n_waiting () == 1);
  evbus_test_start (other);
  evbus_test_put_numbers (other, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_ingress_n_waiting () == 2);
  remove_route (fixture);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_STUCK);
  evbus_test_ingress_release ();
  evbus_test_wait_ledger (route, "delivered=20");
  evbus_test_stop (other);
  evbus_test_assert_ledger (route, "accepted=20 delivered=20");
  evbus_test_stop (fixture->broker);
  evbus_test_hook_free (hook);
}

/* The broker is dropped, and the plugin does not come back: its events are
 * booked even so. */
static void
test_unref (Fixture       *fixture,
            gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  g_clear_object (&fixture->broker);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  g_assert_cmpuint (n_running (fixture), ==, 1);
}

/* A plugin that is replaced again and again must not hold ever more threads:
 * from the bound on routes get none, and say so, until some have come back. */
static void
test_bound (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(EvbusRoute) late = NULL;

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < MAX_ABANDONED; i++)
    {
      if (i > 0)
        fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
      evbus_test_put_numbers (fixture->broker, NULL, i, 1);
      evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == i + 1);
      remove_route (fixture);
      if (i + 1 < MAX_ABANDONED)
        g_object_unref (fixture->route);
    }
  evbus_test_wait_ledger (fixture->broker, "dropped=64");

  late = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  evbus_test_put_numbers (fixture->broker, NULL, 64, 20);
  evbus_test_wait_status (late, EVBUS_ROUTE_STATE_FAILED, "64 threads");
  g_assert_cmpuint (n_running (fixture), ==, MAX_ABANDONED);
  evbus_test_assert_ledger (late, "accepted=20 queued=20");

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (late, "delivered=20");
  evbus_broker_set_stop_timeout (fixture->broker, 10000);
  evbus_test_stop (fixture->broker);
  evbus_test_wait_until (evbus_test_ingress_n_alive () == 0);
  evbus_test_assert_ledger (late, "accepted=20 delivered=20");
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_close), ==, 1);
  fixture->hook->n_close = 0;
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/stuck/publish", test_publish },
    { "/stuck/open", test_open },
    { "/threads/TS7/abandoned-constructor", test_constructor },
    { "/threads/TS9/constructor", test_constructors },
    { "/threads/TS5/stuck", test_unref },
    { "/stuck/bound", test_bound },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
