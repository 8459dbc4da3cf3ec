/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "mailbox-test.h"

typedef struct {
  EvbusMailbox *mailbox;
  const char   *key;
  GPtrArray    *ids;
  gint         *n_left;
} Racer;

static void
test_get_blocks (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  GThread *thread = g_thread_new ("consumer", get_in_thread, mailbox);

  wait_for_waiters (mailbox, 1);
  push (mailbox, "a1 k1 k2");
  assert_event (g_thread_join (thread), "k-1");
  assert_next (mailbox, NULL, "a-1");
  assert_next (mailbox, NULL, "k-2");
}

static gpointer
cancel_in_thread (gpointer data)
{
  g_cancellable_cancel (data);
  return NULL;
}

static void
test_get_cancelled (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GError) error = NULL;
  GThread *thread = g_thread_new ("canceller", cancel_in_thread, cancellable);

  g_assert_null (evbus_mailbox_get (mailbox, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_thread_join (thread);

  push (mailbox, "a1");
  g_assert_null (evbus_mailbox_get (mailbox, NULL, cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  assert_next (mailbox, NULL, "a-1");
}

static void
test_async_fifo (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  GAsyncResult *results[5] = { NULL };

  push (mailbox, "z1");
  evbus_mailbox_get_async (mailbox, "z", NULL, store_result, &results[0]);
  assert_result (mailbox, &results[0], "z-1");

  evbus_mailbox_get_async (mailbox, "b", NULL, store_result, &results[1]);
  evbus_mailbox_get_async (mailbox, NULL, NULL, store_result, &results[2]);
  evbus_mailbox_get_async (mailbox, "a", NULL, store_result, &results[3]);
  evbus_mailbox_get_async (mailbox, "b", NULL, store_result, &results[4]);
  push (mailbox, "a1 b1 b2 a2 a3");
  assert_result (mailbox, &results[1], "b-1");
  assert_result (mailbox, &results[2], "a-1");
  assert_result (mailbox, &results[3], "a-2");
  assert_result (mailbox, &results[4], "b-2");
  assert_next (mailbox, NULL, "a-3");
}

static void
test_async_cancelled (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *first = NULL;
  GAsyncResult *second = NULL;
  GAsyncResult *third = NULL;

  evbus_mailbox_get_async (mailbox, NULL, cancellable, store_result, &first);
  evbus_mailbox_get_async (mailbox, NULL, NULL, store_result, &second);
  g_cancellable_cancel (cancellable);

  /* Before its cancellation is dispatched, and yet not given to it. */
  push (mailbox, "a1");
  assert_result (mailbox, &second, "a-1");
  assert_result_error (mailbox, &first, G_IO_ERROR, G_IO_ERROR_CANCELLED);

  evbus_mailbox_get_async (mailbox, NULL, cancellable, store_result, &third);
  assert_result_error (mailbox, &third, G_IO_ERROR, G_IO_ERROR_CANCELLED);
}

/* An event that was handed over arrives, although then it was cancelled. */
static void
test_async_cancelled_late (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *result = NULL;

  evbus_mailbox_get_async (mailbox, "a", cancellable, store_result, &result);
  push (mailbox, "a1");
  g_cancellable_cancel (cancellable);
  assert_result (mailbox, &result, "a-1");
}

typedef struct {
  GMainContext *context;
  GMainContext *seen;
} ContextCheck;

static void
store_context (GObject      *source,
               GAsyncResult *result,
               gpointer      user_data)
{
  ContextCheck *check = user_data;

  check->seen = g_main_context_get_thread_default ();
  assert_event (evbus_mailbox_get_finish (EVBUS_MAILBOX (source), result, NULL), "a-1");
}

static void
test_async_context (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GMainContext) context = g_main_context_new ();
  ContextCheck check = { context, NULL };

  g_main_context_push_thread_default (context);
  evbus_mailbox_get_async (mailbox, NULL, NULL, store_context, &check);
  g_main_context_pop_thread_default (context);
  push (mailbox, "a1");

  g_assert_null (check.seen);
  g_main_context_push_thread_default (context);
  while (check.seen == NULL)
    g_main_context_iteration (context, TRUE);
  g_main_context_pop_thread_default (context);
  g_assert_true (check.seen == context);
}

#define RACE_EVENTS 2000

/* Gets with a cancellable that another thread fires at some moment. */
static gpointer
race_gets (gpointer data)
{
  Racer *racer = data;

  while (g_atomic_int_get (racer->n_left) > 0)
    {
      g_autoptr(GCancellable) cancellable = g_cancellable_new ();
      GThread *canceller = g_thread_new ("canceller", cancel_in_thread, cancellable);
      EvbusEvent *event = evbus_mailbox_get (racer->mailbox, racer->key, cancellable, NULL);

      if (event != NULL)
        {
          g_ptr_array_add (racer->ids, g_strdup (evbus_event_get_id (event)));
          evbus_event_unref (event);
          g_atomic_int_add (racer->n_left, -1);
        }
      g_thread_join (canceller);
    }

  return NULL;
}

/* No event is lost and none comes twice, whoever cancels when. */
static void
test_race_cancel (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GHashTable) seen = g_hash_table_new (g_str_hash, g_str_equal);
  gint n_left = RACE_EVENTS;
  Racer racers[3] = { { NULL } };
  GThread *threads[3];
  guint i;
  guint j;

  for (i = 0; i < 3; i++)
    {
      racers[i].mailbox = mailbox;
      racers[i].key = i == 0 ? NULL : "a";
      racers[i].ids = g_ptr_array_new_with_free_func (g_free);
      racers[i].n_left = &n_left;
      threads[i] = g_thread_new ("racer", race_gets, &racers[i]);
    }
  for (i = 0; i < RACE_EVENTS; i++)
    {
      g_autoptr(EvbusEvent) event = make_event (i % 3 == 0 ? "b" : "a", i);

      g_assert_true (evbus_mailbox_push (mailbox, event, NULL, NULL, NULL));
      g_thread_yield ();
    }
  for (i = 0; i < 3; i++)
    {
      g_thread_join (threads[i]);
      for (j = 0; j < racers[i].ids->len; j++)
        g_assert_true (g_hash_table_add (seen, racers[i].ids->pdata[j]));
    }

  g_assert_cmpuint (g_hash_table_size (seen), ==, RACE_EVENTS);
  g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, 0);
  for (i = 0; i < 3; i++)
    g_ptr_array_unref (racers[i].ids);
}

