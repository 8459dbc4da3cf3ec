/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What happens under the queue's lock to those that wait costs as much as the
 * puts that it lets in, however many wait. A broker that is not started: the
 * test itself takes and settles. */

#include "evbus-broker-private.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

typedef struct {
  EvbusBroker *broker;
  EvbusRoute *a, *b;       /* of four events each, which block */
  guint n_answered;
} Fixture;

static EvbusRoute *
add_route (Fixture    *fixture,
           const char *profile)
{
  g_autoptr(GError) error = NULL;
  EvbusRoute *route;

  route = evbus_broker_add_route (fixture->broker, "internal", profile, g_variant_new_parsed (
    "{'delivery': <{'overflow': <'block'>, 'window': <{'events': <4>}>}>}"), &error);
  g_assert_no_error (error);
  return route;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->broker = evbus_broker_new ();
  fixture->a = add_route (fixture, "a*");
  fixture->b = add_route (fixture, "*b");
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      data)
{
  Fixture *fixture = data;
  g_autofree char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, NULL);

  fixture->n_answered++;
}

static void
put (Fixture    *fixture,
     const char *profile,
     guint       n)
{
  for (guint i = 0; i < n; i++)
    evbus_producer_put_async (EVBUS_PRODUCER (fixture->broker), "k", g_variant_new_uint32 (i),
                              profile, NULL, on_put, fixture);
}

static void
assert_balance (EvbusRoute *route)
{
  EvbusLedger ledger;

  evbus_route_get_ledger (route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
}

/* Answers all that wait. */
static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusQueue *queue = fixture->broker->queue;

  evbus_queue_close (queue);
  g_assert_cmpuint (queue->waiting.length, ==, 0);
  g_assert_cmpuint (queue->for_space.length, ==, 0);
  g_assert_cmpuint (queue->waiting_weight, ==, 0);
  g_assert_cmpuint (fixture->a->waiting.length, ==, 0);
  g_assert_cmpuint (fixture->b->waiting.length, ==, 0);
  while (fixture->n_answered < GPOINTER_TO_UINT (data))
    g_main_context_iteration (NULL, TRUE);

  assert_balance (fixture->a);
  assert_balance (fixture->b);
  g_object_unref (fixture->a);
  g_object_unref (fixture->b);
  g_object_unref (fixture->broker);
}

/* One event of @route is delivered. Returns how many puts were looked at. */
static guint64
settle_one (Fixture    *fixture,
            EvbusRoute *route)
{
  EvbusLedger outcome = { .delivered = 1 };
  guint64 before = fixture->broker->queue->n_looks;

  evbus_queue_settle (fixture->broker->queue, route, &outcome, 1, route->queued_weight / 4, NULL);
  return fixture->broker->queue->n_looks - before;
}

/* 4,000 wait for one route, and one, the youngest, for another. */
static void
test_route (Fixture       *fixture,
            gconstpointer  data)
{
  EvbusQueue *queue = fixture->broker->queue;

  put (fixture, "a", 4);
  put (fixture, "b", 4);
  put (fixture, "a", 4000);
  put (fixture, "b", 1);
  g_assert_cmpuint (queue->waiting.length, ==, 4001);

  g_assert_cmpuint (settle_one (fixture, fixture->b), <=, 2);
  g_assert_cmpuint (queue->waiting.length, ==, 4000);
  g_assert_cmpuint (settle_one (fixture, fixture->b), ==, 0);
  for (guint i = 0; i < 100; i++)
    g_assert_cmpuint (settle_one (fixture, fixture->a), <=, 2);
  g_assert_cmpuint (queue->waiting.length, ==, 3900);
}

/* Those that share routes hold one another up, and yet only the first is
 * looked at. */
static void
test_shared (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusQueue *queue = fixture->broker->queue;

  put (fixture, "ab", 4);
  for (guint i = 0; i < 1000; i++)
    {
      put (fixture, "ab", 1);
      put (fixture, "b", 1);
      put (fixture, "a", 1);
    }
  g_assert_cmpuint (queue->waiting.length, ==, 3000);

  for (guint i = 0; i < 100; i++)
    {
      guint length = queue->waiting.length;
      guint64 looks = settle_one (fixture, i % 2 == 0 ? fixture->a : fixture->b);

      g_assert_cmpuint (looks, <=, 2 + 2 * (length - queue->waiting.length));
    }
  g_assert_cmpuint (queue->waiting.length, <, 2950);
}

/* The queue itself is full, for many routes. */
static void
test_queue (Fixture       *fixture,
            gconstpointer  data)
{
  EvbusQueue *queue = fixture->broker->queue;
  EvbusTake take;
  GQueue done = G_QUEUE_INIT;
  guint64 before;

  evbus_take_init (&take);
  evbus_queue_set_budget (queue, 8, 1 << 20, &done);
  g_assert_cmpuint (done.length, ==, 0);
  put (fixture, "a", 4);
  put (fixture, "b", 4);
  for (guint i = 0; i < 1000; i++)
    {
      put (fixture, "a", 1);
      put (fixture, "b", 1);
    }
  before = queue->n_looks;
  settle_one (fixture, fixture->a);
  settle_one (fixture, fixture->b);
  g_assert_true (evbus_queue_take (queue, &take));
  g_assert_cmpuint (queue->n_looks - before, <=, 10);
  g_assert_cmpuint (queue->waiting.length, ==, 1998);

  do
    {
      for (guint i = 0; i < take.chunks->len; i++)
        evbus_chunk_unref (take.chunks->pdata[i]);
    }
  while (evbus_queue_take (queue, &take));
  evbus_take_clear (&take);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/waiting-cost/route", Fixture, GUINT_TO_POINTER (4009), set_up, test_route, tear_down);
  g_test_add ("/waiting-cost/shared", Fixture, GUINT_TO_POINTER (3004), set_up, test_shared, tear_down);
  g_test_add ("/waiting-cost/queue", Fixture, GUINT_TO_POINTER (2008), set_up, test_queue, tear_down);
  return g_test_run ();
}
