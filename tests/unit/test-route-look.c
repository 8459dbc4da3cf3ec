/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the listener's watch finds out about a route. */

#include "evbus-listener-private.h"

typedef struct {
  EvbusListener *listener;
  EvbusNotifier *notifier;
  GObject *object;
  EvbusRoute *route;
  gint64 now;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  static const EvbusNotifierFuncs funcs = { NULL, NULL };
  g_autoptr(EvbusRouteSpec) spec = NULL;
  g_autoptr(GError) error = NULL;

  spec = evbus_route_spec_new ("internal", "*", "glob", NULL, &error);
  g_assert_no_error (error);
  fixture->object = g_object_new (G_TYPE_OBJECT, NULL);
  fixture->notifier = evbus_notifier_new (fixture->object, &funcs);
  fixture->listener = evbus_listener_new ();
  fixture->route = evbus_route_new (spec, evbus_listener_get_queue (fixture->listener),
                                    fixture->notifier);
  fixture->now = g_get_monotonic_time ();
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_object_unref (fixture->route);
  evbus_notifier_close (fixture->notifier);
  evbus_notifier_unref (fixture->notifier);
  evbus_listener_unref (fixture->listener);
  g_object_unref (fixture->object);
}

static void
test_idle (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLook look = evbus_route_look (fixture->route, fixture->now);

  g_assert_null (look.cancel);
  g_assert_false (look.abort);
  g_assert_false (look.give_up);
  g_assert_cmpint (look.next, ==, G_MAXINT64);
}

static void
test_draining (Fixture       *fixture,
               gconstpointer  data)
{
  EvbusLook look;

  fixture->route->phase = EVBUS_PHASE_DRAIN;
  fixture->route->drain_until = fixture->now + 5 * G_USEC_PER_SEC;
  look = evbus_route_look (fixture->route, fixture->now);
  g_assert_false (look.abort);
  g_assert_false (look.give_up);
  g_assert_cmpint (look.next, ==, fixture->route->drain_until);
}

/* Told to end, and given some grace. */
static void
test_deadline (Fixture       *fixture,
               gconstpointer  data)
{
  EvbusLook look;

  fixture->route->phase = EVBUS_PHASE_DRAIN;
  fixture->route->drain_until = fixture->now;
  look = evbus_route_look (fixture->route, fixture->now);
  g_assert_true (look.abort);
  g_assert_false (look.give_up);
  g_assert_cmpint (look.next, >, fixture->now);

  fixture->route->phase = EVBUS_PHASE_ABORT;
  look = evbus_route_look (fixture->route, look.next);
  g_assert_false (look.abort);
  g_assert_true (look.give_up);
}

/* Also by a watch that comes so late that the grace is over, too. */
static void
test_late (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLook look;

  fixture->route->phase = EVBUS_PHASE_DRAIN;
  fixture->route->drain_until = fixture->now - 60 * G_USEC_PER_SEC;
  look = evbus_route_look (fixture->route, fixture->now);
  g_assert_true (look.abort);
  g_assert_true (look.give_up);
  g_assert_cmpint (look.next, >, fixture->now);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/route-look/idle", test_idle },
    { "/route-look/draining", test_draining },
    { "/route-look/deadline", test_deadline },
    { "/route-look/late", test_late },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
