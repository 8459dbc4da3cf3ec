/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Events that are followed, in memory and with a spool: a put that waits for the
 * delivery, and the signal event-settled. */

#include "follow-test.h"

#include <string.h>

/* Answered when the last of its routes has delivered it. */
static void
test_delivered (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'one'>, 'wait': <'delivered'>, 'follow': <'me'>}", NULL, &result);
  follow_wait_held (fixture->a);
  follow_wait_held (fixture->b);
  follow_assert_waits (&result);

  evbus_test_hook_release (fixture->a);
  evbus_test_wait_until (fixture->told->len == 1);
  g_assert_cmpstr (fixture->told->pdata[0], ==, "me: one hook 'a*' delivered () 1");
  follow_assert_waits (&result);

  evbus_test_hook_release (fixture->b);
  follow_assert_delivered (fixture, &result, "one");
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
  evbus_test_wait_until (fixture->told->len == 2);
  g_assert_cmpstr (fixture->told->pdata[1], ==, "me: one hook '*b' delivered () 0");
}

/* The id is one that evbus made, which nobody can repeat. */
static void
test_own_id (Fixture       *fixture,
             gconstpointer  data)
{
  for (guint i = 0; i < 20; i++)
    {
      g_autoptr(GAsyncResult) result = NULL;
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      follow_put (fixture, "ab", "{'wait': <'delivered'>}", NULL, &result);
      id = follow_finish (fixture, &result, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (strlen (id), ==, 36);
    }
  evbus_test_assert_ledger (fixture->broker, "accepted=40 delivered=40");
}

/* One that gives the event up ends the waiting at once, also if another has it still;
 * who repeats the id is told the same. */
static void
test_dead (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) again = NULL;

  g_atomic_int_set (&fixture->poison, TRUE);
  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'bad'>, 'wait': <'delivered'>, 'follow': <'me'>}", NULL, &result);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "event 'bad' is dead at route hook 'a\\*': it tastes bad");
  follow_put (fixture, "ab", "{'id': <'bad'>, 'wait': <'delivered'>}", NULL, &again);
  follow_assert_failed (fixture, &again, EVBUS_ERROR_UNDELIVERED, "'bad' is dead at route hook 'a\\*'");

  g_atomic_int_set (&fixture->poison, FALSE);
  evbus_test_hook_release (fixture->b);
  evbus_test_wait_until (fixture->told->len == 2);
  g_assert_cmpstr (fixture->told->pdata[0], ==, "me: bad hook 'a*' dead (it tastes bad) 1");
  g_assert_cmpstr (fixture->told->pdata[1], ==, "me: bad hook '*b' delivered () 0");
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=1 dead=1");
}

static void
test_expired (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "a", "{}", NULL, NULL);
  follow_wait_held (fixture->a);
  follow_put (fixture, "a", "{'id': <'old'>, 'wait': <'delivered'>, 'max-age': <uint64 20>}", NULL, &result);
  evbus_test_grow_older (40 * 1000);
  follow_assert_waits (&result);
  evbus_test_hook_let_pass (fixture->a);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED,
                        fixture->directory != NULL ? "event 'old' is dead at route hook 'a\\*': it grew older"
                                                   : "event 'old' expired at route hook 'a\\*': it grew older");
  evbus_test_wait_ledger (fixture->route_a, "queued=0");
}

/* The window has room for one more than what is being published. */
static void
test_dropped (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "a", "{}", NULL, NULL);
  follow_wait_held (fixture->a);
  follow_put (fixture, "a", "{'id': <'lost'>, 'wait': <'delivered'>}", NULL, &result);
  evbus_test_wait_ledger (fixture->route_a, "queued=2");
  follow_put (fixture, "a", "{}", NULL, NULL);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED,
                        "event 'lost' was dropped at route hook 'a\\*': .*window is full");
}

/* Without a spool a route that leaves drops what it has. */
static void
test_removed (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "ab", "{'id': <'gone'>, 'wait': <'delivered'>}", NULL, &result);
  follow_wait_held (fixture->a);
  evbus_broker_remove_route (fixture->broker, fixture->route_a, &error);
  g_assert_no_error (error);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'gone' was dropped at route hook 'a\\*'");
}

/* The waiting ends, not the event; and who puts the same id again joins it. */
static void
test_timeout (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) again = NULL;

  evbus_test_hook_hold (fixture->a);
  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'late'>, 'wait': <'delivered'>, 'timeout': <uint32 50>}", NULL, &result);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_TIMED_OUT,
                        "'late' .* 50 ms; it stays accepted: route hook 'a\\*' and 1 more have it");
  follow_wait_held (fixture->b);
  evbus_test_hook_release (fixture->a);
  evbus_test_wait_ledger (fixture->route_a, "delivered=1");
  follow_put (fixture, "ab", "{'id': <'late'>, 'wait': <'delivered'>, 'timeout': <uint32 0>}", NULL, &again);
  follow_assert_failed (fixture, &again, EVBUS_ERROR_TIMED_OUT, "'late' .* 0 ms; .*: route hook '\\*b' has it");

  follow_put (fixture, "ab", "{'id': <'late'>, 'wait': <'delivered'>}", NULL, &again);
  follow_assert_waits (&again);
  evbus_test_hook_release (fixture->b);
  follow_assert_delivered (fixture, &again, "late");
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
}

