/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of stops share: a broker with one route, which may be given up while its
 * destination is in a call. */

#pragma once

#include "evbus-test.h"

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
} Fixture;

static inline void
stop_set_up (Fixture       *fixture,
             gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("stop");
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
}

static inline void
stop_tear_down (Fixture       *fixture,
                gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "queued"), ==, 0);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running) == 0);
  evbus_test_hook_free (fixture->hook);
}