typedef struct {
  EvbusMailbox *mailbox;
  guint         received;
  guint         cancelled;
  guint         pending;
} AsyncRace;

static void
on_race_result (GObject      *source,
                GAsyncResult *result,
                gpointer      user_data)
{
  AsyncRace *race = user_data;
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusEvent) event = NULL;

  event = evbus_mailbox_get_finish (race->mailbox, result, &error);
  race->pending--;
  if (event != NULL)
    {
      race->received++;
      return;
    }

  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  race->cancelled++;
}

static gpointer
push_many (gpointer data)
{
  guint i;

  for (i = 0; i < RACE_EVENTS; i++)
    {
      g_autoptr(EvbusEvent) event = make_event ("a", i);

      g_assert_true (evbus_mailbox_push (data, event, NULL, NULL, NULL));
    }

  return NULL;
}

static gboolean
nothing_pending (gpointer data)
{
  return ((AsyncRace *) data)->pending == 0;
}

static void
test_race_async_cancel (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  AsyncRace race = { mailbox, 0, 0, 0 };
  GThread *thread = g_thread_new ("pusher", push_many, mailbox);
  guint i;

  for (i = 0; race.received + evbus_mailbox_get_length (mailbox) < RACE_EVENTS; i++)
    {
      g_autoptr(GCancellable) cancellable = g_cancellable_new ();

      race.pending++;
      evbus_mailbox_get_async (mailbox, i % 2 ? "a" : NULL, cancellable, on_race_result, &race);
      if (i % 4 == 0)
        g_main_context_iteration (NULL, FALSE);
      if (i % 3 != 0)
        g_cancellable_cancel (cancellable);
      else
        iterate_until (nothing_pending, &race);
    }
  g_thread_join (thread);
  iterate_until (nothing_pending, &race);
  g_assert_cmpuint (race.received + evbus_mailbox_get_length (mailbox), ==, RACE_EVENTS);
  g_assert_cmpuint (race.cancelled + race.received, ==, i);
}

#define RACE_ROUNDS 5000

typedef struct {
  EvbusMailbox *mailbox;
  GCancellable *cancellables[RACE_ROUNDS];
  gint          round;         /* atomic: how many gets were begun */
} CancelRace;

static gpointer
cancel_each (gpointer data)
{
  CancelRace *race = data;

  for (gint i = 0; i < RACE_ROUNDS; i++)
    {
      while (g_atomic_int_get (&race->round) <= i)
        g_thread_yield ();
      g_cancellable_cancel (race->cancellables[i]);
    }
  return NULL;
}

/* Served by one thread while another one cancels: nothing of the get is left,
 * or the mailbox would be kept by it. */
