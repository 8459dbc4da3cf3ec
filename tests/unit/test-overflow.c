/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A route whose budget is full, and events that are too old. */

#include "hook-test.h"

#include <string.h>

/* A route with a small budget, and a wide one that gets the same. */
typedef struct {
  EvbusTestHook *hook, *wide_hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *route, *wide;
  guint n_failed;
  char *last_reason;
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
  fixture->n_failed += 1 + (guint) missed;
  g_free (fixture->last_reason);
  fixture->last_reason = g_strdup (reason);
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("small");
  fixture->wide_hook = evbus_test_hook_new ("wide");
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  fixture->wide = evbus_test_add_hook (fixture->broker, fixture->wide_hook, "*", NULL);
  g_signal_connect (fixture->broker, "event-failed", G_CALLBACK (on_event_failed), fixture);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  evbus_route_get_ledger (fixture->wide, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.delivered, ==, ledger.accepted);
  g_signal_handlers_disconnect_by_data (fixture->broker, fixture);
  hook_end (fixture->hook, fixture->broker, fixture->route);
  g_object_unref (fixture->wide);
  g_free (fixture->last_reason);
  evbus_test_hook_free (fixture->wide_hook);
}

static void
assert_numbers (EvbusTestHook *hook,
                guint          first,
                guint          n)
{
  g_assert_cmpuint (evbus_test_hook_length (hook), ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (hook, i)), ==, first + i);
}

static void
start_and_deliver (Fixture *fixture,
                   guint    n)
{
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) >= n);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_wait_ledger (fixture->wide, "queued=0");
}

/* The first event is with the plugin, which does not let go of it. */
static void
hold_first (Fixture *fixture)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
}

/* An event being published is not taken from under the plugin. */
static void
test_drop_oldest (Fixture       *fixture,
                  gconstpointer  data)
{
  guint length;

  hold_first (fixture);
  evbus_test_put_numbers (fixture->broker, NULL, 1, 99);
  evbus_test_wait_ledger (fixture->route, "accepted=100 dropped=96 queued=4");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=100 dropped=96 delivered=4");
  length = evbus_test_hook_length (fixture->hook);
  g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, 0)), ==, 0);
  for (guint i = 1; i < length; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, 96 + i);
  evbus_test_wait_ledger (fixture->wide, "accepted=100 delivered=100");
  evbus_test_wait_until (fixture->n_failed == 96);
  evbus_test_assert_says (fixture->last_reason, "drop|full|overflow|window");
}

/* During an outage the newest are kept, though a batch would hold all of the
 * window. */
static void
test_drop_oldest_batch (Fixture       *fixture,
                        gconstpointer  data)
{
  guint length;

  evbus_test_hook_hold (fixture->hook);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 4);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_put_numbers (fixture->broker, NULL, 4, 96);
  evbus_test_wait_ledger (fixture->route, "accepted=100 dropped=96 queued=4");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  length = evbus_test_hook_length (fixture->hook);
  g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, length - 1)), ==, 99);
  g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, length - 2)), ==, 98);
}

static void
test_drop_newest (Fixture       *fixture,
                  gconstpointer  data)
{
  hold_first (fixture);
  evbus_test_put_numbers (fixture->broker, NULL, 1, 99);
  evbus_test_wait_ledger (fixture->route, "accepted=100 dropped=96 queued=4");
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=100 dropped=96 delivered=4");
  assert_numbers (fixture->hook, 0, 4);
  evbus_test_wait_ledger (fixture->wide, "accepted=100 delivered=100");
  evbus_test_wait_until (fixture->n_failed == 96);
}

