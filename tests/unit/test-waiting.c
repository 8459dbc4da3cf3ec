/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a put waits for, what it holds up, and what need not wait for it. */

#include "evbus-test.h"

/* Two routes of four events each; "ab" goes to both. */
typedef struct {
  EvbusTestHook *hooks[2];
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *routes[2];
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  for (guint i = 0; i < 2; i++)
    {
      fixture->hooks[i] = evbus_test_hook_new (i == 0 ? "a" : "b");
      fixture->routes[i] = evbus_test_add_hook (fixture->broker, fixture->hooks[i],
                                                i == 0 ? "a*" : "*b", data);
    }
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  for (guint i = 0; i < 2; i++)
    evbus_test_hook_release (fixture->hooks[i]);
  if (!evbus_broker_start (fixture->broker, NULL))
    g_test_message ("it was started already");
  evbus_test_stop (fixture->broker);
  evbus_test_assert_balance (fixture->broker);
  for (guint i = 0; i < 2; i++)
    g_object_unref (fixture->routes[i]);
  g_object_unref (fixture->broker);
  for (guint i = 0; i < 2; i++)
    evbus_test_hook_free (fixture->hooks[i]);
}

static GVariant *
many (const char *profile,
      guint       n)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(svs)"));
  for (guint i = 0; i < n; i++)
    g_variant_builder_add (&builder, "(svs)", "number", g_variant_new_uint32 (i), profile);
  return g_variant_builder_end (&builder);
}

static void
put_later (Fixture       *fixture,
           const char    *profile,
           guint          n,
           GCancellable  *cancellable,
           GAsyncResult **result)
{
  evbus_producer_put_many_async (fixture->producer, many (profile, n), cancellable,
                                 evbus_test_store_result, result);
}

static void
finish (Fixture      *fixture,
        GAsyncResult *result,
        GError      **error)
{
  g_auto(GStrv) ids = evbus_producer_put_many_finish (fixture->producer, result, error);

  g_assert_cmpint (ids != NULL, ==, *error == NULL);
}

/* Puts without waiting: each of the ways. */
static void
try_put (Fixture     *fixture,
         const char  *profile,
         gboolean     nowait,
         GError     **error)
{
  g_autofree char *id = NULL;

  if (nowait)
    id = evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (1), profile, error);
  else
    id = evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (1), profile,
                                 "{'timeout': <uint32 0>}", NULL, error);
  g_assert_cmpint (id != NULL, ==, *error == NULL);
}

static void
assert_too_large (Fixture    *fixture,
                  const char *profile,
                  guint       n)
{
  g_autoptr(GError) error = NULL;

  g_assert_null (evbus_test_put_many (fixture->broker, many (profile, n), &error));
  evbus_test_assert_error (error, EVBUS_ERROR_TOO_LARGE, "hook");
}

/* More than a route could ever hold is refused at once, be the route empty,
 * filled in part, full, or waited for. */
static void
test_too_large (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;

  assert_too_large (fixture, "a", 5);
  evbus_test_put_numbers (fixture->broker, "a", 0, 1);
  assert_too_large (fixture, "a", 5);
  evbus_test_put_numbers (fixture->broker, "a", 1, 3);
  assert_too_large (fixture, "a", 5);
  put_later (fixture, "a", 2, NULL, &waiting);
  evbus_test_iterate ();
  if (g_strrstr (data, "block") != NULL)
    g_assert_null (waiting);
  assert_too_large (fixture, "a", 5);
  assert_too_large (fixture, "ab", 5);
  evbus_test_assert_ledger (fixture->routes[0], "accepted=4 queued=4");
  evbus_test_assert_ledger (fixture->routes[1], "accepted=0");

  evbus_test_start (fixture->broker);
  evbus_test_wait_until (waiting != NULL);
  finish (fixture, waiting, &error);
}

/* Also when its events for that route do not stand together. */
static void
test_too_large_mixed (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  GVariantBuilder builder;

  evbus_test_put_numbers (fixture->broker, "a", 0, 1);
  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(svs)"));
  for (guint i = 0; i < 6; i++)
    g_variant_builder_add (&builder, "(svs)", "number", g_variant_new_uint32 (i), i % 2 == 0 ? "a" : "ab");
  g_assert_null (evbus_test_put_many (fixture->broker, g_variant_builder_end (&builder), &error));
  evbus_test_assert_error (error, EVBUS_ERROR_TOO_LARGE, "hook 'a\\*'");
}

