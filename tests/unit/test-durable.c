/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A broker with a spool: what was accepted is delivered, also by a later
 * broker. */

#include "durable-test.h"

#include <signal.h>
#include <sys/resource.h>

static void
test_delivers (Fixture       *fixture,
               gconstpointer  data)
{
  durable_put (fixture, 1000);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=1000 delivered=1000");
  durable_end (fixture);

  durable_begin (fixture, data);
  evbus_test_assert_ledger (fixture->route, "accepted=1000 delivered=1000");
  durable_put (fixture, 10);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->broker, "accepted=1010 delivered=1010");
}

static void
test_survives_a_stop (Fixture       *fixture,
                      gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 700);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  durable_end (fixture);

  evbus_test_hook_release (fixture->hook);
  durable_begin (fixture, data);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=700 delivered=700");
}

/* A window of 10 events and batches of 3: nearly all of it is read back. */
static void
test_falls_behind (Fixture       *fixture,
                   gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 2000);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  durable_put (fixture, 3000);
  evbus_test_hook_release (fixture->hook);
  durable_put (fixture, 500);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=5500 delivered=5500");

  /* And it is live again. */
  durable_put (fixture, 20);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=5520 delivered=5520");
}

static void
test_answers_when_stored (Fixture       *fixture,
                          gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;
  g_autofree char *again = NULL;

  evbus_test_hook_hold (fixture->hook);
  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_string ("x"), NULL, "{'id': <'mine'>}", NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (id, ==, "mine");
  durable_end (fixture);

  /* It is known, and there once. */
  evbus_test_hook_release (fixture->hook);
  durable_begin (fixture, data);
  again = evbus_test_put_options (fixture->broker, "k", g_variant_new_string ("x"), NULL, "{'id': <'mine'>}", NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (again, ==, "mine");
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 1);
}

static void
test_many_are_stored_together (Fixture       *fixture,
                               gconstpointer  data)
{
  GVariantBuilder builder;
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) ids = NULL;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(svs)"));
  for (guint i = 0; i < 20000; i++)
    g_variant_builder_add (&builder, "(svs)", "k", g_variant_new_uint32 (i), "");
  evbus_test_hook_hold (fixture->hook);
  ids = evbus_test_put_many (fixture->broker, g_variant_builder_end (&builder), &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_strv_length (ids), ==, 20000);
  durable_end (fixture);

  evbus_test_hook_release (fixture->hook);
  durable_begin (fixture, data);
  fixture->expected = 20000;
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=20000 delivered=20000");
}

static gboolean
refuse_all (EvbusTestHook *hook,
            EvbusContext  *ctx,
            EvbusBatch    *batch,
            GCancellable  *cancellable,
            GError       **error)
{
  g_atomic_int_add ((int *) hook->user_data, (int) evbus_batch_get_n_events (batch));
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "refused");
  return TRUE;
}

/* Files can grow again, or not. */
static void
limit_files (struct rlimit *limit)
{
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, limit), ==, 0);
}

/* Each event becomes a dead letter of 64 KiB, and nothing can be written: those that
 * wait in memory are bounded, and all of them are there when the disk is. */
static void
test_broken_disk (Fixture       *fixture,
                  gconstpointer  data)
{
  const int n = 300, at_most = 8 * 16 + 10;
  g_autofree char *body = g_strnfill (64 * 1024, 'x');
  struct rlimit old, none;
  int n_refused = 0;

  signal (SIGXFSZ, SIG_IGN);
  fixture->hook->publish = refuse_all;
  fixture->hook->user_data = &n_refused;
  evbus_test_hook_hold (fixture->hook);
  for (int i = 0; i < n; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_test_put_options (fixture->broker, "k", g_variant_new_string (body), NULL, "{}", NULL,
                                                    &error);

      g_assert_no_error (error);
    }

  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &old), ==, 0);
  none = old;
  none.rlim_cur = 4096;
  limit_files (&none);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_BROKEN);
  g_assert_cmpint (g_atomic_int_get (&n_refused), <=, at_most);

  limit_files (&old);
  evbus_test_wait_until (g_atomic_int_get (&n_refused) == n);
  evbus_test_wait_ledger (fixture->route, "accepted=300 dead=300");
}

