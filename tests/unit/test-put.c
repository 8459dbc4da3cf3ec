/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "hook-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *route;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("put");
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_hook_release (fixture->hook);
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), ==,
                    evbus_test_figure (fixture->route, "accepted"));
  hook_end (fixture->hook, fixture->broker, fixture->route);
}

/* The event at @index arrived with this id and text, and is the last one. */
static void
assert_arrived (Fixture    *fixture,
                guint       index,
                const char *id,
                const char *text)
{
  EvbusEvent *event;
  gsize size;
  const guint8 *found;

  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) >= index + 1);
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, index + 1);
  event = evbus_test_hook_peek (fixture->hook, index);
  g_assert_cmpstr (evbus_event_get_id (event), ==, id);
  found = evbus_event_get_data (event, &size);
  g_assert_cmpmem (found, size, text, strlen (text));
}

static void
test_each_function (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(GBytes) bytes = g_bytes_new_static ("[3]", 3);
  g_autoptr(GError) error = NULL;
  g_autoptr(GAsyncResult) put = NULL, put_bytes = NULL;
  g_autofree char *id = NULL;

  evbus_test_start (fixture->broker);
  id = evbus_producer_put_nowait (fixture->producer, "k", g_variant_new_int32 (0), NULL, &error);
  g_assert_no_error (error);
  assert_arrived (fixture, 0, id, "0");

  evbus_producer_put_async (fixture->producer, "k", g_variant_new_int32 (1), "a", NULL,
                            evbus_test_store_result, &put);
  evbus_test_wait_until (put != NULL);
  g_free (id);
  id = evbus_producer_put_finish (fixture->producer, put, &error);
  g_assert_no_error (error);
  assert_arrived (fixture, 1, id, "1");

  g_free (id);
  id = evbus_producer_put_bytes_nowait (fixture->producer, "k", bytes, "application/json", "b",
                                        &error);
  g_assert_no_error (error);
  assert_arrived (fixture, 2, id, "[3]");

  evbus_producer_put_bytes_async (fixture->producer, "k", bytes, "application/json", "b", NULL,
                                  evbus_test_store_result, &put_bytes);
  evbus_test_wait_until (put_bytes != NULL);
  g_free (id);
  id = evbus_producer_put_bytes_finish (fixture->producer, put_bytes, &error);
  g_assert_no_error (error);
  assert_arrived (fixture, 3, id, "[3]");

  g_free (id);
  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (4), NULL, NULL, NULL,
                               &error);
  g_assert_no_error (error);
  assert_arrived (fixture, 4, id, "4");
  evbus_test_wait_ledger (fixture->route, "accepted=5 delivered=5");
  evbus_test_assert_ledger (fixture->broker, "accepted=5 delivered=5 unrouted=0");
}