/* What needs nothing that an older put waits for does not wait for that put. */
static void
test_others (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_put_numbers (fixture->broker, "a", 0, 4);
  put_later (fixture, "a", 2, NULL, &waiting);
  for (guint i = 0; i < 2; i++)
    {
      try_put (fixture, "b", i, &error);
      g_assert_no_error (error);
      try_put (fixture, "unrouted", i, &error);
      g_assert_no_error (error);
      try_put (fixture, "ab", i, &error);
      evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "hook 'a\\*'");
      g_clear_error (&error);
    }
  evbus_test_assert_ledger (fixture->routes[1], "accepted=2 queued=2");

  evbus_test_start (fixture->broker);
  evbus_test_wait_until (waiting != NULL);
  finish (fixture, waiting, &error);
  g_assert_no_error (error);
}

/* There is room for it, but not for an older one, which it would overtake. */
static void
test_behind (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_put_numbers (fixture->broker, "a", 0, 3);
  put_later (fixture, "ab", 2, NULL, &waiting);
  for (guint i = 0; i < 2; i++)
    {
      try_put (fixture, "a", i, &error);
      evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "older.*hook");
      g_clear_error (&error);
      try_put (fixture, "b", i, &error);
      evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "older.*hook");
      g_clear_error (&error);
    }

  evbus_test_start (fixture->broker);
  evbus_test_wait_until (waiting != NULL);
  finish (fixture, waiting, &error);
  g_assert_no_error (error);
}

/* The queue has room for it, but not for an older one. */
static void
test_behind_queue (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 5}}\ninternal: {nobody: }\n");
  evbus_test_put_numbers (fixture->broker, "a", 0, 4);
  put_later (fixture, "b", 2, NULL, &waiting);
  for (guint i = 0; i < 2; i++)
    {
      try_put (fixture, "b", i, &error);
      evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "older");
      g_clear_error (&error);
      try_put (fixture, "unrouted", i, &error);
      g_assert_no_error (error);
    }
  g_assert_null (waiting);

  evbus_test_start (fixture->broker);
  evbus_test_wait_until (waiting != NULL);
  finish (fixture, waiting, &error);
  g_assert_no_error (error);
}

/* One that gives up lets those in that it alone held up: nothing else may
 * ever happen on that route. */
static void
test_give_up (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GAsyncResult) first = NULL, second = NULL, third = NULL;
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GError) error = NULL;

  evbus_test_put_numbers (fixture->broker, "a", 0, 3);
  put_later (fixture, "ab", 2, cancellable, &first);
  put_later (fixture, "b", 1, NULL, &second);
  put_later (fixture, "a", 1, NULL, &third);
  evbus_test_iterate ();
  g_assert_true (second == NULL && third == NULL);

  g_cancellable_cancel (cancellable);
  evbus_test_wait_until (first != NULL && second != NULL && third != NULL);
  finish (fixture, first, &error);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  finish (fixture, second, &error);
  g_assert_no_error (error);
  finish (fixture, third, &error);
  g_assert_no_error (error);
  evbus_test_assert_ledger (fixture->routes[0], "accepted=4 queued=4");
  evbus_test_assert_ledger (fixture->routes[1], "accepted=1 queued=1");
}

/* The same of one that waits for the queue. */
static void
test_give_up_queue (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(GAsyncResult) first = NULL, second = NULL;
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GError) error = NULL;

  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 5}}\ninternal: {nobody: }\n");
  evbus_test_put_numbers (fixture->broker, "a", 0, 4);
  put_later (fixture, "b", 2, cancellable, &first);
  put_later (fixture, "b", 1, NULL, &second);
  evbus_test_iterate ();
  g_assert_null (second);

  g_cancellable_cancel (cancellable);
  evbus_test_wait_until (first != NULL && second != NULL);
  finish (fixture, first, &error);
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  finish (fixture, second, &error);
  g_assert_no_error (error);
}

/* A reload, a larger queue and a stop reach every one that waits, also those
 * behind others. */
static void
test_reload (Fixture       *fixture,
             gconstpointer  data)
{
  GAsyncResult *results[6] = { NULL, };
  static const char * const profiles[] = { "a", "ab", "b", "ab", "a", "b" };

  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 4}}\ninternal: {nobody: }\n");
  evbus_test_put_numbers (fixture->broker, "a", 0, 4);
  for (guint i = 0; i < 6; i++)
    put_later (fixture, profiles[i], 1, NULL, &results[i]);
  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 3}}\ninternal: {nobody: }\n");
  evbus_test_apply (fixture->broker, "evbus: {queue: {events: 1000}}\ninternal: {nobody: }\n");
  evbus_test_iterate ();
  for (guint i = 0; i < 6; i++)
    g_assert_null (results[i]);

  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->routes[0], NULL));
  for (guint i = 0; i < 6; i++)
    {
      g_autoptr(GError) error = NULL;

      evbus_test_wait_until (results[i] != NULL);
      finish (fixture, results[i], &error);
      g_assert_no_error (error);
      g_object_unref (results[i]);
    }
  evbus_test_assert_ledger (fixture->routes[1], "accepted=4 queued=4");
}

