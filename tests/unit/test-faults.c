/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Plugins that do not keep to the rules, and those that do not come back: each
 * hurts its own route alone, which says so. */

#include "evbus-test.h"

#include <string.h>

/* Beside the faulty route a good one, which gets the same events. */
typedef struct {
  EvbusTestHook *hook, *good_hook;
  EvbusBroker *broker;
  EvbusRoute *route, *good;
  gint n_left;                 /* calls that are to be faulty still */
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("faulty");
  fixture->hook->user_data = fixture;
  fixture->good_hook = evbus_test_hook_new ("good");
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  fixture->good = evbus_test_add_hook (fixture->broker, fixture->good_hook, "*", NULL);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  evbus_route_get_ledger (fixture->good, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.delivered, ==, ledger.accepted);
  g_object_unref (fixture->route);
  g_object_unref (fixture->good);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
  evbus_test_hook_free (fixture->good_hook);
}

static gboolean
is_faulty_now (EvbusTestHook *hook)
{
  Fixture *fixture = hook->user_data;

  if (g_atomic_int_get (&fixture->n_left) <= 0)
    return FALSE;
  g_atomic_int_add (&fixture->n_left, -1);
  return TRUE;
}

static gboolean
take_all (EvbusTestHook *hook,
          EvbusBatch    *batch)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_test_hook_take (hook, batch, i);
  return TRUE;
}

/* The route retries and its reason says @says, the good one is not concerned;
 * once the plugin behaves, nothing is lost and nothing doubled. */
static void
expect_fault (Fixture          *fixture,
              EvbusTestPublish  publish,
              const char       *says)
{
  fixture->hook->publish = publish;
  fixture->n_left = G_MAXINT;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 50);
  evbus_test_wait_ledger (fixture->good, "delivered=50");
  evbus_test_wait_status (fixture->route, EVBUS_ROUTE_STATE_RETRYING, says);
  evbus_test_assert_ledger (fixture->route, "accepted=50 queued=50");
  g_assert_cmpint (evbus_route_get_state (fixture->good), ==, EVBUS_ROUTE_STATE_RUNNING);

  g_atomic_int_set (&fixture->n_left, 0);
  evbus_test_wait_ledger (fixture->route, "delivered=50");
  evbus_test_assert_ledger (fixture->route, "accepted=50 delivered=50");
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 50);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_RUNNING);
}

static gboolean
mark_nothing (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              EvbusBatch     *batch,
              GCancellable   *cancellable,
              GError        **error)
{
  return is_faulty_now (hook) ? TRUE : take_all (hook, batch);
}

static void
test_unmarked (Fixture       *fixture,
               gconstpointer  data)
{
  expect_fault (fixture, mark_nothing, "plugin");
}

static gboolean
fail_silently (EvbusTestHook  *hook,
               EvbusContext   *ctx,
               EvbusBatch     *batch,
               GCancellable   *cancellable,
               GError        **error)
{
  return is_faulty_now (hook) ? FALSE : take_all (hook, batch);
}

static void
test_no_error (Fixture       *fixture,
               gconstpointer  data)
{
  expect_fault (fixture, fail_silently, "plugin");
}

static gboolean
mark_out_of_range (EvbusTestHook  *hook,
                   EvbusContext   *ctx,
                   EvbusBatch     *batch,
                   GCancellable   *cancellable,
                   GError        **error)
{
  guint n_events = evbus_batch_get_n_events (batch);

  if (!is_faulty_now (hook))
    return take_all (hook, batch);
  evbus_batch_confirm (batch, n_events);
  evbus_batch_confirm (batch, G_MAXUINT);
  evbus_batch_fail (batch, n_events + 7, EVBUS_OUTCOME_POISON, "not one of them");
  return TRUE;
}

static void
test_out_of_range (Fixture       *fixture,
                   gconstpointer  data)
{
  expect_fault (fixture, mark_out_of_range, "plugin|mark");
}

static gboolean
fail_oddly (EvbusTestHook  *hook,
            EvbusContext   *ctx,
            EvbusBatch     *batch,
            GCancellable   *cancellable,
            GError        **error)
{
  if (!is_faulty_now (hook))
    return take_all (hook, batch);
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_TRANSIENT, i % 2 == 0 ? "\xff\xfe" : NULL);
  return TRUE;
}

static void
test_odd_message (Fixture       *fixture,
                  gconstpointer  data)
{
  expect_fault (fixture, fail_oddly, ".");
}

/* A mark counts once: the first stays. */
static gboolean
mark_twice (EvbusTestHook  *hook,
            EvbusContext   *ctx,
            EvbusBatch     *batch,
            GCancellable   *cancellable,
            GError        **error)
{
  take_all (hook, batch);
  evbus_batch_confirm_all (batch);
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      evbus_batch_confirm (batch, i);
      evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "after all, no");
    }
  return TRUE;
}

