/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of a broker with a spool share: a folder, a hook, and one broker
 * after the other. */

#pragma once

#include "evbus-test.h"

#include <glib/gstdio.h>

typedef struct {
  char *directory;
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
  guint expected;              /* numbers from 0 that were put */
} Fixture;

static inline EvbusBroker *
durable_new_broker (Fixture *fixture)
{
  EvbusBroker *broker = evbus_test_broker_new ();

  evbus_broker_set_spool_directory (broker, fixture->directory);
  evbus_broker_set_stop_timeout (broker, 0);
  return broker;
}

static inline void
durable_begin (Fixture    *fixture,
               const char *delivery)
{
  fixture->broker = durable_new_broker (fixture);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", delivery);
  evbus_test_start (fixture->broker);
}

/* Keeps what is not delivered. */
static inline void
durable_end (Fixture *fixture)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_test_stop_finish (fixture->broker, result, &error);
  g_assert_no_error (error);
  evbus_test_assert_balance (fixture->broker);
  g_clear_object (&fixture->route);
  g_clear_object (&fixture->broker);
}

static inline void
durable_set_up_folder (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("evbus-durable-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->hook = evbus_test_hook_new ("durable");
}

static inline void
durable_set_up (Fixture       *fixture,
                gconstpointer  data)
{
  durable_set_up_folder (fixture);
  durable_begin (fixture, data);
}

static inline void
durable_remove_folder (const char *path)
{
  g_autoptr(GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *file = g_build_filename (path, name, NULL);

      g_assert_cmpint (g_unlink (file), ==, 0);
    }
  g_assert_cmpint (g_rmdir (path), ==, 0);
}

static inline void
durable_tear_down (Fixture       *fixture,
                   gconstpointer  data)
{
  if (fixture->broker != NULL)
    {
      evbus_test_hook_release (fixture->hook);
      durable_end (fixture);
    }
  durable_remove_folder (fixture->directory);
  g_free (fixture->directory);
  evbus_test_hook_free (fixture->hook);
}

static inline void
durable_put (Fixture *fixture,
             guint    n)
{
  evbus_test_put_numbers (fixture->broker, NULL, fixture->expected, n);
  fixture->expected += n;
}

static inline void
durable_assert_all (Fixture *fixture)
{
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) >= fixture->expected);
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, fixture->expected);
  for (guint i = 0; i < fixture->expected; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
}
