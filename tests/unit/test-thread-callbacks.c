/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* TS2, TS3, TS4: where callbacks come, and what may be done in them. */

#include "hook-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *route;
  GThread *creator;
  GMainContext *context;       /* its thread-default */
  guint n_signals, n_notifies, n_changes;
  guint n_puts;                /* from inside callbacks, answered */
  gboolean putting;            /* callbacks put */
} Fixture;

static gboolean
take_or_poison (EvbusTestHook  *hook,
                EvbusContext   *ctx,
                EvbusBatch     *batch,
                GCancellable   *cancellable,
                GError        **error)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      const char *key = evbus_event_get_routing_key (evbus_batch_get_event (batch, i));

      if (strcmp (key, "poison") == 0)
        evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "as it was asked for");
      else
        evbus_test_hook_take (hook, batch, i);
    }
  return TRUE;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("callbacks");
  fixture->hook->publish = take_or_poison;
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->creator = g_thread_self ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  evbus_test_iterate ();
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  g_signal_handlers_disconnect_by_data (fixture->broker, fixture);
  g_signal_handlers_disconnect_by_data (fixture->route, fixture);
  g_signal_handlers_disconnect_by_data (evbus_broker_get_routes (fixture->broker), fixture);
  hook_end (fixture->hook, fixture->broker, fixture->route);
}

/* TS2 */

typedef struct {
  Fixture *fixture;
  GMainContext *context;
  gboolean returned;           /* the function that started it */
  guint n_done;
} Caller;

static void
on_put_in_caller (GObject      *source,
                  GAsyncResult *result,
                  gpointer      user_data)
{
  Caller *caller = user_data;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, &error);

  g_assert_no_error (error);
  g_assert_true (caller->returned);
  g_assert_true (g_main_context_get_thread_default () == caller->context);
  g_assert_true (g_main_context_is_owner (caller->context));
  caller->n_done++;
}

static gpointer
put_in_own_context (gpointer data)
{
  Fixture *fixture = data;
  Caller caller = { .fixture = fixture, .context = g_main_context_new () };

  g_main_context_push_thread_default (caller.context);
  for (guint i = 0; i < 200; i++)
    {
      caller.returned = FALSE;
      evbus_producer_put_async (fixture->producer, "k", g_variant_new_uint32 (i), NULL, NULL,
                                on_put_in_caller, &caller);
      caller.returned = TRUE;
      if (i % 20 == 0)
        evbus_test_wait_until (caller.n_done == i + 1);
    }
  evbus_test_wait_until (caller.n_done == 200);
  g_main_context_pop_thread_default (caller.context);
  g_main_context_unref (caller.context);
  return NULL;
}

/* Also the answers that have to wait for room. */
static void
test_completions (Fixture       *fixture,
                  gconstpointer  data)
{
  GThread *threads[4];

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("caller", put_in_own_context, fixture);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  evbus_test_wait_ledger (fixture->route, "accepted=800 delivered=800");
}

static void
on_stopped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Caller *caller = user_data;
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_broker_stop_finish (EVBUS_BROKER (source), result, &error));
  g_assert_no_error (error);
  evbus_test_assert_ledger (caller->fixture->route, "accepted=500 delivered=500");
  g_assert_true (caller->returned);
  g_assert_true (g_main_context_is_owner (caller->context));
  caller->n_done++;
}

static gpointer
stop_in_own_context (gpointer data)
{
  Caller caller = { .fixture = data, .context = g_main_context_new () };

  g_main_context_push_thread_default (caller.context);
  evbus_broker_stop_async (caller.fixture->broker, NULL, on_stopped, &caller);
  caller.returned = TRUE;
  evbus_test_wait_until (caller.n_done == 1);
  g_main_context_pop_thread_default (caller.context);
  g_main_context_unref (caller.context);
  return NULL;
}

