/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A route that a person tells to wait, to go on, and to try now. */

#include "durable-test.h"

#define NEVER "{'retry': <{'min': <'1h'>, 'max': <'1h'>}>}"

static void
memory_set_up (Fixture       *fixture,
               gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("durable");
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
}

static void
memory_tear_down (Fixture       *fixture,
                  gconstpointer  data)
{
  evbus_test_stop (fixture->broker);
  durable_assert_all (fixture);
  evbus_test_assert_balance (fixture->broker);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static void
wait_state (Fixture         *fixture,
            EvbusRouteState  state)
{
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == state);
}

static void
pause_now (Fixture *fixture)
{
  evbus_route_pause (fixture->route);
  g_assert_true (evbus_route_get_paused (fixture->route));
  wait_state (fixture, EVBUS_ROUTE_STATE_PAUSED);
}

/* Another route has had all that this one was given as well. */
static void
let_others_deliver (Fixture    *fixture,
                    EvbusRoute *other,
                    guint       n)
{
  durable_put (fixture, n);
  evbus_test_wait_until (evbus_test_figure (other, "delivered") == fixture->expected);
}

/* It waits, whatever comes; then it goes on, in order. */
static void
test_waits (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("other");
  g_autoptr(EvbusRoute) other = evbus_test_add_hook (fixture->broker, hook, "*", NULL);
  g_autofree char *reason = NULL;

  evbus_test_start (fixture->broker);
  wait_state (fixture, EVBUS_ROUTE_STATE_RUNNING);
  pause_now (fixture);
  let_others_deliver (fixture, other, 1000);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, 0);
  evbus_test_assert_ledger (fixture->route, "accepted=1000 queued=1000");
  reason = evbus_route_dup_reason (fixture->route);
  evbus_test_assert_says (reason, "resumed");

  evbus_route_resume (fixture->route);
  g_assert_false (evbus_route_get_paused (fixture->route));
  durable_assert_all (fixture);
  wait_state (fixture, EVBUS_ROUTE_STATE_RUNNING);
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=1000 delivered=1000");
}

/* A publish that is under way is not cut short. */
static void
test_under_way (Fixture       *fixture,
                gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 10);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_route_pause (fixture->route);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RUNNING);
  evbus_test_hook_release (fixture->hook);
  wait_state (fixture, EVBUS_ROUTE_STATE_PAUSED);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, 1);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_cancelled), ==, 0);
  evbus_route_resume (fixture->route);
  evbus_test_wait_ledger (fixture->route, "accepted=10 delivered=10");
}

/* One that is paused from the start opens nothing. */
static void
test_before_the_start (Fixture       *fixture,
                       gconstpointer  data)
{
  evbus_route_pause (fixture->route);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_STOPPED);
  evbus_test_start (fixture->broker);
  durable_put (fixture, 10);
  wait_state (fixture, EVBUS_ROUTE_STATE_PAUSED);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), ==, 0);
  evbus_route_resume (fixture->route);
  evbus_test_wait_ledger (fixture->route, "accepted=10 delivered=10");
  wait_state (fixture, EVBUS_ROUTE_STATE_RUNNING);
}

static gboolean
nobody_home (EvbusTestHook  *hook,
             EvbusContext   *ctx,
             EvbusBatch     *batch,
             GCancellable   *cancellable,
             GError        **error)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "nobody is home");
  return FALSE;
}

/* The sink fails, and the next try would be in an hour. */
static void
fail_once (Fixture *fixture)
{
  fixture->hook->publish = nobody_home;
  durable_put (fixture, 10);
  evbus_test_start (fixture->broker);
  wait_state (fixture, EVBUS_ROUTE_STATE_RETRYING);
  evbus_test_wait_ledger (fixture->route, "accepted=10 queued=10 retried=10");
  g_mutex_lock (&fixture->hook->lock);
  fixture->hook->publish = NULL;
  g_mutex_unlock (&fixture->hook->lock);
}

static void
test_resume_tries (Fixture       *fixture,
                   gconstpointer  data)
{
  fail_once (fixture);
  pause_now (fixture);
  evbus_route_resume (fixture->route);
  evbus_test_wait_ledger (fixture->route, "accepted=10 delivered=10");
  wait_state (fixture, EVBUS_ROUTE_STATE_RUNNING);
}

static void
test_flush_tries (Fixture       *fixture,
                  gconstpointer  data)
{
  fail_once (fixture);
  evbus_route_flush (fixture->route);
  evbus_test_wait_ledger (fixture->route, "accepted=10 delivered=10");
  wait_state (fixture, EVBUS_ROUTE_STATE_RUNNING);
}

