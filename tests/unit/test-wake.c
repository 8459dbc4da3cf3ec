/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A route's thread that is about to sleep hears what comes just then: each test
 * aims at that moment many times over, from a little further off each time. */

#include "evbus-test.h"

#define N_TRIES 400
#define FURTHEST_US 200

/* Lets the route's thread come near its sleep. */
static void
let_pass (guint try)
{
  gint64 until = g_get_monotonic_time () + try % FURTHEST_US;

  while (g_get_monotonic_time () < until)
    ;
}

/* What ends the lingering of a batch: a stop. */
static void
test_linger_stop (void)
{
  for (guint i = 0; i < N_TRIES; i++)
    {
      g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("wake");
      g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
      g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, hook, "*",
                                                         "{'batch': <{'linger': <'1h'>}>}");

      evbus_test_start (broker);
      evbus_test_wait_until (evbus_route_get_state (route) == EVBUS_ROUTE_STATE_RUNNING);
      evbus_test_put_numbers (broker, NULL, 0, 1);
      let_pass (i);
      evbus_test_stop (broker);
      evbus_test_assert_ledger (route, "accepted=1 delivered=1");
    }
}

/* And the event that fills it. */
static void
test_linger_full (void)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("wake");
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, hook, "*",
                                                     "{'batch': <{'linger': <'1h'>, 'events': <2>}>}");

  evbus_test_start (broker);
  for (guint i = 0; i < N_TRIES; i++)
    {
      evbus_test_put_numbers (broker, NULL, 2 * i, 1);
      let_pass (i);
      evbus_test_put_numbers (broker, NULL, 2 * i + 1, 1);
      evbus_test_wait_until (evbus_test_figure (route, "delivered") == 2 * (i + 1));
    }
  evbus_test_stop (broker);
  evbus_test_assert_ledger (route, "accepted=800 delivered=800");
}

static gboolean
nobody_home (EvbusTestHook  *hook,
             EvbusContext   *ctx,
             GCancellable   *cancellable,
             GError        **error)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "nobody is home");
  return FALSE;
}

/* A route on its way to sleep until its next try hears of a stop. */
static void
test_back_off (void)
{
  for (guint i = 0; i < N_TRIES; i++)
    {
      g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("wake");
      g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
      g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, hook, "*",
                                                         "{'retry': <{'min': <'1h'>, 'max': <'1h'>}>}");

      hook->open = nobody_home;
      evbus_broker_set_stop_timeout (broker, 0);
      evbus_test_put_numbers (broker, NULL, 0, 5);
      evbus_test_start (broker);
      evbus_test_wait_until (evbus_test_hook_read (hook, &hook->n_open) == 1);
      let_pass (i);
      evbus_test_stop_anyhow (broker);
      evbus_test_assert_ledger (route, "accepted=5 dropped=5");
      /* It has ended by itself, not been given up. */
      g_assert_cmpint (evbus_route_get_state (route), ==, EVBUS_ROUTE_STATE_STOPPED);
    }
}

/* And that it is to try now, or was paused and is to go on. */
static void
test_told (gconstpointer data)
{
  void (*tell) (EvbusRoute *route, guint try) = data;
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("wake");
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, hook, "*",
                                                     "{'retry': <{'min': <'1h'>, 'max': <'1h'>}>}");

  hook->open = nobody_home;
  evbus_test_start (broker);
  for (guint i = 0; i < N_TRIES; i++)
    {
      evbus_test_wait_until (evbus_test_hook_read (hook, &hook->n_open) == i + 1);
      let_pass (i);
      tell (route, i);
    }
  evbus_test_stop (broker);
}

static void
flush (EvbusRoute *route,
       guint       try)
{
  evbus_route_flush (route);
}

static void
pause_and_resume (EvbusRoute *route,
                  guint       try)
{
  evbus_route_pause (route);
  evbus_test_wait_until (evbus_route_get_state (route) == EVBUS_ROUTE_STATE_PAUSED);
  let_pass (try);
  evbus_route_resume (route);
}

/* A route that has no plugin sleeps until an event is too old, also when it
 * comes while the last one goes. */
static void
test_failed (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = NULL;

  evbus_test_apply (broker, "no-such: {default: {delivery: {max_age: 1ms}}}");
  evbus_test_iterate ();
  route = g_list_model_get_item (evbus_broker_get_routes (broker), 0);
  evbus_test_start (broker);
  for (guint i = 0; i < N_TRIES; i++)
    {
      evbus_test_put_numbers (broker, NULL, 2 * i, 1);
      let_pass (900 + i);
      evbus_test_put_numbers (broker, NULL, 2 * i + 1, 1);
      evbus_test_wait_until (evbus_test_figure (route, "expired") == 2 * (i + 1));
    }
  evbus_test_stop (broker);
  evbus_test_assert_ledger (route, "accepted=800 expired=800");
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);
  g_test_add_func ("/wake/linger/stop", test_linger_stop);
  g_test_add_func ("/wake/linger/full", test_linger_full);
  g_test_add_func ("/wake/back-off", test_back_off);
  g_test_add_data_func ("/wake/flush", flush, test_told);
  g_test_add_data_func ("/wake/resume", pause_and_resume, test_told);
  g_test_add_func ("/wake/failed", test_failed);
  return g_test_run ();
}
