/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A publish that is given more events while others are under way. */

#include "durable-test.h"

#define BATCH 20
#define MOST 16384             /* in one publish: doc/limits.md */

/* What the publish below is to do, and what it saw; under the hook's lock. */
typedef struct {
  gboolean newest_first;       /* confirms those that are under way in that order */
  guint fail_at;               /* confirmed in this publish; then it fails once, by @fail_with */
  int fail_with;               /* an EvbusError; or 0 */
  guint poison;                /* the number of an event that is refused; 0: none */
  guint hold_at;               /* confirmed in this publish; then it waits at the hook's gate; 0: never */
  gboolean keep;               /* the batch of the first publish: */
  EvbusBatch *kept;
  guint largest;               /* at once under way */
  guint most;                  /* in one publish */
  guint n_extensions;
  guint n_after;               /* of them, after a failure, or at the gate */
} Sink;

/* The events of the batch that are under way, by their index. */
typedef struct {
  Sink *sink;
  EvbusTestHook *hook;
  EvbusBatch *batch;
  GArray *open;
  guint n_sent;
  guint n_confirmed;
  gboolean failed;
} Flight;

static void
send_rest (Flight *flight)
{
  guint n = evbus_batch_get_n_events (flight->batch);

  for (; flight->n_sent < n; flight->n_sent++)
    g_array_append_val (flight->open, flight->n_sent);
  flight->sink->largest = MAX (flight->sink->largest, flight->open->len);
  flight->sink->most = MAX (flight->sink->most, n);
}

static void
settle_one (Flight *flight)
{
  guint place = flight->sink->newest_first ? flight->open->len - 1 : 0;
  guint index = g_array_index (flight->open, guint, place);
  EvbusEvent *event = evbus_batch_get_event (flight->batch, index);

  g_array_remove_index (flight->open, place);
  if (flight->sink->poison > 0 && evbus_test_event_number (event) == flight->sink->poison)
    {
      evbus_batch_fail (flight->batch, index, EVBUS_OUTCOME_POISON, "poison");
      flight->failed = TRUE;
      return;
    }
  /* The hook would keep the event. */
  if (flight->sink->keep)
    evbus_batch_confirm (flight->batch, index);
  else
    evbus_test_hook_take (flight->hook, flight->batch, index);
  flight->n_confirmed++;
}

static void
wait_at_gate (Flight *flight)
{
  EvbusTestHook *hook = flight->hook;

  g_mutex_lock (&hook->lock);
  hook->n_waiting++;
  g_cond_broadcast (&hook->changed);
  while (hook->held)
    g_cond_wait (&hook->changed, &hook->lock);
  hook->n_waiting--;
  g_mutex_unlock (&hook->lock);
  flight->sink->hold_at = 0;
  flight->failed = TRUE;
}

/* More is asked for as often as can be. */
static void
extend (Flight *flight)
{
  while (evbus_batch_extend (flight->batch) > 0)
    {
      send_rest (flight);
      flight->sink->n_extensions++;
      flight->sink->n_after += flight->failed;
    }
}

static gboolean
publish (EvbusTestHook  *hook,
         EvbusContext   *ctx,
         EvbusBatch     *batch,
         GCancellable   *cancellable,
         GError        **error)
{
  Sink *sink = hook->user_data;
  g_autoptr(GArray) open = g_array_new (FALSE, FALSE, sizeof (guint));
  Flight flight = { .sink = sink, .hook = hook, .batch = batch, .open = open };

  send_rest (&flight);
  extend (&flight);
  while (open->len > 0)
    {
      settle_one (&flight);
      if (sink->fail_with != 0 && flight.n_confirmed == sink->fail_at)
        {
          g_set_error_literal (error, EVBUS_ERROR, sink->fail_with, "nobody is home");
          sink->fail_with = 0;
          return FALSE;
        }
      extend (&flight);
      if (sink->hold_at != 0 && flight.n_confirmed == sink->hold_at)
        {
          wait_at_gate (&flight);
          extend (&flight);
        }
    }
  if (sink->keep)
    {
      sink->kept = g_object_ref (batch);
      sink->keep = FALSE;
    }
  return TRUE;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("extend");
  fixture->hook->user_data = g_new0 (Sink, 1);
  fixture->hook->publish = publish;
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop_anyhow (fixture->broker);
  evbus_test_assert_balance (fixture->broker);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  g_free (fixture->hook->user_data);
  evbus_test_hook_free (fixture->hook);
}

