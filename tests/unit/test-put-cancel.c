/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Puts that do not come to their end: cancelled ones, and those a stop meets. */

#include "evbus-test.h"

#include <string.h>

/* A put goes to both routes or to none: one that is always free, one that makes
 * puts wait. */
typedef struct {
  EvbusTestHook *open_hook, *full_hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *open_route, *full_route;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->open_hook = evbus_test_hook_new ("open");
  fixture->full_hook = evbus_test_hook_new ("full");
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->open_route = evbus_test_add_hook (fixture->broker, fixture->open_hook, "*", NULL);
  fixture->full_route = evbus_test_add_hook (fixture->broker, fixture->full_hook, "*",
                                             "{'overflow': <'block'>, 'window': <{'events': <4>}>}");
  evbus_test_start (fixture->broker);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_object_unref (fixture->open_route);
  g_object_unref (fixture->full_route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->open_hook);
  evbus_test_hook_free (fixture->full_hook);
}

/* Both routes delivered the same events, @expected of them. */
static void
finish (Fixture *fixture,
        guint    expected)
{
  evbus_test_hook_release (fixture->full_hook);
  evbus_test_wait_until (evbus_test_hook_length (fixture->full_hook) >= expected);
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (evbus_test_hook_length (fixture->full_hook), ==, expected);
  g_assert_cmpuint (evbus_test_hook_length (fixture->open_hook), ==, expected);
  for (guint i = 0; i < expected; i++)
    g_assert_true (evbus_test_hook_peek (fixture->full_hook, i) ==
                   evbus_test_hook_peek (fixture->open_hook, i));
  g_assert_cmpuint (evbus_test_figure (fixture->open_route, "accepted"), ==, expected);
  g_assert_cmpuint (evbus_test_figure (fixture->open_route, "delivered"), ==, expected);
  g_assert_cmpuint (evbus_test_figure (fixture->full_route, "accepted"), ==, expected);
  g_assert_cmpuint (evbus_test_figure (fixture->full_route, "delivered"), ==, expected);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "accepted"), ==, 2 * expected);
}

static void
put_async (Fixture       *fixture,
           guint          number,
           GCancellable  *cancellable,
           GAsyncResult **result)
{
  evbus_producer_put_async (fixture->producer, "number", g_variant_new_uint32 (number), NULL,
                            cancellable, evbus_test_store_result, result);
}

/* The next puts have to wait. */
static void
fill (Fixture *fixture)
{
  evbus_test_hook_hold (fixture->full_hook);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 4);
  evbus_test_wait_until (evbus_test_hook_read (fixture->full_hook,
                                               &fixture->full_hook->n_waiting) == 1);
}

static void
test_before (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) result = NULL, result_many = NULL;
  g_autoptr(GError) error = NULL;

  g_cancellable_cancel (cancellable);
  put_async (fixture, 0, cancellable, &result);
  g_assert_null (result);
  evbus_test_wait_until (result != NULL);
  g_assert_null (evbus_producer_put_finish (fixture->producer, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);

  evbus_producer_put_many_async (fixture->producer,
                                 g_variant_new_parsed ("[('k', <1>, ''), ('k', <2>, '')]"),
                                 cancellable, evbus_test_store_result, &result_many);
  evbus_test_wait_until (result_many != NULL);
  g_assert_null (evbus_producer_put_many_finish (fixture->producer, result_many, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  finish (fixture, 0);
}

/* While it waits; those before and behind it are not touched, nor is the order. */
static void
test_waiting (Fixture       *fixture,
              gconstpointer  data)
{
  GCancellable *cancellables[6];
  GAsyncResult *results[6] = { NULL, };

  fill (fixture);
  for (guint i = 0; i < 6; i++)
    {
      cancellables[i] = g_cancellable_new ();
      put_async (fixture, 4 + i, cancellables[i], &results[i]);
    }
  for (guint i = 1; i < 6; i += 2)
    g_cancellable_cancel (cancellables[i]);
  evbus_test_wait_until (results[1] != NULL && results[3] != NULL && results[5] != NULL);
  evbus_test_assert_ledger (fixture->full_route, "accepted=4 queued=4");
  g_assert_cmpuint (evbus_test_figure (fixture->open_route, "accepted"), ==, 4);
  g_assert_null (results[0]);

  evbus_test_hook_release (fixture->full_hook);
  evbus_test_wait_until (results[0] != NULL && results[2] != NULL && results[4] != NULL);
  for (guint i = 0; i < 6; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_producer_put_finish (fixture->producer, results[i], &error);

      if (i % 2 == 1)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      else
        g_assert_no_error (error);
      g_assert_true ((id != NULL) == (i % 2 == 0));
      g_object_unref (results[i]);
      g_object_unref (cancellables[i]);
    }
  finish (fixture, 7);
  g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->full_hook, 5)), ==, 6);
  g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->full_hook, 6)), ==, 8);
}