static void
test_race_serve (void)
{
  g_autofree CancelRace *cancels = g_new0 (CancelRace, 1);
  EvbusMailbox *mailbox = evbus_mailbox_new ();
  AsyncRace race = { mailbox, 0, 0, 0 };
  GThread *thread;

  for (guint i = 0; i < RACE_ROUNDS; i++)
    cancels->cancellables[i] = g_cancellable_new ();
  thread = g_thread_new ("canceller", cancel_each, cancels);
  for (guint i = 0; i < RACE_ROUNDS; i++)
    {
      g_autoptr(EvbusEvent) event = make_event ("a", i);

      race.pending++;
      evbus_mailbox_get_async (mailbox, NULL, cancels->cancellables[i], on_race_result, &race);
      g_atomic_int_inc (&cancels->round);
      g_assert_true (evbus_mailbox_push (mailbox, event, NULL, NULL, NULL));
      iterate_until (nothing_pending, &race);
    }
  g_thread_join (thread);
  g_assert_cmpuint (race.received + evbus_mailbox_get_length (mailbox), ==, RACE_ROUNDS);
  g_assert_cmpuint (race.received + race.cancelled, ==, RACE_ROUNDS);

  for (guint i = 0; i < RACE_ROUNDS; i++)
    g_assert_finalize_object (cancels->cancellables[i]);
  g_assert_finalize_object (mailbox);
}

static void
hold_up (GCancellable *cancellable,
         gpointer      data)
{
  while (!g_atomic_int_get ((gint *) data))
    g_thread_yield ();
}

/* The get is over while the cancellation still runs, on another thread: nothing
 * of it is left either. */
static void
test_cancel_slowly (void)
{
  GCancellable *cancellable = g_cancellable_new ();
  EvbusMailbox *mailbox = evbus_mailbox_new ();
  AsyncRace race = { mailbox, 0, 0, 1 };
  gint go_on = FALSE;
  GThread *thread;

  evbus_mailbox_get_async (mailbox, NULL, cancellable, on_race_result, &race);
  g_cancellable_connect (cancellable, G_CALLBACK (hold_up), &go_on, NULL);
  thread = g_thread_new ("canceller", cancel_in_thread, cancellable);
  iterate_until (nothing_pending, &race);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_atomic_int_set (&go_on, TRUE);
  g_thread_join (thread);
  g_assert_cmpuint (race.cancelled, ==, 1);
  g_assert_finalize_object (cancellable);
  g_assert_finalize_object (mailbox);
}

#define STRESS_EVENTS 20000

static gpointer
consume_key (gpointer data)
{
  Racer *racer = data;
  guint expected;

  for (expected = 0; expected < STRESS_EVENTS; expected++)
    {
      g_autofree char *id = g_strdup_printf ("%s-%u", racer->key, expected);

      assert_event (evbus_mailbox_get (racer->mailbox, racer->key, NULL, NULL), id);
    }

  return NULL;
}

static gpointer
produce_key (gpointer data)
{
  Racer *racer = data;
  guint i;

  for (i = 0; i < STRESS_EVENTS; i++)
    {
      g_autoptr(EvbusEvent) event = make_event (racer->key, i);

      g_assert_true (evbus_mailbox_push (racer->mailbox, event, NULL, NULL, NULL));
    }

  return NULL;
}

/* Small enough to be full all the time, but with room for each key. */
static void
test_threads (void)
{
  const char *keys[] = { "a", "b", "c" };
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  Racer racers[3] = { { NULL } };
  GThread *threads[6];
  guint i;

  evbus_mailbox_set_limits (mailbox, 64, G_MAXUINT);
  for (i = 0; i < 3; i++)
    {
      racers[i].mailbox = mailbox;
      racers[i].key = keys[i];
      threads[i] = g_thread_new ("consumer", consume_key, &racers[i]);
      threads[i + 3] = g_thread_new ("producer", produce_key, &racers[i]);
    }
  for (i = 0; i < 6; i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, 0);
}

int
main (int   argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/mailbox/get/blocks", test_get_blocks);
  g_test_add_func ("/mailbox/get/cancelled", test_get_cancelled);
  g_test_add_func ("/mailbox/async/fifo", test_async_fifo);
  g_test_add_func ("/mailbox/async/cancelled", test_async_cancelled);
  g_test_add_func ("/mailbox/async/cancelled-late", test_async_cancelled_late);
  g_test_add_func ("/mailbox/async/context", test_async_context);
  g_test_add_func ("/mailbox/race/cancel", test_race_cancel);
  g_test_add_func ("/mailbox/race/async-cancel", test_race_async_cancel);
  g_test_add_func ("/mailbox/race/serve-cancel", test_race_serve);
  g_test_add_func ("/mailbox/race/cancel-slowly", test_cancel_slowly);
  g_test_add_func ("/mailbox/threads", test_threads);

  return g_test_run ();
}
