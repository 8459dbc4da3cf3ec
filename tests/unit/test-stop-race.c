/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Stops that come at an awkward moment, and who must hear of them even so. */

#include "stop-test.h"

static void
expect_closed (Fixture      *fixture,
               EvbusRoute   *route,
               GAsyncResult *result)
{
  g_autoptr(GError) error = NULL;

  g_assert_null (evbus_mailbox_get_finish (evbus_route_get_mailbox (route), result, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
}

/* Who waits on the mailbox of a route that is given up is told. */
static void
test_consumer_of_stuck (Fixture       *fixture,
                        gconstpointer  data)
{
  g_autoptr(GAsyncResult) got = NULL;

  fixture->hook->deaf = TRUE;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 5);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_mailbox_get_async (evbus_route_get_mailbox (fixture->route), NULL, NULL,
                           evbus_test_store_result, &got);
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_wait_until (got != NULL);
  expect_closed (fixture, fixture->route, got);
  evbus_test_assert_ledger (fixture->route, "accepted=5 dropped=5");
}

/* … and of one that never began, whether there was something in it or not. */
static void
test_consumer_of_unstarted (Fixture       *fixture,
                            gconstpointer  data)
{
  g_autoptr(EvbusRoute) empty = evbus_test_add_route (fixture->broker, "internal", "nothing", NULL);
  g_autoptr(GAsyncResult) got = NULL, got_nothing = NULL;

  evbus_mailbox_get_async (evbus_route_get_mailbox (fixture->route), NULL, NULL,
                           evbus_test_store_result, &got);
  evbus_mailbox_get_async (evbus_route_get_mailbox (empty), NULL, NULL,
                           evbus_test_store_result, &got_nothing);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 5);
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_wait_until (got != NULL && got_nothing != NULL);
  expect_closed (fixture, fixture->route, got);
  expect_closed (fixture, empty, got_nothing);
  evbus_test_assert_ledger (fixture->route, "accepted=5 dropped=5");
}

/* … and of one that waits for the end of the route in whose place it comes. */
static void
test_consumer_of_successor (Fixture       *fixture,
                            gconstpointer  data)
{
  g_autoptr(EvbusRoute) successor = NULL;
  g_autoptr(GAsyncResult) got = NULL;
  GListModel *routes = evbus_broker_get_routes (fixture->broker);

  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, NULL));
  evbus_test_apply (fixture->broker, "hook: {'*': {name: stop}}\n");
  fixture->hook->deaf = TRUE;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 5);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_apply (fixture->broker, "hook: {'*': {name: stop, delivery: {batch: 3}}}\n");
  successor = g_list_model_get_item (routes, g_list_model_get_n_items (routes) - 1);
  evbus_test_put_numbers (fixture->broker, NULL, 5, 5);
  evbus_mailbox_get_async (evbus_route_get_mailbox (successor), NULL, NULL,
                           evbus_test_store_result, &got);
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_wait_until (got != NULL);
  expect_closed (fixture, successor, got);
  evbus_test_assert_ledger (successor, "accepted=5 dropped=5");
  evbus_test_assert_ledger (fixture->broker, "accepted=10 dropped=10");
}

typedef struct {
  EvbusBroker *broker;
  gint *ready;
  char *answer;
} Stopper;

static gpointer
stop_in_thread (gpointer data)
{
  Stopper *stopper = data;
  g_autoptr(GMainContext) context = g_main_context_new ();
  g_autoptr(GAsyncResult) stopped = NULL;
  g_autoptr(GError) error = NULL;

  g_main_context_push_thread_default (context);
  g_atomic_int_add (stopper->ready, -1);
  while (g_atomic_int_get (stopper->ready) > 0)
    g_thread_yield ();
  evbus_broker_stop_async (stopper->broker, NULL, evbus_test_store_result, &stopped);
  evbus_test_wait_until (stopped != NULL);
  g_assert_false (evbus_broker_stop_finish (stopper->broker, stopped, &error));
  stopper->answer = g_strdup (error->message);
  g_main_context_pop_thread_default (context);
  return NULL;
}

/* Several stops of a broker that was not started, at the same time. */
static void
test_before_start (Fixture       *fixture,
                   gconstpointer  data)
{
  for (guint round = 0; round < 50; round++)
    {
      g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
      g_autoptr(EvbusRoute) odd = evbus_test_add_route (broker, "internal", "odd", NULL);
      g_autoptr(EvbusRoute) even = evbus_test_add_route (broker, "internal", "even", NULL);
      Stopper stoppers[2];
      GThread *threads[G_N_ELEMENTS (stoppers)];
      gint ready = G_N_ELEMENTS (stoppers);

      for (guint i = 0; i < 500; i++)
        evbus_test_put_numbers (broker, i % 2 == 0 ? "even" : "odd", i, 1);
      for (guint i = 0; i < G_N_ELEMENTS (stoppers); i++)
        {
          stoppers[i] = (Stopper) { .broker = broker, .ready = &ready };
          threads[i] = g_thread_new ("stopper", stop_in_thread, &stoppers[i]);
        }
      for (guint i = 0; i < G_N_ELEMENTS (stoppers); i++)
        {
          g_thread_join (threads[i]);
          evbus_test_assert_says (stoppers[i].answer, "^500 events.*internal 'even'");
          g_free (stoppers[i].answer);
        }
      evbus_test_assert_ledger (broker, "accepted=500 dropped=500");
    }
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/stop/race/consumer/stuck", NULL, test_consumer_of_stuck },
    { "/stop/race/consumer/unstarted", NULL, test_consumer_of_unstarted },
    { "/stop/race/consumer/successor", NULL, test_consumer_of_successor },
    { "/stop/race/before-start", NULL, test_before_start },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, stop_set_up, tests[i].run, stop_tear_down);
  return g_test_run ();
}