static void
test_waiting_many (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  fill (fixture);
  evbus_producer_put_many_async (fixture->producer,
                                 g_variant_new_parsed ("[('k', <1>, ''), ('k', <2>, '')]"),
                                 cancellable, evbus_test_store_result, &result);
  evbus_test_iterate ();
  g_assert_null (result);
  g_cancellable_cancel (cancellable);
  evbus_test_wait_until (result != NULL);
  g_assert_null (evbus_producer_put_many_finish (fixture->producer, result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  finish (fixture, 4);
}

static gpointer
cancel_each (gpointer data)
{
  GAsyncQueue *queue = data;

  for (;;)
    {
      g_autoptr(GCancellable) cancellable = g_async_queue_pop (queue);

      /* Not started, as the end: a cancellable that is cancelled already. */
      if (g_cancellable_is_cancelled (cancellable))
        return NULL;
      g_cancellable_cancel (cancellable);
    }
}

/* A cancel on another thread meets the put at any point of its way; its answer
 * tells the truth in each case. Room comes and goes while it does. */
static void
test_race (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GAsyncQueue) queue = g_async_queue_new_full (g_object_unref);
  g_autoptr(GHashTable) accepted = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr(GCancellable) end = g_cancellable_new ();
  GThread *thread = g_thread_new ("cancel", cancel_each, queue);
  guint n_cancelled = 0;

  for (guint i = 0; i < 2000; i++)
    {
      g_autoptr(GCancellable) cancellable = g_cancellable_new ();
      g_autoptr(GAsyncResult) result = NULL;
      g_autoptr(GError) error = NULL;
      char *id;

      if (i % 2 == 0)
        g_async_queue_push (queue, g_object_ref (cancellable));
      put_async (fixture, i, cancellable, &result);
      if (i % 2 == 1)
        g_async_queue_push (queue, g_object_ref (cancellable));
      evbus_test_wait_until (result != NULL);
      id = evbus_producer_put_finish (fixture->producer, result, &error);
      if (id != NULL)
        g_assert_true (g_hash_table_add (accepted, id));
      else
        {
          g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
          n_cancelled++;
        }
    }
  g_cancellable_cancel (end);
  g_async_queue_push (queue, g_object_ref (end));
  g_thread_join (thread);
  g_test_message ("%u of 2000 were cancelled", n_cancelled);

  finish (fixture, g_hash_table_size (accepted));
  for (guint i = 0; i < g_hash_table_size (accepted); i++)
    g_assert_true (g_hash_table_contains (accepted, evbus_event_get_id (
                     evbus_test_hook_peek (fixture->open_hook, i))));
}

/* The same with puts that wait, and the release that lets them go. */
static void
test_race_waiting (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GAsyncQueue) queue = g_async_queue_new_full (g_object_unref);
  g_autoptr(GCancellable) end = g_cancellable_new ();
  GThread *thread = g_thread_new ("cancel", cancel_each, queue);
  guint n_accepted = 0;

  for (guint i = 0; i < 300; i++)
    {
      g_autoptr(GCancellable) cancellable = g_cancellable_new ();
      g_autoptr(GAsyncResult) result = NULL;
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      evbus_test_wait_until (evbus_test_figure (fixture->full_route, "queued") == 0);
      fill (fixture);
      n_accepted += 4;
      put_async (fixture, 4, cancellable, &result);
      g_async_queue_push (queue, g_object_ref (cancellable));
      evbus_test_hook_release (fixture->full_hook);
      evbus_test_wait_until (result != NULL);
      id = evbus_producer_put_finish (fixture->producer, result, &error);
      if (id == NULL)
        g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
      n_accepted += id != NULL;
    }
  g_cancellable_cancel (end);
  g_async_queue_push (queue, g_object_ref (end));
  g_thread_join (thread);
  finish (fixture, n_accepted);
}

static void
assert_closed (GError **error)
{
  evbus_test_assert_error (*error, EVBUS_ERROR_CLOSED, "stopped|closed");
  g_clear_error (error);
}

