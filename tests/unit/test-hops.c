/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Events that cause events: no deadlock, and no loop for ever. */

#include "evbus-test.h"

#include <string.h>

#define MAX_HOPS 8             /* doc/limits.md */

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *route;
  const char *target;          /* the profile of what publish puts */
  gboolean async;
  gint n_puts, n_put_async_done, n_cut, n_other_errors;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("loop");
  fixture->hook->user_data = fixture;
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "loop*", data);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_stop (fixture->broker);
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.accepted, ==, ledger.delivered);
  g_assert_cmpint (fixture->n_other_errors, ==, 0);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static void
count_result (Fixture *fixture,
              char    *id,
              GError  *error)
{
  g_atomic_int_inc (&fixture->n_puts);
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_HOP_LIMIT))
    g_atomic_int_inc (&fixture->n_cut);
  else if (error != NULL)
    g_atomic_int_inc (&fixture->n_other_errors);
  g_assert_true ((id == NULL) == (error != NULL));
  g_free (id);
}

static void
on_put_done (GObject      *source,
             GAsyncResult *result,
             gpointer      user_data)
{
  g_autoptr(GError) error = NULL;
  char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, &error);
  Fixture *fixture = user_data;

  count_result (fixture, id, error);
  g_atomic_int_inc (&fixture->n_put_async_done);
}

/* Each delivery puts another event. */
static gboolean
put_again (EvbusTestHook  *hook,
           EvbusContext   *ctx,
           EvbusBatch     *batch,
           GCancellable   *cancellable,
           GError        **error)
{
  Fixture *fixture = hook->user_data;

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      evbus_test_hook_take (hook, batch, i);
      if (fixture->async)
        evbus_producer_put_async (fixture->producer, "k", g_variant_new_int32 (1), fixture->target,
                                  NULL, on_put_done, fixture);
      else
        {
          g_autoptr(GError) put_error = NULL;
          char *id = evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (1),
                                                fixture->target, &put_error);

          count_result (fixture, id, put_error);
        }
    }
  return TRUE;
}

/* The same, in one publish as far as it goes. */
static gboolean
put_and_extend (EvbusTestHook  *hook,
                EvbusContext   *ctx,
                EvbusBatch     *batch,
                GCancellable   *cancellable,
                GError        **error)
{
  Fixture *fixture = hook->user_data;
  guint n_done = 0;

  while (n_done < evbus_batch_get_n_events (batch))
    {
      gint64 deadline = g_get_monotonic_time () + G_USEC_PER_SEC / 10;
      g_autoptr(GError) put_error = NULL;
      gboolean cut;
      char *id;

      evbus_test_hook_take (hook, batch, n_done++);
      id = evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (1), fixture->target, &put_error);
      cut = id == NULL;
      count_result (fixture, id, put_error);
      while (!cut && evbus_batch_extend (batch) == 0 && g_get_monotonic_time () < deadline)
        g_thread_yield ();
    }
  return TRUE;
}

/* The loop came to its end by itself, at the limit. */
static void
expect_cut (Fixture *fixture)
{
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_cut) == 1);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=9 delivered=9");
  for (guint i = 0; i <= MAX_HOPS; i++)
    g_assert_cmpuint (evbus_event_get_hops (evbus_test_hook_peek (fixture->hook, i)), ==, i);
  g_assert_cmpint (fixture->n_puts, ==, MAX_HOPS + 1);
}

static void
test_publish (Fixture       *fixture,
              gconstpointer  data)
{
  g_autofree char *id = NULL;

  fixture->hook->publish = put_again;
  fixture->target = "loop";
  evbus_test_start (fixture->broker);
  id = evbus_test_put (fixture->broker, "k", "1", "loop");
  expect_cut (fixture);
}

static void
test_extended (Fixture       *fixture,
               gconstpointer  data)
{
  g_autofree char *id = NULL;

  fixture->hook->publish = put_and_extend;
  fixture->target = "loop";
  evbus_test_start (fixture->broker);
  id = evbus_test_put (fixture->broker, "k", "1", "loop");
  expect_cut (fixture);
  /* Or it was no test of that. */
  g_assert_cmpuint (fixture->hook->n_publish, <, MAX_HOPS);
}

/* The completion comes in the route's own context, which is iterated. */
static void
test_publish_async (Fixture       *fixture,
                    gconstpointer  data)
{
  fixture->async = TRUE;
  test_publish (fixture, data);
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_put_async_done) == MAX_HOPS + 1);
}

