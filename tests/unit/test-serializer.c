/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <string.h>

typedef struct
{
  const char *serializer;
  const char *body;
  const char *bytes;
  gsize       size;
} Case;

#define BYTES(text) text, sizeof text - 1

static const Case cases[] = {
  { "json", "{'id': <42>}", BYTES ("{\"id\":42}") },

  { "gvariant", "'ab'", BYTES ("ab\0\0s") },
  { "gvariant", "{'id': <uint16 258>}", BYTES ("id\0\0\0\0\0\0\002\001\0q\003\015\0a{sv}") },
  { "gvariant", "<byte 1>", BYTES ("\001\0y\0v") },
  { "gvariant", "nan", BYTES ("\0\0\0\0\0\0\370\177\0d") },

  { "msgpack", "true", BYTES ("\xc3") },
  { "msgpack", "false", BYTES ("\xc2") },
  { "msgpack", "byte 0x80", BYTES ("\xcc\x80") },
  { "msgpack", "int16 -1", BYTES ("\xff") },
  { "msgpack", "uint16 256", BYTES ("\xcd\x01\x00") },
  { "msgpack", "int32 -32769", BYTES ("\xd2\xff\xff\x7f\xff") },
  { "msgpack", "uint32 65536", BYTES ("\xce\x00\x01\x00\x00") },
  { "msgpack", "int64 -9223372036854775808", BYTES ("\xd3\x80\0\0\0\0\0\0\0") },
  { "msgpack", "uint64 18446744073709551615", BYTES ("\xcf\xff\xff\xff\xff\xff\xff\xff\xff") },
  { "msgpack", "1.5", BYTES ("\xcb\x3f\xf8\0\0\0\0\0\0") },
  { "msgpack", "inf", BYTES ("\xcb\x7f\xf0\0\0\0\0\0\0") },
  { "msgpack", "'hi'", BYTES ("\xa2hi") },
  { "msgpack", "objectpath '/a'", BYTES ("\xa2/a") },
  { "msgpack", "b'ab'", BYTES ("\xc4\x03" "ab\0") },
  { "msgpack", "['a', '']", BYTES ("\x92\xa1" "a\xa0") },
  { "msgpack", "(1, 'a', [2])", BYTES ("\x93\x01\xa1" "a\x91\x02") },
  { "msgpack", "()", BYTES ("\x90") },
  { "msgpack", "{1: <'x'>}", BYTES ("\x81\x01\xa1x") },
  { "msgpack", "{'k', 1}", BYTES ("\x81\xa1k\x01") },
  { "msgpack", "@ms nothing", BYTES ("\xc0") },
  { "msgpack", "@ms 'a'", BYTES ("\xa1" "a") },
  { "msgpack", "@a{sv} {}", BYTES ("\x80") },

  { "str", "'as it\\nis'", BYTES ("as it\nis") },
  { "str", "''", BYTES ("") },
  { "str", "<<'boxed'>>", BYTES ("boxed") },
  { "str", "byte 0x0a", BYTES ("10") },
  { "str", "uint64 18446744073709551615", BYTES ("18446744073709551615") },
  { "str", "-7", BYTES ("-7") },
  { "str", "true", BYTES ("true") },
  { "str", "0.1", BYTES ("0.1") },
  { "str", "nan", BYTES ("nan") },
  { "str", "signature 'ai'", BYTES ("ai") },
  { "str", "{'id': <42>}", BYTES ("{'id': <42>}") },
  { "str", "[1, 2]", BYTES ("[1, 2]") },
};

/* What none of them takes. */
static const char * const bad_bodies[] = {
  "handle 1",
  "{'fd': <handle 0>}",
  "[handle 1]",
  "(@mh 1, 2)",
  "{'a': 1, 'b': 2, 'a': 3}",
  "[<{objectpath '/a': 1, '/a': 2}>]",
};

static const char * const names[] = { "json", "gvariant", "msgpack", "str" };

static GVariant *
parse (const char *text)
{
  g_autoptr(GError) error = NULL;
  GVariant *value = g_variant_parse (NULL, text, NULL, NULL, &error);

  g_assert_no_error (error);
  return value;
}

static void
test_bytes (void)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (cases[i].serializer, NULL);
      g_autoptr(GVariant) body = parse (cases[i].body);
      g_autoptr(GError) error = NULL;
      g_autoptr(GBytes) bytes = evbus_serializer_to_bytes (serializer, body, &error);

      g_test_message ("%s: %s", cases[i].serializer, cases[i].body);
      g_assert_no_error (error);
      g_assert_cmpmem (g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes),
                       cases[i].bytes, cases[i].size);
    }
}

/* The receiver needs nothing but the bytes. */
static void
test_gvariant_travels_with_its_type (void)
{
  g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup ("gvariant", NULL);
  g_autoptr(GVariant) body = parse ("({'a': <[1, 2]>, 'b': <@ms nothing>}, 'x', [(byte 1, int64 2)])");
  g_autoptr(GBytes) bytes = evbus_serializer_to_bytes (serializer, body, NULL);
  g_autoptr(GVariant) boxed = NULL;
  g_autoptr(GVariant) back = NULL;

  boxed = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARIANT, bytes, FALSE));
  if (G_BYTE_ORDER == G_BIG_ENDIAN)
    {
      g_autoptr(GVariant) swapped = g_variant_byteswap (boxed);

      back = g_variant_get_variant (swapped);
    }
  else
    {
      back = g_variant_get_variant (boxed);
    }
  g_assert_true (g_variant_is_normal_form (boxed));
  g_assert_true (g_variant_equal (back, body));
}