/* @n events that wait when it starts. */
static Sink *
run (Fixture *fixture,
     guint    n)
{
  durable_put (fixture, n);
  evbus_test_start (fixture->broker);
  return fixture->hook->user_data;
}

static void
assert_in_order (Fixture *fixture)
{
  durable_assert_all (fixture);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "queued") == 0);
}

static guint
n_publish (Fixture *fixture)
{
  return evbus_test_hook_read (fixture->hook, &fixture->hook->n_publish);
}

/* In order, and no more at once than a batch. */
static void
test_goes_on (Fixture       *fixture,
              gconstpointer  data)
{
  Sink *sink = run (fixture, 50 * BATCH);

  assert_in_order (fixture);
  g_assert_cmpuint (sink->largest, ==, BATCH);
  g_assert_cmpuint (sink->n_extensions, >, BATCH);
  g_assert_cmpuint (n_publish (fixture), <, 50);
  evbus_test_assert_ledger (fixture->route, "accepted=1000 delivered=1000");
}

static void
test_in_flight (Fixture       *fixture,
                gconstpointer  data)
{
  Sink *sink = run (fixture, 20 * BATCH);

  assert_in_order (fixture);
  g_assert_cmpuint (sink->largest, ==, 3 * BATCH);
  evbus_test_assert_ledger (fixture->route, "accepted=400 delivered=400");
}

static void
test_one (Fixture       *fixture,
          gconstpointer  data)
{
  Sink *sink = run (fixture, 50);

  assert_in_order (fixture);
  g_assert_cmpuint (sink->largest, ==, 1);
  g_assert_cmpuint (sink->n_extensions, >, 0);
  evbus_test_assert_ledger (fixture->route, "accepted=50 delivered=50");
}

/* Where the oldest is not confirmed there is no more. */
static void
test_newest_first (Fixture       *fixture,
                   gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  sink->newest_first = TRUE;
  run (fixture, 10 * BATCH);
  evbus_test_wait_ledger (fixture->route, "accepted=200 delivered=200");
  g_assert_cmpuint (sink->largest, ==, BATCH);
}

/* One publish does not last for ever. */
static void
test_ends (Fixture       *fixture,
           gconstpointer  data)
{
  Sink *sink = run (fixture, 3 * MOST);

  assert_in_order (fixture);
  g_assert_cmpuint (sink->most, <, MOST + BATCH);
}

/* What was confirmed does not come again, what was not comes in order. */
static void
test_fails (Fixture       *fixture,
            gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  sink->fail_with = EVBUS_ERROR_TRANSIENT;
  sink->fail_at = 2 * BATCH + 3;
  run (fixture, 10 * BATCH);
  assert_in_order (fixture);
  g_assert_cmpuint (sink->n_extensions, >, 0);
  /* Confirmed were 43, and of the last batch's worth of events more were under way. */
  g_assert_cmpuint (evbus_test_figure (fixture->route, "retried"), <, BATCH);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "retried"), >, 0);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), ==, 10 * BATCH);
}

/* It is found by halving, what was delivered before is not sent again. */
static void
test_halved (Fixture       *fixture,
             gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  sink->fail_with = EVBUS_ERROR_POISON;
  sink->fail_at = 2 * BATCH;
  run (fixture, 10 * BATCH);
  assert_in_order (fixture);
  evbus_test_assert_ledger (fixture->route, "accepted=200 delivered=200");
}

/* Up to the gate of the publish that is under way. */
static void
wait_for_gate (Fixture *fixture)
{
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
}

static void
hold (Fixture *fixture,
      guint    at,
      guint    n)
{
  Sink *sink = fixture->hook->user_data;

  sink->hold_at = at;
  evbus_test_hook_hold (fixture->hook);
  fixture->hook->n_passes = 1;
  run (fixture, n);
  wait_for_gate (fixture);
}

