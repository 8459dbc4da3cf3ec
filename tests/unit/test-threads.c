/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The guarantees of doc/thread-safety.md, apart from TS2 to TS5, which
 * test-thread-callbacks.c and test-thread-unref.c prove. */

#include "evbus-test.h"

#include <string.h>

#define N_THREADS 6

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *route;
  gint next_thread;            /* each takes a number of its own */
  gint n_accepted, n_refused;
  gint end;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("threads");
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*",
                                        "{'overflow': <'reject'>, 'window': <{'events': <50000>}>}");
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.queued, ==, 0);
  g_assert_cmpuint (ledger.delivered, ==, ledger.accepted);
  g_assert_cmpuint (ledger.delivered, ==, evbus_test_hook_length (fixture->hook));
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static void
run_threads (Fixture     *fixture,
             GThreadFunc  function)
{
  GThread *threads[N_THREADS];

  for (guint i = 0; i < N_THREADS; i++)
    threads[i] = g_thread_new ("test", function, fixture);
  for (guint i = 0; i < N_THREADS; i++)
    g_thread_join (threads[i]);
}

/* TS1: every function, in turns, without a loop that could help. */

static char *
number_text (guint thread,
             guint number)
{
  return g_strdup_printf ("%u", thread * 1000000 + number);
}

static void
put_number (Fixture *fixture,
            guint    thread,
            guint    number)
{
  g_autofree char *text = number_text (thread, number), *id = NULL;
  g_autoptr(GBytes) bytes = g_bytes_new (text, strlen (text));
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  GVariant *value = g_variant_ref_sink (g_variant_new_uint32 (thread * 1000000 + number));

  switch (number % 6)
    {
    case 0:
      id = evbus_producer_put_nowait (fixture->producer, "k", value, NULL, &error);
      break;
    case 1:
      id = evbus_producer_put_bytes_nowait (fixture->producer, "k", bytes, "text/plain", NULL,
                                            &error);
      break;
    case 2:
      id = evbus_test_put_options (fixture->broker, "k", value, NULL, NULL, NULL, &error);
      break;
    case 3:
      evbus_producer_put_bytes_async (fixture->producer, "k", bytes, "text/plain", NULL, NULL,
                                      evbus_test_store_result, &result);
      evbus_test_wait_until (result != NULL);
      id = evbus_producer_put_bytes_finish (fixture->producer, result, &error);
      break;
    default:
      {
        GVariant *event = g_variant_new ("(svs)", "k", value, "");
        GVariant *events = g_variant_new_array (NULL, &event, 1);
        g_auto(GStrv) ids = number % 6 == 4 ? evbus_producer_put_many_nowait (fixture->producer, events, &error)
                                            : evbus_test_put_many (fixture->broker, events, &error);

        id = ids != NULL ? g_strdup (ids[0]) : NULL;
      }
    }
  g_variant_unref (value);
  g_assert_no_error (error);
  g_assert_nonnull (id);
}

static gpointer
put_in_turns (gpointer data)
{
  Fixture *fixture = data;
  guint thread = (guint) g_atomic_int_add (&fixture->next_thread, 1);
  g_autoptr(GMainContext) context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < 1000; i++)
    put_number (fixture, thread, i);
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_put (Fixture       *fixture,
          gconstpointer  data)
{
  guint next[N_THREADS] = { 0, };

  evbus_test_start (fixture->broker);
  run_threads (fixture, put_in_turns);
  evbus_test_wait_ledger (fixture->route, "accepted=6000 delivered=6000");
  for (guint i = 0; i < N_THREADS * 1000; i++)
    {
      guint number = evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i));

      g_assert_cmpuint (number % 1000000, ==, next[number / 1000000]);
      next[number / 1000000]++;
    }
}

/* TS6 */

