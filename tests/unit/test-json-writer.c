/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>
#include <time.h>

typedef struct
{
  const char *name;
  const char *body;     /* as g_variant_parse() reads it */
  const char *json;
} Case;

/* Where json-glib is right: ours is the same, byte for byte. */
static const Case same_as_json_glib[] = {
  { "boolean", "true", "true" },
  { "byte", "byte 0xff", "255" },
  { "int16", "int16 -32768", "-32768" },
  { "uint16", "uint16 65535", "65535" },
  { "int32", "-2147483648", "-2147483648" },
  { "uint32", "uint32 4294967295", "4294967295" },
  { "int64", "int64 -9223372036854775808", "-9223372036854775808" },
  { "int64-max", "int64 9223372036854775807", "9223372036854775807" },
  { "double", "2.5", "2.5" },
  { "double-short", "1.23", "1.23" },
  { "double-whole", "123.0", "123.0" },
  { "double-negative", "-0.125", "-0.125" },
  { "double-zero", "0.0", "0.0" },
  { "double-huge", "1.7976931348623157e308", "1.7976931348623157e+308" },
  { "double-normal-smallest", "2.2250738585072014e-308", "2.2250738585072014e-308" },
  { "double-seventeen", "0.30000000000000004", "0.30000000000000004" },
  { "double-small-plain", "0.0001", "0.0001" },
  { "double-integer-exact", "9007199254740992.0", "9007199254740992.0" },
  { "double-negative-zero", "-0.0", "-0.0" },
  { "string", "'hello world!'", "\"hello world!\"" },
  { "string-empty", "''", "\"\"" },
  { "string-utf8", "'Grüße, 世界 😀'", "\"Grüße, 世界 😀\"" },
  { "string-escapes", "'\"\\\\/\\b\\f\\n\\r\\t'", "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
  { "string-controls", "'\\u0001\\u001e\\u007f'", "\"\\u0001\\u001e\\u007f\"" },
  { "string-long", "'a plain run that is longer than a word, then \" and again a plain run'",
    "\"a plain run that is longer than a word, then \\\" and again a plain run\"" },
  { "object-path", "objectpath '/org/evbus1'", "\"/org/evbus1\"" },
  { "signature", "signature '(asna{sv}i)'", "\"(asna{sv}i)\"" },
  { "nothing", "@ms nothing", "null" },
  { "just", "@ms 'text'", "\"text\"" },
  { "just-empty", "@ms ''", "\"\"" },
  { "just-fixed", "@mi 7", "7" },
  { "just-nothing", "@mmi just nothing", "null" },
  { "just-unit", "@m() ()", "[]" },
  { "just-tuple", "@m(sn) ('foo', 0)", "[\"foo\",0]" },
  { "unit", "()", "[]" },
  { "units", "[(), ()]", "[[],[]]" },
  { "array-empty", "@as []", "[]" },
  { "array-of-bytes", "[byte 0x01, 0x0a, 0x03, 0xff]", "[1,10,3,255]" },
  { "bytestring", "b'abc'", "[97,98,99,0]" },
  { "array-of-strings", "['a', '', 'ba']", "[\"a\",\"\",\"ba\"]" },
  { "array-of-booleans", "[true, false]", "[true,false]" },
  { "array-of-arrays", "[[1, 2], @ai [], [5, 6]]", "[[1,2],[],[5,6]]" },
  { "array-of-variants", "[<true>, <int64 1>, <'oops'>, <0.5>]", "[true,1,\"oops\",0.5]" },
  { "array-of-tuples", "[(byte 1, int64 -2, uint16 3), (4, -5, 6)]", "[[1,-2,3],[4,-5,6]]" },
  { "array-of-loose-tuples", "[('a', int64 1, 'b'), ('', 2, 'ccccccccccc')]",
    "[[\"a\",1,\"b\"],[\"\",2,\"ccccccccccc\"]]" },
  { "array-of-maybes", "[@mi 1, nothing, 3]", "[1,null,3]" },
  { "tuple", "(false, byte 0x00, int16 -1, uint16 1, -2, uint32 2, int64 429496729, uint64 3, 2.5, 'end')",
    "[false,0,-1,1,-2,2,429496729,3,2.5,\"end\"]" },
  { "tuple-variable-first", "('a', byte 1, [int64 7], byte 2)", "[\"a\",1,[7],2]" },
  { "dictionary-empty", "@a{sv} {}", "{}" },
  { "lone-entry", "{'hello', 'world'}", "{\"hello\":\"world\"}" },
  { "dictionary", "{'str': <'hi!'>, 'bool': <true>}", "{\"str\":\"hi!\",\"bool\":true}" },
  { "key-escaped", "{'a\"b': 1}", "{\"a\\\"b\":1}" },
  { "key-int64", "{int64 -5: <'minus five'>, 10: <'ten'>}", "{\"-5\":\"minus five\",\"10\":\"ten\"}" },
  { "key-uint64", "{uint64 18446744073709551615: true, 0: false}",
    "{\"18446744073709551615\":true,\"0\":false}" },
  { "key-boolean", "{true: byte 0x01, false: 0x00}", "{\"true\":1,\"false\":0}" },
  { "key-object-path", "{objectpath '/a': 1}", "{\"/a\":1}" },
  { "variant", "<'within'>", "\"within\"" },
  { "variant-deep", "<<<@mv <[<'any'>]>>>>", "[\"any\"]" },
  { "mixed", "{'foo': ('bar', byte 0x64, true, [(objectpath '/baz', 1.5), ('/cat', -2.5)])}",
    "{\"foo\":[\"bar\",100,true,[[\"/baz\",1.5],[\"/cat\",-2.5]]]}" },
};

/* Where json-glib writes what is not JSON, or not the value. */
static const Case right_here[] = {
  { "uint64-max", "uint64 18446744073709551615", "18446744073709551615" },
  { "double-large", "1e22", "1e+22" },
  { "double-shortest", "0.1", "0.1" },
  { "double-third", "0.3333333333333333", "0.3333333333333333" },
  { "double-small", "0.00001", "1e-05" },
  { "double-money", "1234567.89", "1234567.89" },
  { "key-double", "{1.0: 'one', 0.1: 'tenth'}", "{\"1.0\":\"one\",\"0.1\":\"tenth\"}" },
  { "key-double-close", "{0.1234567: 1, 0.1234568: 2}", "{\"0.1234567\":1,\"0.1234568\":2}" },
  { "string-unit-separator", "'\\u001f'", "\"\\u001f\"" },
};

static const Case refused[] = {
  { "nan", "[1.0, nan]", "body[1]: JSON has no not-a-number; *" },
  { "infinity", "{'a': <{'b': <-inf>}>}", "body[\"a\"][\"b\"]: JSON has no infinity; *" },
  { "key-nan", "{nan: 1}", "body[nan]: JSON has no not-a-number; *" },
  { "handle", "({'fd': <handle 0>},)", "body[0][\"fd\"]: a handle (type h) *" },
  { "handles", "[handle 0]", "body[0]: a handle *" },
  { "key-handle", "{handle 1: 1}", "body[*]: a handle *" },
  { "duplicate", "{'a': 1, 'b': 2, 'a': 3}", "body: the dictionary has the key \"a\" twice" },
  { "duplicate-within", "[{'x': <{int64 5: 1, 5: 1}>}]",
    "body[0][\"x\"]: the dictionary has the key \"5\" twice" },
};

static GVariant *
parse (const char *text)
{
  g_autoptr(GError) error = NULL;
  GVariant *value = g_variant_parse (NULL, text, NULL, NULL, &error);

  g_assert_no_error (error);
  return value;
}

/* The same value, serialised by somebody nobody vouches for. */
static GVariant *
serialised (GVariant *value)
{
  g_autoptr(GBytes) bytes = NULL;

  g_assert_cmpuint (g_variant_get_size (value), >, 0);
  bytes = g_bytes_new (g_variant_get_data (value), g_variant_get_size (value));
  return g_variant_ref_sink (g_variant_new_from_bytes (g_variant_get_type (value), bytes, FALSE));
}

static char *
to_json (GVariant  *body,
         GError   **error)
{
  g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup ("json", NULL);
  g_autoptr(GByteArray) buffer = g_byte_array_new ();

  if (!evbus_serializer_serialize (serializer, body, buffer, error))
    {
      g_assert_cmpuint (buffer->len, ==, 0);
      return NULL;
    }
  g_assert_true (evbus_json_validate (buffer->data, buffer->len, NULL));
  return g_strndup ((const char *) buffer->data, buffer->len);
}

static void
assert_json (GVariant   *body,
             const char *expected)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *json = to_json (body, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (json, ==, expected);
}

/* A tree, and the serialised form, are two ways through the code. */
static void
assert_both_forms (const Case *c)
{
  g_autoptr(GVariant) tree = parse (c->body);
  g_autoptr(GVariant) flat = NULL;

  assert_json (tree, c->json);
  if (g_variant_get_size (tree) == 0)
    return;
  flat = serialised (tree);
  assert_json (flat, c->json);
}

static void
test_same_as_json_glib (gconstpointer data)
{
  const Case *c = data;
  g_autoptr(GVariant) tree = parse (c->body);
  g_autofree char *theirs = json_gvariant_serialize_data (tree, NULL);

  assert_both_forms (c);
  g_assert_cmpstr (theirs, ==, c->json);
}

static void
test_right_here (gconstpointer data)
{
  const Case *c = data;
  g_autoptr(GVariant) tree = parse (c->body);
  g_autofree char *theirs = json_gvariant_serialize_data (tree, NULL);

  assert_both_forms (c);
  /* Else the case belongs into the other table. */
  g_assert_cmpstr (theirs, !=, c->json);
}

static void
assert_refused (GVariant   *body,
                const char *pattern)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *json = to_json (body, &error);

  g_assert_null (json);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
  if (!g_pattern_match_simple (pattern, error->message))
    g_error ("'%s' is not as '%s'", error->message, pattern);
}