/* A batch that waits for more goes now. */
static gboolean
flush_and_look (Fixture *fixture)
{
  evbus_route_flush (fixture->route);
  return evbus_test_hook_length (fixture->hook) == fixture->expected;
}

static void
test_flush_lingers_not (Fixture       *fixture,
                        gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 10; i++)
    {
      durable_put (fixture, 1);
      /* The event may be on its way to the route still. */
      evbus_test_wait_until (flush_and_look (fixture));
    }
}

/* It does not end a pause. */
static void
test_flush_paused (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("other");
  g_autoptr(EvbusRoute) other = evbus_test_add_hook (fixture->broker, hook, "*", NULL);

  evbus_test_start (fixture->broker);
  pause_now (fixture);
  let_others_deliver (fixture, other, 10);
  evbus_route_flush (fixture->route);
  let_others_deliver (fixture, other, 10);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, 0);
  evbus_route_resume (fixture->route);
  durable_assert_all (fixture);
  evbus_test_stop (fixture->broker);
}

/* In memory nothing would keep it: a stop ends the pause. */
static void
test_stop (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  pause_now (fixture);
  durable_put (fixture, 1000);
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=1000 delivered=1000");
}

/* What waits grows older. */
static void
test_age (Fixture       *fixture,
          gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  pause_now (fixture);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  evbus_test_wait_ledger (fixture->route, "accepted=100 expired=100");
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_PAUSED);
}

/* With a spool it is there after the stop, which waits for nothing. */
static void
test_spool_stop (Fixture       *fixture,
                 gconstpointer  data)
{
  evbus_broker_set_stop_timeout (fixture->broker, 3600 * 1000);
  pause_now (fixture);
  durable_put (fixture, 1000);
  durable_end (fixture);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, 0);

  durable_begin (fixture, data);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=1000 delivered=1000");
}

/* It falls behind like any other, and the window is all that it takes of memory. */
static void
test_spool_behind (Fixture       *fixture,
                   gconstpointer  data)
{
  pause_now (fixture);
  for (guint i = 0; i < 10; i++)
    durable_put (fixture, 500);
  evbus_test_wait_ledger (fixture->route, "accepted=5000 queued=5000");
  evbus_route_resume (fixture->route);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=5000 delivered=5000");
}

/* Other settings do not start it. */
static void
test_reload (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(EvbusBroker) broker = durable_new_broker (fixture);

  durable_end (fixture);
  fixture->broker = g_steal_pointer (&broker);
  evbus_broker_set_stop_timeout (fixture->broker, 30000);
  evbus_test_apply (fixture->broker, "hook: {'*': {name: durable}}");
  evbus_test_iterate ();
  fixture->route = g_list_model_get_item (evbus_broker_get_routes (fixture->broker), 0);
  evbus_test_start (fixture->broker);
  pause_now (fixture);
  durable_put (fixture, 100);

  evbus_test_apply (fixture->broker, "hook: {'*': {name: durable, delivery: {batch: 3}}}");
  evbus_test_iterate ();
  g_object_unref (fixture->route);
  fixture->route = g_list_model_get_item (evbus_broker_get_routes (fixture->broker), 0);
  wait_state (fixture, EVBUS_ROUTE_STATE_PAUSED);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, 0);
  evbus_route_resume (fixture->route);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=100 delivered=100");
}

int
main (int    argc,
      char **argv)
{
#define MEMORY(path, delivery, test) \
  g_test_add ("/pause/" path, Fixture, delivery, memory_set_up, test, memory_tear_down)
#define SPOOL(path, delivery, test) \
  g_test_add ("/pause/spool/" path, Fixture, delivery, durable_set_up, test, durable_tear_down)

  evbus_test_init (&argc, &argv);
  MEMORY ("waits", NULL, test_waits);
  MEMORY ("under-way", "{'batch': <5>}", test_under_way);
  MEMORY ("before-the-start", NULL, test_before_the_start);
  MEMORY ("resume-tries", NEVER, test_resume_tries);
  MEMORY ("flush/tries", NEVER, test_flush_tries);
  MEMORY ("flush/lingers-not", "{'batch': <{'linger': <'1h'>}>}", test_flush_lingers_not);
  MEMORY ("flush/paused", NULL, test_flush_paused);
  MEMORY ("stop", NULL, test_stop);
  MEMORY ("age", "{'max_age': <'50ms'>}", test_age);
  SPOOL ("stop", NULL, test_spool_stop);
  SPOOL ("behind", "{'batch': <7>, 'window': <{'events': <20>}>}", test_spool_behind);
  SPOOL ("reload", NULL, test_reload);
  return g_test_run ();
}