static gboolean
put_in_open (EvbusTestHook  *hook,
             EvbusContext   *ctx,
             GCancellable   *cancellable,
             GError        **error)
{
  Fixture *fixture = hook->user_data;
  char *id = evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (1), "loop",
                                        NULL);

  count_result (fixture, id, NULL);
  evbus_producer_put_async (fixture->producer, "k", g_variant_new_int32 (1), "loop", NULL,
                            on_put_done, fixture);
  return TRUE;
}

static void
test_open (Fixture       *fixture,
           gconstpointer  data)
{
  g_autofree char *id = NULL;

  fixture->hook->open = put_in_open;
  evbus_test_start (fixture->broker);
  id = evbus_test_put (fixture->broker, "k", "1", "loop");
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_puts) == 2);
  evbus_test_wait_ledger (fixture->route, "accepted=3 delivered=3");
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (evbus_event_get_hops (evbus_test_hook_peek (fixture->hook, i)), ==, 0);
}

/* With a window of one event that never lets go inside publish: refused or
 * dropped, but never a deadlock. */
static void
test_publish_full (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autofree char *id = NULL;

  fixture->hook->publish = put_again;
  fixture->target = "loop";
  evbus_test_start (fixture->broker);
  id = evbus_test_put (fixture->broker, "k", "1", "loop");
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_puts) == 1);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
  g_assert_cmpint (fixture->n_other_errors, ==, 1);
  fixture->n_other_errors = 0;
}

/* A broker of the same process is part of the loop as well. */
static void
test_two_brokers (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("loop2");
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, hook, "*", NULL);
  Fixture back = { .producer = fixture->producer, .target = "loop" };
  g_autofree char *id = NULL;

  fixture->hook->publish = put_again;
  fixture->producer = EVBUS_PRODUCER (broker);
  hook->publish = put_again;
  hook->user_data = &back;
  evbus_test_start (fixture->broker);
  evbus_test_start (broker);
  id = evbus_test_put (fixture->broker, "k", "1", "loop");
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_cut) + g_atomic_int_get (&back.n_cut) == 1);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=5");
  evbus_test_wait_ledger (route, "accepted=4 delivered=4");
  evbus_test_stop (broker);
  evbus_test_assert_ledger (route, "accepted=4 delivered=4");
}

/* Puts one event for each of the batch; puts none for what was put so. */
static gboolean
put_on (EvbusTestHook  *hook,
        EvbusContext   *ctx,
        EvbusBatch     *batch,
        GCancellable   *cancellable,
        GError        **error)
{
  Fixture *fixture = hook->user_data;

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      EvbusEvent *event = evbus_batch_get_event (batch, i);
      g_autofree char *id = NULL;

      if (strcmp (evbus_event_get_routing_key (event), "on") != 0)
        id = evbus_test_put (EVBUS_BROKER (fixture->producer), "on", "1", NULL);
      evbus_test_hook_take (hook, batch, i);
    }
  return TRUE;
}

/* A put in publish counts from the event of its batch with the most hops, and
 * from no event of another batch. @delivery: how large a batch is; @second: the
 * hops of what is put for the second event, which has none. */
static void
expect_hops (Fixture    *fixture,
             const char *delivery,
             guint       second)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("on");
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, hook, "*", delivery);
  Fixture on = { .producer = EVBUS_PRODUCER (broker) };

  fixture->hook->publish = put_again;
  fixture->producer = EVBUS_PRODUCER (broker);
  hook->publish = put_on;
  hook->user_data = &on;
  evbus_test_start (fixture->broker);

  /* One of one hop, one of none, in one run. */
  g_free (evbus_test_put (fixture->broker, "number", "1", "loop"));
  evbus_test_wait_ledger (fixture->route, "delivered=1");
  evbus_test_put_numbers (broker, NULL, 0, 1);
  evbus_test_start (broker);
  evbus_test_wait_ledger (route, "delivered=4");
  g_assert_cmpuint (evbus_event_get_hops (evbus_test_hook_peek (hook, 0)), ==, 1);
  g_assert_cmpuint (evbus_event_get_hops (evbus_test_hook_peek (hook, 1)), ==, 0);
  g_assert_cmpuint (evbus_event_get_hops (evbus_test_hook_peek (hook, 2)), ==, 2);
  g_assert_cmpuint (evbus_event_get_hops (evbus_test_hook_peek (hook, 3)), ==, second);
  evbus_test_stop (broker);
  evbus_test_assert_ledger (route, "accepted=4 delivered=4");
}

