/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters of a broker: listed, replayed, dropped, forgotten. */

#include "evbus-test.h"

#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

#define ROUTE "hook 'sick'"

typedef struct {
  char *directory;
  EvbusTestHook *sick;         /* of the route that refuses */
  EvbusTestHook *well;
  EvbusBroker *broker;
  EvbusRoute *route;           /* the one of @sick, or NULL: it is gone */
  gboolean refuses;            /* atomic */
} Fixture;

static gboolean
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

static gboolean
fail_for_now (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              EvbusBatch     *batch,
              GCancellable   *cancellable,
              GError        **error)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "not now");
  return FALSE;
}

static void
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

static void
begin (Fixture *fixture)
{
  begin_with (fixture, "{'max_age': <'7d'>}");
}

static void
end (Fixture *fixture)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_broker_stop_finish (fixture->broker, result, NULL);
  g_clear_object (&fixture->route);
  g_clear_object (&fixture->broker);
}

static void
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

static void
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

static GPtrArray *
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

static guint
count_letters (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) letters = list (fixture, NULL, 0, 4096, &error);

  g_assert_no_error (error);
  return letters->len;
}

/* The events @first … die, and their letters are there. */
static void
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

static void
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

static guint64
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

static guint64
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

static gboolean
forget (Fixture    *fixture,
        const char *route,
        GError    **error)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_forget_route_async (fixture->broker, route, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  return evbus_broker_forget_route_finish (fixture->broker, result, error);
}

static gint64
number_of (Fixture *fixture,
           guint    index)
{
  g_autoptr(GPtrArray) letters = list (fixture, NULL, 0, index + 1, NULL);

  g_assert_cmpuint (letters->len, ==, index + 1);
  return evbus_dead_letter_get_number (letters->pdata[index]);
}

/* Those that were delivered in the end: so many, in order. */
static void
assert_taken (EvbusTestHook *hook,
              guint          first,
              guint          n)
{
  evbus_test_wait_until (evbus_test_hook_length (hook) >= n);
  g_assert_cmpuint (evbus_test_hook_length (hook), ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (hook, i)), ==, first + i);
}

static void
test_list (Fixture       *fixture,
           gconstpointer  data)
{
  gint64 before = g_get_real_time ();
  gint64 after = 0;
  g_autoptr(GError) error = NULL;

  die (fixture, 0, 10);
  for (guint i = 0; i < 10; i += 3)
    {
      g_autoptr(GPtrArray) page = list (fixture, i % 2 == 0 ? ROUTE : NULL, after, 3, &error);

      g_assert_no_error (error);
      g_assert_cmpuint (page->len, ==, MIN (3, 10 - i));
      for (guint j = 0; j < page->len; j++)
        {
          EvbusDeadLetter *letter = page->pdata[j];

          g_assert_cmpint (evbus_dead_letter_get_number (letter), >, after);
          after = evbus_dead_letter_get_number (letter);
          g_assert_cmpstr (evbus_dead_letter_get_route (letter), ==, ROUTE);
          g_assert_cmpstr (evbus_dead_letter_get_reason (letter), ==, "it is not what was asked for");
          g_assert_cmpint (evbus_dead_letter_get_time (letter), >=, before);
          g_assert_cmpint (evbus_dead_letter_get_time (letter), <=, g_get_real_time ());
          g_assert_cmpuint (evbus_test_event_number (evbus_dead_letter_get_event (letter)), ==, i + j);
        }
    }
  g_assert_null (list (fixture, "hook 'nobody'", 0, 1, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "no route \"hook 'nobody'\"");
  evbus_test_assert_ledger (fixture->route, "accepted=10 dead=10");
}

static void
test_replay_some (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  gint64 numbers[3];

  die (fixture, 0, 5);
  for (guint i = 0; i < 3; i++)
    numbers[i] = number_of (fixture, i + 1);

  g_assert_cmpuint (replay (fixture, NULL, numbers, 3, NULL, NULL, &error), ==, 3);
  g_assert_no_error (error);
  assert_taken (fixture->sick, 1, 3);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=3 dead=2");
  g_assert_cmpuint (count_letters (fixture), ==, 2);

  /* Once more: they are not there; another one with them is. */
  numbers[2] = number_of (fixture, 0);
  g_assert_cmpuint (replay (fixture, ROUTE, numbers, 3, NULL, NULL, &error), ==, 1);
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "no dead letter 2");
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=4 dead=1");
  evbus_test_assert_balance (fixture->broker);
}