/* A put before the start waits for it; without one it is refused. */
static void
test_never_started (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(EvbusBroker) broker = NULL;
  g_autoptr(GAsyncResult) put_result = NULL;
  g_autoptr(GAsyncResult) stop_result = NULL;
  g_autoptr(GBytes) body = g_bytes_new_static ("x", 1);
  g_autoptr(GError) error = NULL;

  durable_end (fixture);
  broker = durable_new_broker (fixture);
  g_object_unref (evbus_test_add_hook (broker, fixture->hook, "*", data));
  evbus_producer_put_bytes_async (EVBUS_PRODUCER (broker), "k", body, NULL, NULL, NULL,
                                  evbus_test_store_result, &put_result);
  evbus_broker_stop_async (broker, NULL, evbus_test_store_result, &stop_result);
  evbus_test_wait_until (put_result != NULL && stop_result != NULL);
  g_assert_null (evbus_producer_put_bytes_finish (EVBUS_PRODUCER (broker), put_result, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
  evbus_test_assert_ledger (broker, "accepted=0");
}

static void
put_mine (EvbusBroker   *broker,
          GAsyncResult **result)
{
  evbus_producer_put_with_options_async (EVBUS_PRODUCER (broker), "k", g_variant_new_int32 (0), NULL,
                                         g_variant_new_parsed ("{'id': <'mine'>}"), NULL,
                                         evbus_test_store_result, result);
}

/* What the spool knows is not known yet when the put is accepted. */
static void
test_repeated_before_the_start (Fixture       *fixture,
                                gconstpointer  data)
{
  g_autoptr(GAsyncResult) first = NULL;
  g_autoptr(GAsyncResult) second = NULL;
  g_autoptr(GAsyncResult) third = NULL;
  g_autofree char *again = NULL;
  g_autofree char *once_more = NULL;
  g_autoptr(GError) error = NULL;

  put_mine (fixture->broker, &first);
  evbus_test_wait_until (first != NULL);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
  durable_end (fixture);

  fixture->broker = durable_new_broker (fixture);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  fixture->expected = 1;
  durable_put (fixture, 3);
  put_mine (fixture->broker, &second);
  put_mine (fixture->broker, &third);
  durable_put (fixture, 3);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (second != NULL && third != NULL);
  again = evbus_producer_put_with_options_finish (EVBUS_PRODUCER (fixture->broker), second, &error);
  g_assert_no_error (error);
  once_more = evbus_producer_put_with_options_finish (EVBUS_PRODUCER (fixture->broker), third, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (again, ==, "mine");
  g_assert_cmpstr (once_more, ==, "mine");
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=7 delivered=7");
}


/* Waits for the other one, which was stored and is answered with it. */
static void
wait_for_both (GObject      *producer,
               GAsyncResult *result,
               gpointer      data)
{
  guint *n_called = data;
  g_autofree char *id = evbus_producer_put_bytes_finish (EVBUS_PRODUCER (producer), result, NULL);

  g_assert_nonnull (id);
  *n_called += 1;
  evbus_test_wait_until (*n_called == 2);
}

static void
test_callback_waits_for_another (Fixture       *fixture,
                                 gconstpointer  data)
{
  g_autoptr(GBytes) body = g_bytes_new_static ("0", 1);
  guint n_called = 0;

  durable_end (fixture);
  fixture->broker = durable_new_broker (fixture);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  /* Before the start, so that one commit has both. */
  for (guint i = 0; i < 2; i++)
    evbus_producer_put_bytes_async (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, NULL, NULL,
                                    wait_for_both, &n_called);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (n_called == 2);
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
}

static void
test_second_broker (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(EvbusBroker) second = durable_new_broker (fixture);
  g_autofree char *name = NULL;   /* under valgrind it is not that of this program */
  g_autoptr(GError) error = NULL;

  g_assert_true (g_file_get_contents ("/proc/self/comm", &name, NULL, NULL));
  g_assert_false (evbus_broker_start (second, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_BUSY, g_strchomp (name));
  durable_put (fixture, 5);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=5");
}

/* The thread that makes the checkpoints is dispensable. */
static void
test_no_thread (Fixture       *fixture,
                gconstpointer  data)
{
  durable_end (fixture);
  evbus_test_refuse_threads (1);
  durable_begin (fixture, NULL);
  g_assert_cmpint (evbus_test_count_refused_threads (), ==, 1);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*no thread*limit of tasks", NULL, NULL), ==, 1);

  durable_put (fixture, 1000);
  durable_assert_all (fixture);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, delivery, test) g_test_add ("/durable/" name, Fixture, delivery, durable_set_up, test, durable_tear_down)
  ADD ("delivers", NULL, test_delivers);
  ADD ("survives-a-stop", NULL, test_survives_a_stop);
  ADD ("survives-a-stop/small-batches", "{'batch': <{'events': <7>}>}", test_survives_a_stop);
  ADD ("falls-behind", "{'window': <{'events': <10>}>, 'batch': <{'events': <3>}>}", test_falls_behind);
  ADD ("answers-when-stored", NULL, test_answers_when_stored);
  ADD ("many-are-stored-together", NULL, test_many_are_stored_together);
  ADD ("broken-disk", "{'batch': <{'events': <5>}>, 'retry': <{'min': <'2ms'>, 'max': <'20ms'>}>}", test_broken_disk);
  ADD ("never-started", NULL, test_never_started);
  ADD ("repeated-before-the-start", NULL, test_repeated_before_the_start);
  ADD ("callback-waits-for-another", NULL, test_callback_waits_for_another);
  ADD ("second-broker", NULL, test_second_broker);
  ADD ("no-thread", NULL, test_no_thread);

  return g_test_run ();
}
