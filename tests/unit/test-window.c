/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a full window drops: exactly what it would if the events came one by
 * one, whatever the runs in which they come. The routes are not started. */

#include "evbus-broker-private.h"
#include "evbus-route-private.h"

#define N_EVENTS 60u
#define WINDOW 8u
#define WINDOW_BYTES 4096u

typedef struct {
  EvbusBroker *broker;
  EvbusRoute *route;
  EvbusEvent *events[N_EVENTS];
} Fixture;

/* @data: the overflow policy. */
static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  g_autofree char *text = g_strdup_printf ("{'delivery': <{'overflow': <'%s'>, 'window': <{'events': <%u>,"
                                           " 'bytes': <%u>}>}>}", (const char *) data, WINDOW, WINDOW_BYTES);
  g_autoptr(GError) error = NULL;

  fixture->broker = evbus_broker_new ();
  fixture->route = evbus_broker_add_route (fixture->broker, "internal", "*", g_variant_new_parsed (text), &error);
  g_assert_no_error (error);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.queued, ==, 0);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
}

/* Puts events of these sizes, and takes them out of the queue. */
static void
make_events (Fixture     *fixture,
             const gsize *sizes)
{
  EvbusTake take;
  guint n = 0;

  evbus_take_init (&take);

  for (guint i = 0; i < N_EVENTS; i++)
    {
      g_autoptr(GBytes) body = g_bytes_new_take (g_malloc0 (sizes[i]), sizes[i]);
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body,
                                                             NULL, NULL, &error);

      g_assert_no_error (error);
    }

  while (evbus_queue_take (fixture->broker->queue, &take))
    {
      for (guint i = 0; i < take.chunks->len; i++)
        {
          EvbusChunk *chunk = take.chunks->pdata[i];

          for (guint j = 0; j < chunk->n_events; j++)
            fixture->events[n++] = evbus_event_ref (chunk->events[j]);
          evbus_chunk_unref (chunk);
        }
    }
  evbus_take_clear (&take);
  g_assert_cmpuint (n, ==, N_EVENTS);
}

/* Hands the events over in runs of @n_chunk. */
static void
push (Fixture *fixture,
      guint    n_chunk)
{
  for (guint i = 0; i < N_EVENTS; i += n_chunk)
    {
      EvbusChunk *chunk = evbus_chunk_new (NULL, n_chunk);

      for (guint j = i; j < MIN (i + n_chunk, N_EVENTS); j++)
        evbus_chunk_append (chunk, evbus_event_ref (fixture->events[j]));
      evbus_route_push (fixture->route, chunk);
      evbus_chunk_unref (chunk);
    }
}

static gboolean
is_over (GPtrArray *kept,
         gsize      weight,
         guint      n_held,
         gsize      held_weight)
{
  return kept->len + n_held > WINDOW || weight + held_weight > WINDOW_BYTES;
}

/* What stays, said in the simplest way. */
static GPtrArray *
expect (Fixture  *fixture,
        gboolean  oldest,
        guint     n_held,
        gsize     held_weight)
{
  GPtrArray *kept = g_ptr_array_new ();
  gsize weight = 0;

  for (guint i = 0; i < N_EVENTS; i++)
    {
      g_ptr_array_add (kept, fixture->events[i]);
      weight += fixture->events[i]->weight;
      if (kept->len == 1 && (oldest || n_held == 0))
        continue;
      while (is_over (kept, weight, n_held, held_weight))
        {
          guint index = oldest ? 0 : kept->len - 1;
          EvbusEvent *event = kept->pdata[index];

          if (oldest && kept->len == 1)
            break;
          weight -= event->weight;
          g_ptr_array_remove_index (kept, index);
          if (!oldest)
            break;
        }
    }

  return kept;
}