/* More than a step has. What dies again is not replayed for ever. */
static void
test_replay_all (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  Progress progress = { 0 };

  die (fixture, 0, 1000);
  g_atomic_int_set (&fixture->refuses, TRUE);
  g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, NULL, NULL, &error), ==, 1000);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=1000 dead=1000");
  evbus_test_wait_until (count_letters (fixture) == 1000);

  g_atomic_int_set (&fixture->refuses, FALSE);
  g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, NULL, &progress, &error), ==, 1000);
  g_assert_no_error (error);
  g_assert_cmpuint (progress.n_calls, >=, 4);
  g_assert_cmpint (progress.done, ==, 1000);
  g_assert_cmpint (progress.total, ==, 1000);
  assert_taken (fixture->sick, 0, 1000);
  evbus_test_wait_ledger (fixture->route, "accepted=1000 delivered=1000");
  g_assert_cmpuint (count_letters (fixture), ==, 0);
  evbus_test_assert_balance (fixture->broker);
}

/* The route has more than its window holds: what is replayed waits in the spool. */
static void
test_replay_behind (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  die (fixture, 0, 500);
  evbus_test_hook_hold (fixture->sick);
  evbus_test_put_numbers (fixture->broker, "sick", 0, 300);
  g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, NULL, NULL, &error), ==, 500);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=800 queued=800");
  evbus_test_hook_release (fixture->sick);
  evbus_test_wait_ledger (fixture->route, "accepted=800 delivered=800");
  g_assert_cmpuint (evbus_test_hook_length (fixture->sick), ==, 800);
  evbus_test_put_numbers (fixture->broker, "sick", 0, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=801 delivered=801");
}

static void
test_replay_survives (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  die (fixture, 0, 300);
  evbus_test_hook_hold (fixture->sick);
  g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, NULL, NULL, &error), ==, 300);
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->route, "accepted=300 queued=300");
  end (fixture);

  evbus_test_hook_release (fixture->sick);
  begin (fixture);
  assert_taken (fixture->sick, 0, 300);
  evbus_test_wait_ledger (fixture->route, "accepted=300 delivered=300");
}

static gboolean
is_waited_for (Fixture    *fixture,
               const char *profile)
{
  g_autoptr(GBytes) body = g_bytes_new ("1", 1);
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, profile, &error);

  g_assert_null (id);
  return strstr (error->message, "older puts wait") != NULL;
}

/* While a letter's put waits for space, a reload takes its only route away: the letter is there still. */
static void
test_replay_waits (Fixture       *fixture,
                   gconstpointer  data)
{
  EvbusTestHook *slow = evbus_test_hook_new ("slow");
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (fixture->broker, slow, "slow",
                                                     "{'overflow': <'block'>, 'spool': <{'bytes': <'1KiB'>}>}");
  g_autofree char *text = g_strnfill (2000, '1');
  g_autoptr(GBytes) body = g_bytes_new (text, strlen (text));
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  guint64 n_replayed;

  die (fixture, 0, 3);
  evbus_test_hook_hold (slow);
  g_free (evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, "slow", &error));
  g_assert_no_error (error);
  evbus_broker_replay_dead_async (fixture->broker, ROUTE, NULL, 0, "slow", NULL, NULL, NULL, NULL,
                                  evbus_test_store_result, &result);
  evbus_test_wait_until (is_waited_for (fixture, "slow"));

  g_assert_true (evbus_broker_remove_route (fixture->broker, route, &error));
  evbus_test_wait_until (result != NULL);
  g_assert_false (evbus_broker_replay_dead_finish (fixture->broker, result, &n_replayed, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_UNROUTED, "profile 'slow'");
  g_assert_cmpuint (n_replayed, ==, 0);
  g_assert_cmpuint (count_letters (fixture), ==, 3);
  evbus_test_assert_ledger (fixture->route, "accepted=3 dead=3");
  evbus_test_hook_release (slow);
  g_clear_object (&route);
  route = evbus_test_add_hook (fixture->broker, slow, "slow", NULL);
  g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, "slow", NULL, NULL), ==, 3);
  evbus_test_wait_ledger (fixture->broker, "accepted=7 delivered=4 dropped=3");
  end (fixture);
  evbus_test_hook_free (slow);
  begin (fixture);
}

/* When the event of the newest letter was put, by the spool's steady clock, which has begun with the wall clock's
 * time: doc/spool.md. */
static gint64
read_put (Fixture *fixture)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  sqlite3 *db = NULL;
  sqlite3_stmt *row = NULL;
  gint64 put;

  g_assert_cmpint (sqlite3_open_v2 (path, &db, SQLITE_OPEN_READONLY, NULL), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_prepare_v2 (db, "SELECT record FROM dead ORDER BY number DESC LIMIT 1", -1, &row, NULL), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_step (row), ==, SQLITE_ROW);
  memcpy (&put, (const char *) sqlite3_column_blob (row, 0) + 40, sizeof put);
  sqlite3_finalize (row);
  sqlite3_close (db);
  return GINT64_FROM_LE (put);
}

