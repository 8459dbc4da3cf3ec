/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of the mailbox share. */

#pragma once

#include <string.h>

#include "evbus-batch-private.h"
#include "evbus-error.h"
#include "evbus-event-private.h"
#include "evbus-mailbox-private.h"

#define DEADLINE (60 * G_USEC_PER_SEC)

static inline EvbusEvent *
make_event (const char *key,
            guint       number)
{
  g_autofree char *id = g_strdup_printf ("%s-%u", key, number);
  EvbusEventInit init = {
    .id = id,
    .routing_key = key, .routing_key_length = strlen (key),
    .profile = "default", .profile_length = 7,
    .content_type = "application/json",
    .data = (const guint8 *) "0123456789",
    .size = 10,
  };

  return evbus_event_new (&init);
}

/* A batch for an ingress that is called directly; it keeps the events. */
static inline EvbusBatch *
fill_batch (GPtrArray *events)
{
  EvbusBatch *batch = g_object_new (EVBUS_TYPE_BATCH, NULL);

  evbus_batch_fill (batch, (EvbusEvent **) events->pdata, events->len);
  g_object_set_data_full (G_OBJECT (batch), "events", g_ptr_array_ref (events), (GDestroyNotify) g_ptr_array_unref);
  return batch;
}

/* "a1 b1 a2": the events a-1, b-1, a-2. */
static inline EvbusBatch *
make_batch (const char *text)
{
  g_auto(GStrv) words = g_strsplit (text, " ", -1);
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  guint i;

  for (i = 0; words[i] != NULL; i++)
    {
      char key[2] = { words[i][0], '\0' };

      g_ptr_array_add (events, make_event (key, atoi (words[i] + 1)));
    }

  return fill_batch (events);
}

static inline void
push (EvbusMailbox *mailbox,
      const char   *text)
{
  g_autoptr(EvbusBatch) batch = make_batch (text);
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_mailbox_push_batch (mailbox, batch, NULL, NULL, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (evbus_batch_get_n_confirmed (batch), ==, evbus_batch_get_n_events (batch));
}

static inline void
assert_event (EvbusEvent *event,
              const char *id)
{
  g_assert_cmpstr (event != NULL ? evbus_event_get_id (event) : NULL, ==, id);
  g_clear_pointer (&event, evbus_event_unref);
}

static inline void
assert_next (EvbusMailbox *mailbox,
             const char   *key,
             const char   *id)
{
  assert_event (evbus_mailbox_try_get (mailbox, key), id);
}

static inline void
iterate_until (gboolean (* condition) (gpointer),
               gpointer    data)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE;

  while (!condition (data))
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      if (!g_main_context_iteration (NULL, FALSE))
        g_thread_yield ();
    }
}

static inline void
store_result (GObject      *source,
              GAsyncResult *result,
              gpointer      user_data)
{
  GAsyncResult **where = user_data;

  g_assert_null (*where);
  *where = g_object_ref (result);
}

static inline gboolean
is_set (gpointer data)
{
  return *(gpointer *) data != NULL;
}

/* Ends a get_async whose result is stored in @result. */
static inline void
assert_result (EvbusMailbox  *mailbox,
               GAsyncResult **result,
               const char    *id)
{
  g_autoptr(GError) error = NULL;

  iterate_until (is_set, result);
  assert_event (evbus_mailbox_get_finish (mailbox, *result, &error), id);
  g_assert_no_error (error);
  g_clear_object (result);
}

static inline void
assert_result_error (EvbusMailbox  *mailbox,
                     GAsyncResult **result,
                     GQuark         domain,
                     int            code)
{
  g_autoptr(GError) error = NULL;

  iterate_until (is_set, result);
  g_assert_null (evbus_mailbox_get_finish (mailbox, *result, &error));
  g_assert_error (error, domain, code);
  g_clear_object (result);
}

static inline void
wait_for_blocked (EvbusMailbox *mailbox)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE;
  guint n_blocked = 0;

  while (n_blocked == 0)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_thread_yield ();
      g_mutex_lock (&mailbox->lock);
      n_blocked = mailbox->n_blocked;
      g_mutex_unlock (&mailbox->lock);
    }
}

typedef struct {
  EvbusMailbox *mailbox;
  EvbusBatch   *batch;
  GCancellable *cancellable;
  GThread      *thread;
  GError       *error;
  gboolean      done;
} Pusher;

static inline gpointer
push_in_thread (gpointer data)
{
  Pusher *pusher = data;

  pusher->done = evbus_mailbox_push_batch (pusher->mailbox, pusher->batch, NULL,
                                           pusher->cancellable, &pusher->error);
  return NULL;
}

static inline void
pusher_start (Pusher       *pusher,
              EvbusMailbox *mailbox,
              const char   *text)
{
  pusher->mailbox = mailbox;
  pusher->batch = make_batch (text);
  pusher->cancellable = g_cancellable_new ();
  pusher->thread = g_thread_new ("pusher", push_in_thread, pusher);
}

static inline void
pusher_end (Pusher *pusher,
            guint   n_confirmed)
{
  g_thread_join (pusher->thread);
  g_assert_cmpuint (evbus_batch_get_n_confirmed (pusher->batch), ==, n_confirmed);
  g_assert_cmpint (pusher->done, ==, n_confirmed == evbus_batch_get_n_events (pusher->batch));
  g_clear_object (&pusher->batch);
  g_clear_object (&pusher->cancellable);
}

static inline gpointer
get_in_thread (gpointer data)
{
  return evbus_mailbox_get (data, "k", NULL, NULL);
}

static inline void
wait_for_waiters (EvbusMailbox *mailbox,
                  guint         expected)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE;
  guint n_waiters = 0;

  while (n_waiters != expected)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
      g_thread_yield ();
      g_mutex_lock (&mailbox->lock);
      n_waiters = mailbox->n_waiters;
      g_mutex_unlock (&mailbox->lock);
    }
}
