/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What becomes of an event, by what its plugin says of it. */

#include "hook-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
  gint n_left;                 /* publishes that are to fail still */
  guint n_failed;              /* event-failed emissions */
  guint64 n_missed;
  char *last_reason;
  char *last_failed;           /* the id */
  GArray *states;
  gint64 failed_at;            /* monotonic; these two on the route's thread, until it has delivered */
  gint64 tried_again;
} Fixture;

static void
on_event_failed (EvbusBroker *broker,
                 EvbusRoute  *route,
                 EvbusEvent  *event,
                 const char  *reason,
                 guint64      missed,
                 Fixture     *fixture)
{
  g_assert_true (route == fixture->route);
  fixture->n_failed++;
  fixture->n_missed += missed;
  g_free (fixture->last_reason);
  fixture->last_reason = g_strdup (reason);
  g_free (fixture->last_failed);
  fixture->last_failed = g_strdup (evbus_event_get_id (event));
}

static void
on_state_changed (EvbusBroker     *broker,
                  EvbusRoute      *route,
                  EvbusRouteState  state,
                  const char      *reason,
                  Fixture         *fixture)
{
  g_assert_true (route == fixture->route);
  g_array_append_val (fixture->states, state);
  if (state == EVBUS_ROUTE_STATE_BROKEN || state == EVBUS_ROUTE_STATE_RETRYING)
    evbus_test_assert_says (reason, ".");
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("delivery");
  fixture->hook->user_data = fixture;
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  fixture->states = g_array_new (FALSE, FALSE, sizeof (EvbusRouteState));
  g_signal_connect (fixture->broker, "event-failed", G_CALLBACK (on_event_failed), fixture);
  g_signal_connect (fixture->broker, "route-state-changed", G_CALLBACK (on_state_changed), fixture);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  g_signal_handlers_disconnect_by_data (fixture->broker, fixture);
  hook_end (fixture->hook, fixture->broker, fixture->route);
  g_free (fixture->last_reason);
  g_free (fixture->last_failed);
  g_array_unref (fixture->states);
}

static gboolean
was_in_state (Fixture         *fixture,
              EvbusRouteState  state)
{
  for (guint i = 0; i < fixture->states->len; i++)
    if (g_array_index (fixture->states, EvbusRouteState, i) == state)
      return TRUE;
  return FALSE;
}

static void
assert_in_order (Fixture *fixture,
                 guint    n)
{
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
}

/* Counts the failures that are left down; FALSE when none is. */
static gboolean
fails_now (EvbusTestHook *hook)
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

static void
test_confirm (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1000);
  evbus_test_wait_ledger (fixture->route, "delivered=1000");
  evbus_test_assert_ledger (fixture->route, "accepted=1000 delivered=1000 retried=0");
  assert_in_order (fixture, 1000);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RUNNING);
  evbus_test_wait_until (was_in_state (fixture, EVBUS_ROUTE_STATE_RUNNING));
  g_assert_cmpuint (fixture->n_failed, ==, 0);
}

static gboolean
fail_with_error (EvbusTestHook  *hook,
                 EvbusContext   *ctx,
                 EvbusBatch     *batch,
                 GCancellable   *cancellable,
                 GError        **error)
{
  if (!fails_now (hook))
    return take_all (hook, batch);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED, "nobody is home");
  return FALSE;
}

/* Transient: everything is sent again, in order, until it is taken. */
static void
test_transient (Fixture       *fixture,
                gconstpointer  data)
{
  fixture->hook->publish = fail_with_error;
  fixture->n_left = 5;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 500);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (was_in_state (fixture, EVBUS_ROUTE_STATE_RETRYING));
  evbus_test_put_numbers (fixture->broker, NULL, 500, 500);
  evbus_test_wait_ledger (fixture->route, "delivered=1000");
  evbus_test_assert_ledger (fixture->route, "accepted=1000 delivered=1000");
  g_assert_cmpuint (evbus_test_figure (fixture->route, "retried"), >, 0);
  assert_in_order (fixture, 1000);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_RUNNING);
  g_assert_cmpuint (fixture->n_failed, ==, 0);
}

#define DELAY_US (300 * 1000)

static gboolean
fail_for_a_while (EvbusTestHook  *hook,
                  EvbusContext   *ctx,
                  EvbusBatch     *batch,
                  GCancellable   *cancellable,
                  GError        **error)
{
  Fixture *fixture = hook->user_data;

  if (!fails_now (hook))
    {
      fixture->tried_again = g_get_monotonic_time ();
      return take_all (hook, batch);
    }
  fixture->failed_at = g_get_monotonic_time ();
  evbus_batch_retry_after (batch, DELAY_US);
  evbus_batch_retry_after (batch, 1);
  evbus_batch_retry_after (batch, -1);
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "come back later");
  return FALSE;
}

/* A destination that says when it can be tried again is not tried before. */
static void
test_retry_after (Fixture       *fixture,
                  gconstpointer  data)
{
  fixture->hook->publish = fail_for_a_while;
  fixture->n_left = 1;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
  g_assert_cmpint (fixture->tried_again - fixture->failed_at, >=, DELAY_US);
}