static void
assert_refused (EvbusSerializer *serializer,
                GVariant        *body)
{
  g_autoptr(GByteArray) buffer = g_byte_array_new ();
  g_autoptr(GError) error = NULL;

  g_byte_array_append (buffer, (const guint8 *) "before", 6);
  g_assert_false (evbus_serializer_serialize (serializer, body, buffer, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
  g_assert_true (g_str_has_prefix (error->message, "body"));
  g_assert_cmpmem (buffer->data, buffer->len, "before", 6);
}

static void
test_bad_bodies (void)
{
  GVariant *deep = g_variant_new_int32 (1);
  g_autoptr(GVariant) deep_body = NULL;
  guint i, j;

  for (i = 0; i <= 64; i++)
    deep = g_variant_new_variant (deep);
  deep_body = g_variant_ref_sink (deep);

  for (i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (names[i], NULL);

      for (j = 0; j < G_N_ELEMENTS (bad_bodies); j++)
        {
          g_autoptr(GVariant) body = parse (bad_bodies[j]);

          g_test_message ("%s: %s", names[i], bad_bodies[j]);
          assert_refused (serializer, body);
        }
      assert_refused (serializer, deep_body);
    }
}

static void
test_appends (void)
{
  g_autoptr(GByteArray) buffer = g_byte_array_new ();
  guint i;

  for (i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (names[i], NULL);
      g_autoptr(GBytes) alone = evbus_serializer_to_bytes (serializer, g_variant_new_int32 (7), NULL);

      g_byte_array_set_size (buffer, 0);
      g_byte_array_append (buffer, (const guint8 *) "before", 6);
      /* A floating body is taken, which the leak checkers see. */
      g_assert_true (evbus_serializer_serialize (serializer, g_variant_new_int32 (7), buffer, NULL));
      g_assert_cmpmem (buffer->data, 6, "before", 6);
      g_assert_cmpmem (buffer->data + 6, buffer->len - 6,
                       g_bytes_get_data (alone, NULL), g_bytes_get_size (alone));
    }
}

static void
test_lookup (void)
{
  static const char * const types[] = {
    "application/json", "application/x-gvariant", "application/vnd.msgpack",
    "text/plain;charset=utf-8",
  };
  g_autoptr(EvbusSerializer) standard = evbus_serializer_lookup (NULL, NULL);
  g_autoptr(GError) error = NULL;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (names[i], NULL);
      g_autoptr(EvbusSerializer) again = evbus_serializer_lookup (names[i], NULL);

      g_assert_cmpstr (evbus_serializer_get_content_type (serializer), ==, types[i]);
      g_assert_true (serializer == again);
      g_assert_true ((serializer == standard) == (i == 0));
    }

  g_assert_null (evbus_serializer_lookup ("yaml", &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  g_assert_cmpstr (error->message, ==,
                   "no serializer is called 'yaml'; there are json, gvariant, msgpack, str");
  g_clear_error (&error);
  g_assert_null (evbus_serializer_lookup ("jsn", &error));
  g_assert_cmpstr (error->message, ==,
                   "no serializer is called 'jsn'; there are json, gvariant, msgpack, str; did you mean 'json'?");
}

/* One body, whose form a thread may change while the others write it. */
static gpointer
serialize_shared (gpointer data)
{
  GVariant *body = data;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (names[i], NULL);
      g_autoptr(GBytes) bytes = evbus_serializer_to_bytes (serializer, body, NULL);

      if (bytes == NULL)
        return NULL;
      if (i == 0 && strncmp (g_bytes_get_data (bytes, NULL), "{\"k0\":\"value\",\"k1\":", 18) != 0)
        return NULL;
    }
  return body;
}

static void
test_threads (void)
{
  guint round, i;

  for (round = 0; round < 200; round++)
    {
      g_autoptr(GVariant) body = NULL;
      GThread *threads[4];
      GVariantBuilder builder;

      g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
      for (i = 0; i < 100; i++)
        {
          g_autofree char *key = g_strdup_printf ("k%u", i);

          g_variant_builder_add (&builder, "{sv}", key, g_variant_new_string ("value"));
        }
      body = g_variant_ref_sink (g_variant_builder_end (&builder));

      for (i = 0; i < G_N_ELEMENTS (threads); i++)
        threads[i] = g_thread_new ("serialize", serialize_shared, body);
      for (i = 0; i < G_N_ELEMENTS (threads); i++)
        g_assert_true (g_thread_join (threads[i]) == body);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/serializer/lookup", test_lookup);
  g_test_add_func ("/serializer/bytes", test_bytes);
  g_test_add_func ("/serializer/gvariant-travels-with-its-type", test_gvariant_travels_with_its_type);
  g_test_add_func ("/serializer/bad-bodies", test_bad_bodies);
  g_test_add_func ("/serializer/appends", test_appends);
  g_test_add_func ("/serializer/threads", test_threads);

  return g_test_run ();
}
