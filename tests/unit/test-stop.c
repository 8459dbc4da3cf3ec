/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a stop answers: whether events had to be dropped, how many, and by whom;
 * and every stop of a broker the same. */

#include "stop-test.h"

static void
wait_at_gate (Fixture *fixture)
{
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
}

/* The stop says that something was left over, and @says what. */
static void
expect_left_over (Fixture      *fixture,
                  GAsyncResult *result,
                  const char   *says)
{
  g_autoptr(GError) error = NULL;

  g_assert_false (evbus_test_stop_finish (fixture->broker, result, &error));
  g_test_message ("%s", error->message);
  evbus_test_assert_error (error, EVBUS_ERROR_TIMED_OUT, says);
}

static void
stop_leaving (Fixture    *fixture,
              const char *says)
{
  g_autoptr(GAsyncResult) stopped = NULL;

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &stopped);
  evbus_test_wait_until (stopped != NULL);
  expect_left_over (fixture, stopped, says);
}

/* A route that can deliver nothing, beside one that does. */
static void
test_failed (Fixture       *fixture,
             gconstpointer  data)
{
  evbus_test_apply (fixture->broker, "carrier-pigeon:\n  one: {loft: 3}\n");
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, "one", 0, 5);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=5");
  stop_leaving (fixture, "^5 events.*carrier-pigeon 'one'");
  evbus_test_assert_ledger (fixture->broker, "accepted=10 delivered=5 dropped=5");
}

static void
test_stuck (Fixture       *fixture,
            gconstpointer  data)
{
  fixture->hook->deaf = TRUE;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_STUCK);
  stop_leaving (fixture, "^1 event .*hook '\\*'");
  evbus_test_assert_ledger (fixture->route, "accepted=1 dropped=1");
}

/* While it lasts, and when it is over. */
static void
test_again (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(GAsyncResult) first = NULL, second = NULL;

  evbus_broker_set_stop_timeout (fixture->broker, 100);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  wait_at_gate (fixture);
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &first);
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &second);
  evbus_test_wait_until (first != NULL && second != NULL);
  expect_left_over (fixture, first, "^20 events");
  expect_left_over (fixture, second, "^20 events");
  stop_leaving (fixture, "^20 events");
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
}

static void
wait_in_close (EvbusTestHook *hook,
               EvbusContext  *ctx)
{
  g_mutex_lock (&hook->lock);
  while (hook->held)
    g_cond_wait (&hook->changed, &hook->lock);
  g_mutex_unlock (&hook->lock);
}

/* A plugin that takes its time to close has delivered everything. */
static void
test_slow_close (Fixture       *fixture,
                 gconstpointer  data)
{
  fixture->hook->close = wait_in_close;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_ledger (fixture->route, "delivered=20");
  evbus_test_hook_hold (fixture->hook);
  evbus_broker_set_stop_timeout (fixture->broker, 50);
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 delivered=20");
}

static void
test_never_started (Fixture       *fixture,
                    gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  stop_leaving (fixture, "^10 events.*hook '\\*'");
  evbus_test_assert_ledger (fixture->route, "accepted=10 dropped=10");
}

/* What was dropped before is not the stop's business. */
static void
test_dropped_before (Fixture       *fixture,
                     gconstpointer  data)
{
  g_autoptr(EvbusRoute) removed = NULL;
  g_autoptr(GError) error = NULL;

  removed = evbus_test_add_route (fixture->broker, "hook", "gone", "{'name': <'nobody'>}");
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, "gone", 0, 20);
  wait_at_gate (fixture);
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  g_assert_true (evbus_broker_remove_route (fixture->broker, removed, &error));
  g_assert_no_error (error);
  evbus_test_wait_ledger (removed, "accepted=20 dropped=20");
  evbus_test_wait_until (evbus_test_figure (fixture->route, "dropped") > 0);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_stop (fixture->broker);
}

/* Whoever waits can hurry it, for all. */
static void
test_cancel_any (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *results[3] = { NULL, };

  evbus_broker_set_stop_timeout (fixture->broker, 1000 * 1000);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  wait_at_gate (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (results); i++)
    evbus_broker_stop_async (fixture->broker, i == 2 ? cancellable : NULL,
                             evbus_test_store_result, &results[i]);
  evbus_test_iterate ();
  g_assert_null (results[0]);
  g_cancellable_cancel (cancellable);
  evbus_test_wait_until (results[0] != NULL && results[1] != NULL && results[2] != NULL);
  for (guint i = 0; i < G_N_ELEMENTS (results); i++)
    {
      expect_left_over (fixture, results[i], "^20 events");
      g_object_unref (results[i]);
    }
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
}

/* Also one that is cancelled when it comes, and one where there is no more to
 * hurry. */
static void
test_cancelled_before (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) first = NULL, second = NULL, third = NULL;

  g_cancellable_cancel (cancellable);
  evbus_broker_set_stop_timeout (fixture->broker, 1000 * 1000);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  wait_at_gate (fixture);
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &first);
  evbus_broker_stop_async (fixture->broker, cancellable, evbus_test_store_result, &second);
  evbus_test_wait_until (first != NULL && second != NULL);
  expect_left_over (fixture, first, "^20 events");
  expect_left_over (fixture, second, "^20 events");
  evbus_broker_stop_async (fixture->broker, cancellable, evbus_test_store_result, &third);
  evbus_test_wait_until (third != NULL);
  expect_left_over (fixture, third, "^20 events");
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
}

/* No thread to be had: that is an error, and no more than that. */
static void
test_no_thread (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_refuse_threads (1);
  g_assert_false (evbus_broker_start (fixture->broker, &error));
  evbus_test_refuse_threads (0);
  g_test_message ("%s", error->message);
  g_assert_error (error, G_THREAD_ERROR, G_THREAD_ERROR_AGAIN);
  evbus_test_assert_says (error->message, "broker.*not started");
  evbus_test_put_numbers (fixture->broker, NULL, 10, 10);

  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "accepted=20 delivered=20");
}

static void
test_no_thread_stopped (Fixture       *fixture,
                        gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_refuse_threads (1);
  g_assert_false (evbus_broker_start (fixture->broker, NULL));
  evbus_test_refuse_threads (0);
  stop_leaving (fixture, "^10 events");
  evbus_test_assert_ledger (fixture->route, "accepted=10 dropped=10");
}

#define QUICK "{'timeout': <'50ms'>}"
#define SMALL "{'window': <{'events': <4>}>, 'overflow': <'drop_oldest'>}"

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/stop/answer/failed", NULL, test_failed },
    { "/stop/answer/stuck", QUICK, test_stuck },
    { "/stop/answer/again", NULL, test_again },
    { "/stop/answer/slow-close", NULL, test_slow_close },
    { "/stop/answer/never-started", NULL, test_never_started },
    { "/stop/answer/dropped-before", SMALL, test_dropped_before },
    { "/stop/cancel/any", NULL, test_cancel_any },
    { "/stop/cancel/before", NULL, test_cancelled_before },
    { "/stop/no-thread", NULL, test_no_thread },
    { "/stop/no-thread/stopped", NULL, test_no_thread_stopped },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, stop_set_up, tests[i].run, stop_tear_down);
  return g_test_run ();
}
