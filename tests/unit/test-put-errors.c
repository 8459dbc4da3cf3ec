/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Bad input, given to every function that puts. */

#include "evbus-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusProducer *producer;
  EvbusRoute *route;
  guint expected;             /* good events */
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->expected = 1;
  fixture->hook = evbus_test_hook_new ("errors");
  fixture->broker = evbus_test_broker_new ();
  fixture->producer = EVBUS_PRODUCER (fixture->broker);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", NULL);
  evbus_test_start (fixture->broker);
}

/* The good events, which were put before the bad ones, arrive; nothing else. */
static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_autofree char *ledger = g_strdup_printf ("accepted=%u delivered=%u unrouted=0",
                                             fixture->expected, fixture->expected);

  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) >= fixture->expected);
  evbus_test_stop (fixture->broker);
  evbus_test_assert_ledger (fixture->broker, ledger);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_hook_free (fixture->hook);
}

static void
refuse_many (Fixture    *fixture,
             GVariant   *event,
             EvbusError  code,
             const char *says)
{
  g_autoptr(GVariant) events = g_variant_ref_sink (g_variant_new_array (NULL, &event, 1));
  g_autoptr(GError) error = NULL, nowait_error = NULL;

  g_assert_null (evbus_test_put_many (fixture->broker, events, &error));
  evbus_test_assert_error (error, code, says);
  g_assert_null (evbus_producer_put_many_nowait (fixture->producer, events, &nowait_error));
  evbus_test_assert_error (nowait_error, code, says);
}

/* Puts it with each function that takes a value; all refuse it alike. */
static void
refuse (Fixture    *fixture,
        const char *routing_key,
        GVariant   *floating,
        const char *profile,
        EvbusError  code,
        const char *says)
{
  g_autoptr(GVariant) body = g_variant_ref_sink (floating);
  g_autoptr(GError) nowait_error = NULL, async_error = NULL, options_error = NULL;
  g_autoptr(GAsyncResult) result = NULL;

  g_assert_null (evbus_producer_put_nowait (fixture->producer, routing_key, body, profile,
                                            &nowait_error));
  evbus_test_assert_error (nowait_error, code, says);
  g_test_message ("%s", nowait_error->message);

  evbus_producer_put_async (fixture->producer, routing_key, body, profile, NULL,
                            evbus_test_store_result, &result);
  g_assert_null (result);
  evbus_test_wait_until (result != NULL);
  g_assert_null (evbus_producer_put_finish (fixture->producer, result, &async_error));
  evbus_test_assert_error (async_error, code, says);

  g_assert_null (evbus_test_put_options (fixture->broker, routing_key, body, profile, "{}", NULL,
                                         &options_error));
  evbus_test_assert_error (options_error, code, says);

  if (g_utf8_validate (routing_key, -1, NULL) &&
      (profile == NULL || g_utf8_validate (profile, -1, NULL)))
    refuse_many (fixture, g_variant_new ("(svs)", routing_key, body, profile != NULL ? profile : ""),
                 code, says);
}

static void
refuse_given (Fixture    *fixture,
              const char *routing_key,
              GBytes     *bytes,
              const char *content_type,
              const char *profile,
              EvbusError  code,
              const char *says)
{
  g_autoptr(GError) nowait_error = NULL, async_error = NULL;
  g_autoptr(GAsyncResult) result = NULL;

  g_assert_null (evbus_producer_put_bytes_nowait (fixture->producer, routing_key, bytes,
                                                  content_type, profile, &nowait_error));
  evbus_test_assert_error (nowait_error, code, says);
  g_test_message ("%s", nowait_error->message);

  evbus_producer_put_bytes_async (fixture->producer, routing_key, bytes, content_type, profile,
                                  NULL, evbus_test_store_result, &result);
  g_assert_null (result);
  evbus_test_wait_until (result != NULL);
  g_assert_null (evbus_producer_put_bytes_finish (fixture->producer, result, &async_error));
  evbus_test_assert_error (async_error, code, says);
}

static void
refuse_bytes (Fixture    *fixture,
              const char *routing_key,
              gsize       size,
              const char *content_type,
              const char *profile,
              EvbusError  code,
              const char *says)
{
  g_autoptr(GBytes) bytes = g_bytes_new_take (g_malloc0 (size), size);

  refuse_given (fixture, routing_key, bytes, content_type, profile, code, says);
}

static void
put_good (Fixture *fixture)
{
  g_autofree char *key = g_strnfill (255, 'k'), *profile = g_strnfill (255, 'p');
  g_autofree char *id = evbus_test_put (fixture->broker, key, "good", profile);
}

