/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* accepted = delivered + dead + expired + dropped + queued, at every instant. */

#include "evbus-test.h"

#include <string.h>

static void
test_functions (void)
{
  EvbusLedger ledger = { .accepted = 15, .delivered = 1, .dead = 2, .expired = 3, .dropped = 4,
                         .queued = 5, .retried = 6, .unrouted = 7, .duplicates = 8, .repeated = 9 };
  g_autoptr(EvbusLedger) copy = evbus_ledger_copy (&ledger);
  g_autoptr(GVariant) variant = NULL;
  static const struct { const char *name; guint64 value; } figures[] = {
    { "accepted", 30 }, { "delivered", 2 }, { "dead", 4 }, { "expired", 6 }, { "dropped", 8 },
    { "queued", 10 }, { "retried", 12 }, { "unrouted", 14 },
    { "duplicates", 16 }, { "repeated", 18 },
  };

  g_assert_true (evbus_ledger_balances (copy));
  copy->queued = 6;
  g_assert_false (evbus_ledger_balances (copy));
  g_assert_true (evbus_ledger_balances (&ledger));

  evbus_ledger_add (&ledger, &(EvbusLedger) { .accepted = 15, .delivered = 1, .dead = 2,
                                              .expired = 3, .dropped = 4, .queued = 5,
                                              .retried = 6, .unrouted = 7,
                                              .duplicates = 8, .repeated = 9 });
  g_assert_true (evbus_ledger_balances (&ledger));
  variant = g_variant_ref_sink (evbus_ledger_to_variant (&ledger));
  g_assert_cmpstr (g_variant_get_type_string (variant), ==, "a{st}");
  for (guint i = 0; i < G_N_ELEMENTS (figures); i++)
    {
      guint64 value = 0;

      g_assert_true (g_variant_lookup (variant, figures[i].name, "t", &value));
      g_assert_cmpuint (value, ==, figures[i].value);
    }
}

static void
test_boxed (void)
{
  EvbusLedger ledger = { .accepted = 1, .queued = 1 };
  EvbusLedger *copy = g_boxed_copy (EVBUS_TYPE_LEDGER, &ledger);

  g_assert_cmpuint (copy->accepted, ==, 1);
  g_boxed_free (EVBUS_TYPE_LEDGER, copy);
}

/* A broker without routes has an account as well. */
static void
test_empty (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();

  evbus_test_assert_ledger (broker, "accepted=0 unrouted=0 retried=0");
  g_free (evbus_test_put (broker, "k", "1", NULL));
  evbus_test_start (broker);
  g_free (evbus_test_put (broker, "k", "1", NULL));
  evbus_test_stop (broker);
  evbus_test_assert_ledger (broker, "accepted=0 unrouted=2");
}

#define N_PRODUCERS 4
#define N_ROUTES 4
#define N_EVENTS 5000

typedef struct {
  EvbusTestHook *hooks[N_ROUTES];
  EvbusBroker *broker;
  EvbusRoute *routes[N_ROUTES];
  gint n_running;              /* producers */
} Fixture;

/* Of every ten events one is poison, and one fails in every other publish. */
static gboolean
treat_differently (EvbusTestHook  *hook,
                   EvbusContext   *ctx,
                   EvbusBatch     *batch,
                   GCancellable   *cancellable,
                   GError        **error)
{
  guint n_events = evbus_batch_get_n_events (batch);

  for (guint i = 0; i < n_events; i++)
    {
      guint number = evbus_test_event_number (evbus_batch_get_event (batch, i));

      if (number % 10 == 3)
        evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "three");
      else if (number % 10 == 4 && hook->n_publish % 2 == 0)
        evbus_batch_fail (batch, i, EVBUS_OUTCOME_TRANSIENT, "four");
      else
        evbus_test_hook_take (hook, batch, i);
    }
  return TRUE;
}

