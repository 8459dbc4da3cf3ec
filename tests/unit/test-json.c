/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <string.h>

#include "evbus-json-private.h"

#define BYTES(text) text, sizeof text - 1

static const struct
{
  const char *text;
  gsize       size;
  const char *compact;
} valid[] = {
  { BYTES ("null"), "null" },
  { BYTES (" true\n"), "true" },
  { BYTES ("\t-0\r\n"), "-0" },
  { BYTES ("1.5e+10"), "1.5e+10" },
  { BYTES ("-0.0E-1"), "-0.0E-1" },
  { BYTES ("123456789012345678901234567890"), "123456789012345678901234567890" },
  { BYTES ("\"\""), "\"\"" },
  { BYTES ("\"a b\\n \\\" \\\\\""), "\"a b\\n \\\" \\\\\"" },
  { BYTES ("\"\\u00e9\\ud83d\\ude00\\/\""), "\"\\u00e9\\ud83d\\ude00\\/\"" },
  { BYTES ("\"\\ud800\""), "\"\\ud800\"" },
  { BYTES ("\"\303\251\177\""), "\"\303\251\177\"" },
  { BYTES ("[ ]"), "[]" },
  { BYTES ("{\n}"), "{}" },
  { BYTES ("[1, [2,\n{\"a b\" : [ ]}], \"x\" ]"), "[1,[2,{\"a b\":[]}],\"x\"]" },
  { BYTES ("{\"a\": 1, \"a\": 2}"), "{\"a\":1,\"a\":2}" },
};

static const struct
{
  const char *text;
  gsize       size;
  const char *message;
} invalid[] = {
  { BYTES (""), "not JSON: byte 0: expected a value" },
  { BYTES ("  "), "not JSON: byte 2: expected a value" },
  { BYTES ("nul"), "not JSON: byte 0: expected a value" },
  { BYTES ("True"), "not JSON: byte 0: expected a value" },
  { BYTES ("NaN"), "not JSON: byte 0: expected a value" },
  { BYTES ("-Infinity"), "not JSON: byte 1: expected a digit" },
  { BYTES ("01"), "not JSON: byte 1: expected nothing after the value" },
  { BYTES ("+1"), "not JSON: byte 0: expected a value" },
  { BYTES ("1."), "not JSON: byte 2: expected a digit" },
  { BYTES (".5"), "not JSON: byte 0: expected a value" },
  { BYTES ("1e"), "not JSON: byte 2: expected a digit" },
  { BYTES ("0x10"), "not JSON: byte 1: expected nothing after the value" },
  { BYTES ("1 2"), "not JSON: byte 2: expected nothing after the value" },
  { BYTES ("'a'"), "not JSON: byte 0: expected a value" },
  { BYTES ("\"a"), "not JSON: byte 2: expected the end of a string" },
  { BYTES ("\"a\nb\""), "not JSON: byte 2: expected no control character within a string" },
  { BYTES ("\"\\x\""), "not JSON: byte 2: expected an escape" },
  { BYTES ("\"\\u12g4\""), "not JSON: byte 5: expected four hexadecimal digits" },
  { BYTES ("\"\\"), "not JSON: byte 2: expected an escape" },
  { BYTES ("\"\377\""), "not JSON: byte 1: not UTF-8" },
  { BYTES ("\"\300\200\""), "not JSON: byte 1: not UTF-8" },
  { BYTES ("\"\355\240\200\""), "not JSON: byte 1: not UTF-8" },
  { BYTES ("\"a\0b\""), "not JSON: byte 2: not UTF-8" },
  { BYTES ("1\0"), "not JSON: byte 1: not UTF-8" },
  { BYTES ("\357\273\2771"), "not JSON: byte 0: expected a value" },
  { BYTES ("["), "not JSON: byte 1: expected a value" },
  { BYTES ("[1"), "not JSON: byte 2: expected ',' or ']'" },
  { BYTES ("[1}"), "not JSON: byte 2: expected ',' or ']'" },
  { BYTES ("[1,]"), "not JSON: byte 3: expected a value" },
  { BYTES ("[,1]"), "not JSON: byte 1: expected a value" },
  { BYTES ("{\"a\":1,}"), "not JSON: byte 7: expected a string" },
  { BYTES ("{a:1}"), "not JSON: byte 1: expected a string" },
  { BYTES ("{\"a\" 1}"), "not JSON: byte 5: expected ':'" },
  { BYTES ("{\"a\":1]"), "not JSON: byte 6: expected ',' or '}'" },
  { BYTES ("[1] // no"), "not JSON: byte 4: expected nothing after the value" },
  { BYTES ("]"), "not JSON: byte 0: expected a value" },
  /* One line may not become two. */
  { BYTES ("{}\n{\"id\":\"forged\"}"), "not JSON: byte 3: expected nothing after the value" },
};