static gpointer
change_routes (gpointer data)
{
  Fixture *fixture = data;
  guint thread = (guint) g_atomic_int_add (&fixture->next_thread, 1);

  for (guint i = 0; i < 60; i++)
    {
      g_autofree char *profile = g_strdup_printf ("t%u-*", thread);
      g_autoptr(EvbusRoute) route = NULL;
      g_autoptr(GPtrArray) explanations = NULL;
      g_autoptr(GError) error = NULL;
      EvbusLedger ledger;

      route = evbus_test_add_route (fixture->broker, "internal", profile, NULL);
      evbus_test_put_numbers (fixture->broker, profile, i, 3);
      explanations = evbus_broker_explain (fixture->broker, profile, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (explanations->len, >=, 2);
      evbus_broker_get_ledger (fixture->broker, &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
      g_assert_true (evbus_broker_remove_route (fixture->broker, route, &error));
      g_assert_no_error (error);
      evbus_route_get_ledger (route, &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
      g_assert_cmpuint (ledger.accepted, ==, 3);
    }
  return NULL;
}

static void
test_routes (Fixture       *fixture,
             gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  run_threads (fixture, change_routes);
  evbus_test_iterate ();
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker)), ==, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=1080 delivered=1080");
}

static gpointer
apply_profiles (gpointer data)
{
  Fixture *fixture = data;

  for (guint i = 0; i < 30; i++)
    evbus_test_apply (fixture->broker, i % 2 == 0
                      ? "internal:\n  a: {}\nhook:\n  '*': {name: threads}\n"
                      : "hook:\n  '*': {name: threads}\ninternal:\n  b: {}\n");
  return NULL;
}

static void
test_apply (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
  g_object_unref (fixture->route);
  evbus_test_apply (fixture->broker, "hook:\n  '*': {name: threads}\n");
  fixture->route = g_list_model_get_item (evbus_broker_get_routes (fixture->broker), 0);
  evbus_test_start (fixture->broker);
  run_threads (fixture, apply_profiles);
  evbus_test_iterate ();
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker)), ==, 2);
  evbus_test_put_numbers (fixture->broker, "x", 0, 10);
  evbus_test_wait_ledger (fixture->route, "accepted=10 delivered=10");
}

/* TS7 */
static void
test_one_thread (Fixture       *fixture,
                 gconstpointer  data)
{
  EvbusTestHook *hook = fixture->hook;

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 200; i++)
    {
      evbus_test_put_numbers (fixture->broker, NULL, i, 1);
      if (i % 10 == 0)
        evbus_test_wait_until (evbus_test_hook_length (hook) == i + 1);
    }
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (hook->n_open, ==, 1);
  g_assert_cmpuint (hook->n_close, ==, 1);
  g_assert_cmpuint (hook->n_overlaps, ==, 0);
  g_assert_cmpuint (hook->n_strays, ==, 0);
  g_assert_true (hook->thread != g_thread_self ());
  g_assert_nonnull (hook->context);
  evbus_test_assert_ledger (fixture->route, "accepted=200 delivered=200");
}

static gboolean
count_tick (gpointer data)
{
  g_atomic_int_inc ((gint *) data);
  return G_SOURCE_REMOVE;
}

static gboolean
attach_source (EvbusTestHook  *hook,
               EvbusContext   *ctx,
               GCancellable   *cancellable,
               GError        **error)
{
  Fixture *fixture = hook->user_data;
  g_autoptr(GSource) source = g_timeout_source_new (1);

  g_source_set_callback (source, count_tick, &fixture->n_accepted, NULL);
  g_source_attach (source, g_main_context_get_thread_default ());
  return TRUE;
}

/* Sources that a plugin attaches run between its calls, with no event coming. */
static void
test_context_iterated (Fixture       *fixture,
                       gconstpointer  data)
{
  fixture->hook->user_data = fixture;
  fixture->hook->open = attach_source;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 1);
  evbus_test_wait_until (g_atomic_int_get (&fixture->n_accepted) == 1);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
}

/* TS8 */