/* A NUL ends a C string, so that no routing key or profile can hold one. */
static void
test_names (Fixture       *fixture,
            gconstpointer  data)
{
  g_autofree char *too_long = g_strnfill (256, 'x');
  const struct { const char *routing_key, *profile, *says; } cases[] = {
    { "", NULL, "routing key.*empty|empty.*routing key" },
    { too_long, NULL, "routing key.*25[56]" },
    { "a\xff", NULL, "routing key.*UTF-8" },
    { "\xc3", NULL, "routing key.*UTF-8" },
    { "\xed\xa0\x80", NULL, "routing key.*UTF-8" },
    { "k", too_long, "profile.*25[56]" },
    { "k", "a\xff", "profile.*UTF-8" },
    { "k", "\xf8\x88\x80\x80\x80", "profile.*UTF-8" },
  };

  put_good (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      refuse (fixture, cases[i].routing_key, g_variant_new_int32 (1), cases[i].profile,
              EVBUS_ERROR_INVALID_ARGUMENT, cases[i].says);
      refuse_bytes (fixture, cases[i].routing_key, 1, "text/plain", cases[i].profile,
                    EVBUS_ERROR_INVALID_ARGUMENT, cases[i].says);
    }
}

static void
test_content_types (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autofree char *too_long = g_strnfill (256, 'x');
  const char *const bad[] = { "", too_long, "text/\xff", "text/plain\nX: y" };

  put_good (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    refuse_bytes (fixture, "k", 1, bad[i], NULL, EVBUS_ERROR_INVALID_ARGUMENT, "content.type");
}

static GVariant *
dictionary_with_twice (const GVariantType *type)
{
  g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (type);

  g_variant_builder_add (&builder, "{sv}", "once", g_variant_new_int32 (1));
  g_variant_builder_add (&builder, "{sv}", "twice", g_variant_new_int32 (1));
  g_variant_builder_add (&builder, "{sv}", "twice", g_variant_new_int32 (2));
  return g_variant_builder_end (&builder);
}

static void
test_bodies (Fixture       *fixture,
             gconstpointer  data)
{
  static const struct { const char *text, *says; } cases[] = {
    { "@h 0", "handle" },
    { "[<1>, <@h 3>]", "handle" },
    { "{'fd': <@h 0>}", "handle" },
    { "@mh just 1", "handle" },
    { "@d nan", "nan|not.a.number" },
    { "@d inf", "inf" },
    { "@d -inf", "inf" },
    { "{'a': <[1.0, inf]>}", "inf" },
    { "{'a': <{'b': <(1, nan)>}>}", "nan|not.a.number" },
  };

  put_good (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) mistake = NULL;
      g_autoptr(GVariant) body = g_variant_parse (NULL, cases[i].text, NULL, NULL, &mistake);

      g_assert_no_error (mistake);
      refuse (fixture, "k", body, NULL, EVBUS_ERROR_INVALID_BODY, cases[i].says);
    }
  refuse (fixture, "k", dictionary_with_twice (G_VARIANT_TYPE_VARDICT), NULL,
          EVBUS_ERROR_INVALID_BODY, "twice");
  refuse (fixture, "k", g_variant_new_variant (dictionary_with_twice (G_VARIANT_TYPE_VARDICT)),
          NULL, EVBUS_ERROR_INVALID_BODY, "twice");
}

/* A handle means nothing elsewhere, whatever the serializer. */
static void
test_handles (Fixture       *fixture,
              gconstpointer  data)
{
  static const char *const serializers[] = { "json", "gvariant", "msgpack", "str" };

  put_good (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (serializers); i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_true (evbus_broker_set_serializer (fixture->broker, serializers[i], &error));
      g_assert_no_error (error);
      refuse (fixture, "k", g_variant_new_handle (0), NULL, EVBUS_ERROR_INVALID_BODY, "handle|str");
    }
}

static GVariant *
nest_arrays (guint depth)
{
  GVariant *value = g_variant_new_int32 (1);

  for (guint i = 0; i < depth; i++)
    value = g_variant_new_array (NULL, &value, 1);
  return value;
}

static GVariant *
nest_variants (guint depth)
{
  GVariant *value = g_variant_new_int32 (1);

  for (guint i = 0; i < depth; i++)
    value = g_variant_new_variant (value);
  return value;
}

static void
test_nesting (Fixture       *fixture,
              gconstpointer  data)
{
  static const guint depths[] = { 65, 66, 100, 120 };
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  id = evbus_producer_put_nowait (fixture->producer, "k", nest_arrays (64), NULL, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (depths); i++)
    refuse (fixture, "k", nest_arrays (depths[i]), NULL, EVBUS_ERROR_INVALID_BODY, "64");
  refuse (fixture, "k", nest_variants (65), NULL, EVBUS_ERROR_INVALID_BODY, "64");
  refuse (fixture, "k", nest_variants (2000), NULL, EVBUS_ERROR_INVALID_BODY, "64");
}

static void
refuse_json (Fixture    *fixture,
             const char *text,
             const char *says)
{
  static const char *const types[] = { "application/json", "Application/JSON; charset=utf-8" };
  g_autoptr(GBytes) bytes = g_bytes_new (text, strlen (text));

  for (guint i = 0; i < G_N_ELEMENTS (types); i++)
    {
      g_autofree char *options = g_strdup_printf ("{'content-type': <'%s'>}", types[i]);
      g_autoptr(GVariant) body = NULL;
      g_autoptr(GError) error = NULL;

      refuse_given (fixture, "k", bytes, types[i], NULL, EVBUS_ERROR_INVALID_BODY, says);
      body = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, bytes, TRUE));
      g_assert_null (evbus_test_put_options (fixture->broker, "k", body, NULL, options, NULL, &error));
      evbus_test_assert_error (error, EVBUS_ERROR_INVALID_BODY, says);
    }
}