static void
test_cancelled (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "a", "{'id': <'stop'>, 'wait': <'delivered'>}", cancellable, &result);
  follow_wait_held (fixture->a);
  follow_assert_waits (&result);
  g_cancellable_cancel (cancellable);
  g_assert_null (follow_finish (fixture, &result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  evbus_test_assert_says (error->message, "event 'stop' was cancelled; the event stays accepted: route hook 'a\\*'");

  evbus_test_hook_release (fixture->a);
  evbus_test_wait_ledger (fixture->broker, "accepted=1 delivered=1");
}

static void
test_cancelled_before (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  g_cancellable_cancel (cancellable);
  follow_put (fixture, "a", "{'wait': <'delivered'>}", cancellable, &result);
  g_assert_null (follow_finish (fixture, &result, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  evbus_test_assert_ledger (fixture->broker, "accepted=0");
}

static void
test_unrouted (Fixture       *fixture,
               gconstpointer  data)
{
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr(GAsyncResult) result = NULL;

      follow_put (fixture, "c", "{'id': <'none'>, 'wait': <'delivered'>, 'follow': <'me'>}", NULL, &result);
      follow_assert_delivered (fixture, &result, "none");
    }
  evbus_test_wait_until (fixture->told->len == 2);
  g_assert_cmpstr (fixture->told->pdata[0], ==, "me: none - unrouted () 0");
  evbus_test_assert_ledger (fixture->broker, "accepted=0 unrouted=1");
}

/* Nobody followed the event at first, and some of its routes have delivered it. */
static void
test_repeated (Fixture       *fixture,
               gconstpointer  data)
{
  g_autoptr(GAsyncResult) first = NULL;
  g_autoptr(GAsyncResult) second = NULL;

  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'mine'>}", NULL, &first);
  follow_assert_delivered (fixture, &first, "mine");
  evbus_test_wait_ledger (fixture->route_a, "delivered=1");

  follow_put (fixture, "ab", "{'id': <'mine'>, 'wait': <'delivered'>}", NULL, &first);
  follow_put (fixture, "ab", "{'id': <'mine'>, 'wait': <'delivered'>, 'follow': <'me'>}", NULL, &second);
  evbus_test_wait_until (fixture->told->len == 1);
  follow_assert_waits (&first);
  follow_assert_waits (&second);
  evbus_test_hook_release (fixture->b);
  follow_assert_delivered (fixture, &first, "mine");
  follow_assert_delivered (fixture, &second, "mine");
  evbus_test_wait_until (fixture->told->len == 2);
  g_assert_cmpstr (fixture->told->pdata[1], ==, "me: mine hook '*b' delivered () 0");

  /* What is settled is answered at once. */
  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'mine'>, 'wait': <'delivered'>, 'follow': <'me'>}", NULL, &first);
  follow_assert_delivered (fixture, &first, "mine");
  evbus_test_wait_until (follow_was_told (fixture, "me: mine - delivered () 0"));
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* The last one who asks is the one who hears. */
static void
test_follower (Fixture       *fixture,
               gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'it'>, 'follow': <'first'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "it");
  evbus_test_wait_until (follow_was_told (fixture, "first: it hook 'a*' delivered () 1"));
  follow_put (fixture, "ab", "{'id': <'it'>, 'follow': <'second'>, 'wait': <'accepted'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "it");
  evbus_test_wait_until (follow_was_told (fixture, "second: it hook 'a*' delivered () 1"));
  evbus_test_hook_release (fixture->b);
  evbus_test_wait_until (follow_was_told (fixture, "second: it hook '*b' delivered () 0"));
  g_assert_cmpuint (fixture->told->len, ==, 3);
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* Of one that waits for space first: its time is that of both. */
static void
test_waits_for_space (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) refused = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "a", "{}", NULL, NULL);
  follow_wait_held (fixture->a);
  follow_put (fixture, "a", "{'id': <'no'>, 'wait': <'delivered'>, 'timeout': <uint32 20>}", NULL, &refused);
  follow_assert_failed (fixture, &refused, EVBUS_ERROR_QUEUE_FULL, "20 ms; the event was not accepted");
  follow_put (fixture, "a", "{'id': <'yes'>, 'wait': <'delivered'>}", NULL, &result);
  follow_assert_waits (&result);
  evbus_test_assert_ledger (fixture->route_a, "accepted=1 queued=1");

  evbus_test_hook_let_pass (fixture->a);
  follow_wait_held (fixture->a);
  evbus_test_wait_ledger (fixture->route_a, "accepted=2 delivered=1 queued=1");
  follow_assert_waits (&result);
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "yes");
}

