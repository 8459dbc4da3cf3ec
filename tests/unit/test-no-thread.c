/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The system has no more threads: a route gets none, says so, and gets one when
 * there are some again. */

#include "evbus-test.h"

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *early, *late;
} Fixture;

/* One route has a thread, the other gets none. */
static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("no-thread");
  fixture->broker = evbus_test_broker_new ();
  fixture->early = evbus_test_add_route (fixture->broker, "internal", "early", NULL);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_route_get_state (fixture->early) == EVBUS_ROUTE_STATE_RUNNING);

  evbus_test_refuse_threads (G_MAXINT);
  fixture->late = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  evbus_test_put_numbers (fixture->broker, "early", 0, 10);
  evbus_test_wait_ledger (fixture->early, "delivered=10");
  evbus_test_wait_status (fixture->late, EVBUS_ROUTE_STATE_FAILED, "no thread .*limit");
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_refuse_threads (0);
  evbus_test_assert_ledger (fixture->early, "accepted=10 delivered=10");
  g_object_unref (fixture->early);
  g_object_unref (fixture->late);
  g_clear_object (&fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static void
test_again (Fixture       *fixture,
            gconstpointer  data)
{
  g_autofree char *reason = NULL;
  gint n = evbus_test_count_refused_threads ();

  evbus_test_assert_ledger (fixture->late, "accepted=10 queued=10");
  evbus_test_wait_until (evbus_test_count_refused_threads () > n);
  evbus_test_refuse_threads (0);
  evbus_test_wait_ledger (fixture->late, "delivered=10");
  g_assert_cmpint (evbus_route_get_state (fixture->late), ==, EVBUS_ROUTE_STATE_RUNNING);
  reason = evbus_route_dup_reason (fixture->late);
  g_assert_null (reason);
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->late, "accepted=10 delivered=10");
}

/* What it has grows old meanwhile. */
static void
test_expiry (Fixture       *fixture,
             gconstpointer  data)
{
  evbus_test_wait_ledger (fixture->late, "expired=10");
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->late, "accepted=10 expired=10");
}

/* It has nothing to deliver with: nobody waits for it. */
static void
test_stop (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_stop_anyhow (fixture->broker);
  evbus_test_assert_ledger (fixture->late, "accepted=10 dropped=10");
}

static void
test_remove (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_broker_remove_route (fixture->broker, fixture->late, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->late, "queued=0");
  evbus_test_assert_ledger (fixture->late, "accepted=10 dropped=10");
  evbus_test_stop (fixture->broker);
}

static void
test_unref (Fixture       *fixture,
            gconstpointer  data)
{
  g_clear_object (&fixture->broker);
  evbus_test_wait_ledger (fixture->late, "queued=0");
  evbus_test_assert_ledger (fixture->late, "accepted=10 dropped=10");
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/no-thread/again", NULL, test_again },
    { "/no-thread/expiry", "{'max_age': <'1ms'>}", test_expiry },
    { "/no-thread/stop", NULL, test_stop },
    { "/no-thread/remove", NULL, test_remove },
    { "/no-thread/unref", NULL, test_unref },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