static gboolean
fail_often (EvbusTestHook  *hook,
            EvbusContext   *ctx,
            EvbusBatch     *batch,
            GCancellable   *cancellable,
            GError        **error)
{
  if (hook->n_publish % 3 != 0)
    return FALSE;
  evbus_batch_confirm_all (batch);
  return TRUE;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  static const struct {
    const char *name, *delivery;
    EvbusTestPublish publish;
  } routes[N_ROUTES] = {
    { "well", "{'window': <{'events': <100000>}>}", NULL },
    { "picky", "{'window': <{'events': <100000>}>, 'retry': <{'min': <'1ms'>, 'max': <'5ms'>}>}",
      treat_differently },
    { "losing", "{'window': <{'events': <50>}>}", NULL },
    { "slow", "{'window': <{'events': <500>}>, 'overflow': <'drop_newest'>, 'max_age': <'20ms'>,"
              " 'retry': <{'min': <'1ms'>, 'max': <'5ms'>}>}", fail_often },
  };

  fixture->broker = evbus_test_broker_new ();
  for (guint i = 0; i < N_ROUTES; i++)
    {
      fixture->hooks[i] = evbus_test_hook_new (routes[i].name);
      fixture->hooks[i]->publish = routes[i].publish;
      fixture->routes[i] = evbus_test_add_hook (fixture->broker, fixture->hooks[i], "*",
                                                routes[i].delivery);
    }
  evbus_test_start (fixture->broker);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_object_unref (fixture->broker);
  for (guint i = 0; i < N_ROUTES; i++)
    {
      g_object_unref (fixture->routes[i]);
      evbus_test_hook_free (fixture->hooks[i]);
    }
}

static gpointer
produce (gpointer data)
{
  Fixture *fixture = data;

  for (guint i = 0; i < N_EVENTS; i++)
    evbus_test_put_numbers (fixture->broker, NULL, i, 1);
  g_atomic_int_add (&fixture->n_running, -1);
  return NULL;
}

/* Figures that never go down, while the balance holds. */
static void
check_snapshot (Fixture     *fixture,
                EvbusLedger *last)
{
  EvbusLedger total;

  for (guint i = 0; i < N_ROUTES; i++)
    {
      EvbusLedger now;

      evbus_route_get_ledger (fixture->routes[i], &now);
      g_assert_true (evbus_ledger_balances (&now));
      g_assert_cmpuint (now.accepted, ==,
                        now.delivered + now.dead + now.expired + now.dropped + now.queued);
      g_assert_cmpuint (now.accepted, >=, last[i].accepted);
      g_assert_cmpuint (now.delivered, >=, last[i].delivered);
      g_assert_cmpuint (now.dead, >=, last[i].dead);
      g_assert_cmpuint (now.expired, >=, last[i].expired);
      g_assert_cmpuint (now.dropped, >=, last[i].dropped);
      last[i] = now;
    }
  evbus_broker_get_ledger (fixture->broker, &total);
  g_assert_true (evbus_ledger_balances (&total));
}

static void
test_every_instant (Fixture       *fixture,
                    gconstpointer  data)
{
  EvbusLedger last[N_ROUTES] = { { 0, }, };
  GThread *threads[N_PRODUCERS];
  guint n_snapshots = 0;

  fixture->n_running = N_PRODUCERS;
  for (guint i = 0; i < N_PRODUCERS; i++)
    threads[i] = g_thread_new ("producer", produce, fixture);
  while (g_atomic_int_get (&fixture->n_running) > 0 ||
         evbus_test_figure (fixture->broker, "queued") > 0)
    {
      check_snapshot (fixture, last);
      evbus_test_iterate ();
      n_snapshots++;
    }
  for (guint i = 0; i < N_PRODUCERS; i++)
    g_thread_join (threads[i]);
  g_test_message ("%u snapshots", n_snapshots);
  evbus_test_stop (fixture->broker);

  for (guint i = 0; i < N_ROUTES; i++)
    g_assert_cmpuint (evbus_test_figure (fixture->routes[i], "accepted"), ==,
                      N_PRODUCERS * N_EVENTS);
  evbus_test_assert_ledger (fixture->routes[0], "accepted=20000 delivered=20000");
  evbus_test_assert_ledger (fixture->routes[1], "accepted=20000 delivered=18000 dead=2000");
  for (guint i = 0; i < 3; i++)
    g_assert_cmpuint (evbus_test_hook_length (fixture->hooks[i]), ==,
                      evbus_test_figure (fixture->routes[i], "delivered"));
  /* The totals are the sums: evbus_test_stop () has compared them. */
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "accepted"), ==,
                    N_ROUTES * N_PRODUCERS * N_EVENTS);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "unrouted"), ==, 0);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);
  g_test_add_func ("/ledger/functions", test_functions);
  g_test_add_func ("/ledger/boxed", test_boxed);
  g_test_add_func ("/ledger/empty", test_empty);
  g_test_add ("/ledger/every-instant", Fixture, NULL, set_up, test_every_instant, tear_down);
  return g_test_run ();
}