static void
test_refused (gconstpointer data)
{
  const Case *c = data;
  g_autoptr(GVariant) tree = parse (c->body);
  g_autoptr(GVariant) flat = NULL;

  assert_refused (tree, c->json);
  flat = serialised (tree);
  assert_refused (flat, c->json);
}

/* The duplicates of a large dictionary are found by sorting. */
static void
test_many_keys (void)
{
  g_autoptr(GVariant) good = NULL;
  g_autoptr(GVariant) bad = NULL;
  g_autoptr(GVariant) flat = NULL;
  GVariantBuilder builders[2];
  g_autofree char *json = NULL;
  guint i, j;

  for (j = 0; j < 2; j++)
    {
      g_variant_builder_init (&builders[j], G_VARIANT_TYPE ("a{ui}"));
      for (i = 0; i < 1000; i++)
        g_variant_builder_add (&builders[j], "{ui}", j == 1 && i == 999 ? 500 : i, 1);
    }
  good = g_variant_ref_sink (g_variant_builder_end (&builders[0]));
  bad = g_variant_ref_sink (g_variant_builder_end (&builders[1]));

  json = to_json (good, NULL);
  g_assert_true (g_str_has_suffix (json, ",\"999\":1}"));
  assert_refused (bad, "body: the dictionary has the key \"500\" twice");
  flat = serialised (bad);
  assert_refused (flat, "body: the dictionary has the key \"500\" twice");
}