static gpointer
read_everything (gpointer data)
{
  Fixture *fixture = data;
  static const char *const names[] = {
    "accepted", "delivered", "dead", "expired", "dropped", "queued", "retried",
  };

  while (!g_atomic_int_get (&fixture->end))
    {
      g_autofree char *reason = evbus_route_dup_reason (fixture->route);
      g_autofree char *property = NULL, *provider = NULL, *profile = NULL;
      EvbusRouteState state;
      EvbusLedger ledger;

      for (guint i = 0; i < G_N_ELEMENTS (names); i++)
        {
          guint64 value = G_MAXUINT64;

          g_object_get (fixture->route, names[i], &value, NULL);
          g_assert_cmpuint (value, <=, 20000);
        }
      g_object_get (fixture->route, "reason", &property, "state", &state, "provider", &provider,
                    "profile", &profile, NULL);
      g_assert_cmpstr (provider, ==, "hook");
      g_assert_cmpstr (profile, ==, "*");
      evbus_route_get_ledger (fixture->route, &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
      evbus_broker_get_ledger (fixture->broker, &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
    }
  return NULL;
}

static void
test_read (Fixture       *fixture,
           gconstpointer  data)
{
  GThread *threads[2];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("reader", read_everything, fixture);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 5000);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 15000);
  evbus_test_wait_ledger (fixture->route, "accepted=20000 delivered=20000");
  g_atomic_int_set (&fixture->end, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

/* TS9 */
static void
test_independent (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("other");
  g_autoptr(EvbusRoute) route = NULL, dropped = NULL;
  EvbusBroker *stopped = evbus_test_broker_new (), *gone = evbus_test_broker_new ();

  route = evbus_test_add_hook (stopped, hook, "*", NULL);
  dropped = evbus_test_add_hook (gone, hook, "*", NULL);
  evbus_test_hook_hold (hook);
  evbus_test_start (stopped);
  evbus_test_start (gone);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (stopped, NULL, 0, 10);
  evbus_test_put_numbers (gone, NULL, 0, 10);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 10);
  evbus_test_wait_ledger (fixture->route, "accepted=10 delivered=10");
  evbus_test_wait_until (evbus_test_hook_read (hook, &hook->n_waiting) == 2);
  g_object_unref (gone);
  evbus_test_put_numbers (fixture->broker, NULL, 10, 10);
  evbus_test_wait_ledger (fixture->route, "accepted=20 delivered=20");
  evbus_test_hook_release (hook);
  evbus_test_stop (stopped);
  evbus_test_assert_ledger (route, "accepted=10 delivered=10");
  g_object_unref (stopped);
  evbus_test_put_numbers (fixture->broker, NULL, 20, 10);
  evbus_test_wait_ledger (fixture->route, "accepted=30 delivered=30");
  evbus_test_wait_until (evbus_test_hook_read (hook, &hook->n_close) == 2);
}

/* TS10 */
static void
test_outlive (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("brief");
  g_autoptr(EvbusProfiles) profiles = NULL;
  g_autoptr(GPtrArray) explanations = NULL, events = NULL;
  g_autoptr(EvbusProvider) provider = NULL;
  g_autoptr(GError) error = NULL;
  EvbusBroker *broker = evbus_test_broker_new ();
  EvbusExplanation *explanation;

  profiles = evbus_profiles_new_for_data ("hook:\n  p*: {name: brief}\n", -1, "x.yaml", &error);
  g_assert_no_error (error);
  provider = evbus_provider_lookup ("hook", &error);
  g_assert_no_error (error);
  g_assert_true (evbus_broker_apply_profiles (broker, profiles, &error));
  evbus_test_start (broker);
  evbus_test_put_numbers (broker, "p", 7, 1);
  evbus_test_wait_until (evbus_test_hook_length (hook) == 1);
  explanations = evbus_broker_explain (broker, "p", &error);
  evbus_test_stop (broker);
  g_object_unref (broker);

  events = evbus_test_hook_steal (hook);
  g_assert_cmpuint (evbus_test_event_number (events->pdata[0]), ==, 7);
  g_assert_cmpstr (evbus_event_get_profile (events->pdata[0]), ==, "p");
  explanation = explanations->pdata[0];
  g_assert_true (evbus_explanation_get_matches (explanation));
  g_assert_cmpstr (evbus_route_get_profile (evbus_explanation_get_route (explanation)), ==, "p*");
  evbus_test_assert_ledger (evbus_explanation_get_route (explanation), "accepted=1 delivered=1");
  g_assert_cmpuint (evbus_profiles_get_n_routes (profiles), ==, 1);
  g_assert_cmpstr (evbus_provider_get_name (provider), ==, "hook");
}

/* TS11: half of the gets are cancelled at some point of their way. */

typedef struct {
  Fixture *fixture;
  EvbusMailbox *mailbox;
  GMutex lock;
  GPtrArray *taken;
  GCancellable *current;
  gint n_taken;
} Consumers;

static gpointer
take_events (gpointer data)
{
  Consumers *consumers = data;

  while (g_atomic_int_get (&consumers->n_taken) < 4000)
    {
      g_autoptr(GCancellable) cancellable = NULL;
      g_autoptr(GError) error = NULL;
      EvbusEvent *event;

      g_mutex_lock (&consumers->lock);
      cancellable = g_object_ref (consumers->current);
      g_mutex_unlock (&consumers->lock);
      event = evbus_mailbox_get (consumers->mailbox, NULL, cancellable, &error);
      if (event == NULL)
        {
          g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
          continue;
        }
      g_mutex_lock (&consumers->lock);
      g_ptr_array_add (consumers->taken, event);
      g_mutex_unlock (&consumers->lock);
      g_atomic_int_inc (&consumers->n_taken);
    }
  return NULL;
}

static void
cancel_current (Consumers *consumers)
{
  g_autoptr(GCancellable) old = NULL;

  g_mutex_lock (&consumers->lock);
  old = g_steal_pointer (&consumers->current);
  consumers->current = g_cancellable_new ();
  g_mutex_unlock (&consumers->lock);
  g_cancellable_cancel (old);
}

static void
test_consumers (Fixture       *fixture,
                gconstpointer  data)
{
  Consumers consumers = { .fixture = fixture };
  g_autoptr(EvbusRoute) route = NULL;
  gboolean seen[4000] = { FALSE, };
  GThread *threads[4];

  route = evbus_test_add_route (fixture->broker, "internal", "mail", NULL);
  consumers.mailbox = evbus_route_get_mailbox (route);
  consumers.taken = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  consumers.current = g_cancellable_new ();
  g_mutex_init (&consumers.lock);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("consumer", take_events, &consumers);
  for (guint i = 0; i < 400; i++)
    {
      evbus_test_put_numbers (fixture->broker, "mail", i * 10, 10);
      cancel_current (&consumers);
    }
  evbus_test_wait_until (g_atomic_int_get (&consumers.n_taken) >= 4000);
  /* None is left in a get that no event will end. */
  cancel_current (&consumers);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);

  g_assert_cmpuint (consumers.taken->len, ==, 4000);
  for (guint i = 0; i < 4000; i++)
    {
      guint number = evbus_test_event_number (consumers.taken->pdata[i]);

      g_assert_cmpuint (number, <, 4000);
      g_assert_false (seen[number]);
      seen[number] = TRUE;
    }
  evbus_test_wait_ledger (route, "accepted=4000 delivered=4000");
  g_ptr_array_unref (consumers.taken);
  g_object_unref (consumers.current);
  g_mutex_clear (&consumers.lock);
}

