/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("events");
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*",
                                        "{'window': <{'events': <100000>}>}");
  evbus_test_start (fixture->broker);
}

/* Every event here reaches the route, and the ledger says so. */
static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusLedger ledger;

  evbus_test_stop (fixture->broker);
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.accepted, ==, ledger.delivered);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

/* Puts one body with the serializer of the broker; the event stays the hook's. */
static EvbusEvent *
put_one (Fixture    *fixture,
         GVariant   *body,
         const char *profile,
         const char *options)
{
  g_autoptr(GError) error = NULL;
  guint index = evbus_test_hook_length (fixture->hook);
  g_autofree char *id = NULL;

  id = evbus_test_put_options (fixture->broker, "a.key", body, profile, options, NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == index + 1);
  g_assert_cmpstr (id, ==, evbus_event_get_id (evbus_test_hook_peek (fixture->hook, index)));
  return evbus_test_hook_peek (fixture->hook, index);
}

static gint64
id_milliseconds (const char *id)
{
  g_autofree char *digits = g_strdup_printf ("%.8s%.4s", id, id + 9);

  return (gint64) g_ascii_strtoull (digits, NULL, 16);
}

static void
test_id_form (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GRegex) form = g_regex_new ("^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-"
                                        "[0-9a-f]{12}$", G_REGEX_DOLLAR_ENDONLY, 0, NULL);
  gint64 before = g_get_real_time () / 1000;

  for (guint i = 0; i < 1000; i++)
    {
      g_autofree char *id = evbus_test_put (fixture->broker, "k", "1", NULL);

      g_assert_cmpuint (strlen (id), ==, 36);
      g_assert_true (g_regex_match (form, id, 0, NULL));
      g_assert_cmpint (id_milliseconds (id), >=, before);
      /* A counter may carry into the next millisecond, not further. */
      g_assert_cmpint (id_milliseconds (id), <=, g_get_real_time () / 1000 + 1);
    }
}

static void
test_id_sorts (Fixture       *fixture,
               gconstpointer  data)
{
  g_autofree char *last = g_strdup ("");

  for (guint i = 0; i < 20000; i++)
    {
      char *id = evbus_test_put (fixture->broker, "k", "1", NULL);

      /* By time, to a 4096th of a millisecond. */
      g_assert_cmpint (strncmp (last, id, 18), <=, 0);
      g_free (last);
      last = id;
    }
}

#define N_THREADS 4
#define N_IDS 5000

static gpointer
collect_ids (gpointer data)
{
  EvbusBroker *broker = data;
  GPtrArray *ids = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < N_IDS; i++)
    {
      g_ptr_array_add (ids, evbus_test_put (broker, "k", "1", NULL));
      if (i > 0)
        g_assert_cmpint (strncmp (ids->pdata[i - 1], ids->pdata[i], 18), <=, 0);
    }
  return ids;
}

static void
test_id_unique (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  GThread *threads[N_THREADS];

  for (guint t = 0; t < N_THREADS; t++)
    threads[t] = g_thread_new ("ids", collect_ids, fixture->broker);
  for (guint t = 0; t < N_THREADS; t++)
    {
      g_autoptr(GPtrArray) ids = g_thread_join (threads[t]);

      for (guint i = 0; i < ids->len; i++)
        g_assert_true (g_hash_table_add (seen, g_strdup (g_ptr_array_index (ids, i))));
    }
  g_assert_cmpuint (g_hash_table_size (seen), ==, N_THREADS * N_IDS);
}

static void
test_id_given (Fixture       *fixture,
               gconstpointer  data)
{
  g_autofree char *longest = g_strnfill (128, 'x');
  const char *given[] = { "x", "order-17/A+b~!", longest };

  for (guint i = 0; i < G_N_ELEMENTS (given); i++)
    {
      g_autofree char *options = g_strdup_printf ("{'id': <'%s'>}", given[i]);
      EvbusEvent *event = put_one (fixture, g_variant_new_int32 (1), NULL, options);

      g_assert_cmpstr (evbus_event_get_id (event), ==, given[i]);
    }
}

static void
test_time (Fixture       *fixture,
           gconstpointer  data)
{
  gint64 before = g_get_real_time ();
  EvbusEvent *event = put_one (fixture, g_variant_new_int32 (1), NULL, NULL);

  g_assert_cmpint (evbus_event_get_time (event), >=, before);
  g_assert_cmpint (evbus_event_get_time (event), <=, g_get_real_time ());
}