static void
test_after_stop (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GBytes) bytes = g_bytes_new_static ("1", 1);
  g_autoptr(GAsyncResult) put = NULL, put_bytes = NULL;
  g_autoptr(GError) error = NULL;

  finish (fixture, 0);
  g_assert_null (evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (1), NULL,
                                            &error));
  assert_closed (&error);
  g_assert_null (evbus_producer_put_bytes_nowait (fixture->producer, "k", bytes, "text/plain",
                                                  NULL, &error));
  assert_closed (&error);
  put_async (fixture, 1, NULL, &put);
  evbus_test_wait_until (put != NULL);
  g_assert_null (evbus_producer_put_finish (fixture->producer, put, &error));
  assert_closed (&error);
  evbus_producer_put_bytes_async (fixture->producer, "k", bytes, "text/plain", NULL, NULL,
                                  evbus_test_store_result, &put_bytes);
  evbus_test_wait_until (put_bytes != NULL);
  g_assert_null (evbus_producer_put_bytes_finish (fixture->producer, put_bytes, &error));
  assert_closed (&error);
  g_assert_null (evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (1), NULL,
                                         "{'id': <'x'>}", NULL, &error));
  assert_closed (&error);
  g_assert_null (evbus_test_put_many (fixture->broker, g_variant_new_parsed ("[('k', <1>, '')]"),
                                      &error));
  assert_closed (&error);
  evbus_test_assert_ledger (fixture->broker, "accepted=0 unrouted=0");
}

/* A put that waits for room when the broker stops is answered, and its answer
 * is true. */
static void
test_stop_meets_waiting (Fixture       *fixture,
                         gconstpointer  data)
{
  g_autoptr(GAsyncResult) waiting = NULL, stopped = NULL;
  g_autoptr(GError) error = NULL, stop_error = NULL;
  g_autofree char *id = NULL;

  evbus_broker_set_stop_timeout (fixture->broker, 30000);
  fill (fixture);
  put_async (fixture, 4, NULL, &waiting);
  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &stopped);
  evbus_test_hook_release (fixture->full_hook);
  evbus_test_wait_until (stopped != NULL);
  g_assert_nonnull (waiting);
  g_assert_true (evbus_broker_stop_finish (fixture->broker, stopped, &stop_error));
  g_assert_no_error (stop_error);
  id = evbus_producer_put_finish (fixture->producer, waiting, &error);
  if (id == NULL)
    g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
  finish (fixture, id != NULL ? 5 : 4);
}

typedef struct {
  EvbusProducer *producer;
  GCancellable *cancellable;
  gulong handler;
  guint n_done;
} Own;

static void
on_own_cancelled (GCancellable *cancellable,
                  gpointer      data)
{
}

/* What is customary in a completion; it waits for handlers that are running. */
static void
disconnect_and_count (GObject      *source,
                      GAsyncResult *result,
                      gpointer      data)
{
  Own *own = data;
  g_autofree char *id = evbus_producer_put_finish (EVBUS_PRODUCER (source), result, NULL);

  g_cancellable_disconnect (own->cancellable, own->handler);
  own->handler = 0;
  own->n_done++;
}

/* In the main loop: a task made there may call back at once later. */
static gboolean
put_own (gpointer data)
{
  Own *own = data;

  for (guint i = 4; i < 6; i++)
    evbus_producer_put_async (own->producer, "k", g_variant_new_uint32 (i), NULL, own->cancellable,
                              disconnect_and_count, own);
  return G_SOURCE_REMOVE;
}

static gboolean
cancel_own (gpointer data)
{
  g_cancellable_cancel (((Own *) data)->cancellable);
  return G_SOURCE_REMOVE;
}

/* Cancelled in the main loop in which it is answered; the answer does not come
 * inside of the cancellation. Nor does that of the put that it held up. */
static void
test_disconnect (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  Own own = { fixture->producer, cancellable, 0, 0 };

  fill (fixture);
  own.handler = g_cancellable_connect (cancellable, G_CALLBACK (on_own_cancelled), NULL, NULL);
  g_idle_add (put_own, &own);
  evbus_test_iterate ();
  g_idle_add (cancel_own, &own);
  evbus_test_wait_until (own.n_done == 2);
  evbus_test_hook_release (fixture->full_hook);
  finish (fixture, 4);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/put/cancelled/before", test_before },
    { "/put/cancelled/waiting", test_waiting },
    { "/put/cancelled/waiting-many", test_waiting_many },
    { "/put/cancelled/race", test_race },
    { "/put/cancelled/race-with-room", test_race_waiting },
    { "/put/cancelled/disconnect", test_disconnect },
    { "/put/after-stop", test_after_stop },
    { "/put/stop-meets-waiting", test_stop_meets_waiting },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