/* TS12 */

static gpointer
put_until_closed (gpointer data)
{
  Fixture *fixture = data;

  for (;;)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_producer_put_nowait (fixture->producer, "k",
                                                       g_variant_new_int32 (1), NULL, &error);

      if (id != NULL)
        g_atomic_int_inc (&fixture->n_accepted);
      else if (!g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL))
        {
          g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
          g_atomic_int_inc (&fixture->n_refused);
          return NULL;
        }
    }
}

static void
test_stop (Fixture       *fixture,
           gconstpointer  data)
{
  GThread *threads[2];
  guint n_publish, n_accepted;

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("producer", put_until_closed, fixture);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) > 2000);
  evbus_test_stop (fixture->broker);
  n_publish = evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish);
  n_accepted = (guint) evbus_test_figure (fixture->route, "accepted");
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running), ==, 0);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_close), ==, 1);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_assert_cmpint (fixture->n_refused, ==, 2);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish), ==, n_publish);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "accepted"), ==, n_accepted);
  g_assert_cmpint (fixture->n_accepted, ==, (gint) n_accepted);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/threads/TS1/put", test_put },
    { "/threads/TS6/routes", test_routes },
    { "/threads/TS6/apply", test_apply },
    { "/threads/TS7/one-thread", test_one_thread },
    { "/threads/TS7/context-iterated", test_context_iterated },
    { "/threads/TS8/read", test_read },
    { "/threads/TS9/independent", test_independent },
    { "/threads/TS10/outlive", test_outlive },
    { "/threads/TS11/consumers", test_consumers },
    { "/threads/TS12/stop", test_stop },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
