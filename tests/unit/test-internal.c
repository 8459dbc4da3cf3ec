/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The provider `internal`: from put to a consumer in the same process. */

#include "evbus-test.h"

typedef struct {
  EvbusBroker  *broker;
  EvbusRoute   *route;
  EvbusMailbox *mailbox;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_route (fixture->broker, "internal", "*", data);
  fixture->mailbox = evbus_route_get_mailbox (fixture->route);
  evbus_test_start (fixture->broker);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_stop (fixture->broker);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
}

static void
put (Fixture    *fixture,
     const char *key,
     guint       number)
{
  g_autofree char *text = g_strdup_printf ("%u", number);

  g_free (evbus_test_put (fixture->broker, key, text, NULL));
}

static void
assert_get (Fixture    *fixture,
            const char *key,
            guint       number)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusEvent) event = evbus_mailbox_get (fixture->mailbox, key, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (evbus_test_event_number (event), ==, number);
}

static void
test_keys (Fixture       *fixture,
           gconstpointer  data)
{
  put (fixture, "a", 1);
  put (fixture, "b", 2);
  put (fixture, "a", 3);
  put (fixture, "c", 4);

  assert_get (fixture, "b", 2);
  assert_get (fixture, NULL, 1);
  assert_get (fixture, "a", 3);
  assert_get (fixture, NULL, 4);
  evbus_test_wait_ledger (fixture->route, "accepted=4 delivered=4");
}

static void
test_routing_key (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(EvbusEvent) event = NULL;
  g_autofree char *id = NULL;

  put (fixture, "a", 1);
  id = evbus_test_put (fixture->broker, "b", "2", NULL);

  assert_get (fixture, "all", 1);
  event = evbus_mailbox_get (fixture->mailbox, "all", NULL, NULL);
  g_assert_cmpuint (evbus_test_event_number (event), ==, 2);
  g_assert_cmpstr (evbus_event_get_routing_key (event), ==, "all");
  g_assert_cmpstr (evbus_event_get_id (event), ==, id);
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
  g_assert_null (evbus_mailbox_try_get (fixture->mailbox, "a"));
}

/* What the mailbox does not hold waits in the route. */
static void
test_limit (Fixture       *fixture,
            gconstpointer  data)
{
  guint i;

  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_mailbox_get_length (fixture->mailbox) == 4);
  for (i = 0; i < 20; i++)
    {
      g_assert_cmpuint (evbus_mailbox_get_length (fixture->mailbox), <=, 4);
      assert_get (fixture, NULL, i);
    }
  evbus_test_wait_ledger (fixture->route, "accepted=20 delivered=20");
}

static void
test_limit_of_bytes (Fixture       *fixture,
                     gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 9);
  evbus_test_wait_until (evbus_mailbox_get_length (fixture->mailbox) == 5);
  for (guint i = 0; i < 9; i++)
    {
      g_assert_cmpuint (evbus_mailbox_get_length (fixture->mailbox), <=, 5);
      assert_get (fixture, NULL, i);
    }
  evbus_test_wait_ledger (fixture->route, "accepted=9 delivered=9");
}

/* Nobody takes anything, and stopping does not wait for it. What is in the
 * mailbox is delivered. */
static void
test_limit_and_stop (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "internal", "*", "{'max_events': <4>}");

  evbus_test_start (broker);
  evbus_test_put_numbers (broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_mailbox_get_length (evbus_route_get_mailbox (route)) == 4);
  evbus_test_stop_leaving (broker);
  evbus_test_assert_ledger (route, "accepted=20 delivered=4 dropped=16");
}

static void
test_async (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(GAsyncResult) first = NULL;
  g_autoptr(GAsyncResult) second = NULL;
  g_autoptr(EvbusEvent) event = NULL;
  g_autoptr(GError) error = NULL;

  evbus_mailbox_get_async (fixture->mailbox, "b", NULL, evbus_test_store_result, &first);
  evbus_mailbox_get_async (fixture->mailbox, NULL, NULL, evbus_test_store_result, &second);
  put (fixture, "a", 1);
  put (fixture, "b", 2);
  evbus_test_wait_until (first != NULL && second != NULL);
  event = evbus_mailbox_get_finish (fixture->mailbox, first, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (evbus_test_event_number (event), ==, 2);
  evbus_event_unref (event);
  event = evbus_mailbox_get_finish (fixture->mailbox, second, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (evbus_test_event_number (event), ==, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
}

/* A consumer that puts what it gets goes round until the hops end it. */
static void
on_event (GObject      *source,
          GAsyncResult *result,
          gpointer      user_data)
{
  Fixture *fixture = user_data;
  g_autoptr(EvbusEvent) event = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  event = evbus_mailbox_get_finish (EVBUS_MAILBOX (source), result, &error);
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED))
    return;
  g_assert_no_error (error);
  evbus_mailbox_get_async (fixture->mailbox, NULL, NULL, on_event, fixture);
  id = evbus_producer_put_nowait (EVBUS_PRODUCER (fixture->broker), "again",
                                  g_variant_new_int32 (1), NULL, &error);
  if (id != NULL)
    return;

  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_HOP_LIMIT);
  g_object_set_data (source, "cut", "yes");
}

static void
test_loop (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_mailbox_get_async (fixture->mailbox, NULL, NULL, on_event, fixture);
  put (fixture, "first", 1);
  evbus_test_wait_until (g_object_get_data (G_OBJECT (fixture->mailbox), "cut") != NULL);
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_cmpuint (ledger.accepted, <=, 10);
}

#define N_MANY 100000

static void
test_many (Fixture       *fixture,
           gconstpointer  data)
{
  guint expected = 0;
  guint put_so_far = 0;

  while (expected < N_MANY)
    {
      g_autoptr(GPtrArray) events = NULL;
      guint i;

      if (put_so_far < N_MANY)
        evbus_test_put_numbers (fixture->broker, NULL, put_so_far, 1000);
      put_so_far = MIN (put_so_far + 1000, N_MANY);
      events = evbus_mailbox_try_get_many (fixture->mailbox, NULL, 5000);
      for (i = 0; i < events->len; i++)
        g_assert_cmpuint (evbus_test_event_number (events->pdata[i]), ==, expected++);
    }
  evbus_test_wait_ledger (fixture->route, "accepted=100000 delivered=100000");
}

#define ADD(name, data, function) \
  g_test_add ("/internal/" name, Fixture, data, set_up, function, tear_down)

int
main (int   argc,
      char *argv[])
{
  evbus_test_init (&argc, &argv);

  ADD ("keys", NULL, test_keys);
  ADD ("routing-key", "{'routing_key': <'all'>}", test_routing_key);
  ADD ("limit", "{'max_events': <4>}", test_limit);
  ADD ("limit-of-bytes", "{'max_bytes': <5>}", test_limit_of_bytes);
  g_test_add_func ("/internal/limit-and-stop", test_limit_and_stop);
  ADD ("async", NULL, test_async);
  ADD ("loop", NULL, test_loop);
  ADD ("many", "{'delivery': <{'window': <{'events': <200000>}>}>}", test_many);

  return g_test_run ();
}