static void
test_no_content_type (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(GBytes) bytes = g_bytes_new_static ("\0", 1);
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  evbus_test_start (fixture->broker);
  id = evbus_producer_put_bytes_nowait (fixture->producer, "k", bytes, NULL, NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
  g_assert_cmpstr (evbus_event_get_content_type (evbus_test_hook_peek (fixture->hook, 0)), ==,
                   "application/octet-stream");
}

static void
count_free (gpointer data)
{
  (*(guint *) data)++;
}

static GVariant *
counted_body (guint *n_freed)
{
  return g_variant_new_from_data (G_VARIANT_TYPE_STRING, "x", 2, TRUE, count_free, n_freed);
}

/* A floating body is consumed, by a put that fails as well; another is left. */
static void
test_body_ownership (Fixture       *fixture,
                     gconstpointer  data)
{
  GVariant *owned = NULL;
  guint n_freed = 0;
  g_autofree char *id = NULL, *kept = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_start (fixture->broker);
  id = evbus_producer_put_nowait (fixture->producer, "k", counted_body (&n_freed), NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == 1);
  evbus_test_wait_until (n_freed == 1);

  g_assert_null (evbus_producer_put_nowait (fixture->producer, "", counted_body (&n_freed), NULL,
                                            &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  g_assert_cmpuint (n_freed, ==, 2);

  g_assert_null (evbus_test_put_options (fixture->broker, "", counted_body (&n_freed), NULL, NULL,
                                         NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);
  evbus_test_wait_until (n_freed == 3);

  owned = g_variant_ref_sink (counted_body (&n_freed));
  kept = evbus_producer_put_nowait (fixture->producer, "k", owned, NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == 2);
  g_assert_cmpuint (n_freed, ==, 3);
  g_variant_unref (owned);
  evbus_test_wait_until (n_freed == 4);
}

static GVariant *
numbers (guint first,
         guint n)
{
  g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("a(svs)"));

  for (guint i = 0; i < n; i++)
    g_variant_builder_add (&builder, "(svs)", "number", g_variant_new_uint32 (first + i), "");
  return g_variant_builder_end (&builder);
}

/* Neither of the two functions takes them. */
static void
refuse_many (Fixture    *fixture,
             GVariant   *list,
             EvbusError  code,
             const char *says)
{
  g_autoptr(GVariant) events = g_variant_ref_sink (list);
  g_autoptr(GError) error = NULL, nowait_error = NULL;

  g_assert_null (evbus_test_put_many (fixture->broker, events, &error));
  evbus_test_assert_error (error, code, says);
  g_assert_null (evbus_producer_put_many_nowait (EVBUS_PRODUCER (fixture->broker), events,
                                                 &nowait_error));
  evbus_test_assert_error (nowait_error, code, says);
}

/* By the one function and the other in turn. */
static char **
put_hundred (Fixture *fixture,
             guint    round)
{
  GVariant *events = numbers (round * 101, 100);
  g_autoptr(GError) error = NULL;
  char **ids;

  if (round % 2 == 0)
    ids = evbus_test_put_many (fixture->broker, events, &error);
  else
    ids = evbus_producer_put_many_nowait (EVBUS_PRODUCER (fixture->broker), events, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_strv_length (ids), ==, 100);
  return ids;
}

static void
test_many_order (Fixture       *fixture,
                 gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  for (guint round = 0; round < 20; round++)
    {
      g_auto(GStrv) ids = put_hundred (fixture, round);
      g_autofree char *id = NULL, *text = g_strdup_printf ("%u", round * 101 + 100);

      id = evbus_test_put (fixture->broker, "number", text, NULL);
      evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == (round + 1) * 101);
      for (guint i = 0; i < 100; i++)
        g_assert_cmpstr (evbus_event_get_id (evbus_test_hook_peek (fixture->hook, round * 101 + i)),
                         ==, ids[i]);
    }
  for (guint i = 0; i < 20 * 101; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
  evbus_test_wait_ledger (fixture->route, "accepted=2020 delivered=2020");
}

static void
test_many_empty (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) ids = NULL, at_once = NULL;

  evbus_test_start (fixture->broker);
  ids = evbus_test_put_many (fixture->broker, g_variant_new ("a(svs)", NULL), &error);
  g_assert_no_error (error);
  g_assert_nonnull (ids);
  g_assert_null (ids[0]);
  at_once = evbus_producer_put_many_nowait (EVBUS_PRODUCER (fixture->broker),
                                            g_variant_new ("a(svs)", NULL), &error);
  g_assert_no_error (error);
  g_assert_nonnull (at_once);
  g_assert_null (at_once[0]);
  evbus_test_assert_ledger (fixture->route, "accepted=0");
}

/* One event of them cannot be: none is. What was accepted before stays. */
static void
test_many_none (Fixture       *fixture,
                gconstpointer  data)
{
  static const struct { const char *events; EvbusError code; const char *says; } cases[] = {
    { "[('k', <1>, ''), ('', <2>, ''), ('k', <3>, '')]", EVBUS_ERROR_INVALID_ARGUMENT,
      "routing key" },
    { "[('k', <1>, ''), ('k', <2>, ''), ('k', <@h 0>, '')]", EVBUS_ERROR_INVALID_BODY, "handle" },
    { "[('k', <1>, 'p'), ('k', <@d inf>, 'p')]", EVBUS_ERROR_INVALID_BODY, "inf" },
  };
  g_autofree char *id = NULL;

  evbus_test_start (fixture->broker);
  id = evbus_test_put (fixture->broker, "k", "before", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) mistake = NULL;
      g_autoptr(GVariant) events = NULL;

      events = g_variant_parse (G_VARIANT_TYPE ("a(svs)"), cases[i].events, NULL, NULL, &mistake);
      g_assert_no_error (mistake);
      refuse_many (fixture, events, cases[i].code, cases[i].says);
    }
  evbus_test_wait_ledger (fixture->route, "delivered=1");
  evbus_test_assert_ledger (fixture->route, "accepted=1 delivered=1");
  assert_arrived (fixture, 0, id, "before");
}

static void
test_many_type (Fixture       *fixture,
                gconstpointer  data)
{
  static const char *const wrong[] = { "1", "[('k', <1>)]", "[('k', 'v', 'p')]", "@av []" };

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    refuse_many (fixture, g_variant_new_parsed (wrong[i]), EVBUS_ERROR_INVALID_ARGUMENT,
                 "a\\(svs\\)");
  evbus_test_assert_ledger (fixture->route, "accepted=0");
}

/* More than the queue could ever hold is an error at once, not a wait. */
static void
test_many_too_large (Fixture       *fixture,
                     gconstpointer  data)
{
  evbus_test_start (fixture->broker);
  refuse_many (fixture, numbers (0, 65537), EVBUS_ERROR_TOO_LARGE, "65536|65,536");
  evbus_test_assert_ledger (fixture->route, "accepted=0");
}

static void
test_before_start (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *last = NULL;

  evbus_test_put_numbers (fixture->broker, NULL, 0, 100);
  evbus_test_assert_ledger (fixture->route, "accepted=100 queued=100");
  last = evbus_test_put_options (fixture->broker, "number", g_variant_new_int32 (100), NULL, NULL,
                                 NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, 0);
  g_assert_cmpint (evbus_route_get_state (fixture->route), ==, EVBUS_ROUTE_STATE_STOPPED);

  evbus_test_start (fixture->broker);
  evbus_test_wait_ledger (fixture->route, "accepted=101 delivered=101");
  for (guint i = 0; i < 101; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
}

/* The queue's budget: put_nowait fails at it, put_async waits for it. */
static void
test_queue_full (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GBytes) body = g_bytes_new_static ("1", 1);
  g_autoptr(GAsyncResult) waiting = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  evbus_test_put_numbers (fixture->broker, NULL, 0, 65536);
  g_assert_null (evbus_producer_put_bytes_nowait (fixture->producer, "k", body, "text/plain",
                                                  NULL, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "65536|65,536");
  g_clear_error (&error);
  evbus_test_assert_ledger (fixture->route, "accepted=65536 queued=65536");

  evbus_producer_put_async (fixture->producer, "k", g_variant_new_int32 (65536), NULL, NULL,
                            evbus_test_store_result, &waiting);
  evbus_test_iterate ();
  g_assert_null (waiting);

  evbus_test_start (fixture->broker);
  evbus_test_wait_until (waiting != NULL);
  id = evbus_producer_put_finish (fixture->producer, waiting, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=65537 delivered=65537");
  for (guint i = 0; i < 65537; i += 97)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->hook, i)), ==, i);
}

