/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the broker's main context is told, when, and on which thread. */

#include "evbus-broker-private.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

typedef struct {
  EvbusBroker *broker;       /* not started; whose route is used */
  EvbusRoute *route;
  EvbusNotifier *notifier;   /* one more, of the test's own */
  GObject *object;
  GThread *thread;           /* where signals must come */
  guint n_failed, n_states, n_figures, n_changes, n_notifies;
  guint64 n_missed;
  gboolean posting;          /* the next failure makes a change of state */
} Fixture;

/* Of the notifiers, of which there is one at a time. */
static Fixture *current;

static void
on_failed (GObject    *object,
           EvbusRoute *route,
           EvbusEvent *event,
           const char *reason,
           guint64     missed)
{
  current->n_failed++;
  current->n_missed += missed;
  if (current->posting)
    evbus_notifier_state_changed (current->notifier, route, EVBUS_ROUTE_STATE_RUNNING, NULL);
  current->posting = FALSE;
}

static void
on_state (GObject         *object,
          EvbusRoute      *route,
          EvbusRouteState  state,
          const char      *reason)
{
  current->n_states++;
}

static void
on_figures (GObject *object)
{
  current->n_figures++;
}

static const EvbusNotifierFuncs funcs = {
  .event_failed = on_failed,
  .state_changed = on_state,
  .figures_moved = on_figures,
};

static void
on_items_changed (GListModel *model,
                  guint       position,
                  guint       removed,
                  guint       added,
                  Fixture    *fixture)
{
  g_assert_true (g_thread_self () == fixture->thread);
  fixture->n_changes++;
}

static void
on_notify (EvbusBroker *broker,
           GParamSpec  *pspec,
           Fixture     *fixture)
{
  g_assert_true (g_thread_self () == fixture->thread);
  fixture->n_notifies++;
}

static void
iterate (void)
{
  while (g_main_context_iteration (NULL, FALSE))
    ;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  current = fixture;
  fixture->thread = g_thread_self ();
  fixture->broker = evbus_broker_new ();
  g_signal_connect (evbus_broker_get_routes (fixture->broker), "items-changed",
                    G_CALLBACK (on_items_changed), fixture);
  g_signal_connect (fixture->broker, "notify", G_CALLBACK (on_notify), fixture);
  fixture->route = evbus_broker_add_route (fixture->broker, "internal", "*", NULL, &error);
  g_assert_no_error (error);
  fixture->object = g_object_new (G_TYPE_OBJECT, NULL);
  fixture->notifier = evbus_notifier_new (fixture->object, &funcs);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_notifier_close (fixture->notifier);
  evbus_notifier_unref (fixture->notifier);
  g_object_unref (fixture->object);
  g_object_unref (fixture->route);
  g_assert_finalize_object (fixture->broker);
  current = NULL;
}

static EvbusEvent *
make_event (void)
{
  EvbusEventInit init = { .routing_key = "k", .routing_key_length = 1, .profile = "default", .profile_length = 7,
                          .content_type = "text/plain", .data = (const guint8 *) "x", .size = 1 };

  return evbus_event_new (&init);
}

static void
fail (Fixture *fixture,
      guint    n)
{
  EvbusEvent *event = make_event ();

  for (guint i = 0; i < n; i++)
    evbus_notifier_event_failed (fixture->notifier, fixture->route, event, "as asked for");
  evbus_event_unref (event);
}

/* More than can be pending, and then no more: all of them are told. */
static void
test_missed (Fixture       *fixture,
             gconstpointer  data)
{
  fail (fixture, 3 * EVBUS_MAX_FAILURES_PENDING);
  iterate ();
  g_assert_cmpuint (fixture->n_failed + fixture->n_missed, ==, 3 * EVBUS_MAX_FAILURES_PENDING);
  g_assert_cmpuint (fixture->n_failed, ==, EVBUS_MAX_FAILURES_PENDING);

  fail (fixture, 1);
  iterate ();
  g_assert_cmpuint (fixture->n_failed + fixture->n_missed, ==, 3 * EVBUS_MAX_FAILURES_PENDING + 1);
}

/* What comes up while others are told does not wait for the figures' turn. */
static void
test_at_once (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_notifier_figures_moved (fixture->notifier, fixture->route);
  iterate ();
  evbus_notifier_figures_moved (fixture->notifier, fixture->route);
  fixture->posting = TRUE;
  fail (fixture, 1);
  iterate ();
  g_assert_cmpuint (fixture->n_failed, ==, 1);
  g_assert_cmpuint (fixture->n_states, ==, 1);
  g_assert_cmpuint (fixture->n_figures, >=, 1);
}

static gpointer
change (gpointer data)
{
  Fixture *fixture = data;
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusRoute) route = evbus_broker_add_route (fixture->broker, "internal", "x", NULL, &error);

  g_assert_no_error (error);
  evbus_broker_set_stop_timeout (fixture->broker, 1234);
  evbus_broker_set_reject_unrouted (fixture->broker, TRUE);
  return NULL;
}

/* Another thread's changes are told here, though it could take the default
 * context, which nobody runs now. */
static void
test_other_thread (Fixture       *fixture,
                   gconstpointer  data)
{
  GListModel *routes = evbus_broker_get_routes (fixture->broker);

  g_assert_cmpuint (fixture->n_changes, ==, 1);
  g_thread_join (g_thread_new ("change", change, fixture));
  g_assert_cmpuint (fixture->n_changes, ==, 1);
  g_assert_cmpuint (g_list_model_get_n_items (routes), ==, 1);
  iterate ();
  g_assert_cmpuint (fixture->n_changes, ==, 2);
  g_assert_cmpuint (g_list_model_get_n_items (routes), ==, 2);
  g_assert_cmpuint (fixture->n_notifies, ==, 2);
}

/* The thread that made the broker sees its own changes at once. */
static void
test_own_thread (Fixture       *fixture,
                 gconstpointer  data)
{
  change (fixture);
  g_assert_cmpuint (fixture->n_changes, ==, 2);
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker)), ==, 2);
  g_assert_cmpuint (fixture->n_notifies, ==, 2);
}

static gpointer
run_context (gpointer data)
{
  Fixture *fixture = data;

  fixture->thread = g_thread_self ();
  while (fixture->n_changes < 2 || fixture->n_notifies < 2)
    g_main_context_iteration (NULL, TRUE);
  return NULL;
}

/* The broker's context is run by another thread than the one that made it: the
 * signals come there. */
static void
test_run_elsewhere (Fixture       *fixture,
                    gconstpointer  data)
{
  GThread *thread = g_thread_new ("elsewhere", run_context, fixture);

  while (g_main_context_acquire (NULL))
    {
      g_main_context_release (NULL);
      g_thread_yield ();
    }
  change (fixture);
  g_thread_join (thread);
  fixture->thread = g_thread_self ();
  iterate ();
  g_assert_cmpuint (fixture->n_changes, ==, 2);
}

/* Changes that nobody hears of are one thing to be told, and do not keep the
 * broker. */
static void
test_unheard (Fixture       *fixture,
              gconstpointer  data)
{
  for (guint i = 0; i < 100; i++)
    g_thread_join (g_thread_new ("change", change, fixture));
  iterate ();
  g_assert_cmpuint (fixture->n_changes, ==, 2);
  g_thread_join (g_thread_new ("change", change, fixture));
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/notifier/missed", test_missed },
    { "/notifier/at-once", test_at_once },
    { "/notifier/other-thread", test_other_thread },
    { "/notifier/own-thread", test_own_thread },
    { "/notifier/run-elsewhere", test_run_elsewhere },
    { "/notifier/unheard", test_unheard },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