/* Each stop ends when all is delivered, not only the first. */
static void
test_stop_completions (Fixture       *fixture,
                       gconstpointer  data)
{
  GThread *threads[4];

  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 500);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("stopper", stop_in_own_context, fixture);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  evbus_test_assert_ledger (fixture->route, "accepted=500 delivered=500");
}

/* TS3 and TS4 */

static void
on_put_from_callback (GObject      *source,
                      GAsyncResult *result,
                      gpointer      user_data)
{
  Fixture *fixture = user_data;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, &error);

  fixture->n_puts++;
}

/* Both ways; neither may wait, whether there is room or not. */
static void
in_callback (Fixture *fixture)
{
  g_autofree char *id = NULL;

  g_assert_true (g_thread_self () == fixture->creator);
  g_assert_true (g_main_context_get_thread_default () == fixture->context);
  if (!fixture->putting)
    return;
  id = evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (1), NULL, NULL);
  evbus_producer_put_async (fixture->producer, "k", g_variant_new_int32 (1), NULL, NULL,
                            on_put_from_callback, fixture);
}

static void
on_event_failed (EvbusBroker *broker,
                 EvbusRoute  *route,
                 EvbusEvent  *event,
                 const char  *reason,
                 guint64      missed,
                 Fixture     *fixture)
{
  fixture->n_signals++;
  in_callback (fixture);
}

static void
on_state_changed (EvbusBroker     *broker,
                  EvbusRoute      *route,
                  EvbusRouteState  state,
                  const char      *reason,
                  Fixture         *fixture)
{
  fixture->n_signals++;
  in_callback (fixture);
}

static void
on_notify (EvbusRoute *route,
           GParamSpec *pspec,
           Fixture    *fixture)
{
  fixture->n_notifies++;
  in_callback (fixture);
}

static void
on_items_changed (GListModel *routes,
                  guint       position,
                  guint       removed,
                  guint       added,
                  Fixture    *fixture)
{
  fixture->n_changes++;
  in_callback (fixture);
}

static void
listen_to_all (Fixture *fixture)
{
  g_signal_connect (fixture->broker, "event-failed", G_CALLBACK (on_event_failed), fixture);
  g_signal_connect (fixture->broker, "route-state-changed", G_CALLBACK (on_state_changed), fixture);
  g_signal_connect (fixture->route, "notify", G_CALLBACK (on_notify), fixture);
  g_signal_connect (evbus_broker_get_routes (fixture->broker), "items-changed",
                    G_CALLBACK (on_items_changed), fixture);
}

/* All causes are on threads whose context is another. */
static gpointer
cause_all (gpointer data)
{
  Fixture *fixture = data;
  g_autoptr(GMainContext) context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 20; i++)
    {
      g_autoptr(EvbusRoute) route = NULL;
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_test_put (fixture->broker, "poison", "1", NULL);

      route = evbus_test_add_route (fixture->broker, "internal", "nobody", NULL);
      evbus_test_put_numbers (fixture->broker, NULL, i, 1);
      /* The last one stays, or there may be no change to tell. */
      if (i == 19)
        break;
      g_assert_true (evbus_broker_remove_route (fixture->broker, route, &error));
      g_assert_no_error (error);
    }
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_signals (Fixture       *fixture,
              gconstpointer  data)
{
  listen_to_all (fixture);
  g_thread_join (g_thread_new ("causes", cause_all, fixture));
  /* Nothing came while this context was not iterated. */
  g_assert_cmpuint (fixture->n_signals + fixture->n_notifies + fixture->n_changes, ==, 0);
  evbus_test_wait_ledger (fixture->route, "accepted=40 delivered=20 dead=20");
  evbus_test_wait_until (fixture->n_signals >= 21);
  evbus_test_wait_until (fixture->n_changes >= 1);
  evbus_test_wait_until (fixture->n_notifies >= 1);
}