/* Before the start a put is accepted and waits. */
static void
test_before_the_start (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) again = NULL;

  follow_end (fixture);
  follow_make (fixture, data);
  follow_put (fixture, "ab", "{'id': <'early'>, 'wait': <'delivered'>}", NULL, &result);
  follow_put (fixture, "ab", "{'id': <'early'>, 'wait': <'delivered'>}", NULL, &again);
  follow_assert_waits (&result);
  evbus_test_start (fixture->broker);
  follow_assert_delivered (fixture, &result, "early");
  follow_assert_delivered (fixture, &again, "early");
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
}

static void
test_never_started (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  follow_end (fixture);
  follow_make (fixture, data);
  follow_put (fixture, "ab", "{'id': <'never'>, 'wait': <'delivered'>}", NULL, &result);
  {
    g_autoptr(GAsyncResult) stopped = NULL;

    evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &stopped);
    evbus_test_wait_until (stopped != NULL);
  }
  if (fixture->directory != NULL)
    follow_assert_failed (fixture, &result, EVBUS_ERROR_CLOSED, "stopped before the event was stored");
  else
    follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'never' was dropped at route");
}

/* As many as there may be; then no more, but for puts that follow nothing. Each event
 * counts once, once for each of its 60 routes, and once for the put that waits. */
static void
test_limit (Fixture       *fixture,
            gconstpointer  data)
{
  const guint n_routes = 60, n = 65536 / (n_routes + 2);
  g_autofree GAsyncResult **results = g_new0 (GAsyncResult *, n);
  g_autoptr(GAsyncResult) refused = NULL;

  for (guint i = 0; i < n_routes; i++)
    g_object_unref (evbus_test_add_hook (fixture->broker, fixture->a, "many", NULL));
  evbus_test_hook_hold (fixture->a);
  for (guint i = 0; i < n; i++)
    follow_put (fixture, "many", "{'wait': <'delivered'>}", NULL, &results[i]);
  follow_put (fixture, "many", "{'wait': <'delivered'>}", NULL, &refused);
  follow_assert_failed (fixture, &refused, EVBUS_ERROR_QUEUE_FULL, "too many events are followed .*65536");
  follow_put (fixture, "many", "{'follow': <'me'>}", NULL, &refused);
  follow_assert_failed (fixture, &refused, EVBUS_ERROR_QUEUE_FULL, "not accepted");
  follow_put (fixture, "many", "{}", NULL, &refused);
  g_free (follow_finish (fixture, &refused, NULL));

  evbus_test_hook_release (fixture->a);
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *id = follow_finish (fixture, &results[i], NULL);

      g_assert_nonnull (id);
    }
  evbus_test_wait_ledger (fixture->broker, "queued=0");
  evbus_test_assert_balance (fixture->broker);
}

static gpointer
put_from_thread (gpointer data)
{
  EvbusBroker *broker = data;
  g_autoptr(GMainContext) context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < 300; i++)
    {
      /* Every third one that all threads put. */
      g_autofree char *options = i % 3 > 0 ? g_strdup ("{'wait': <'delivered'>}")
                                           : g_strdup_printf ("{'wait': <'delivered'>, 'id': <'shared-%u'>}", i);
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_test_put_options (broker, "k", g_variant_new_uint32 (i), "ab", options, NULL, &error);

      g_assert_no_error (error);
    }
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_threads (Fixture       *fixture,
              gconstpointer  data)
{
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("put", put_from_thread, fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  /* What was answered is delivered. */
  evbus_test_assert_ledger (fixture->broker, "accepted=1800 delivered=1800");
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
    gboolean memory_only;
  } tests[] = {
    { "delivered", NULL, test_delivered, FALSE },
    { "own-id", NULL, test_own_id, FALSE },
    { "dead", NULL, test_dead, FALSE },
    { "expired", NULL, test_expired, FALSE },
    { "dropped", "{'window': <{'events': <2>}>}", test_dropped, TRUE },
    { "removed", NULL, test_removed, TRUE },
    { "timeout", NULL, test_timeout, FALSE },
    { "cancelled", NULL, test_cancelled, FALSE },
    { "cancelled-before", NULL, test_cancelled_before, FALSE },
    { "unrouted", NULL, test_unrouted, FALSE },
    { "repeated", NULL, test_repeated, FALSE },
    { "follower", NULL, test_follower, FALSE },
    { "waits-for-space", "{'overflow': <'block'>, 'window': <{'events': <1>}>}", test_waits_for_space, TRUE },
    { "before-the-start", NULL, test_before_the_start, FALSE },
    { "never-started", NULL, test_never_started, FALSE },
    { "limit", NULL, test_limit, TRUE },
    { "threads", NULL, test_threads, FALSE },
  };
  static Setup setups[2 * G_N_ELEMENTS (tests)];

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    {
      for (guint durable = 0; durable < (tests[i].memory_only ? 1 : 2); durable++)
        {
          Setup *setup = &setups[2 * i + durable];
          g_autofree char *path = g_strdup_printf ("/follow/%s/%s", tests[i].path, durable ? "spool" : "memory");

          setup->delivery = tests[i].delivery;
          setup->durable = durable;
          g_test_add (path, Fixture, setup, follow_set_up, tests[i].run, follow_tear_down);
        }
    }
  return g_test_run ();
}
