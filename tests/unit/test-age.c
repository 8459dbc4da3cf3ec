/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* From when an event's age counts: from its put, however long it is in the
 * queue, and whatever becomes of the clock meanwhile. */

#include "evbus-window-private.h"

#define SECOND G_USEC_PER_SEC

typedef struct {
  EvbusChunk *chunk;
  EvbusEvent *events[3];
} Fixture;

/* Three events of one run, put at its beginning, 3 s and 60 s later by the
 * clock; it was in the queue for 10 s. */
static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  static const gint64 later[] = { 0, 3 * SECOND, 60 * SECOND };
  EvbusEventInit init = { .routing_key = "k", .routing_key_length = 1, .profile = "p",
                          .profile_length = 1, .content_type = "text/plain" };

  fixture->chunk = evbus_chunk_new (NULL, 3);
  for (guint i = 0; i < 3; i++)
    {
      init.max_age = i == 1 ? SECOND : 0;
      fixture->events[i] = evbus_event_new (&init);
      fixture->events[i]->time = 1000 * SECOND + later[i];
      evbus_chunk_append (fixture->chunk, fixture->events[i]);
    }
  fixture->chunk->picked_up = fixture->chunk->opened + 10 * SECOND;
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_chunk_unref (fixture->chunk);
}

static gint64
since (Fixture *fixture,
       guint    index)
{
  return evbus_chunk_since (fixture->chunk, fixture->events[index]) - fixture->chunk->opened;
}

static void
test_put (Fixture       *fixture,
          gconstpointer  data)
{
  g_assert_cmpint (since (fixture, 0), ==, 0);
  g_assert_cmpint (since (fixture, 1), ==, 3 * SECOND);
}

/* A clock that was set on or back counts for no more than the run was queued. */
static void
test_clock (Fixture       *fixture,
            gconstpointer  data)
{
  g_assert_cmpint (since (fixture, 2), ==, 10 * SECOND);
  fixture->events[2]->time = 1;
  g_assert_cmpint (since (fixture, 2), ==, 0);
}

/* One that comes from the spool knows it. */
static void
test_spooled (Fixture       *fixture,
              gconstpointer  data)
{
  fixture->events[1]->since = fixture->chunk->opened - 100 * SECOND;
  g_assert_cmpint (since (fixture, 1), ==, -100 * SECOND);
}

/* A hand tells each event's own, also after some were let go, and when none of
 * those with an age of their own is too old yet. */
static void
test_hand (Fixture       *fixture,
           gconstpointer  data)
{
  static const guint8 keep[] = { FALSE, TRUE, TRUE };
  EvbusWindow window;
  EvbusHand hand;
  gint64 oldest;

  evbus_window_init (&window);
  evbus_hand_init (&hand);
  evbus_window_push (&window, fixture->chunk);
  g_assert_true (evbus_window_peek (&window, &oldest) == fixture->events[0]);
  g_assert_cmpint (oldest, ==, fixture->chunk->opened);
  evbus_window_take (&window, 3, G_MAXSIZE, &hand);
  g_assert_cmpint (hand.next_expiry, <=, fixture->chunk->opened + 3 * SECOND + SECOND);
  g_assert_cmpint (hand.next_expiry, >, 0);

  evbus_hand_keep (&hand, 3, keep);
  g_assert_cmpuint (hand.events->len, ==, 2);
  g_assert_true (hand.events->pdata[0] == fixture->events[1]);
  g_assert_cmpuint (hand.origins->len, ==, 2);
  g_assert_true (hand.origins->pdata[0] == fixture->chunk);
  evbus_hand_clear (&hand);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/age/put", test_put },
    { "/age/clock", test_clock },
    { "/age/spooled", test_spooled },
    { "/age/hand", test_hand },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
