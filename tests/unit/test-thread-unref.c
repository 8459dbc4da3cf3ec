/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* TS5: the last reference to a broker goes on any thread, at any time, without a
 * stop. In each test the routes' threads have to end by themselves, which the
 * hook sees as the close of its plugin; and the broker is gone at once. */

#include "evbus-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
  GWeakRef weak;
  gint n_done;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("unref");
  fixture->hook->user_data = fixture;
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  g_weak_ref_init (&fixture->weak, fixture->broker);
}

static gboolean
is_gone (Fixture *fixture)
{
  g_autoptr(GObject) object = g_weak_ref_get (&fixture->weak);

  return object == NULL;
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (is_gone (fixture));
  /* What was not delivered is dropped. */
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running) == 0 &&
                         evbus_test_hook_read (fixture->hook, &fixture->hook->n_close) ==
                         evbus_test_hook_read (fixture->hook, &fixture->hook->n_open));
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.delivered, ==, evbus_test_hook_length (fixture->hook));
  g_object_unref (fixture->route);
  g_weak_ref_clear (&fixture->weak);
  evbus_test_hook_free (fixture->hook);
}

static void
drop (Fixture *fixture)
{
  g_object_unref (g_steal_pointer (&fixture->broker));
}

static void
test_not_started (Fixture       *fixture,
                  gconstpointer  data)
{
  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  drop (fixture);
}

static void
test_idle (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_wait_ledger (fixture->route, "delivered=10");
  drop (fixture);
}

static void
test_at_once (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1000);
  drop (fixture);
}

static void
test_while_publishing (Fixture       *fixture,
                       gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1000);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  drop (fixture);
}

static gpointer
drop_in_thread (gpointer data)
{
  drop (data);
  return NULL;
}

static void
test_other_thread (Fixture       *fixture,
                   gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1000);
  g_thread_join (g_thread_new ("dropper", drop_in_thread, fixture));
}

/* On the route's own thread. */
static gboolean
drop_in_publish (EvbusTestHook  *hook,
                 EvbusContext   *ctx,
                 EvbusBatch     *batch,
                 GCancellable   *cancellable,
                 GError        **error)
{
  Fixture *fixture = hook->user_data;

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_test_hook_take (hook, batch, i);
  if (g_atomic_int_compare_and_exchange (&fixture->n_done, 1, 2))
    drop (fixture);
  return TRUE;
}

static void
test_in_publish (Fixture       *fixture,
                 gconstpointer  data)
{
  fixture->hook->publish = drop_in_publish;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1000);
  g_atomic_int_set (&fixture->n_done, 1);
  {
    /* One more publish, if all the others are over. */
    g_autoptr(EvbusBroker) broker = g_weak_ref_get (&fixture->weak);

    if (broker != NULL)
      evbus_test_put_numbers (broker, NULL, 1000, 1);
  }
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_done) == 2);
}

static gboolean
drop_in_open (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              GCancellable   *cancellable,
              GError        **error)
{
  Fixture *fixture = hook->user_data;

  /* Not before start has returned and let go of its own. */
  while (g_atomic_int_get (&fixture->n_done) == 0)
    g_thread_yield ();
  drop (fixture);
  return TRUE;
}

static void
test_in_open (Fixture       *fixture,
              gconstpointer  data)
{
  fixture->hook->open = drop_in_open;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_start (fixture->broker);
  g_atomic_int_set (&fixture->n_done, 1);
}

static void
on_put_done (GObject      *source,
             GAsyncResult *result,
             gpointer      user_data)
{
  Fixture *fixture = user_data;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, &error);

  g_assert_no_error (error);
  drop (fixture);
  fixture->n_done++;
}

static void
test_in_completion (Fixture       *fixture,
                    gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_producer_put_async (EVBUS_PRODUCER (fixture->broker), "number", g_variant_new_int32 (1),
                            NULL, NULL, on_put_done, fixture);
  evbus_test_wait_until (fixture->n_done == 1);
}

static void
on_put_answered (GObject      *source,
                 GAsyncResult *result,
                 gpointer      user_data)
{
  Fixture *fixture = user_data;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, &error);

  g_assert_true (id != NULL || g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED));
  fixture->n_done++;
}

/* Those who wait for room are answered: the task keeps what it needs. */
static void
test_with_waiting (Fixture       *fixture,
                   gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 4);
  for (guint i = 0; i < 10; i++)
    evbus_producer_put_async (EVBUS_PRODUCER (fixture->broker), "number",
                              g_variant_new_uint32 (4 + i), NULL, NULL, on_put_answered, fixture);
  drop (fixture);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (fixture->n_done == 10);
}