static void
test_queue_full_bytes (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GBytes) body = g_bytes_new_take (g_malloc0 (1000000), 1000000);
  g_autoptr(GError) error = NULL;
  guint n = 0;

  while (error == NULL && n < 100)
    {
      g_autofree char *id = NULL;

      id = evbus_producer_put_bytes_nowait (fixture->producer, "k", body, "text/plain", NULL,
                                            &error);
      n += id != NULL;
    }
  evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "byte|MiB|67108864");
  /* 64 MiB less what an event takes beside its body. */
  g_assert_cmpuint (n, >=, 65);
  g_assert_cmpuint (n, <=, 67);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "queued"), ==, n);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "delivered") == n);
}

#define WIDE "{'window': <{'events': <200000>, 'bytes': <'1GiB'>}>}"

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/put/each-function", NULL, test_each_function },
    { "/put/no-content-type", NULL, test_no_content_type },
    { "/put/body-ownership", NULL, test_body_ownership },
    { "/put/many/order", NULL, test_many_order },
    { "/put/many/empty", NULL, test_many_empty },
    { "/put/many/all-or-none", NULL, test_many_none },
    { "/put/many/type", NULL, test_many_type },
    { "/put/many/too-large", WIDE, test_many_too_large },
    { "/put/before-start", NULL, test_before_start },
    { "/put/queue-full/events", WIDE, test_queue_full },
    { "/put/queue-full/bytes", WIDE, test_queue_full_bytes },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