/* Takes the first event of each batch, unless there is nothing to be taken. */
static gboolean
take_the_first (EvbusTestHook  *hook,
                EvbusContext   *ctx,
                EvbusBatch     *batch,
                GCancellable   *cancellable,
                GError        **error)
{
  if (!fails_now (hook))
    evbus_test_hook_take (hook, batch, 0);
  evbus_batch_postpone (batch);
  return TRUE;
}

/* What a plugin has had no time for comes again, and has not failed. */
static void
test_postponed (Fixture       *fixture,
                gconstpointer  data)
{
  fixture->hook->publish = take_the_first;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "accepted=20 delivered=20");
  assert_in_order (fixture, 20);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "retried"), ==, 0);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "duplicates"), ==, 0);
  g_assert_false (was_in_state (fixture, EVBUS_ROUTE_STATE_RETRYING));
}

/* A plugin that postpones all of it says nothing. */
static void
test_postponed_whole (Fixture       *fixture,
                      gconstpointer  data)
{
  fixture->hook->publish = take_the_first;
  fixture->n_left = 1;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 2);
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
  g_assert_cmpuint (evbus_test_figure (fixture->route, "retried"), >, 0);
  g_assert_true (was_in_state (fixture, EVBUS_ROUTE_STATE_RETRYING));
}

/* Its state says why, while it lasts. */
static void
test_reason (Fixture       *fixture,
             gconstpointer  data)
{
  g_autofree char *property = NULL;

  fixture->hook->publish = fail_with_error;
  fixture->n_left = 1000000;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_wait_status (fixture->route, EVBUS_ROUTE_STATE_RETRYING, "nobody is home");
  g_object_get (fixture->route, "reason", &property, NULL);
  evbus_test_assert_says (property, "nobody is home");
  evbus_test_wait_until (evbus_test_figure (fixture->route, "retried") >= 3);
  evbus_test_assert_ledger (fixture->route, "accepted=1 queued=1");

  g_atomic_int_set (&fixture->n_left, 0);
  evbus_test_wait_status (fixture->route, EVBUS_ROUTE_STATE_RUNNING, NULL);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
}

/* Every third event of a batch fails alone, the first time. */
static gboolean
fail_thirds (EvbusTestHook  *hook,
             EvbusContext   *ctx,
             EvbusBatch     *batch,
             GCancellable   *cancellable,
             GError        **error)
{
  guint n_events = evbus_batch_get_n_events (batch);
  gboolean failing = fails_now (hook);

  for (guint i = n_events; i-- > 0;)
    if (failing && evbus_test_event_number (evbus_batch_get_event (batch, i)) % 3 == 0)
      evbus_batch_fail (batch, i, EVBUS_OUTCOME_TRANSIENT, "come back later");
  for (guint i = 0; i < n_events; i++)
    if (!failing || evbus_test_event_number (evbus_batch_get_event (batch, i)) % 3 != 0)
      evbus_test_hook_take (hook, batch, i);
  return TRUE;
}

/* Only what is not confirmed is sent again. */
static void
test_transient_alone (Fixture       *fixture,
                      gconstpointer  data)
{
  gboolean seen[300] = { FALSE, };

  fixture->hook->publish = fail_thirds;
  fixture->n_left = 3;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 300);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "delivered=300");
  evbus_test_assert_ledger (fixture->route, "accepted=300 delivered=300");
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 300);
  for (guint i = 0; i < 300; i++)
    {
      guint number = evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i));

      g_assert_cmpuint (number, <, 300);
      g_assert_false (seen[number]);
      seen[number] = TRUE;
    }
}

/* in_flight: 1 keeps the order even so. */
static void
test_in_order_alone (Fixture       *fixture,
                     gconstpointer  data)
{
  fixture->hook->publish = fail_thirds;
  fixture->n_left = 20;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "delivered=100");
  evbus_test_assert_ledger (fixture->route, "accepted=100 delivered=100");
  assert_in_order (fixture, 100);
  g_assert_cmpuint (fixture->hook->largest_batch, ==, 1);
}

static gboolean
poison_seven (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              EvbusBatch     *batch,
              GCancellable   *cancellable,
              GError        **error)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    if (evbus_test_event_number (evbus_batch_get_event (batch, i)) == 7)
      evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "seven is refused");
    else
      evbus_test_hook_take (hook, batch, i);
  return TRUE;
}

/* It refuses the whole batch, and does not say for which event. */
static gboolean
poison_batch (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              EvbusBatch     *batch,
              GCancellable   *cancellable,
              GError        **error)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    if (evbus_test_event_number (evbus_batch_get_event (batch, i)) == 7)
      {
        g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_POISON, "seven is refused");
        return FALSE;
      }
  return take_all (hook, batch);
}