static void
assert_full (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;

  g_assert_null (evbus_producer_put_nowait (fixture->producer, "number", g_variant_new_int32 (99),
                                            NULL, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "hook");
}

/* The put fails, and no route gets the event. */
static void
test_reject (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_test_put_numbers (fixture->broker, NULL, 0, 4);
  assert_full (fixture);
  g_assert_null (evbus_test_put_options (fixture->broker, "number", g_variant_new_int32 (99), NULL,
                                         NULL, NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL);
  g_clear_error (&error);
  evbus_test_assert_ledger (fixture->route, "accepted=4 queued=4");
  evbus_test_assert_ledger (fixture->wide, "accepted=4 queued=4");
  start_and_deliver (fixture, 4);
  evbus_test_put_numbers (fixture->broker, NULL, 4, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=5");
  assert_numbers (fixture->hook, 0, 5);
  g_assert_cmpuint (fixture->n_failed, ==, 0);
}

/* One of the two has no room: neither is taken. */
static void
refuse_two (Fixture    *fixture,
            gboolean    wait,
            EvbusError  code)
{
  GVariant *events = g_variant_new_parsed ("[('k', <1>, ''), ('k', <2>, '')]");
  g_autoptr(GError) error = NULL;

  if (wait)
    g_assert_null (evbus_test_put_many (fixture->broker, events, &error));
  else
    g_assert_null (evbus_producer_put_many_nowait (fixture->producer, events, &error));
  g_assert_error (error, EVBUS_ERROR, (int) code);
  evbus_test_assert_ledger (fixture->route, "accepted=3 queued=3");
  evbus_test_assert_ledger (fixture->wide, "accepted=3 queued=3");
}

static void
test_reject_many (Fixture       *fixture,
                  gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3);
  refuse_two (fixture, TRUE, EVBUS_ERROR_QUEUE_FULL);
  refuse_two (fixture, FALSE, EVBUS_ERROR_QUEUE_FULL);
  start_and_deliver (fixture, 3);
}

/* Where put_many_async would wait, put_many_nowait fails. */
static void
test_block_many_nowait (Fixture       *fixture,
                        gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3);
  refuse_two (fixture, FALSE, EVBUS_ERROR_QUEUE_FULL);
  start_and_deliver (fixture, 3);
}

/* put_async waits in the order of the calls, put_nowait fails. */
static void
test_block (Fixture       *fixture,
            gconstpointer  data)
{
  GAsyncResult *results[20] = { NULL, };

  evbus_test_put_numbers (fixture->broker, NULL, 0, 4);
  for (guint i = 0; i < 20; i++)
    evbus_producer_put_async (fixture->producer, "number", g_variant_new_uint32 (4 + i), NULL, NULL,
                              evbus_test_store_result, &results[i]);
  evbus_test_iterate ();
  assert_full (fixture);
  evbus_test_assert_ledger (fixture->route, "accepted=4 queued=4");
  evbus_test_assert_ledger (fixture->wide, "accepted=4 queued=4");

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 20; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      evbus_test_wait_until (results[i] != NULL);
      id = evbus_producer_put_finish (fixture->producer, results[i], &error);
      g_assert_no_error (error);
      g_object_unref (results[i]);
    }
  evbus_test_wait_ledger (fixture->route, "accepted=24 delivered=24");
  evbus_test_wait_ledger (fixture->wide, "accepted=24 delivered=24");
  assert_numbers (fixture->hook, 0, 24);
  assert_numbers (fixture->wide_hook, 0, 24);
}

/* One that needs less room than those before it does not overtake them, be it
 * one that waits or one that does not. */
static void
test_block_overtaking (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GAsyncResult) many = NULL, one = NULL;
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) ids = NULL;
  g_autofree char *id = NULL;

  hold_first (fixture);
  evbus_test_put_numbers (fixture->broker, NULL, 1, 3);
  evbus_producer_put_many_async (fixture->producer, g_variant_new_parsed (
                                   "[('k', <4>, ''), ('k', <5>, ''), ('k', <6>, '')]"), NULL,
                                 evbus_test_store_result, &many);
  evbus_producer_put_async (fixture->producer, "k", g_variant_new_uint32 (7), NULL, NULL,
                            evbus_test_store_result, &one);

  /* Room for one: the plugin takes one event at a time. */
  evbus_test_hook_let_pass (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "delivered=1");
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  assert_full (fixture);
  evbus_test_iterate ();
  evbus_test_assert_ledger (fixture->route, "accepted=4 delivered=1 queued=3");
  g_assert_null (one);

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (many != NULL && one != NULL);
  ids = evbus_producer_put_many_finish (fixture->producer, many, &error);
  g_assert_no_error (error);
  id = evbus_producer_put_finish (fixture->producer, one, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=8 delivered=8");
  assert_numbers (fixture->hook, 0, 8);
}

