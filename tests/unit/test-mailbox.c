/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "mailbox-test.h"

static void
test_order (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();

  push (mailbox, "a1 b1 a2");
  push (mailbox, "c1 b2 a3");
  g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, 6);

  /* Asking for a key in the middle changes no order. */
  assert_next (mailbox, NULL, "a-1");
  assert_next (mailbox, "b", "b-1");
  assert_next (mailbox, "nothing", NULL);
  assert_next (mailbox, NULL, "a-2");
  assert_next (mailbox, "a", "a-3");
  assert_next (mailbox, NULL, "c-1");
  push (mailbox, "b3");
  assert_next (mailbox, "b", "b-2");
  assert_next (mailbox, "b", "b-3");
  assert_next (mailbox, "b", NULL);
  assert_next (mailbox, NULL, NULL);
  g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, 0);
}

/* The events k-FIRST and so on, in one batch. */
static void
push_numbers (EvbusMailbox *mailbox,
              guint         first,
              guint         n)
{
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(EvbusBatch) batch = NULL;
  guint i;

  if (n == 0)
    return;

  for (i = 0; i < n; i++)
    g_ptr_array_add (events, make_event ("k", first + i));
  batch = fill_batch (events);
  g_assert_true (evbus_mailbox_push_batch (mailbox, batch, NULL, NULL, NULL));
}

/* Through growth, wrapping and shrinking of what is inside. */
static void
test_order_of_many (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  guint pushed = 0;
  guint taken = 0;
  guint round;

  for (round = 0; round < 60; round++)
    {
      guint n_push = (round % 7) * 257 + (round == 30 ? 20000 : 0);
      guint n_take = (round % 5) * 401 + (round == 40 ? 20000 : 0);
      g_autoptr(GPtrArray) events = NULL;
      guint i;

      push_numbers (mailbox, pushed, n_push);
      pushed += n_push;

      events = evbus_mailbox_try_get_many (mailbox, round > 50 ? "k" : NULL, n_take);
      g_assert_cmpuint (events->len, ==, MIN (n_take, pushed - taken));
      for (i = 0; i < events->len; i++)
        {
          g_autofree char *id = g_strdup_printf ("k-%u", taken++);

          g_assert_cmpstr (evbus_event_get_id (events->pdata[i]), ==, id);
        }
      g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, pushed - taken);
    }
}

static void
test_get_many (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GPtrArray) none = evbus_mailbox_try_get_many (mailbox, NULL, 10);
  g_autoptr(GPtrArray) two = NULL;
  g_autoptr(GPtrArray) rest = NULL;

  g_assert_cmpuint (none->len, ==, 0);
  push (mailbox, "a1 b1 a2 b2 a3");
  two = evbus_mailbox_try_get_many (mailbox, "a", 2);
  g_assert_cmpuint (two->len, ==, 2);
  g_assert_cmpstr (evbus_event_get_id (two->pdata[0]), ==, "a-1");
  g_assert_cmpstr (evbus_event_get_id (two->pdata[1]), ==, "a-2");
  rest = evbus_mailbox_try_get_many (mailbox, NULL, G_MAXUINT);
  g_assert_cmpuint (rest->len, ==, 3);
  g_assert_cmpstr (evbus_event_get_id (rest->pdata[0]), ==, "b-1");
  g_assert_cmpstr (evbus_event_get_id (rest->pdata[2]), ==, "a-3");
}

static void
test_other_key (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(EvbusBatch) batch = make_batch ("a1 b1");

  push (mailbox, "x1");
  g_assert_true (evbus_mailbox_push_batch (mailbox, batch, "x", NULL, NULL));
  assert_next (mailbox, "a", NULL);
  assert_next (mailbox, "x", "x-1");
  assert_next (mailbox, "x", "a-1");
  assert_next (mailbox, NULL, "b-1");
}

static void
test_full_by_events (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  Pusher pusher = { NULL };

  evbus_mailbox_set_limits (mailbox, 2, 1000);
  pusher_start (&pusher, mailbox, "a1 a2 a3 a4 a5");
  wait_for_blocked (mailbox);
  g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, 2);
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "a-1");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "a-2");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "a-3");
  assert_event (evbus_mailbox_get (mailbox, "a", NULL, NULL), "a-4");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "a-5");
  pusher_end (&pusher, 5);
}

static void
test_full_by_bytes (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  Pusher pusher = { NULL };

  /* Ten bytes each. */
  evbus_mailbox_set_limits (mailbox, 1000, 29);
  pusher_start (&pusher, mailbox, "a1 a2 a3");
  wait_for_blocked (mailbox);
  g_assert_cmpuint (evbus_mailbox_get_length (mailbox), ==, 2);
  assert_next (mailbox, NULL, "a-1");
  pusher_end (&pusher, 3);

  /* One that is larger than everything passes when it is alone. */
  evbus_mailbox_set_limits (mailbox, 1000, 5);
  pusher_start (&pusher, mailbox, "b1 b2");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "a-2");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "a-3");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "b-1");
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, NULL), "b-2");
  pusher_end (&pusher, 2);
}

static void
test_full_raised_limits (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  Pusher pusher = { NULL };

  evbus_mailbox_set_limits (mailbox, 1, 1000);
  pusher_start (&pusher, mailbox, "a1 a2 a3");
  wait_for_blocked (mailbox);
  evbus_mailbox_set_limits (mailbox, 3, 1000);
  pusher_end (&pusher, 3);
}

