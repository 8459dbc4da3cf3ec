/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a call into a plugin does to the state of its route: it is cancelled at
 * its deadline, and stuck five seconds later, if it is the same call still. And
 * that who looks at the state gets the reason of that state. */

#include "evbus-limits-private.h"
#include "evbus-route-private.h"
#include "evbus-source-private.h"

#define DEADLINE (1000 * G_USEC_PER_SEC)

typedef struct {
  GObject *object;
  GSource *source;
  EvbusQueue *queue;
  EvbusNotifier *notifier;
  EvbusRoute *route;
  EvbusRouteState told;        /* the last that was told */
} Fixture;

static void
on_state (GObject         *object,
          EvbusRoute      *route,
          EvbusRouteState  state,
          const char      *reason)
{
  Fixture *fixture = g_object_get_data (object, "fixture");

  fixture->told = state;
}

static gboolean
on_wake (gpointer data)
{
  return G_SOURCE_CONTINUE;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  static const EvbusNotifierFuncs funcs = { .state_changed = on_state };
  g_autoptr(EvbusRouteSpec) spec = NULL;
  g_autoptr(GError) error = NULL;

  fixture->object = g_object_new (G_TYPE_OBJECT, NULL);
  g_object_set_data (fixture->object, "fixture", fixture);
  fixture->source = evbus_source_new ("test", on_wake, NULL, NULL);
  fixture->queue = evbus_queue_new (fixture->source);
  fixture->notifier = evbus_notifier_new (fixture->object, &funcs);
  spec = evbus_route_spec_new ("internal", "*", "glob", NULL, &error);
  g_assert_no_error (error);
  fixture->route = evbus_route_new (spec, fixture->queue, fixture->notifier);
  evbus_route_set_state (fixture->route, EVBUS_ROUTE_STATE_RUNNING, NULL);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_notifier_close (fixture->notifier);
  g_object_unref (fixture->route);
  evbus_notifier_unref (fixture->notifier);
  evbus_queue_unref (fixture->queue);
  g_source_unref (fixture->source);
  g_object_unref (fixture->object);
}

static void
begin_call (Fixture *fixture)
{
  fixture->route->call = g_cancellable_new ();
  fixture->route->call_deadline = DEADLINE;
  fixture->route->call_told = FALSE;
}

static void
end_call (Fixture *fixture)
{
  g_clear_object (&fixture->route->call);
}

static EvbusRouteState
told (Fixture *fixture)
{
  while (g_main_context_iteration (NULL, FALSE))
    ;
  return fixture->told;
}

static void
test_cancelled (Fixture       *fixture,
               gconstpointer  data)
{
  EvbusLook look;

  look = evbus_route_look (fixture->route, DEADLINE);
  g_assert_null (look.cancel);
  g_assert_cmpint (look.next, ==, G_MAXINT64);

  begin_call (fixture);
  look = evbus_route_look (fixture->route, DEADLINE - 1);
  g_assert_null (look.cancel);
  g_assert_cmpint (look.next, ==, DEADLINE);

  /* To be cancelled, once. The call knows, also if that comes too late. */
  look = evbus_route_look (fixture->route, DEADLINE);
  g_assert_true (look.cancel == fixture->route->call);
  g_assert_true (fixture->route->call_told);
  g_assert_cmpint (look.next, ==, DEADLINE + EVBUS_STUCK_GRACE_US);
  g_clear_object (&look.cancel);
  look = evbus_route_look (fixture->route, DEADLINE + 1);
  g_assert_null (look.cancel);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RUNNING);
  end_call (fixture);
}

/* When the look returns, all is said: whatever the call does after that comes
 * after it. */
static void
test_stuck (Fixture       *fixture,
            gconstpointer  data)
{
  EvbusLook look;

  begin_call (fixture);
  look = evbus_route_look (fixture->route, DEADLINE + EVBUS_STUCK_GRACE_US);
  g_clear_object (&look.cancel);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_STUCK);
  g_assert_cmpint (told (fixture), ==, EVBUS_ROUTE_STATE_STUCK);

  end_call (fixture);
  evbus_route_set_state (fixture->route, EVBUS_ROUTE_STATE_RUNNING, NULL);
  look = evbus_route_look (fixture->route, DEADLINE + EVBUS_STUCK_GRACE_US + 1);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RUNNING);
  g_assert_cmpint (told (fixture), ==, EVBUS_ROUTE_STATE_RUNNING);
}

