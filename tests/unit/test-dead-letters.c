/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters of a broker: listed, dropped, forgotten. (Replayed: test-dead-replay.c.) */

#include "dead-test.h"

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
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_ARGUMENT, "orphan");
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

/* How far it is, of all that the route has; and an end to it before that. */
static void
test_forget_progress (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GPtrArray) orphans = NULL;
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;
  Progress progress = { 0 };
  guint64 n_dropped;
  const char *key;

  die (fixture, 0, 600);
  evbus_test_hook_hold (fixture->sick);
  evbus_test_put_numbers (fixture->broker, "sick", 600, 30);
  end (fixture);
  evbus_test_hook_release (fixture->sick);
  begin_with (fixture, NULL);
  orphans = evbus_broker_list_orphans (fixture->broker);
  g_assert_cmpuint (orphans->len, ==, 1);
  key = evbus_orphan_get_key (orphans->pdata[0]);

  g_cancellable_cancel (cancellable);
  evbus_broker_forget_route_async (fixture->broker, key, on_progress, &progress, NULL, cancellable,
                                   evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  g_assert_false (evbus_broker_forget_route_finish (fixture->broker, result, &n_dropped, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (n_dropped + progress.n_calls, ==, 0);
  g_clear_error (&error);
  g_clear_object (&result);

  evbus_broker_forget_route_async (fixture->broker, key, on_progress, &progress, NULL, NULL,
                                   evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  g_assert_true (evbus_broker_forget_route_finish (fixture->broker, result, &n_dropped, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (n_dropped, ==, 630);
  g_assert_cmpuint (progress.n_calls, >, 2);
  g_assert_cmpint (progress.done, ==, 630);
  g_assert_cmpint (progress.total, ==, 630);
  evbus_test_assert_ledger (fixture->broker, "accepted=630 dropped=630");
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
  ADD ("drop", NULL, test_drop);
  ADD ("orphan", NULL, test_orphan);
  ADD ("forget-progress", NULL, test_forget_progress);
  ADD ("ends", NULL, test_ends);
  ADD ("age", "{'max_age': <'300ms'>}", test_age);
  g_test_add_func ("/dead-letters/needs-a-spool", test_needs_a_spool);

  return g_test_run ();
}