static void
on_stopped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Fixture *fixture = user_data;
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_broker_stop_finish (EVBUS_BROKER (source), result, &error));
  g_assert_no_error (error);
  fixture->n_done++;
}

static void
test_while_stopping (Fixture       *fixture,
                     gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1000);
  evbus_broker_stop_async (fixture->broker, NULL, on_stopped, fixture);
  drop (fixture);
  evbus_test_wait_until (fixture->n_done == 1);
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 1000);
}

static void
on_state (EvbusBroker     *broker,
          EvbusRoute      *route,
          EvbusRouteState  state,
          const char      *reason,
          Fixture         *fixture)
{
  if (state == EVBUS_ROUTE_STATE_RUNNING && fixture->broker != NULL)
    {
      drop (fixture);
      fixture->n_done++;
    }
}

static void
test_in_signal (Fixture       *fixture,
                gconstpointer  data)
{
  g_signal_connect (fixture->broker, "route-state-changed", G_CALLBACK (on_state), fixture);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  evbus_test_wait_until (fixture->n_done == 1);
}

static void
on_notify (EvbusRoute *route,
           GParamSpec *pspec,
           Fixture    *fixture)
{
  if (fixture->broker == NULL)
    return;
  drop (fixture);
  fixture->n_done++;
}

static void
test_in_notify (Fixture       *fixture,
                gconstpointer  data)
{
  gulong handler = g_signal_connect (fixture->route, "notify::delivered", G_CALLBACK (on_notify),
                                     fixture);

  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  evbus_test_wait_until (fixture->n_done == 1);
  g_signal_handler_disconnect (fixture->route, handler);
}

static void
on_changed (GListModel *routes,
            guint       position,
            guint       removed,
            guint       added,
            Fixture    *fixture)
{
  if (fixture->broker == NULL)
    return;
  drop (fixture);
  fixture->n_done++;
}

static void
test_in_items_changed (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GListModel) routes = g_object_ref (evbus_broker_get_routes (fixture->broker));
  g_autoptr(EvbusRoute) another = NULL;
  gulong handler;

  evbus_test_iterate ();
  handler = g_signal_connect (routes, "items-changed", G_CALLBACK (on_changed), fixture);
  evbus_test_start (fixture->broker);
  another = evbus_test_add_route (fixture->broker, "internal", "x", NULL);
  evbus_test_wait_until (fixture->n_done == 1);
  g_signal_handler_disconnect (routes, handler);
}

/* Many times, against whatever goes on in the broker's threads just then. */
static void
test_many (Fixture       *fixture,
           gconstpointer  data)
{
  drop (fixture);
  for (guint i = 0; i < 200; i++)
    {
      EvbusBroker *broker = evbus_test_broker_new ();
      EvbusRoute *route = evbus_test_add_hook (broker, fixture->hook, "*", NULL);

      evbus_test_start (broker);
      evbus_test_put_numbers (broker, NULL, 0, i % 7);
      if (i % 3 == 0)
        evbus_test_wait_until (evbus_test_figure (route, "queued") == 0);
      g_object_unref (broker);
      if (i % 2 == 0)
        evbus_test_iterate ();
      g_object_unref (route);
    }
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running) == 0 &&
                         evbus_test_hook_read (fixture->hook, &fixture->hook->n_close) ==
                         evbus_test_hook_read (fixture->hook, &fixture->hook->n_open));
  g_ptr_array_unref (evbus_test_hook_steal (fixture->hook));
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/threads/TS5/not-started", NULL, test_not_started },
    { "/threads/TS5/idle", NULL, test_idle },
    { "/threads/TS5/at-once", NULL, test_at_once },
    { "/threads/TS5/while-publishing", NULL, test_while_publishing },
    { "/threads/TS5/other-thread", NULL, test_other_thread },
    { "/threads/TS5/in-publish", NULL, test_in_publish },
    { "/threads/TS5/in-open", NULL, test_in_open },
    { "/threads/TS5/in-completion", NULL, test_in_completion },
    { "/threads/TS5/with-waiting", "{'overflow': <'block'>, 'window': <{'events': <4>}>}",
      test_with_waiting },
    { "/threads/TS5/while-stopping", NULL, test_while_stopping },
    { "/threads/TS5/in-signal", NULL, test_in_signal },
    { "/threads/TS5/in-notify", NULL, test_in_notify },
    { "/threads/TS5/in-items-changed", NULL, test_in_items_changed },
    { "/threads/TS5/many", NULL, test_many },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
