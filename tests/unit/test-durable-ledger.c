/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* With a spool the ledger goes on from one broker to the next: also what is counted
 * beside the balance, for no route, and for routes that are gone. */

#include "durable-test.h"

#include <signal.h>
#include <sys/resource.h>

/* Takes nothing for the first three times, and does not say what became of it. */
static gboolean
fail_thrice (EvbusTestHook *hook,
             EvbusContext  *ctx,
             EvbusBatch    *batch,
             GCancellable  *cancellable,
             GError       **error)
{
  int *n_failed = hook->user_data;

  if (g_atomic_int_add (n_failed, 1) < 3)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "the connection is lost");
      return FALSE;
    }
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_test_hook_take (hook, batch, i);
  return TRUE;
}

/* The same, but it says that the destination has not got them. */
static gboolean
refuse_thrice (EvbusTestHook *hook,
               EvbusContext  *ctx,
               EvbusBatch    *batch,
               GCancellable  *cancellable,
               GError       **error)
{
  int *n_failed = hook->user_data;
  gboolean fails = g_atomic_int_add (n_failed, 1) < 3;

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      if (fails)
        evbus_batch_fail (batch, i, EVBUS_OUTCOME_TRANSIENT, "no connection");
      else
        evbus_test_hook_take (hook, batch, i);
    }
  return TRUE;
}

static void
test_duplicates (Fixture       *fixture,
                 gconstpointer  data)
{
  int n_failed = 0;

  fixture->hook->publish = fail_thrice;
  fixture->hook->user_data = &n_failed;
  durable_put (fixture, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1 retried=3 duplicates=3");
  fixture->hook->publish = refuse_thrice;
  n_failed = 0;
  durable_put (fixture, 1);
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2 retried=6 duplicates=3");
  durable_end (fixture);

  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->route, "accepted=2 delivered=2 retried=6 duplicates=3");
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2 retried=6 duplicates=3 repeated=0 unrouted=0");
}

static void
put_mine (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_test_put_options (fixture->broker, "k", g_variant_new_uint32 (0), NULL,
                                                "{'id': <'mine'>}", NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (id, ==, "mine");
}

static void
test_repeated (Fixture       *fixture,
               gconstpointer  data)
{
  for (guint i = 0; i < 3; i++)
    put_mine (fixture);
  evbus_test_wait_ledger (fixture->broker, "accepted=1 delivered=1 repeated=2");
  durable_end (fixture);

  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->broker, "accepted=1 delivered=1 repeated=2");
  put_mine (fixture);
  evbus_test_assert_ledger (fixture->broker, "accepted=1 delivered=1 repeated=3");
}

/* Before any event was stored, and with no commit but that for them. */
static void
test_unrouted (Fixture       *fixture,
               gconstpointer  data)
{
  for (guint i = 1; i <= 3; i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
      g_assert_no_error (error);
      g_free (evbus_test_put (fixture->broker, "k", "0", NULL));
      durable_end (fixture);

      durable_begin (fixture, data);
      evbus_test_assert_ledger (fixture->broker, i == 1 ? "accepted=0 unrouted=1"
                                               : i == 2 ? "accepted=0 unrouted=2" : "accepted=0 unrouted=3");
    }
}

/* The two that it had queued are dropped. */
static void
test_forgotten (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(EvbusRoute) gone = NULL;
  g_autoptr(GError) error = NULL;

  durable_put (fixture, 3);
  gone = evbus_test_add_route (fixture->broker, "file", "*",
                               "{'path': <'/dev/null/no'>, 'delivery': <{'name': <'gone'>}>}");
  durable_put (fixture, 2);
  evbus_test_wait_ledger (fixture->broker, "accepted=7 delivered=5 queued=2");
  g_assert_true (evbus_broker_remove_route (fixture->broker, gone, &error));
  g_assert_no_error (error);

  /* It is still about to end. */
  do
    {
      g_clear_object (&result);
      g_clear_error (&error);
      evbus_broker_forget_route_async (fixture->broker, "gone", NULL, NULL, NULL, NULL, evbus_test_store_result, &result);
      evbus_test_wait_until (result != NULL);
    }
  while (!evbus_broker_forget_route_finish (fixture->broker, result, NULL, &error) &&
         g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_BUSY));
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->broker, "accepted=7 delivered=5 dropped=2");
  durable_end (fixture);

  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->route, "accepted=5 delivered=5");
  evbus_test_assert_ledger (fixture->broker, "accepted=7 delivered=5 dropped=2");
  durable_end (fixture);
  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->broker, "accepted=7 delivered=5 dropped=2");
}

static gboolean
refuse (EvbusTestHook *hook,
        EvbusContext  *ctx,
        EvbusBatch    *batch,
        GCancellable  *cancellable,
        GError       **error)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "not so");
  return TRUE;
}

/* What is refused is not counted as a dead letter where none is kept: an orphan would hold
 * for ever what nobody can see. */
static void
test_no_letters (Fixture       *fixture,
                 gconstpointer  data)
{
  fixture->hook->publish = refuse;
  durable_put (fixture, 10);
  evbus_test_wait_ledger (fixture->route, "accepted=10 expired=10");
  durable_end (fixture);
  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->route, "accepted=10 expired=10");
}

static void
on_failed (EvbusBroker *broker,
           EvbusRoute  *route,
           EvbusEvent  *event,
           const char  *reason,
           guint64      missed,
           guint       *n_failed)
{
  (*n_failed)++;
}

/* What nobody waits for and the full disk does not take is dropped, for good: by a route that
 * goes on, and by one that is gone and forgotten. */
static void
test_not_stored (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *text = g_strnfill (64 * 1024, 'x');
  g_autoptr(GBytes) body = g_bytes_new (text, 64 * 1024);
  g_autoptr(GError) error = NULL;
  struct rlimit old, none;
  guint n_failed = 0;

  signal (SIGXFSZ, SIG_IGN);
  g_signal_connect (fixture->broker, "event-failed", G_CALLBACK (on_failed), &n_failed);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &old), ==, 0);
  none = old;
  none.rlim_cur = 4096;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &none), ==, 0);
  for (guint i = 0; i < 3; i++)
    g_free (evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, NULL, &error));
  g_assert_no_error (error);
  evbus_test_wait_until (n_failed == 3);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &old), ==, 0);
  evbus_test_assert_ledger (fixture->route, "accepted=3 dropped=3");
  evbus_test_wait_until (evbus_broker_get_spool_condition (fixture->broker) == EVBUS_SPOOL_CONDITION_INTACT);
  g_signal_handlers_disconnect_by_data (fixture->broker, &n_failed);
  durable_put (fixture, 2);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=2 dropped=3");
  durable_end (fixture);

  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->route, "accepted=5 delivered=2 dropped=3");
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->route, &error));
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->broker, "accepted=5 delivered=2 dropped=3");
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, delivery, test) \
  g_test_add ("/durable-ledger/" name, Fixture, delivery, durable_set_up, test, durable_tear_down)
  ADD ("duplicates", "{'retry': <{'min': <'1ms'>, 'max': <'2ms'>}>}", test_duplicates);
  ADD ("repeated", NULL, test_repeated);
  ADD ("unrouted", NULL, test_unrouted);
  ADD ("forgotten", NULL, test_forgotten);
  ADD ("not-stored", NULL, test_not_stored);
  ADD ("no-letters", "{'dead_letters': <false>}", test_no_letters);

  return g_test_run ();
}
