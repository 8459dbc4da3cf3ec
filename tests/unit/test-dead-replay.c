/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters of a broker that are replayed, by their route or under another profile. */

#include "dead-test.h"

#include <sqlite3.h>
#include <string.h>

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

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, delivery, test) g_test_add ("/dead-replay/" name, Fixture, delivery, set_up, test, tear_down)
  ADD ("some", NULL, test_replay_some);
  ADD ("all", NULL, test_replay_all);
  ADD ("behind", "{'window': <{'events': <10>}>, 'batch': <{'events': <3>}>}", test_replay_behind);
  ADD ("survives-a-restart", NULL, test_replay_survives);
  ADD ("elsewhere", NULL, test_replay_elsewhere);
  ADD ("waits", NULL, test_replay_waits);
  ADD ("put-time", NULL, test_put_time);

  return g_test_run ();
}
