/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Routes to `sink`, which does as it is told: the route says so, and its
 * neighbour is not concerned. */

#include "evbus-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route, *good;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("good");
  fixture->broker = evbus_test_broker_new ();
  evbus_broker_set_stop_timeout (fixture->broker, 300);
  fixture->good = evbus_test_add_hook (fixture->broker, fixture->hook, "*", NULL);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_stop_anyhow (fixture->broker);
  evbus_route_get_ledger (fixture->good, &ledger);
  g_assert_cmpuint (ledger.delivered, ==, ledger.accepted);
  g_object_unref (fixture->good);
  g_clear_object (&fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static void
add_and_put (Fixture    *fixture,
             const char *provider,
             const char *data)
{
  g_clear_object (&fixture->route);
  fixture->route = evbus_test_add_route (fixture->broker, provider, provider, data);
  evbus_test_put_numbers (fixture->broker, provider, 0, 10);
  evbus_test_wait_until (evbus_test_figure (fixture->good, "queued") == 0);
}

static void
remove_route (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
}

/* Each mode of the sink, from its start to the state it leads to. */
static void
test_sink (Fixture       *fixture,
           gconstpointer  data)
{
  static const struct {
    const char *mode;
    EvbusRouteState state;
    const char *figure;        /* of the ten events, where they all end */
  } cases[] = {
    { "confirm", EVBUS_ROUTE_STATE_RUNNING, "delivered" },
    { "transient", EVBUS_ROUTE_STATE_RETRYING, "queued" },
    { "broken", EVBUS_ROUTE_STATE_BROKEN, "queued" },
    { "poison", EVBUS_ROUTE_STATE_RUNNING, "dead" },
    { "block", EVBUS_ROUTE_STATE_RETRYING, "queued" },
    { "unmarked", EVBUS_ROUTE_STATE_RETRYING, "queued" },
    { "fail-first", EVBUS_ROUTE_STATE_RUNNING, "delivered" },
  };

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *options = g_strdup_printf (
        "{'mode': <'%s'>, 'delivery': <{'timeout': <'50ms'>,"
        " 'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>}>}", cases[i].mode);

      g_test_message ("%s", cases[i].mode);
      add_and_put (fixture, "sink", options);
      evbus_test_wait_until (evbus_test_figure (fixture->route, cases[i].figure) == 10);
      evbus_test_wait_until (evbus_route_get_state (fixture->route) == cases[i].state);
      remove_route (fixture);
      evbus_test_wait_ledger (fixture->route, "accepted=10 queued=0");
    }
}

/* One that marks nonsense keeps its neighbours from nothing. */
static void
test_nonsense (Fixture       *fixture,
               gconstpointer  data)
{
  /* An outcome that there is not is a programming error, and logged as one. */
  GLogLevelFlags fatal = g_log_set_always_fatal (G_LOG_FATAL_MASK);

  evbus_test_start (fixture->broker);
  add_and_put (fixture, "sink", "{'mode': <'nonsense'>}");
  evbus_test_wait_ledger (fixture->good, "accepted=10 delivered=10");
  evbus_test_wait_until (evbus_route_get_state (fixture->route) != EVBUS_ROUTE_STATE_OPENING);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "accepted"), ==, 10);
  remove_route (fixture);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  g_log_set_always_fatal (fatal);
}

static void
test_poison_key (Fixture       *fixture,
                 gconstpointer  data)
{
  EvbusMailbox *mailbox;
  g_autofree char *first = NULL, *bad = NULL, *last = NULL;

  fixture->route = evbus_test_add_route (fixture->broker, "test-sink", "p",
                                         "{'poison_key': <'bad'>}");
  g_assert_cmpstr (evbus_route_get_provider (fixture->route), ==, "sink");
  first = evbus_test_put (fixture->broker, "good", "1", "p");
  bad = evbus_test_put (fixture->broker, "bad", "2", "p");
  last = evbus_test_put (fixture->broker, "good", "3", "p");
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=3 delivered=2 dead=1");
  mailbox = evbus_route_get_mailbox (fixture->route);
  {
    g_autoptr(EvbusEvent) one = evbus_mailbox_try_get (mailbox, NULL);
    g_autoptr(EvbusEvent) two = evbus_mailbox_try_get (mailbox, "good");

    g_assert_cmpstr (evbus_event_get_id (one), ==, first);
    g_assert_cmpstr (evbus_event_get_id (two), ==, last);
    g_assert_null (evbus_mailbox_try_get (mailbox, NULL));
  }
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/sink/modes", test_sink },
    { "/sink/nonsense", test_nonsense },
    { "/sink/poison-key", test_poison_key },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