/* Many that share routes in every way come in in their order, also while some
 * are cancelled. */
static void
test_crowd (Fixture       *fixture,
            gconstpointer  data)
{
  static const char * const profiles[] = { "a", "b", "ab", "ab", "a", "unrouted", "b" };
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  GAsyncResult *results[300] = { NULL, };
  guint previous[2] = { 0, 0 };

  for (guint i = 0; i < 2; i++)
    evbus_test_hook_hold (fixture->hooks[i]);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 300; i++)
    evbus_producer_put_async (fixture->producer, "number", g_variant_new_uint32 (i + 1),
                              profiles[i % 7], i % 5 == 4 ? cancellable : NULL,
                              evbus_test_store_result, &results[i]);
  for (guint i = 0; i < 60; i++)
    evbus_test_hook_let_pass (fixture->hooks[i % 2]);
  g_cancellable_cancel (cancellable);
  for (guint i = 0; i < 2; i++)
    evbus_test_hook_release (fixture->hooks[i]);
  for (guint i = 0; i < 300; i++)
    {
      evbus_test_wait_until (results[i] != NULL);
      g_object_unref (results[i]);
    }

  for (guint i = 0; i < 2; i++)
    {
      evbus_test_wait_ledger (fixture->routes[i], "queued=0");
      for (guint j = 0; j < evbus_test_hook_length (fixture->hooks[i]); j++)
        {
          guint number = evbus_test_event_number (evbus_test_hook_peek (fixture->hooks[i], j));

          g_assert_cmpuint (number, >, previous[i]);
          previous[i] = number;
        }
      g_assert_cmpuint (previous[i], >=, 294);
    }
}

#define SMALL(overflow) "{'overflow': <'" overflow "'>, 'window': <{'events': <4>}>}"

static gboolean
begin (Fixture       *fixture,
       const char    *profile,
       GAsyncResult **result)
{
  return evbus_broker_begin_put (fixture->broker, "number", g_variant_new_uint32 (0), profile, NULL, NULL,
                                 evbus_test_store_result, result);
}

static void
assert_begun (Fixture      *fixture,
              GAsyncResult *result)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_with_options_finish (fixture->producer, result, &error);

  g_assert_no_error (error);
  g_assert_nonnull (id);
}

/* Who begins a put hears at once whether it waits for space, and how it ended later. */
static void
test_begin (Fixture       *fixture,
            gconstpointer  data)
{
  g_autoptr(GAsyncResult) room = NULL;
  g_autoptr(GAsyncResult) full = NULL;
  g_autoptr(GAsyncResult) many_room = NULL;
  g_autoptr(GAsyncResult) many_full = NULL;
  g_autoptr(GAsyncResult) too_many = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_put_numbers (fixture->broker, "a", 0, 3);
  g_assert_true (begin (fixture, "a", &room));
  g_assert_false (begin (fixture, "a", &full));
  g_assert_true (evbus_broker_begin_put_many (fixture->broker, many ("b", 4), NULL, evbus_test_store_result, &many_room));
  g_assert_false (evbus_broker_begin_put_many (fixture->broker, many ("b", 2), NULL, evbus_test_store_result, &many_full));
  g_assert_true (evbus_broker_begin_put_many (fixture->broker, many ("b", 5), NULL, evbus_test_store_result, &too_many));
  g_assert_null (room);   /* nothing is answered before the call has returned */

  evbus_test_wait_until (room != NULL && many_room != NULL && too_many != NULL);
  assert_begun (fixture, room);
  finish (fixture, many_room, &error);
  g_assert_no_error (error);
  finish (fixture, too_many, &error);
  evbus_test_assert_error (error, EVBUS_ERROR_TOO_LARGE, "hook");
  g_assert_null (full);
  g_assert_null (many_full);

  evbus_test_start (fixture->broker);
  evbus_test_wait_until (full != NULL && many_full != NULL);
  assert_begun (fixture, full);
  g_clear_error (&error);
  finish (fixture, many_full, &error);
  g_assert_no_error (error);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/waiting/too-large/block", SMALL ("block"), test_too_large },
    { "/waiting/too-large/reject", SMALL ("reject"), test_too_large },
    { "/waiting/too-large/mixed", SMALL ("reject"), test_too_large_mixed },
    { "/waiting/others", SMALL ("block"), test_others },
    { "/waiting/behind", SMALL ("block"), test_behind },
    { "/waiting/behind-queue", SMALL ("block"), test_behind_queue },
    { "/waiting/give-up", SMALL ("block"), test_give_up },
    { "/waiting/give-up-queue", SMALL ("block"), test_give_up_queue },
    { "/waiting/reload", SMALL ("block"), test_reload },
    { "/waiting/crowd", SMALL ("block"), test_crowd },
    { "/waiting/begin", SMALL ("block"), test_begin },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
