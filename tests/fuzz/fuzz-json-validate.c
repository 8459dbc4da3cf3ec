/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Any bytes: what is found valid has one line, which is valid too; and what
 * stands in a string written by evbus_json_append_string() is always valid.
 */

#include <evbus/evbus.h>
#include <string.h>

#include "fuzz.h"

static void
check_compact (const guint8 *data,
               gsize         size)
{
  g_autoptr(GString) line = g_string_new (NULL);
  g_autoptr(GString) again = g_string_new (NULL);
  gboolean valid = evbus_json_validate (data, size, NULL);

  g_assert_cmpint (evbus_json_append_compact (line, data, size, NULL), ==, valid);
  if (!valid)
    {
      g_assert_cmpuint (line->len, ==, 0);
      return;
    }
  g_assert_null (memchr (line->str, '\n', line->len));
  g_assert_true (evbus_json_append_compact (again, (const guint8 *) line->str, line->len, NULL));
  g_assert_cmpstr (again->str, ==, line->str);
}

static void
check_string (const guint8 *data,
              gsize         size)
{
  g_autoptr(GString) string = g_string_new (NULL);

  evbus_json_append_string (string, (const char *) data, size);
  g_assert_true (evbus_json_validate ((const guint8 *) string->str, string->len, NULL));
  g_assert_null (memchr (string->str, '\n', string->len));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data,
                        size_t         size)
{
  if (size == 0)
    data = (const uint8_t *) "";
  check_compact (data, size);
  check_string (data, size);
  return 0;
}