/* A letter's age counts from the put, or the replay, of its event, and not from its death. */
static void
test_put_time (Fixture       *fixture,
               gconstpointer  data)
{
  const gint64 gap = 100 * G_TIME_SPAN_MILLISECOND;
  g_autoptr(GError) error = NULL;
  gint64 before, put;

  for (guint i = 0; i < 2; i++)
    {
      evbus_test_hook_hold (fixture->sick);
      before = g_get_real_time ();
      if (i == 0)
        evbus_test_put_numbers (fixture->broker, "sick", 0, 1);
      else
        g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, NULL, NULL, &error), ==, 1);
      evbus_test_wait_until (evbus_test_hook_read (fixture->sick, &fixture->sick->n_waiting) == 1);
      put = g_get_real_time ();
      evbus_test_wait_until (g_get_real_time () > put + 2 * gap);
      evbus_test_hook_release (fixture->sick);
      evbus_test_wait_until (count_letters (fixture) == 1);
      g_assert_cmpint (read_put (fixture), >, before - gap);
      g_assert_cmpint (read_put (fixture), <, put + gap);
    }
}

static void
test_replay_elsewhere (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  gint64 numbers[2];

  die (fixture, 0, 600);
  numbers[0] = number_of (fixture, 0);
  numbers[1] = 1000000;
  g_assert_cmpuint (replay (fixture, NULL, numbers, 1, "nobody", NULL, &error), ==, 0);
  evbus_test_assert_error (error, EVBUS_ERROR_UNROUTED, "profile 'nobody'");
  g_clear_error (&error);
  g_assert_cmpuint (replay (fixture, NULL, numbers, 2, "well", NULL, &error), ==, 1);
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "dead letter 1000000");
  g_clear_error (&error);
  g_assert_cmpuint (replay (fixture, ROUTE, NULL, 0, "well", NULL, &error), ==, 599);
  g_assert_no_error (error);

  assert_taken (fixture->well, 0, 600);
  g_assert_cmpstr (evbus_event_get_profile (evbus_test_hook_peek (fixture->well, 7)), ==, "well");
  evbus_test_assert_ledger (fixture->route, "accepted=600 dropped=600");
  evbus_test_wait_ledger (fixture->broker, "accepted=1200 delivered=600 dropped=600");
  evbus_test_assert_balance (fixture->broker);
  end (fixture);

  begin (fixture);
  evbus_test_assert_ledger (fixture->route, "accepted=600 dropped=600");
  evbus_test_assert_ledger (fixture->broker, "accepted=1200 delivered=600 dropped=600");
}

static void
test_drop (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  gint64 number;

  die (fixture, 0, 600);
  number = number_of (fixture, 3);
  g_assert_cmpuint (drop (fixture, NULL, NULL, 0, &error), ==, 0);
  g_assert_no_error (error);
  g_assert_cmpuint (drop (fixture, "hook 'well'", &number, 1, &error), ==, 0);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_cmpuint (drop (fixture, NULL, &number, 1, &error), ==, 1);
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->route, "accepted=600 dead=599 dropped=1");
  g_assert_cmpuint (drop (fixture, NULL, &number, 1, &error), ==, 0);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_cmpuint (drop (fixture, ROUTE, NULL, 0, &error), ==, 599);
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->route, "accepted=600 dropped=600");
  evbus_test_assert_balance (fixture->broker);
  g_assert_cmpuint (count_letters (fixture), ==, 0);
}

static void
test_orphan (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GPtrArray) orphans = NULL;
  g_autoptr(GError) error = NULL;
  EvbusLedger ledger;
  gint64 number;

  die (fixture, 0, 600);
  orphans = evbus_broker_list_orphans (fixture->broker);
  g_assert_cmpuint (orphans->len, ==, 0);
  g_clear_pointer (&orphans, g_ptr_array_unref);
  g_assert_false (forget (fixture, ROUTE, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_ARGUMENT, "in use");
  g_clear_error (&error);
  evbus_test_hook_hold (fixture->sick);
  evbus_test_put_numbers (fixture->broker, "sick", 0, 7);
  evbus_test_wait_ledger (fixture->route, "queued=7");
  end (fixture);

  begin_with (fixture, NULL);
  evbus_test_hook_release (fixture->sick);
  orphans = evbus_broker_list_orphans (fixture->broker);
  g_assert_cmpuint (orphans->len, ==, 1);
  g_assert_cmpstr (evbus_orphan_get_name (orphans->pdata[0]), ==, ROUTE);
  evbus_orphan_get_ledger (orphans->pdata[0], &ledger);
  g_assert_cmpuint (ledger.dead, ==, 600);
  g_assert_cmpuint (ledger.queued, ==, 7);
  number = number_of (fixture, 0);
  g_assert_cmpuint (replay (fixture, NULL, &number, 1, NULL, NULL, &error), ==, 0);
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "orphan");
  g_clear_error (&error);
  evbus_test_assert_ledger (fixture->broker, "accepted=607 dead=600 queued=7");
  g_assert_cmpuint (replay (fixture, NULL, &number, 1, "well", NULL, &error), ==, 1);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->broker, "accepted=608 delivered=1 dead=599 dropped=1 queued=7");

  g_assert_true (forget (fixture, evbus_orphan_get_key (orphans->pdata[0]), &error));
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->broker, "accepted=608 delivered=1 dropped=607");
  evbus_test_assert_balance (fixture->broker);
  g_assert_cmpuint (count_letters (fixture), ==, 0);
  g_assert_false (forget (fixture, ROUTE, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  g_clear_pointer (&orphans, g_ptr_array_unref);
  orphans = evbus_broker_list_orphans (fixture->broker);
  g_assert_cmpuint (orphans->len, ==, 0);
}

static void
test_needs_a_spool (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  Fixture fixture = { .broker = broker };
  g_autoptr(GError) error = NULL;
  gint64 number = 1;

  evbus_test_start (broker);
  g_assert_null (list (&fixture, NULL, 0, 1, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "need a spool");
  g_clear_error (&error);
  replay (&fixture, NULL, &number, 1, NULL, NULL, &error);
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "need a spool");
  g_clear_error (&error);
  g_assert_false (forget (&fixture, "x", &error));
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "need a spool");
  evbus_test_stop (broker);
}