static void
test_valid (void)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (valid); i++)
    {
      g_autoptr(GString) line = g_string_new ("x");
      g_autoptr(GError) error = NULL;
      const guint8 *data = (const guint8 *) valid[i].text;

      g_test_message ("%s", valid[i].text);
      g_assert_true (evbus_json_validate (data, valid[i].size, &error));
      g_assert_no_error (error);
      g_assert_true (evbus_json_append_compact (line, data, valid[i].size, &error));
      g_assert_no_error (error);
      g_assert_cmpstr (line->str + 1, ==, valid[i].compact);
    }
}

static void
test_invalid (void)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (invalid); i++)
    {
      g_autoptr(GString) line = g_string_new ("x");
      g_autoptr(GError) error = NULL;
      g_autoptr(GError) again = NULL;
      /* Exactly as large as it says, for the sanitizer to see a read beyond. */
      g_autofree guint8 *data = g_memdup2 (invalid[i].text, invalid[i].size);

      g_assert_false (evbus_json_validate (data, invalid[i].size, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
      g_assert_cmpstr (error->message, ==, invalid[i].message);
      g_assert_false (evbus_json_append_compact (line, data, invalid[i].size, &again));
      g_assert_error (again, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
      g_assert_cmpstr (line->str, ==, "x");
    }
}

static void
test_depth (void)
{
  guint depth;

  for (depth = 1; depth <= 200; depth++)
    {
      g_autoptr(GString) text = g_string_new (NULL);
      guint i;

      for (i = 0; i < depth; i++)
        g_string_append (text, i % 2 ? "[" : "{\"a\":");
      g_string_append_c (text, '1');
      while (i-- > 0)
        g_string_append_c (text, i % 2 ? ']' : '}');
      g_assert_cmpint (evbus_json_validate ((const guint8 *) text->str, text->len, NULL), ==,
                       depth <= 128);
    }
}

/* A megabyte of brackets takes no stack, and no time worth the name. */
static void
test_brackets (void)
{
  g_autofree guint8 *brackets = g_malloc (1024 * 1024);
  g_autoptr(GError) error = NULL;

  memset (brackets, '[', 1024 * 1024);
  g_assert_false (evbus_json_validate (brackets, 1024 * 1024, &error));
  g_assert_cmpstr (error->message, ==,
                   "not JSON: byte 129: expected at most 128 levels of nesting");
}

/* -1: no name stands twice. */
static const struct
{
  const char *text;
  int         byte;
} names[] = {
  { "{}", -1 },
  { "{\"a\":1,\"b\":2,\"A\":3}", -1 },
  { "[{\"a\":1},{\"a\":2},[{\"a\":1}]]", -1 },
  { "{\"a\":{\"a\":{\"a\":1}}}", -1 },
  { "{\"\":1,\"a\":{},\"ab\":2}", -1 },
  { "{\"\":1,\"\":2}", 6 },
  { "{\"a\":{\"b\":1},\"c\":3,\"a\":2}", 19 },
  { "[{\"x\":{\"b\":1, \"b\":1}}]", 14 },
  { "{\"a\":1,\"\\u0061\":2}", 7 },
  { "{\"\\u00e9\":1,\"\303\251\":2}", 12 },
  { "{\"\\uD83D\\ude00\":1,\"\360\237\230\200\":2}", 18 },
  { "{\"\\ud83d\":1,\"\\ude00\":2,\"\\ud83d\\ude00\":3}", -1 },
  { "{\"\\ud83d\":1,\"\\uD83D\":2}", 12 },
  { "{\"\\n\\/\\\"\":1,\"\\u000a/\\u0022\":2}", 12 },
  { "{\"\\\\u0061\":1,\"a\":2,\"\\u0000\":3,\"0\":4}", -1 },
};

static void
assert_names (const char *text,
              gsize       size,
              gssize      byte)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *expected = NULL;
  /* Exactly as large as it says, for the sanitizer to see a read beyond. */
  g_autofree guint8 *data = g_memdup2 (text, size);

  g_assert_true (evbus_json_validate (data, size, NULL));
  g_assert_cmpint (evbus_json_check_body (data, size, &error), ==, byte < 0);
  if (byte < 0)
    return;
  expected = g_strdup_printf ("not JSON: byte %d: expected a name that is not in the object yet", (int) byte);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY);
  g_assert_cmpstr (error->message, ==, expected);
}