static void
test_twice (Fixture       *fixture,
            gconstpointer  data)
{
  fixture->hook->publish = mark_twice;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 50);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=50 delivered=50");
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 50);
}

/* FALSE after some were confirmed: those are not sent again. */
static gboolean
confirm_half_and_fail (EvbusTestHook  *hook,
                       EvbusContext   *ctx,
                       EvbusBatch     *batch,
                       GCancellable   *cancellable,
                       GError        **error)
{
  guint n_events = evbus_batch_get_n_events (batch);

  if (!is_faulty_now (hook))
    return take_all (hook, batch);
  for (guint i = 0; i < n_events / 2; i++)
    evbus_test_hook_take (hook, batch, i);
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "the line was cut");
  return FALSE;
}

static void
test_half (Fixture       *fixture,
           gconstpointer  data)
{
  fixture->hook->publish = confirm_half_and_fail;
  fixture->n_left = 4;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 200);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "delivered=200");
  evbus_test_assert_ledger (fixture->route, "accepted=200 delivered=200");
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 200);
  for (guint i = 0; i < 200; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
}

static gboolean
fail_to_open (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              GCancellable   *cancellable,
              GError        **error)
{
  Fixture *fixture = hook->user_data;

  if (!is_faulty_now (hook))
    return TRUE;
  if (fixture->n_left % 3 == 0)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "nobody is home");
  else if (fixture->n_left % 3 == 1)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "login refused");
  /* Else no error at all. */
  return FALSE;
}

static void
test_open (Fixture       *fixture,
           gconstpointer  data)
{
  fixture->hook->open = fail_to_open;
  fixture->n_left = 6;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 50);
  evbus_test_wait_ledger (fixture->good, "delivered=50");
  evbus_test_wait_ledger (fixture->route, "delivered=50");
  evbus_test_assert_ledger (fixture->route, "accepted=50 delivered=50");
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_open), ==, 7);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RUNNING);
}

/* Cancelled past its time; the events are tried again. */
static void
test_timeout (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_cancelled) >= 2);
  evbus_test_wait_status (fixture->route, EVBUS_ROUTE_STATE_RETRYING, "time|gate");
  evbus_test_assert_ledger (fixture->route, "accepted=20 queued=20");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "delivered=20");
  evbus_test_assert_ledger (fixture->route, "accepted=20 delivered=20");
}

/* It does not return either: the route is stuck, its events are kept, and nobody
 * waits for it. */
static void
test_stuck (Fixture       *fixture,
            gconstpointer  data)
{
  fixture->hook->deaf = TRUE;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_status (fixture->route, EVBUS_ROUTE_STATE_STUCK, ".");

  evbus_test_put_numbers (fixture->broker, NULL, 20, 20);
  evbus_test_wait_ledger (fixture->good, "accepted=40 delivered=40");
  evbus_test_assert_ledger (fixture->route, "accepted=40 queued=40");

  evbus_test_stop_anyhow (fixture->broker);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "accepted"), ==, 40);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), ==, 0);

  /* Its thread may come back to a broker that is no more. */
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running) == 0);
}

/* Removing a stuck route does not wait for it. */
static void
test_remove_stuck (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  gint64 start;

  fixture->hook->deaf = TRUE;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_STUCK);
  start = g_get_monotonic_time ();
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 2 * G_USEC_PER_SEC);
  evbus_test_put_numbers (fixture->broker, NULL, 20, 20);
  evbus_test_wait_ledger (fixture->good, "accepted=40 delivered=40");
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  g_assert_cmpint (g_get_monotonic_time () - start, <, 4 * G_USEC_PER_SEC);

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running) == 0);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
}

/* The deadline of stop: what is not delivered by then is still in the ledger. */
static void
test_stop_deadline (Fixture       *fixture,
                    gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  g_assert_cmpuint (evbus_broker_get_stop_timeout (fixture->broker), ==, 10000);
  evbus_broker_set_stop_timeout (fixture->broker, 200);
  g_assert_cmpuint (evbus_broker_get_stop_timeout (fixture->broker), ==, 200);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_stop_anyhow (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  evbus_test_assert_ledger (fixture->good, "accepted=20 delivered=20");
}

#define QUICK "{'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>}"
#define SHORT "{'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>, 'timeout': <'50ms'>}"

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/faults/unmarked", QUICK, test_unmarked },
    { "/faults/no-error", QUICK, test_no_error },
    { "/faults/out-of-range", QUICK, test_out_of_range },
    { "/faults/odd-message", QUICK, test_odd_message },
    { "/faults/twice", QUICK, test_twice },
    { "/faults/half", QUICK, test_half },
    { "/faults/open", QUICK, test_open },
    { "/faults/timeout", SHORT, test_timeout },
    { "/faults/stuck/stop", SHORT, test_stuck },
    { "/faults/stuck/removed", SHORT, test_remove_stuck },
    { "/faults/stop-deadline", QUICK, test_stop_deadline },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