/* A batch is refused as a whole while that event is in it, or after some more have been sent. */
static gboolean
refuse_whole (EvbusTestHook  *hook,
              EvbusContext   *ctx,
              EvbusBatch     *batch,
              GCancellable   *cancellable,
              GError        **error)
{
  guint n = 0;

  do
    {
      for (; n < evbus_batch_get_n_events (batch); n++)
        if (evbus_test_event_number (evbus_batch_get_event (batch, n)) == 3)
          {
            while (evbus_batch_extend (batch) > 0)
              ;
            g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_POISON, "one of them is poison");
            return FALSE;
          }
    }
  while (evbus_batch_extend (batch) > 0);

  for (guint i = 0; i < n; i++)
    evbus_test_hook_take (hook, batch, i);
  return TRUE;
}

/* Also where far more than a batch was under way. */
static void
test_poison (Fixture       *fixture,
             gconstpointer  data)
{
  fixture->hook->publish = refuse_whole;
  run (fixture, 10 * BATCH);
  evbus_test_wait_ledger (fixture->route, "accepted=200 delivered=199 dead=1");
  g_assert_cmpuint (n_publish (fixture), <, 40);
}

static gboolean
fail_always (EvbusTestHook  *hook,
             EvbusContext   *ctx,
             EvbusBatch     *batch,
             GCancellable   *cancellable,
             GError        **error)
{
  Sink *sink = hook->user_data;

  while (evbus_batch_extend (batch) > 0)
    ;
  g_mutex_lock (&hook->lock);
  sink->most = evbus_batch_get_n_events (batch);
  g_mutex_unlock (&hook->lock);
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "nobody is home");
  return FALSE;
}

/* With an open circuit one event is tried, also where a batch is no more. */
static void
test_circuit (Fixture       *fixture,
              gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  fixture->hook->publish = fail_always;
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  run (fixture, BATCH);
  evbus_test_wait_until (n_publish (fixture) > 8);
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &sink->most), ==, 1);
}

/* After one that failed there is no more, so that it is not overtaken by all that waits. */
static void
test_refused (Fixture       *fixture,
              gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  sink->poison = 3;
  hold (fixture, 5, 10);
  durable_put (fixture, 190);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "accepted") == 200);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "accepted=200 delivered=199 dead=1");
  g_assert_cmpuint (sink->n_after, ==, 0);
}

/* Nor what is too old by then. */
static void
test_too_old (Fixture       *fixture,
              gconstpointer  data)
{
  hold (fixture, 5, 10);
  for (guint i = 0; i < BATCH; i++)
    {
      g_autofree char *id = evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (10 + i), NULL,
                                                    "{'max-age': <uint64 20>}", NULL, NULL);

      g_assert_nonnull (id);
    }
  evbus_test_wait_until (evbus_test_figure (fixture->route, "accepted") == 10 + BATCH);
  evbus_test_grow_older (20000);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "accepted=30 delivered=10 expired=20");
}

/* A batch that is kept has the events that it had at its end. */
static void
test_kept (Fixture       *fixture,
           gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;
  g_autoptr(EvbusBatch) batch = NULL;
  guint n;

  sink->keep = TRUE;
  run (fixture, 10 * BATCH);
  evbus_test_wait_ledger (fixture->route, "accepted=200 delivered=200");
  evbus_test_stop_anyhow (fixture->broker);
  batch = sink->kept;
  n = evbus_batch_get_n_events (batch);
  g_assert_cmpuint (n, >, BATCH);
  g_assert_cmpuint (evbus_test_event_number (evbus_batch_get_event (batch, n - 1)), ==, n - 1);
  g_assert_cmpuint (evbus_batch_get_n_bytes (batch), >, 0);
  g_assert_cmpuint (evbus_batch_extend (batch), ==, 0);
}

/* What was confirmed is booked while the publish goes on. */
static void
test_booked (Fixture       *fixture,
             gconstpointer  data)
{
  hold (fixture, 3 * BATCH, 10 * BATCH);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), >, BATCH);
  g_assert_cmpuint (n_publish (fixture), ==, 1);
  evbus_test_hook_release (fixture->hook);
  assert_in_order (fixture);
}

/* A person who pauses it does not wait for all that is there. */
static void
test_pause (Fixture       *fixture,
            gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  hold (fixture, 3 * BATCH, 10 * BATCH);
  evbus_route_pause (fixture->route);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_PAUSED);
  g_assert_cmpuint (sink->n_after, ==, 0);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "queued"), >, 0);
  evbus_route_resume (fixture->route);
  assert_in_order (fixture);
}