static void
accept_given (Fixture    *fixture,
              const char *text,
              const char *content_type)
{
  g_autoptr(GBytes) bytes = g_bytes_new (text, strlen (text));
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_bytes_nowait (fixture->producer, "k", bytes, content_type,
                                                         NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (id);
  fixture->expected++;
}

/* What says that it is JSON has to be; what does not is nobody's business. */
static void
test_given_json (Fixture       *fixture,
                 gconstpointer  data)
{
  static const struct { const char *text, *says; } cases[] = {
    { "", "byte 0: expected a value" },
    { "{\"a\":", "byte 5: expected a value" },
    { "{\"a\":NaN}", "byte 5: expected a value" },
    { "1\n{\"id\":\"forged\"}", "byte 2: expected nothing after the value" },
    { "\xff", "byte 0: not UTF-8" },
    { "{\"a\":1,\"a\":2}", "byte 7: expected a name that is not in the object yet" },
  };
  g_autofree char *open = g_strnfill (64, '['), *closed = g_strnfill (64, ']');
  g_autofree char *fits = g_strconcat (open, closed, NULL);
  g_autofree char *deep = g_strconcat ("[", fits, "]", NULL);

  put_good (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      refuse_json (fixture, cases[i].text, cases[i].says);
      accept_given (fixture, cases[i].text, "application/octet-stream");
      accept_given (fixture, cases[i].text, "application/json5");
    }
  refuse_json (fixture, deep, "byte 65: expected at most 64 levels");
  accept_given (fixture, fits, "application/json");
  accept_given (fixture, " {\"a\": [1]} ", "application/json; charset=utf-8");
}

static void
test_size (Fixture       *fixture,
           gconstpointer  data)
{
  static const gsize sizes[] = { 1024 * 1024 + 1, 4 * 1024 * 1024, 16 * 1024 * 1024 };
  g_autofree char *text = g_strnfill (1024 * 1024, 'x');

  put_good (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    refuse_bytes (fixture, "k", sizes[i], "text/plain", NULL, EVBUS_ERROR_TOO_LARGE,
                  "1048576|1,048,576|1 MiB|1.0 MiB");
  refuse (fixture, "k", g_variant_new_string (text), NULL, EVBUS_ERROR_TOO_LARGE,
          "1048576|1,048,576|1 MiB|1.0 MiB");
}

/* The limit holds for routing key, profile and body together. */
static void
test_size_exact (Fixture       *fixture,
                 gconstpointer  data)
{
  gsize fits = 1024 * 1024 - strlen ("key") - strlen ("default");
  g_autoptr(GBytes) body = g_bytes_new_take (g_malloc0 (fits), fits);
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  id = evbus_producer_put_bytes_nowait (fixture->producer, "key", body, "text/plain", NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (id);
  refuse_bytes (fixture, "key", fits + 1, "text/plain", NULL, EVBUS_ERROR_TOO_LARGE,
                "1048576|1,048,576|1 MiB|1.0 MiB");
}

/* What comes from a bus need not be in normal form: it is never trusted. */
static void
test_not_normal (Fixture       *fixture,
                 gconstpointer  data)
{
  static const char *const types[] = { "s", "as", "a{sv}", "v", "(sas)", "av", "mas", "aaay", "b" };

  put_good (fixture);
  for (guint seed = 0; seed < 2000; seed++)
    {
      g_autoptr(GRand) rand = g_rand_new_with_seed (seed);
      gsize size = (gsize) g_rand_int_range (rand, 0, 64);
      guint8 *content = g_malloc (size + 1);
      g_autoptr(GVariant) body = NULL;
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      for (gsize i = 0; i < size; i++)
        content[i] = (guint8) g_rand_int_range (rand, 0, g_rand_boolean (rand) ? 256 : 12);
      body = g_variant_ref_sink (g_variant_new_from_data (
               G_VARIANT_TYPE (types[seed % G_N_ELEMENTS (types)]), content, size, FALSE,
               g_free, content));
      id = evbus_producer_put_nowait (fixture->producer, "k", body, NULL, &error);
      if (id == NULL)
        g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
      fixture->expected += id != NULL;
    }
  g_assert_cmpuint (fixture->expected, >, 1);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/put-errors/names", test_names },
    { "/put-errors/content-types", test_content_types },
    { "/put-errors/bodies", test_bodies },
    { "/put-errors/handles", test_handles },
    { "/put-errors/nesting", test_nesting },
    { "/put-errors/given-json", test_given_json },
    { "/put-errors/size/over", test_size },
    { "/put-errors/size/exact", test_size_exact },
    { "/put-errors/not-normal", test_not_normal },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