static void
test_put_in_callbacks (Fixture       *fixture,
                       gconstpointer  data)
{
  listen_to_all (fixture);
  fixture->putting = TRUE;
  g_thread_join (g_thread_new ("causes", cause_all, fixture));
  evbus_test_wait_until (fixture->n_signals >= 21);
  evbus_test_wait_until (fixture->n_changes >= 1);
  evbus_test_wait_until (fixture->n_notifies >= 1);
  fixture->putting = FALSE;
  evbus_test_wait_until (fixture->n_puts >= 23);
  evbus_test_wait_ledger (fixture->route, "queued=0");
}

static gpointer
start_broker (gpointer data)
{
  evbus_test_start (data);
  return NULL;
}

/* The broker of another thread tells that thread. */
static gpointer
make_and_listen (gpointer data)
{
  Fixture *outer = data;
  g_autoptr(GMainContext) context = g_main_context_new ();
  Fixture inner = { .creator = g_thread_self (), .context = context };
  EvbusTestHook *hook;

  g_main_context_push_thread_default (context);
  hook = evbus_test_hook_new ("elsewhere");
  {
    g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
    g_autoptr(EvbusRoute) route = NULL;

    g_signal_connect (evbus_broker_get_routes (broker), "items-changed",
                      G_CALLBACK (on_items_changed), &inner);
    route = evbus_test_add_hook (broker, hook, "*", NULL);
    g_thread_join (g_thread_new ("start", start_broker, broker));
    evbus_test_put_numbers (broker, NULL, 0, 10);
    evbus_test_wait_ledger (route, "accepted=10 delivered=10");
    evbus_test_wait_until (inner.n_changes > 0);
    evbus_test_stop (broker);
    outer->n_changes = inner.n_changes;
  }
  evbus_test_hook_free (hook);
  evbus_test_iterate ();
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_other_context (Fixture       *fixture,
                    gconstpointer  data)
{
  g_thread_join (g_thread_new ("maker", make_and_listen, fixture));
  g_assert_cmpuint (fixture->n_changes, >, 0);
}

/* A notification at most four times a second, and the last one tells the truth. */
static void
test_notify_rate (Fixture       *fixture,
                  gconstpointer  data)
{
  gint64 start = g_get_monotonic_time ();
  guint64 delivered = 0;
  guint limit;

  g_signal_connect (fixture->route, "notify::delivered", G_CALLBACK (on_notify), fixture);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 200; i++)
    {
      evbus_test_put_numbers (fixture->broker, NULL, i * 100, 100);
      evbus_test_wait_until (evbus_test_figure (fixture->route, "queued") == 0);
    }
  limit = (guint) ((g_get_monotonic_time () - start) / (G_USEC_PER_SEC / 4)) + 2;
  g_assert_cmpuint (fixture->n_notifies, <=, limit);
  fixture->n_notifies = 0;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_wait_until (fixture->n_notifies > 0);
  evbus_test_wait_ledger (fixture->route, "accepted=20001 delivered=20001");
  g_object_get (fixture->route, "delivered", &delivered, NULL);
  g_assert_cmpuint (delivered, ==, 20001);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/threads/TS2/put", NULL, test_completions },
    { "/threads/TS2/put-waiting", "{'overflow': <'block'>, 'window': <{'events': <3>}>}",
      test_completions },
    { "/threads/TS2/stop", NULL, test_stop_completions },
    { "/threads/TS3/signals", NULL, test_signals },
    { "/threads/TS3/other-context", NULL, test_other_context },
    { "/threads/TS3/notify-rate", NULL, test_notify_rate },
    { "/threads/TS4/callbacks", NULL, test_put_in_callbacks },
    { "/threads/TS4/callbacks-full", "{'overflow': <'reject'>, 'window': <{'events': <64>}>}",
      test_put_in_callbacks },
    { "/threads/TS4/callbacks-waiting", "{'overflow': <'block'>, 'window': <{'events': <64>}>}",
      test_put_in_callbacks },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