/* The one event is dead and said to be; the others are delivered, in order. */
static void
expect_seven_dead (Fixture          *fixture,
                   EvbusTestPublish  publish)
{
  fixture->hook->publish = publish;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=100 delivered=99 dead=1");
  for (guint i = 0; i < 99; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==,
                      i < 7 ? i : i + 1);
  evbus_test_wait_until (fixture->n_failed > 0);
  g_assert_cmpuint (fixture->n_failed, ==, 1);
  g_assert_cmpuint (fixture->n_missed, ==, 0);
  evbus_test_assert_says (fixture->last_reason, "seven is refused");
  for (guint i = 0; i < 99; i++)
    g_assert_cmpstr (fixture->last_failed, !=,
                     evbus_event_get_id (evbus_test_hook_peek (fixture->hook, i)));
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RUNNING);
}

static void
test_poison (Fixture       *fixture,
             gconstpointer  data)
{
  expect_seven_dead (fixture, poison_seven);
}

static void
test_poison_batch (Fixture       *fixture,
                   gconstpointer  data)
{
  expect_seven_dead (fixture, poison_batch);
  /* Halving, not one by one. */
  g_assert_cmpuint (fixture->hook->n_publish, <, 40);
}

static gboolean
poison_all (EvbusTestHook  *hook,
            EvbusContext   *ctx,
            EvbusBatch     *batch,
            GCancellable   *cancellable,
            GError        **error)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, NULL);
  return TRUE;
}

/* No event-failed is kept for ever; what is not told one by one is counted. */
static void
test_event_failed_bounded (Fixture       *fixture,
                           gconstpointer  data)
{
  gint64 deadline = g_get_monotonic_time () + EVBUS_TEST_DEADLINE;

  fixture->hook->publish = poison_all;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3000);
  evbus_test_start (fixture->broker);
  /* Nothing is dispatched here meanwhile. */
  while (evbus_test_figure (fixture->route, "dead") < 3000)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_thread_yield ();
    }
  g_assert_cmpuint (fixture->n_failed, ==, 0);
  evbus_test_wait_until (fixture->n_failed >= 1024);
  evbus_test_iterate ();
  g_assert_cmpuint (fixture->n_failed, ==, 1024);

  evbus_test_put_numbers (fixture->broker, NULL, 3000, 1);
  evbus_test_wait_until (fixture->n_failed + fixture->n_missed == 3001);
  g_assert_cmpuint (fixture->n_failed, ==, 1025);
  evbus_test_assert_ledger (fixture->route, "accepted=3001 dead=3001");
}

static gboolean
break_down (EvbusTestHook  *hook,
            EvbusContext   *ctx,
            EvbusBatch     *batch,
            GCancellable   *cancellable,
            GError        **error)
{
  if (!fails_now (hook))
    return take_all (hook, batch);
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "there is no topic “orders”");
  return FALSE;
}

static gboolean
break_down_one (EvbusTestHook  *hook,
                EvbusContext   *ctx,
                EvbusBatch     *batch,
                GCancellable   *cancellable,
                GError        **error)
{
  if (!fails_now (hook))
    return take_all (hook, batch);
  evbus_batch_fail (batch, 0, EVBUS_OUTCOME_BROKEN, "there is no topic “orders”");
  return TRUE;
}

/* The route pauses, says why, probes, and goes on by itself. */
static void
expect_broken_then_well (Fixture          *fixture,
                         EvbusTestPublish  publish)
{
  fixture->hook->publish = publish;
  fixture->n_left = 1000000;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 200);
  evbus_test_wait_status (fixture->route, EVBUS_ROUTE_STATE_BROKEN, "no topic “orders”");
  evbus_test_wait_until (was_in_state (fixture, EVBUS_ROUTE_STATE_BROKEN));
  evbus_test_assert_ledger (fixture->route, "accepted=200 queued=200");

  g_atomic_int_set (&fixture->n_left, 0);
  evbus_test_wait_ledger (fixture->route, "delivered=200");
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_RUNNING);
  evbus_test_assert_ledger (fixture->route, "accepted=200 delivered=200");
  assert_in_order (fixture, 200);
}

static void
test_broken (Fixture       *fixture,
             gconstpointer  data)
{
  expect_broken_then_well (fixture, break_down);
}

static void
test_broken_event (Fixture       *fixture,
                   gconstpointer  data)
{
  expect_broken_then_well (fixture, break_down_one);
}

#define QUICK "{'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>}"
#define QUICK_ONE "{'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>, 'in_flight': <1>}"

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/delivery/confirm", NULL, test_confirm },
    { "/delivery/transient/whole", QUICK, test_transient },
    { "/delivery/transient/retry-after", QUICK, test_retry_after },
    { "/delivery/postponed", QUICK, test_postponed },
    { "/delivery/postponed/whole", QUICK, test_postponed_whole },
    { "/delivery/transient/reason", QUICK, test_reason },
    { "/delivery/transient/alone", QUICK, test_transient_alone },
    { "/delivery/transient/in-flight-one", QUICK_ONE, test_in_order_alone },
    { "/delivery/poison/alone", QUICK, test_poison },
    { "/delivery/poison/batch", QUICK, test_poison_batch },
    { "/delivery/event-failed-bounded", QUICK, test_event_failed_bounded },
    { "/delivery/broken/batch", QUICK, test_broken },
    { "/delivery/broken/one-event", QUICK, test_broken_event },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
