/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A sink that fails again and again is tried with one event at a time, and is given
 * more and more again once it takes them. */

#include "evbus-test.h"

#define FAILURES 5             /* doc/limits.md */
#define QUICKLY "'retry': <{'min': <'1ms'>, 'max': <'1ms'>}>"

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
  GArray *sizes;               /* of the batches that came; under the hook's lock, as the next */
  guint fail_from;             /* publishes from this one on, counted from 0 … */
  guint fail_to;               /* … to before this one fail */
} Fixture;

static gboolean
publish (EvbusTestHook  *hook,
         EvbusContext   *ctx,
         EvbusBatch     *batch,
         GCancellable   *cancellable,
         GError        **error)
{
  Fixture *fixture = hook->user_data;
  guint n = evbus_batch_get_n_events (batch);
  gboolean fails;

  g_mutex_lock (&hook->lock);
  fails = fixture->sizes->len >= fixture->fail_from && fixture->sizes->len < fixture->fail_to;
  g_array_append_val (fixture->sizes, n);
  g_mutex_unlock (&hook->lock);

  for (guint i = 0; !fails && i < n; i++)
    evbus_test_hook_take (hook, batch, i);
  if (fails)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "nobody is home");
  return !fails;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("circuit");
  fixture->hook->user_data = fixture;
  fixture->hook->publish = publish;
  fixture->sizes = g_array_new (FALSE, TRUE, sizeof (guint));
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_stop (fixture->broker);
  evbus_test_assert_balance (fixture->broker);
  for (guint i = 0; i < evbus_test_hook_length (fixture->hook); i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
  g_array_unref (fixture->sizes);
}

static void
run (Fixture *fixture,
     guint    fail_from,
     guint    fail_to,
     guint    n_events)
{
  fixture->fail_from = fail_from;
  fixture->fail_to = fail_to;
  evbus_test_put_numbers (fixture->broker, NULL, 0, n_events);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "delivered") == n_events);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_RUNNING);
}

static void
assert_sizes (Fixture     *fixture,
              const guint *expected,
              guint        n)
{
  g_assert_cmpuint (fixture->sizes->len, ==, n);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (g_array_index (fixture->sizes, guint, i), ==, expected[i]);
}

static void
test_opens (Fixture       *fixture,
            gconstpointer  data)
{
  static const guint expected[] = { 20, 20, 20, 20, 20, 1, 1, 1, 1, 2, 4, 8, 5, 20 };

  run (fixture, 0, FAILURES + 3, 40);
  assert_sizes (fixture, expected, G_N_ELEMENTS (expected));
  evbus_test_assert_ledger (fixture->route, "accepted=40 delivered=40 retried=103");
}

/* Fewer failures are no reason. */
static void
test_stays_closed (Fixture       *fixture,
                   gconstpointer  data)
{
  static const guint expected[] = { 20, 20, 20, 20, 20, 20 };

  run (fixture, 0, FAILURES - 1, 40);
  assert_sizes (fixture, expected, G_N_ELEMENTS (expected));
}

/* One failure opens what is not closed yet. */
static void
test_opens_again (Fixture       *fixture,
                  gconstpointer  data)
{
  static const guint expected[] = { 20, 20, 20, 20, 20, 1, 2, 4, 1, 2, 4, 8, 2, 20 };

  fixture->fail_from = 0;
  fixture->fail_to = 0;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 40);
  evbus_test_start (fixture->broker);
  fixture->fail_to = FAILURES;
  /* Five that fail, two that do not, one that does. */
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    {
      evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1 &&
                             evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish) == i + 1);
      g_mutex_lock (&fixture->hook->lock);
      if (i == FAILURES + 2)
        {
          fixture->fail_from = i;
          fixture->fail_to = i + 1;
        }
      g_mutex_unlock (&fixture->hook->lock);
      evbus_test_hook_let_pass (fixture->hook);
    }
  evbus_test_wait_ledger (fixture->route, "accepted=40 delivered=40");
  evbus_test_hook_release (fixture->hook);
  assert_sizes (fixture, expected, G_N_ELEMENTS (expected));
}

/* A person sees it, also where a batch is a single event. */
static void
test_says_so (Fixture       *fixture,
              gconstpointer  data)
{
  g_autofree char *reason = NULL;

  fixture->fail_to = G_MAXUINT;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 40);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish) > FAILURES);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_RETRYING);
  reason = evbus_route_dup_reason (fixture->route);
  evbus_test_assert_says (reason, "circuit is open.*nobody is home");

  g_mutex_lock (&fixture->hook->lock);
  fixture->fail_to = 0;
  g_mutex_unlock (&fixture->hook->lock);
  evbus_test_wait_ledger (fixture->route, "accepted=40 delivered=40");
  g_clear_pointer (&reason, g_free);
  reason = evbus_route_dup_reason (fixture->route);
  g_assert_null (reason);
}

static gboolean
poison_after_failures (EvbusTestHook  *hook,
                       EvbusContext   *ctx,
                       EvbusBatch     *batch,
                       GCancellable   *cancellable,
                       GError        **error)
{
  Fixture *fixture = hook->user_data;
  guint n = evbus_batch_get_n_events (batch);
  guint n_before;

  g_mutex_lock (&hook->lock);
  n_before = fixture->sizes->len;
  g_array_append_val (fixture->sizes, n);
  g_mutex_unlock (&hook->lock);

  if (n_before < FAILURES)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "nobody is home");
      return FALSE;
    }
  for (guint i = 0; i < n; i++)
    {
      if (evbus_test_event_number (evbus_batch_get_event (batch, i)) != 39)
        continue;
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_POISON, "one of them is poison");
      return FALSE;
    }
  for (guint i = 0; i < n; i++)
    evbus_test_hook_take (hook, batch, i);
  return TRUE;
}

/* To halve a batch, and to double the next one, do not get into each other's way. */
static void
test_poison (Fixture       *fixture,
             gconstpointer  data)
{
  static const guint expected[] = { 40, 40, 40, 40, 40, 1, 2, 4, 8, 16, 9, 5, 4, 2, 2, 1, 1 };

  fixture->hook->publish = poison_after_failures;
  evbus_test_put_numbers (fixture->broker, NULL, 0, 40);
  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "accepted=40 delivered=39 dead=1");
  assert_sizes (fixture, expected, G_N_ELEMENTS (expected));
}

int
main (int    argc,
      char **argv)
{
#define ADD(path, delivery, test) \
  g_test_add ("/circuit/" path, Fixture, delivery, set_up, test, tear_down)

  evbus_test_init (&argc, &argv);
  ADD ("opens", "{'batch': <20>, " QUICKLY "}", test_opens);
  ADD ("stays-closed", "{'batch': <20>, " QUICKLY "}", test_stays_closed);
  ADD ("opens-again", "{'batch': <20>, " QUICKLY "}", test_opens_again);
  ADD ("says-so", "{'batch': <20>, " QUICKLY "}", test_says_so);
  ADD ("says-so/one", "{'in_flight': <1>, " QUICKLY "}", test_says_so);
  ADD ("poison", "{'batch': <40>, " QUICKLY "}", test_poison);
  return g_test_run ();
}