static GVariant *
nested_variants (guint depth)
{
  GVariant *value = g_variant_new_int32 (1);

  while (depth-- > 0)
    value = g_variant_new_variant (value);
  return g_variant_ref_sink (value);
}

static GVariant *
nested_arrays (guint depth)
{
  GVariant *value = g_variant_new_int32 (1);

  while (depth-- > 0)
    value = g_variant_new_array (NULL, &value, 1);
  return g_variant_ref_sink (value);
}

static void
test_nesting (void)
{
  GVariant *(* const make[]) (guint) = { nested_variants, nested_arrays };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (make); i++)
    {
      g_autoptr(GVariant) fits = make[i] (64);
      g_autoptr(GVariant) deep = make[i] (65);
      g_autoptr(GVariant) deeper = make[i] (110);
      g_autofree char *json = NULL;

      assert_refused (deep, "body*: nested deeper than 64 containers; *");
      assert_refused (deeper, "body*: nested deeper than 64 containers; *");
      json = to_json (fits, NULL);
      g_assert_nonnull (json);
    }
}

/* As many empty arrays as the type of their elements is long: were it scanned for
 * each, that would be some 10^11 steps, minutes on any machine. */
static void
test_long_type (void)
{
  static const char * const serializers[] = { "json", "msgpack", "gvariant" };
  const gsize n = 300000;
  g_autofree char *members = g_strnfill (n, 'y');
  g_autofree char *type = g_strdup_printf ("aa(%s)", members);
  g_autofree guint8 *offsets = g_malloc0 (n * 4);
  g_autoptr(GVariant) array = NULL;
  g_autoptr(GVariant) body = NULL;
  clock_t start;

  /* Each element is empty; all there is are the framing offsets, of four bytes. */
  array = g_variant_ref_sink (g_variant_new_from_data (G_VARIANT_TYPE (type), offsets, n * 4, FALSE, NULL, NULL));
  body = g_variant_ref_sink (g_variant_new_variant (array));
  g_variant_get_data (body);
  start = clock ();
  for (guint i = 0; i < G_N_ELEMENTS (serializers); i++)
    {
      g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (serializers[i], NULL);
      g_autoptr(GError) error = NULL;
      g_autoptr(GBytes) bytes = evbus_serializer_to_bytes (serializer, body, &error);

      g_assert_no_error (error);
      g_assert_cmpuint (g_bytes_get_size (bytes), >=, n);
    }
  g_assert_cmpint ((clock () - start) / CLOCKS_PER_SEC, <, 30);
}