static void
test_names (Fixture       *fixture,
            gconstpointer  data)
{
  static const struct { const char *given, *expected; } cases[] = {
    { NULL, "default" },
    { "", "default" },
    { "default", "default" },
    { "orders-1", "orders-1" },
    { "ünïcode ☃", "ünïcode ☃" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      EvbusEvent *event = put_one (fixture, g_variant_new_int32 (1), cases[i].given, NULL);

      g_assert_cmpstr (evbus_event_get_profile (event), ==, cases[i].expected);
      g_assert_cmpstr (evbus_event_get_routing_key (event), ==, "a.key");
      g_assert_cmpuint (evbus_event_get_hops (event), ==, 0);
    }
}

static void
test_body_bytes (Fixture       *fixture,
                 gconstpointer  data)
{
  static const gsize sizes[] = { 0, 1, 2, 7, 8, 200, 4095, 4096, 65536, 1024 * 1024 - 300 };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      g_autofree guint8 *content = g_malloc (sizes[i] + 1);
      g_autoptr(GBytes) body = NULL, kept = NULL;
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;
      EvbusEvent *event;
      gsize size = 1;

      for (gsize j = 0; j < sizes[i]; j++)
        content[j] = (guint8) (j * 7 + i);
      body = g_bytes_new (content, sizes[i]);
      id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body,
                                            "application/x-bytes", NULL, &error);
      g_assert_no_error (error);
      evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == i + 1);

      event = evbus_test_hook_peek (fixture->hook, i);
      g_assert_cmpmem (evbus_event_get_data (event, &size), size, content, sizes[i]);
      kept = evbus_event_get_body (event);
      g_assert_cmpmem (g_bytes_get_data (kept, NULL), g_bytes_get_size (kept), content, sizes[i]);
      g_assert_cmpstr (evbus_event_get_content_type (event), ==, "application/x-bytes");
    }
}

/* The GBytes keeps what it shows, also when the event and the broker are gone. */
static void
test_body_outlives (void)
{
  g_autoptr(EvbusTestHook) hook = evbus_test_hook_new ("short");
  EvbusBroker *broker = evbus_test_broker_new ();
  EvbusRoute *route = evbus_test_add_hook (broker, hook, "*", NULL);
  g_autofree char *id = NULL;
  g_autoptr(GBytes) body = NULL;
  g_autoptr(GPtrArray) events = NULL;

  evbus_test_start (broker);
  id = evbus_test_put (broker, "k", "some text", NULL);
  evbus_test_wait_until (evbus_test_hook_length (hook) == 1);
  evbus_test_stop (broker);
  evbus_test_assert_ledger (route, "accepted=1 delivered=1");
  g_object_unref (route);
  g_object_unref (broker);

  events = evbus_test_hook_steal (hook);
  g_assert_cmpstr (evbus_event_get_id (g_ptr_array_index (events, 0)), ==, id);
  body = evbus_event_get_body (g_ptr_array_index (events, 0));
  g_clear_pointer (&events, g_ptr_array_unref);
  g_assert_cmpmem (g_bytes_get_data (body, NULL), g_bytes_get_size (body), "some text", 9);
}

static void
test_serializers (Fixture       *fixture,
                  gconstpointer  data)
{
  static const char *const names[] = { "json", "gvariant", "msgpack", "str" };
  g_autoptr(GVariant) body = g_variant_ref_sink (g_variant_new_string ("text"));

  g_assert_cmpstr (evbus_broker_get_serializer (fixture->broker), ==, "json");
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(GError) error = NULL;
      EvbusSerializer *serializer = evbus_serializer_lookup (names[i], &error);
      g_autoptr(GBytes) expected = NULL;
      EvbusEvent *event;
      const guint8 *found;
      gsize size;

      g_assert_no_error (error);
      expected = evbus_serializer_to_bytes (serializer, body, &error);
      g_assert_no_error (error);
      g_assert_true (evbus_broker_set_serializer (fixture->broker, names[i], &error));
      g_assert_no_error (error);
      g_assert_cmpstr (evbus_broker_get_serializer (fixture->broker), ==, names[i]);

      event = put_one (fixture, body, NULL, NULL);
      g_assert_cmpstr (evbus_event_get_content_type (event), ==,
                       evbus_serializer_get_content_type (serializer));
      found = evbus_event_get_data (event, &size);
      g_assert_cmpmem (found, size, g_bytes_get_data (expected, NULL), g_bytes_get_size (expected));
    }
}