/* Woken by few consumers and not by each: but one that finds nothing of its
 * key must not stop what may come. */
static void
test_full_and_starved (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(GString) text = g_string_new ("a0");
  Pusher pusher = { NULL };
  guint i;

  evbus_mailbox_set_limits (mailbox, 2000, G_MAXUINT);
  for (i = 1; i < 2000; i++)
    g_string_append_printf (text, " a%u", i);
  g_string_append (text, " b1");
  pusher_start (&pusher, mailbox, text->str);
  wait_for_blocked (mailbox);
  assert_next (mailbox, NULL, "a-0");
  assert_event (evbus_mailbox_get (mailbox, "b", NULL, NULL), "b-1");
  pusher_end (&pusher, 2001);
}

static void
test_full_cancelled (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  Pusher pusher = { NULL };

  evbus_mailbox_set_limits (mailbox, 2, 1000);
  pusher_start (&pusher, mailbox, "a1 a2 k3");
  wait_for_blocked (mailbox);
  g_cancellable_cancel (pusher.cancellable);
  pusher_end (&pusher, 2);
  g_assert_error (pusher.error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT);
  g_assert_nonnull (strstr (pusher.error->message, "'k'"));
  g_assert_nonnull (strstr (pusher.error->message, "2 of 2 events"));
  g_assert_nonnull (strstr (pusher.error->message, "20 of 1000 bytes"));
  g_clear_error (&pusher.error);

  /* What was taken stays, and nothing else. */
  assert_next (mailbox, NULL, "a-1");
  assert_next (mailbox, NULL, "a-2");
  assert_next (mailbox, NULL, NULL);
}

static void
test_close (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  g_autoptr(EvbusBatch) batch = make_batch ("a1");
  g_autoptr(GError) error = NULL;
  GAsyncResult *any = NULL;
  GAsyncResult *keyed = NULL;
  GThread *thread = g_thread_new ("consumer", get_in_thread, mailbox);

  wait_for_waiters (mailbox, 1);
  push (mailbox, "b1");
  evbus_mailbox_get_async (mailbox, "c", NULL, store_result, &keyed);
  assert_next (mailbox, NULL, "b-1");
  evbus_mailbox_get_async (mailbox, NULL, NULL, store_result, &any);
  push (mailbox, "b2 b3");
  assert_result (mailbox, &any, "b-2");

  evbus_mailbox_close (mailbox);
  evbus_mailbox_close (mailbox);
  g_assert_null (g_thread_join (thread));
  assert_result_error (mailbox, &keyed, EVBUS_ERROR, EVBUS_ERROR_CLOSED);

  g_assert_false (evbus_mailbox_push_batch (mailbox, batch, NULL, NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
  g_clear_error (&error);
  g_assert_cmpuint (evbus_batch_get_n_confirmed (batch), ==, 0);

  /* What is left can still be taken. */
  assert_event (evbus_mailbox_get (mailbox, NULL, NULL, &error), "b-3");
  g_assert_null (evbus_mailbox_get (mailbox, NULL, NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
  evbus_mailbox_get_async (mailbox, NULL, NULL, store_result, &any);
  assert_result_error (mailbox, &any, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
}

static void
test_close_blocked (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  Pusher pusher = { NULL };

  evbus_mailbox_set_limits (mailbox, 1, 1000);
  pusher_start (&pusher, mailbox, "a1 a2");
  wait_for_blocked (mailbox);
  evbus_mailbox_close (mailbox);
  pusher_end (&pusher, 1);
  g_assert_error (pusher.error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);
  g_clear_error (&pusher.error);
}

/* Queues by key vanish with their last event, so that a million routing keys
 * leave nothing behind. */
static void
test_memory (void)
{
  g_autoptr(EvbusMailbox) mailbox = evbus_mailbox_new ();
  guint i;

  assert_next (mailbox, "a", NULL);
  for (i = 0; i < 10000; i++)
    {
      g_autofree char *key = g_strdup_printf ("key%u", i);
      g_autoptr(EvbusEvent) event = make_event (key, 1);

      g_assert_true (evbus_mailbox_push (mailbox, event, NULL, NULL, NULL));
      if (i % 2 == 0)
        evbus_event_unref (evbus_mailbox_try_get (mailbox, key));
    }
  g_assert_cmpuint (g_hash_table_size (mailbox->store.queues), ==, 5000);
  g_ptr_array_unref (evbus_mailbox_try_get_many (mailbox, NULL, 5000));
  g_assert_cmpuint (g_hash_table_size (mailbox->store.queues), ==, 0);
}

int
main (int   argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/mailbox/order", test_order);
  g_test_add_func ("/mailbox/order-of-many", test_order_of_many);
  g_test_add_func ("/mailbox/get-many", test_get_many);
  g_test_add_func ("/mailbox/other-key", test_other_key);
  g_test_add_func ("/mailbox/full/events", test_full_by_events);
  g_test_add_func ("/mailbox/full/bytes", test_full_by_bytes);
  g_test_add_func ("/mailbox/full/raised-limits", test_full_raised_limits);
  g_test_add_func ("/mailbox/full/starved", test_full_and_starved);
  g_test_add_func ("/mailbox/full/cancelled", test_full_cancelled);
  g_test_add_func ("/mailbox/close", test_close);
  g_test_add_func ("/mailbox/close-blocked", test_close_blocked);
  g_test_add_func ("/mailbox/memory", test_memory);

  return g_test_run ();
}
