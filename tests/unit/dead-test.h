/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of dead letters share: a broker with a spool and two routes, one of which refuses. */

#pragma once

#include "evbus-test.h"

#include <glib/gstdio.h>

#define ROUTE "hook 'sick'"

typedef struct {
  char *directory;
  EvbusTestHook *sick;         /* of the route that refuses */
  EvbusTestHook *well;
  EvbusBroker *broker;
  EvbusRoute *route;           /* the one of @sick, or NULL: it is gone */
  gboolean refuses;            /* atomic */
} Fixture;

static inline gboolean
publish (EvbusTestHook  *hook,
         EvbusContext   *ctx,
         EvbusBatch     *batch,
         GCancellable   *cancellable,
         GError        **error)
{
  Fixture *fixture = hook->user_data;
  gboolean refuses = g_atomic_int_get (&fixture->refuses);

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      if (refuses)
        evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "it is not what was asked for");
      else
        evbus_test_hook_take (hook, batch, i);
    }
  return TRUE;
}

static inline gboolean
fail_for_now (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              EvbusBatch     *batch,
              GCancellable   *cancellable,
              GError        **error)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "not now");
  return FALSE;
}

static inline void
begin_with (Fixture    *fixture,
            const char *delivery)
{
  fixture->broker = evbus_test_broker_new ();
  evbus_broker_set_spool_directory (fixture->broker, fixture->directory);
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  if (delivery != NULL)
    fixture->route = evbus_test_add_hook (fixture->broker, fixture->sick, "sick", delivery);
  g_object_unref (evbus_test_add_hook (fixture->broker, fixture->well, "well", NULL));
  evbus_test_start (fixture->broker);
}

static inline void
begin (Fixture *fixture)
{
  begin_with (fixture, "{'max_age': <'7d'>}");
}

static inline void
end (Fixture *fixture)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_broker_stop_finish (fixture->broker, result, NULL);
  g_clear_object (&fixture->route);
  g_clear_object (&fixture->broker);
}

static inline void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("evbus-dead-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->sick = evbus_test_hook_new ("sick");
  fixture->sick->publish = publish;
  fixture->sick->user_data = fixture;
  fixture->well = evbus_test_hook_new ("well");
  fixture->refuses = TRUE;
  begin_with (fixture, data != NULL ? data : "{'max_age': <'7d'>}");
}

static inline void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GDir) dir = NULL;
  const char *name;

  end (fixture);
  dir = g_dir_open (fixture->directory, 0, NULL);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *file = g_build_filename (fixture->directory, name, NULL);

      g_assert_cmpint (g_unlink (file), ==, 0);
    }
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
  evbus_test_hook_free (fixture->sick);
  evbus_test_hook_free (fixture->well);
}

static inline GPtrArray *
list (Fixture    *fixture,
      const char *route,
      gint64      after,
      guint       max,
      GError    **error)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_list_dead_async (fixture->broker, route, after, max, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  return evbus_broker_list_dead_finish (fixture->broker, result, error);
}

static inline guint
count_letters (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) letters = list (fixture, NULL, 0, 4096, &error);

  g_assert_no_error (error);
  return letters->len;
}

/* The events @first … die, and their letters are there. */
static inline void
die (Fixture *fixture,
     guint    first,
     guint    n)
{
  g_atomic_int_set (&fixture->refuses, TRUE);
  evbus_test_put_numbers (fixture->broker, "sick", first, n);
  evbus_test_wait_until (count_letters (fixture) == first + n);
  g_atomic_int_set (&fixture->refuses, FALSE);
}

typedef struct {
  guint n_calls;
  goffset done;
  goffset total;
} Progress;

static inline void
on_progress (goffset  done,
             goffset  total,
             gpointer data)
{
  Progress *progress = data;

  g_assert_cmpint (done, >=, progress->done);
  progress->n_calls++;
  progress->done = done;
  progress->total = total;
}

static inline guint64
replay (Fixture      *fixture,
        const char   *route,
        const gint64 *numbers,
        guint         n,
        const char   *profile,
        Progress     *progress,
        GError      **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  guint64 n_replayed;

  evbus_broker_replay_dead_async (fixture->broker, route, numbers, n, profile,
                                  progress != NULL ? on_progress : NULL, progress, NULL,
                                  NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_broker_replay_dead_finish (fixture->broker, result, &n_replayed, error);
  return n_replayed;
}

static inline guint64
drop (Fixture      *fixture,
      const char   *route,
      const gint64 *numbers,
      guint         n,
      GError      **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  guint64 n_dropped;

  evbus_broker_drop_dead_async (fixture->broker, route, numbers, n, NULL, NULL, NULL, NULL,
                                evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_broker_drop_dead_finish (fixture->broker, result, &n_dropped, error);
  return n_dropped;
}

static inline gboolean
forget (Fixture    *fixture,
        const char *route,
        GError    **error)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_forget_route_async (fixture->broker, route, NULL, NULL, NULL, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  return evbus_broker_forget_route_finish (fixture->broker, result, NULL, error);
}

static inline gint64
number_of (Fixture *fixture,
           guint    index)
{
  g_autoptr(GPtrArray) letters = list (fixture, NULL, 0, index + 1, NULL);

  g_assert_cmpuint (letters->len, ==, index + 1);
  return evbus_dead_letter_get_number (letters->pdata[index]);
}

/* Those that were delivered in the end: so many, in order. */
static inline void
assert_taken (EvbusTestHook *hook,
              guint          first,
              guint          n)
{
  evbus_test_wait_until (evbus_test_hook_length (hook) >= n);
  g_assert_cmpuint (evbus_test_hook_length (hook), ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (hook, i)), ==, first + i);
}