static void
test_names (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_test_message ("%s", names[i].text);
      assert_names (names[i].text, strlen (names[i].text), names[i].byte);
    }
}

/* Objects of every size around the bounds of the search, and a large one. */
static void
test_many_names (void)
{
  static const guint sizes[] = { 2, 15, 16, 17, 63, 64, 65, 130, 60000 };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    {
      g_autoptr(GString) text = g_string_new ("{\"outer\":1,\"object\":{");
      gsize twice;

      for (guint n = 0; n < sizes[i]; n++)
        g_string_append_printf (text, "%s\"%s%u\":0", n > 0 ? "," : "", n % 3 ? "k" : "\\u006b", n * 7919 % 65536);
      g_string_append (text, "}}");
      assert_names (text->str, text->len, -1);

      g_string_truncate (text, text->len - 2);
      twice = text->len + 1;
      g_string_append (text, ",\"k0\":1,\"k7919\":1}}");
      assert_names (text->str, text->len, twice);
    }
}

static const struct
{
  const char *text;
  gssize      length;
  const char *json;
} strings[] = {
  { "", -1, "\"\"" },
  { "plain", -1, "\"plain\"" },
  { "plain", 2, "\"pl\"" },
  { "a\"b\\c\nd\001\177", -1, "\"a\\\"b\\\\c\\nd\\u0001\\u007f\"" },
  { "Gr\303\274n", -1, "\"Gr\303\274n\"" },
  { "a\0b", 3, "\"a\\u0000b\"" },
  { "a\377b\303", 4, "\"a\357\277\275b\357\277\275\"" },
  { "\355\240\200", -1, "\"\357\277\275\357\277\275\357\277\275\"" },
};

static void
test_strings (void)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (strings); i++)
    {
      g_autoptr(GString) string = g_string_new ("x");

      evbus_json_append_string (string, strings[i].text, strings[i].length);
      g_assert_cmpstr (string->str + 1, ==, strings[i].json);
      g_assert_true (evbus_json_validate ((const guint8 *) string->str + 1, string->len - 1, NULL));
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/json/valid", test_valid);
  g_test_add_func ("/json/invalid", test_invalid);
  g_test_add_func ("/json/depth", test_depth);
  g_test_add_func ("/json/brackets", test_brackets);
  g_test_add_func ("/json/names", test_names);
  g_test_add_func ("/json/names/many", test_many_names);
  g_test_add_func ("/json/strings", test_strings);

  return g_test_run ();
}