/* A put that does not concern the full route does not wait for it. */
static void
test_block_others (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("elsewhere");
  g_autoptr(EvbusRoute) elsewhere = NULL;
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL, *waited = NULL;

  elsewhere = evbus_test_add_hook (fixture->broker, hook, "elsewhere", NULL);
  /* The wide one would join the two: an event waits with all its routes. */
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->wide, &error));
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_object_unref (fixture->route);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "here", data);
  evbus_test_start (fixture->broker);
  evbus_test_hook_hold (fixture->hook);
  evbus_test_put_numbers (fixture->broker, "here", 0, 4);
  evbus_producer_put_async (fixture->producer, "number", g_variant_new_uint32 (4), "here", NULL,
                            evbus_test_store_result, &waiting);

  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (1), "elsewhere", NULL,
                               NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (elsewhere, "accepted=1 delivered=1");
  g_assert_null (waiting);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (waiting != NULL);
  waited = evbus_producer_put_finish (fixture->producer, waiting, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=5");
}

/* More than the budget could ever hold is not waited for. */
static void
test_block_too_large (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  evbus_test_start (fixture->broker);
  g_assert_null (evbus_test_put_many (fixture->broker, g_variant_new_parsed (
                                        "[('k', <1>, ''), ('k', <2>, ''), ('k', <3>, ''),"
                                        " ('k', <4>, ''), ('k', <5>, '')]"), &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE);
  evbus_test_assert_ledger (fixture->route, "accepted=0");
}

/* 100 KiB hold ten events of 10,000 bytes, whatever an event takes beside. */
static void
test_bytes (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(GBytes) body = g_bytes_new_take (g_malloc0 (10000), 10000);
  g_autoptr(GError) error = NULL;
  guint n = 0;

  while (error == NULL && n < 100)
    {
      g_autofree char *id = NULL;

      id = evbus_producer_put_bytes_nowait (fixture->producer, "k", body, "text/plain", NULL,
                                            &error);
      n += id != NULL;
    }
  evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "hook");
  g_assert_cmpuint (n, ==, 10);
  evbus_test_assert_ledger (fixture->route, "accepted=10 queued=10");
  start_and_deliver (fixture, 10);
  evbus_test_assert_ledger (fixture->route, "accepted=10 delivered=10");
}

/* Too old: they expire, also while the destination fails. */
static void
test_max_age (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_wait_ledger (fixture->wide, "delivered=10");
  evbus_test_wait_ledger (fixture->route, "expired=10");
  evbus_test_assert_ledger (fixture->route, "accepted=10 expired=10");
  evbus_test_wait_until (fixture->n_failed == 10);
  evbus_test_assert_says (fixture->last_reason, "age|old|expired");

  evbus_test_hook_release (fixture->hook);
  evbus_test_put_numbers (fixture->broker, NULL, 10, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=11 expired=10 delivered=1");
}

#define SMALL(overflow) "{'overflow': <'" overflow "'>, 'window': <{'events': <4>}>}"

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/overflow/drop-oldest", SMALL ("drop_oldest"), test_drop_oldest },
    { "/overflow/drop-oldest/batch", SMALL ("drop_oldest"), test_drop_oldest_batch },
    { "/overflow/default", "{'window': <{'events': <4>}>}", test_drop_oldest },
    { "/overflow/drop-newest", SMALL ("drop_newest"), test_drop_newest },
    { "/overflow/reject/one", SMALL ("reject"), test_reject },
    { "/overflow/reject/many", SMALL ("reject"), test_reject_many },
    { "/overflow/block/in-order", SMALL ("block"), test_block },
    { "/overflow/block/many-nowait", SMALL ("block"), test_block_many_nowait },
    { "/overflow/block/others", SMALL ("block"), test_block_others },
    { "/overflow/block/overtaking",
      "{'overflow': <'block'>, 'window': <{'events': <4>}>, 'in_flight': <1>}",
      test_block_overtaking },
    { "/overflow/block/too-large", SMALL ("block"), test_block_too_large },
    { "/overflow/bytes", "{'overflow': <'reject'>, 'window': <{'bytes': <'100KiB'>}>}", test_bytes },
    { "/overflow/max-age",
      "{'max_age': <'100ms'>, 'timeout': <'50ms'>, 'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>}",
      test_max_age },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