/* What it has booked is delivered, the rest is lost with it; and nothing is when it
 * comes back. */
static void
test_given_up (Fixture       *fixture,
               gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;
  guint delivered;

  fixture->hook->deaf = TRUE;
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  hold (fixture, 3 * BATCH, 10 * BATCH);
  delivered = evbus_test_figure (fixture->route, "delivered");
  evbus_test_stop_anyhow (fixture->broker);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_STUCK);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_STOPPED);
  g_assert_cmpuint (sink->n_after, ==, 0);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), ==, delivered);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "dropped"), ==, 10 * BATCH - delivered);
}

static void
set_up_durable (Fixture       *fixture,
                gconstpointer  data)
{
  durable_set_up_folder (fixture);
  fixture->hook->user_data = g_new0 (Sink, 1);
  fixture->hook->publish = publish;
  durable_begin (fixture, data);
}

static void
tear_down_durable (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autofree Sink *sink = fixture->hook->user_data;

  durable_tear_down (fixture, data);
}

static void
put_backlog (Fixture *fixture)
{
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 50 * BATCH);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "accepted") == 50 * BATCH);
}

/* Also what has to be read back for it. */
static void
test_backlog (Fixture       *fixture,
              gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  put_backlog (fixture);
  evbus_test_hook_release (fixture->hook);
  assert_in_order (fixture);
  g_assert_cmpuint (sink->largest, <=, BATCH);
  g_assert_cmpuint (sink->n_extensions, >, BATCH);
  g_assert_cmpuint (n_publish (fixture), <, 50);
}

/* The next life has what was not booked in this one, and no event twice. */
static void
test_goes_on_later (Fixture       *fixture,
                    gconstpointer  data)
{
  Sink *sink = fixture->hook->user_data;

  put_backlog (fixture);
  sink->fail_with = EVBUS_ERROR_BROKEN;
  sink->fail_at = 10 * BATCH + 1;
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_BROKEN);
  durable_end (fixture);
  durable_begin (fixture, data);
  assert_in_order (fixture);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), ==, 50 * BATCH);
}

int
main (int    argc,
      char **argv)
{
#define ADD(path, delivery, test) \
  g_test_add ("/extend/" path, Fixture, delivery, set_up, test, tear_down)
#define QUICK "'retry': <{'min': <'1ms'>, 'max': <'1ms'>}>"
#define DURABLE(path, delivery, test) \
  g_test_add ("/extend/durable/" path, Fixture, delivery, set_up_durable, test, tear_down_durable)

  evbus_test_init (&argc, &argv);
  ADD ("goes-on", "{'batch': <20>}", test_goes_on);
  ADD ("in-flight", "{'batch': <20>, 'in_flight': <60>}", test_in_flight);
  ADD ("one", "{'in_flight': <1>}", test_one);
  ADD ("newest-first", "{'batch': <20>}", test_newest_first);
  ADD ("ends", "{'batch': <20>, 'window': <{'events': <60000>}>, 'timeout': <'1h'>}", test_ends);
  ADD ("fails", "{'batch': <20>, " QUICK "}", test_fails);
  ADD ("halved", "{'batch': <20>, " QUICK "}", test_halved);
  ADD ("poison", "{'batch': <20>, 'in_flight': <100>, " QUICK "}", test_poison);
  ADD ("circuit", "{'batch': <1>, 'in_flight': <10>, " QUICK "}", test_circuit);
  ADD ("refused", "{'batch': <20>, " QUICK "}", test_refused);
  ADD ("too-old", "{'batch': <20>}", test_too_old);
  ADD ("kept", "{'batch': <20>}", test_kept);
  ADD ("booked", "{'batch': <20>}", test_booked);
  ADD ("pause", "{'batch': <20>}", test_pause);
  ADD ("given-up", "{'batch': <20>}", test_given_up);
  DURABLE ("backlog", "{'batch': <20>, 'window': <{'events': <40>}>}", test_backlog);
  DURABLE ("goes-on-later", "{'batch': <20>, 'window': <{'events': <40>}>, 'retry': <{'min': <'1h'>, 'max': <'1h'>}>}",
           test_goes_on_later);
  return g_test_run ();
}