#define N_ROUNDS 3000

typedef struct {
  EvbusRoute *route;
  gint round, done;            /* atomic */
} Race;

static void
wait_for (gint *counter,
          gint  value)
{
  while (g_atomic_int_get (counter) < value)
    g_thread_yield ();
}

static gpointer
change_states (gpointer data)
{
  Race *race = data;

  for (gint i = 1; i <= N_ROUNDS; i++)
    {
      wait_for (&race->round, i);
      evbus_route_set_state (race->route, EVBUS_ROUTE_STATE_OPENING, NULL);
      g_atomic_int_set (&race->done, i);
    }
  return NULL;
}

/* The state that is told last is the one that it is in. */
static void
test_order (Fixture       *fixture,
            gconstpointer  data)
{
  Race race = { .route = fixture->route };
  GThread *thread = g_thread_new ("changes", change_states, &race);

  for (gint i = 1; i <= N_ROUNDS; i++)
    {
      evbus_route_set_state (fixture->route, EVBUS_ROUTE_STATE_RETRYING, NULL);
      g_atomic_int_set (&race.round, i);
      evbus_route_set_state (fixture->route, EVBUS_ROUTE_STATE_RUNNING, NULL);
      wait_for (&race.done, i);
      g_assert_cmpint (told (fixture), ==, evbus_route_get_state (fixture->route));
    }
  g_thread_join (thread);
}

#define N_TURNS 4000

static gpointer
break_and_mend (gpointer data)
{
  Race *race = data;

  for (guint i = 0; i < N_TURNS; i++)
    {
      evbus_route_set_state (race->route, EVBUS_ROUTE_STATE_BROKEN, "the topic is gone");
      evbus_route_set_state (race->route, EVBUS_ROUTE_STATE_RUNNING, NULL);
      evbus_route_set_state (race->route, EVBUS_ROUTE_STATE_RETRYING, "nobody is home");
    }
  g_atomic_int_set (&race->done, TRUE);
  return NULL;
}

/* The reason is that of the state, however often it changes. */
static void
test_status (Fixture       *fixture,
             gconstpointer  data)
{
  static const char *const reasons[] = {
    [EVBUS_ROUTE_STATE_BROKEN] = "the topic is gone", [EVBUS_ROUTE_STATE_RETRYING] = "nobody is home",
  };
  Race race = { .route = fixture->route };
  GThread *thread = g_thread_new ("changes", break_and_mend, &race);

  g_assert_cmpint (evbus_route_get_status (fixture->route, NULL), !=, EVBUS_ROUTE_STATE_STOPPED);
  while (!g_atomic_int_get (&race.done))
    {
      g_autofree char *reason = NULL;
      EvbusRouteState state = evbus_route_get_status (fixture->route, &reason);

      g_assert_cmpuint (state, <, G_N_ELEMENTS (reasons));
      g_assert_cmpstr (reason, ==, reasons[state]);
      g_thread_yield ();
    }
  g_thread_join (thread);
  g_assert_cmpint (told (fixture), ==, EVBUS_ROUTE_STATE_RETRYING);
}

static GLogWriterOutput
be_silent (GLogLevelFlags   level,
           const GLogField *fields,
           gsize            n_fields,
           gpointer         data)
{
  return level & G_LOG_LEVEL_ERROR ? g_log_writer_default (level, fields, n_fields, data)
                                   : G_LOG_WRITER_HANDLED;
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (be_silent, NULL, NULL);
  g_test_add ("/route-state/cancelled", Fixture, NULL, set_up, test_cancelled, tear_down);
  g_test_add ("/route-state/stuck", Fixture, NULL, set_up, test_stuck, tear_down);
  g_test_add ("/route-state/order", Fixture, NULL, set_up, test_order, tear_down);
  g_test_add ("/route-state/status", Fixture, NULL, set_up, test_status, tear_down);
  return g_test_run ();
}