static void
test_batch (Fixture       *fixture,
            gconstpointer  data)
{
  expect_hops (fixture, "{'batch': <{'events': <2>}>}", 2);
}

static void
test_other_batch (Fixture       *fixture,
                  gconstpointer  data)
{
  expect_hops (fixture, "{'batch': <{'events': <1>}>}", 1);
}

typedef struct {
  Fixture *fixture;
  EvbusMailbox *mailbox;
  guint n_taken, last_hops;
  gboolean closed;
} Consumer;

static void
on_event (GObject      *source,
          GAsyncResult *result,
          gpointer      user_data)
{
  Consumer *consumer = user_data;
  g_autoptr(GError) error = NULL, put_error = NULL;
  g_autoptr(EvbusEvent) event = NULL;
  char *id;

  event = evbus_mailbox_get_finish (EVBUS_MAILBOX (source), result, &error);
  if (event == NULL)
    {
      /* The broker has stopped. */
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
      consumer->closed = TRUE;
      return;
    }
  consumer->n_taken++;
  consumer->last_hops = evbus_event_get_hops (event);
  evbus_mailbox_get_async (consumer->mailbox, NULL, NULL, on_event, consumer);
  id = evbus_producer_put_nowait (consumer->fixture->producer, "k", g_variant_new_int32 (1),
                                  "mail", &put_error);
  count_result (consumer->fixture, id, put_error);
}

/* A consumer that puts what it got back where it came from. */
static void
test_consumer (Fixture       *fixture,
               gconstpointer  data)
{
  g_autoptr(EvbusRoute) route = NULL;
  Consumer consumer = { .fixture = fixture };
  g_autofree char *id = NULL, *unrelated = NULL;

  route = evbus_test_add_route (fixture->broker, "internal", "mail", NULL);
  consumer.mailbox = evbus_route_get_mailbox (route);
  evbus_test_start (fixture->broker);
  id = evbus_test_put (fixture->broker, "k", "1", "mail");
  evbus_mailbox_get_async (consumer.mailbox, NULL, NULL, on_event, &consumer);
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_cut) == 1);
  g_assert_cmpuint (consumer.n_taken, ==, MAX_HOPS + 1);
  g_assert_cmpuint (consumer.last_hops, ==, MAX_HOPS);

  /* What is put here now was caused by no event. */
  unrelated = evbus_test_put (fixture->broker, "k", "1", "mail");
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_cut) == 2);
  g_assert_cmpuint (consumer.n_taken, ==, 2 * (MAX_HOPS + 1));
  g_assert_cmpuint (consumer.last_hops, ==, MAX_HOPS);
  evbus_test_stop (fixture->broker);
  evbus_test_wait_until (consumer.closed);
  evbus_test_assert_ledger (route, "accepted=18 delivered=18");
}

/* A program that puts and takes in turn, with a get that blocks, is no loop: it
 * is never refused. */
static void
test_in_turn (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusRoute) route = evbus_test_add_route (fixture->broker, "internal", "mail", NULL);
  EvbusMailbox *mailbox = evbus_route_get_mailbox (route);

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 10 * MAX_HOPS; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_test_put (fixture->broker, "k", "1", "mail");
      g_autoptr(EvbusEvent) event = evbus_mailbox_get (mailbox, NULL, NULL, &error);

      g_assert_no_error (error);
      g_assert_cmpstr (evbus_event_get_id (event), ==, id);
      g_assert_cmpuint (evbus_event_get_hops (event), ==, 0);
    }
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (route, "accepted=80 delivered=80");
}

#define ONE(overflow) "{'overflow': <'" overflow "'>, 'window': <{'events': <1>}>}"

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/hops/publish/nowait", NULL, test_publish },
    { "/hops/publish/async", NULL, test_publish_async },
    { "/hops/publish/extended", "{'batch': <1>}", test_extended },
    { "/hops/open", NULL, test_open },
    { "/hops/publish/reject", ONE ("reject"), test_publish_full },
    { "/hops/publish/block", ONE ("block"), test_publish_full },
    { "/hops/batch/same", NULL, test_batch },
    { "/hops/batch/other", NULL, test_other_batch },
    { "/hops/two-brokers", NULL, test_two_brokers },
    { "/hops/consumer/context", NULL, test_consumer },
    { "/hops/in-turn", NULL, test_in_turn },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