/* Types that are too long to be scanned at each place, and too short. */
static void
test_layouts (void)
{
  static const Case cases[] = {
    { NULL, "((((((((((byte 1, 'a'), @mi 2), [('b', byte 3)]), {'c': <4>}), @ms nothing), 5), 6), 'd'), @as []), ())",
      "[[[[[[[[[[1,\"a\"],2],[[\"b\",3]]],{\"c\":4}],null],5],6],\"d\"],[]],[]]" },
    { NULL, "[<(('a', byte 1, (int64 2, (3, 'b'))), {'x': [(('c', true), 'd')]})>, <(1, 2)>]",
      "[[[\"a\",1,[2,[3,\"b\"]]],{\"x\":[[[\"c\",true],\"d\"]]}],[1,2]]" },
    { NULL, "[((((((byte 1, int64 -1),),),), @ms 'm'), 's'), ((((((2, -2),),),), nothing), '')]",
      "[[[[[[[1,-1]]]],\"m\"],\"s\"],[[[[[[2,-2]]]],null],\"\"]]" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    assert_both_forms (&cases[i]);
}

/* Text that grows sixfold stops at the limit. */
static void
test_output_limit (void)
{
  g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup ("json", NULL);
  g_autofree char *controls = g_strnfill (12 * 1024 * 1024, '\001');
  g_autoptr(GBytes) bytes = NULL;
  g_autoptr(GError) error = NULL;

  bytes = evbus_serializer_to_bytes (serializer, g_variant_new_string (controls), &error);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE);
  g_assert_cmpstr (error->message, ==, "body: more than 67108864 bytes as JSON");
  g_assert_null (bytes);
}

/* What no reader of GVariant would give is brought to normal form. */
static void
test_not_normal (void)
{
  static const guint8 not_utf8[] = { 'a', 0xff, 0 };
  static const guint8 offset_outside[] = { 'a', 0, 200 };
  g_autoptr(GVariant) text = NULL;
  g_autoptr(GVariant) array = NULL;

  text = g_variant_ref_sink (g_variant_new_from_data (G_VARIANT_TYPE_STRING, not_utf8,
                                                      sizeof not_utf8, FALSE, NULL, NULL));
  array = g_variant_ref_sink (g_variant_new_from_data (G_VARIANT_TYPE_STRING_ARRAY, offset_outside,
                                                       sizeof offset_outside, FALSE, NULL, NULL));
  assert_json (text, "\"\"");
  assert_json (array, "[]");
}

/* Declared as trusted, and it is not: an error, nothing worse. */
static void
test_trusted_lies (void)
{
  static const struct { const char *type; guint8 data[8]; gsize size; } lies[] = {
    { "as", { 'a', 0, 200 }, 3 },
    { "s", { 'a', 'b' }, 2 },
    { "(si)", { 'a', 0, 0 }, 3 },
    { "v", { 1, 2, 3, 4, 5, 6, 7, 8 }, 8 },
    { "a{sv}", { 9, 9, 9 }, 3 },
    { "mi", { 1 }, 1 },
    { "ai", { 1, 2, 3 }, 3 },
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (lies); i++)
    {
      g_autoptr(GVariant) lie = NULL;

      lie = g_variant_ref_sink (g_variant_new_from_data (G_VARIANT_TYPE (lies[i].type), lies[i].data,
                                                         lies[i].size, TRUE, NULL, NULL));
      assert_refused (lie, "body*");
    }
}

/* Any bits that are a finite double read back as the same bits. */
static void
test_random_doubles (void)
{
  guint i;

  for (i = 0; i < 200000; i++)
    {
      union { guint64 bits; double value; } in, out;
      g_autoptr(GVariant) body = NULL;
      g_autofree char *json = NULL;

      in.bits = (guint64) g_test_rand_int () << 32 | (guint32) g_test_rand_int ();
      if (i % 2 == 0)
        in.value = g_test_rand_int_range (-1000000000, 1000000000) / 1e4;
      if (!isfinite (in.value))
        continue;
      body = g_variant_ref_sink (g_variant_new_double (in.value));
      json = to_json (body, NULL);
      out.value = g_ascii_strtod (json, NULL);
      g_assert_cmpuint (in.bits, ==, out.bits);
      g_assert_nonnull (strpbrk (json, ".e"));
      g_assert_cmpuint (strlen (json), <=, 24);
    }
}

static void
add_cases (const char    *prefix,
           const Case    *cases,
           gsize          n_cases,
           GTestDataFunc  func)
{
  gsize i;

  for (i = 0; i < n_cases; i++)
    {
      g_autofree char *path = g_strdup_printf ("/json-writer/%s/%s", prefix, cases[i].name);

      g_test_add_data_func (path, &cases[i], func);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  add_cases ("same", same_as_json_glib, G_N_ELEMENTS (same_as_json_glib), test_same_as_json_glib);
  add_cases ("right", right_here, G_N_ELEMENTS (right_here), test_right_here);
  add_cases ("refused", refused, G_N_ELEMENTS (refused), test_refused);
  g_test_add_func ("/json-writer/many-keys", test_many_keys);
  g_test_add_func ("/json-writer/nesting", test_nesting);
  g_test_add_func ("/json-writer/long-type", test_long_type);
  g_test_add_func ("/json-writer/layouts", test_layouts);
  g_test_add_func ("/json-writer/output-limit", test_output_limit);
  g_test_add_func ("/json-writer/not-normal", test_not_normal);
  g_test_add_func ("/json-writer/trusted-lies", test_trusted_lies);
  g_test_add_func ("/json-writer/random-doubles", test_random_doubles);

  return g_test_run ();
}