/* Also empties it, and books the events as delivered. */
static void
assert_window (Fixture   *fixture,
               GPtrArray *kept)
{
  EvbusRoute *route = fixture->route;
  EvbusHand hand;
  EvbusLedger outcome = { .delivered = kept->len };

  g_assert_cmpuint (route->window.n_events, ==, kept->len);
  g_assert_cmpuint (route->ledger.queued, ==, kept->len);
  g_assert_cmpuint (route->window.weight, ==, route->queued_weight);
  evbus_hand_init (&hand);
  evbus_window_take (&route->window, G_MAXUINT, G_MAXSIZE, &hand);
  g_assert_cmpuint (hand.events->len, ==, kept->len);
  for (guint i = 0; i < kept->len; i++)
    g_assert_true (hand.events->pdata[i] == kept->pdata[i]);
  g_assert_cmpuint (route->window.weight, ==, 0);
  evbus_route_settle (route, &outcome, kept->len, hand.weight, NULL);
  evbus_hand_drop (&hand);
  evbus_hand_clear (&hand);
}

static void
check (Fixture      *fixture,
       const char   *policy,
       const gsize  *sizes,
       guint         n_held,
       gsize         held_weight)
{
  static const guint n_chunks[] = { 1, 2, 3, 7, WINDOW, WINDOW + 1, 31, N_EVENTS };

  for (guint i = 0; i < G_N_ELEMENTS (n_chunks); i++)
    {
      g_autoptr(GPtrArray) kept = NULL;

      make_events (fixture, sizes);
      fixture->route->n_held = n_held;
      fixture->route->held_weight = held_weight;
      kept = expect (fixture, g_str_equal (policy, "drop_oldest"), n_held, held_weight);
      push (fixture, n_chunks[i]);
      assert_window (fixture, kept);
      for (guint j = 0; j < N_EVENTS; j++)
        evbus_event_unref (fixture->events[j]);
    }
}

/* With nothing, something, and everything in the route's hand. */
static void
test_number (Fixture       *fixture,
             gconstpointer  data)
{
  gsize sizes[N_EVENTS];

  for (guint i = 0; i < N_EVENTS; i++)
    sizes[i] = 10;
  for (guint n_held = 0; n_held <= WINDOW; n_held++)
    check (fixture, data, sizes, n_held, n_held * 10);
}

static void
test_bytes (Fixture       *fixture,
            gconstpointer  data)
{
  gsize sizes[N_EVENTS];

  for (guint round = 0; round < 20; round++)
    {
      /* One in ten is larger than the whole window. */
      for (guint i = 0; i < N_EVENTS; i++)
        sizes[i] = g_test_rand_int_range (0, 10) == 0 ? WINDOW_BYTES + 1 : (gsize) g_test_rand_int_range (0, 1500);
      check (fixture, data, sizes, 0, 0);
      check (fixture, data, sizes, 1, 1000);
      check (fixture, data, sizes, 1, WINDOW_BYTES + 1);
    }
}

/* The largest one comes last, or first. */
static void
test_large (Fixture       *fixture,
            gconstpointer  data)
{
  gsize sizes[N_EVENTS];

  for (guint i = 0; i < N_EVENTS; i++)
    sizes[i] = 10;
  sizes[N_EVENTS - 1] = WINDOW_BYTES + 1;
  check (fixture, data, sizes, 0, 0);
  sizes[0] = WINDOW_BYTES + 1;
  sizes[N_EVENTS - 1] = 10;
  check (fixture, data, sizes, 0, 0);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/window/drop-oldest/number", Fixture, "drop_oldest", set_up, test_number, tear_down);
  g_test_add ("/window/drop-oldest/bytes", Fixture, "drop_oldest", set_up, test_bytes, tear_down);
  g_test_add ("/window/drop-oldest/large", Fixture, "drop_oldest", set_up, test_large, tear_down);
  g_test_add ("/window/drop-newest/number", Fixture, "drop_newest", set_up, test_number, tear_down);
  g_test_add ("/window/drop-newest/bytes", Fixture, "drop_newest", set_up, test_bytes, tear_down);
  g_test_add ("/window/drop-newest/large", Fixture, "drop_newest", set_up, test_large, tear_down);
  return g_test_run ();
}