/* A stop does not leave a work unanswered, and a cancelled one ends. */
static void
test_ends (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) cancelled = NULL;
  g_autoptr(GAsyncResult) closed = NULL;
  g_autoptr(GAsyncResult) stopped = NULL;
  g_autoptr(GError) error = NULL;
  guint64 n_done = 7;
  gint64 number;

  die (fixture, 0, 10);
  number = number_of (fixture, 0);
  g_cancellable_cancel (cancellable);
  evbus_broker_drop_dead_async (fixture->broker, ROUTE, NULL, 0, NULL, NULL, NULL, cancellable,
                                evbus_test_store_result, &cancelled);
  evbus_test_wait_until (cancelled != NULL);
  g_assert_false (evbus_broker_drop_dead_finish (fixture->broker, cancelled, &n_done, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_cmpuint (n_done, ==, 0);
  evbus_test_assert_ledger (fixture->route, "accepted=10 dead=10");

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &stopped);
  evbus_test_wait_until (stopped != NULL);
  evbus_broker_drop_dead_async (fixture->broker, NULL, &number, 1, NULL, NULL, NULL, NULL,
                                evbus_test_store_result, &closed);
  evbus_test_wait_until (closed != NULL);
  g_assert_false (evbus_broker_drop_dead_finish (fixture->broker, closed, &n_done, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
}

/* An event that its destination fails until it is too old. */
static void
test_age (Fixture       *fixture,
          gconstpointer  data)
{
  g_autoptr(GPtrArray) letters = NULL;
  g_autoptr(GError) error = NULL;

  fixture->sick->publish = fail_for_now;
  evbus_test_put_numbers (fixture->broker, "sick", 0, 3);
  evbus_test_wait_until (count_letters (fixture) == 3);
  evbus_test_assert_ledger (fixture->broker, "accepted=3 dead=3");

  /* They are still that after a restart. */
  end (fixture);
  fixture->sick->publish = publish;
  begin (fixture);
  letters = list (fixture, ROUTE, 0, 10, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (letters->len, ==, 3);
  for (guint i = 0; i < letters->len; i++)
    g_assert_cmpstr (evbus_dead_letter_get_reason (letters->pdata[i]), ==, "it grew older than max_age");
  evbus_test_assert_ledger (fixture->broker, "accepted=3 dead=3");
  g_assert_cmpuint (evbus_test_hook_length (fixture->sick), ==, 0);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, delivery, test) g_test_add ("/dead-letters/" name, Fixture, delivery, set_up, test, tear_down)
  ADD ("list", NULL, test_list);
  ADD ("replay/some", NULL, test_replay_some);
  ADD ("replay/all", NULL, test_replay_all);
  ADD ("replay/behind", "{'window': <{'events': <10>}>, 'batch': <{'events': <3>}>}", test_replay_behind);
  ADD ("replay/survives-a-restart", NULL, test_replay_survives);
  ADD ("replay/elsewhere", NULL, test_replay_elsewhere);
  ADD ("replay/waits", NULL, test_replay_waits);
  ADD ("put-time", NULL, test_put_time);
  ADD ("drop", NULL, test_drop);
  ADD ("orphan", NULL, test_orphan);
  ADD ("ends", NULL, test_ends);
  ADD ("age", "{'max_age': <'300ms'>}", test_age);
  g_test_add_func ("/dead-letters/needs-a-spool", test_needs_a_spool);

  return g_test_run ();
}