static void
test_unknown_serializer (Fixture       *fixture,
                         gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  g_assert_false (evbus_broker_set_serializer (fixture->broker, "jason", &error));
  g_assert_nonnull (error);
  g_assert_true (error->domain == EVBUS_ERROR);
  evbus_test_assert_says (error->message, "jason");
  g_assert_cmpstr (evbus_broker_get_serializer (fixture->broker), ==, "json");
}

static void
test_json (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusEvent *event;
  const guint8 *found;
  gsize size;

  event = put_one (fixture, g_variant_new_parsed ("{'id': <42>}"), NULL, NULL);
  g_assert_cmpstr (evbus_event_get_content_type (event), ==, "application/json");
  found = evbus_event_get_data (event, &size);
  g_assert_cmpmem (found, size, "{\"id\":42}", 9);
}

static void
test_attributes (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GVariant) expected = g_variant_ref_sink (g_variant_new_parsed ("{'a': '1', 'b': 'ü'}"));
  EvbusEvent *event;

  event = put_one (fixture, g_variant_new_int32 (1), NULL, NULL);
  g_assert_null (evbus_event_get_attributes (event));
  event = put_one (fixture, g_variant_new_int32 (1), NULL,
                   "{'attributes': <{'a': '1', 'b': 'ü'}>}");
  g_assert_cmpvariant (evbus_event_get_attributes (event), expected);
}

static gpointer
ref_and_unref (gpointer data)
{
  for (guint i = 0; i < 100000; i++)
    {
      EvbusEvent *event = g_boxed_copy (EVBUS_TYPE_EVENT, evbus_event_ref (data));

      g_assert_true (event == data);
      evbus_event_unref (event);
      g_boxed_free (EVBUS_TYPE_EVENT, data);
    }
  return NULL;
}

static void
test_refs (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusEvent *event = put_one (fixture, g_variant_new_int32 (1), NULL, NULL);
  GThread *threads[N_THREADS];

  for (guint t = 0; t < N_THREADS; t++)
    threads[t] = g_thread_new ("refs", ref_and_unref, event);
  for (guint t = 0; t < N_THREADS; t++)
    g_thread_join (threads[t]);
  g_assert_cmpuint (strlen (evbus_event_get_id (event)), ==, 36);
}

#define N_SIZES 1500

/* A body of each size, so that they stand in memory in every way there is. */
static gpointer
put_sizes (gpointer broker)
{
  for (guint size = 0; size < N_SIZES; size += 7)
    {
      g_autofree char *body = g_strnfill (size, (char) ('a' + size % 26));
      g_autoptr(GBytes) bytes = g_bytes_new (body, size);
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_producer_put_bytes_nowait (broker, "a.key", bytes, "text/plain", NULL, &error);

      g_assert_no_error (error);
      g_assert_nonnull (id);
    }
  return NULL;
}

/* Events are whole while others made at the same time come and go, and after the thread
 * that made them has ended. */
static void
test_outlives_thread (Fixture       *fixture,
                      gconstpointer  data)
{
  const guint n_sizes = (N_SIZES + 6) / 7;
  GThread *threads[N_THREADS];

  for (guint t = 0; t < N_THREADS; t++)
    threads[t] = g_thread_new ("sizes", put_sizes, fixture->broker);
  for (guint t = 0; t < N_THREADS; t++)
    g_thread_join (threads[t]);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == N_THREADS * n_sizes);

  for (guint i = 0; i < N_THREADS * n_sizes; i++)
    {
      EvbusEvent *event = evbus_test_hook_peek (fixture->hook, i);
      gsize size;
      const guint8 *body = evbus_event_get_data (event, &size);

      g_assert_cmpuint (strlen (evbus_event_get_id (event)), ==, 36);
      g_assert_cmpstr (evbus_event_get_content_type (event), ==, "text/plain");
      for (gsize j = 0; j < size; j++)
        g_assert_cmpuint (body[j], ==, 'a' + size % 26);
    }
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/event/id/form", test_id_form },
    { "/event/id/sorts", test_id_sorts },
    { "/event/id/unique-over-threads", test_id_unique },
    { "/event/id/given", test_id_given },
    { "/event/time", test_time },
    { "/event/names", test_names },
    { "/event/body/bytes", test_body_bytes },
    { "/event/body/json", test_json },
    { "/event/serializers/each", test_serializers },
    { "/event/serializers/unknown", test_unknown_serializer },
    { "/event/attributes", test_attributes },
    { "/event/refs", test_refs },
    { "/event/outlives-its-thread", test_outlives_thread },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  g_test_add_func ("/event/body/outlives-event-and-broker", test_body_outlives);
  return g_test_run ();
}
