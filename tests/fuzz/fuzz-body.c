/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What must hold for any body at all.
 */

#include "fuzz-body.h"

#include <evbus/evbus.h>

#include "judge-json.h"

static GBytes *
serialize (const char *name,
           GVariant   *body)
{
  g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup (name, NULL);
  g_autoptr(GError) error = NULL;
  GBytes *bytes = evbus_serializer_to_bytes (serializer, body, &error);

  g_assert_true ((bytes == NULL) == (error != NULL));
  if (error != NULL)
    {
      g_assert_true (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY) ||
                     g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE));
      g_assert_true (g_str_has_prefix (error->message, "body"));
      g_assert_true (g_utf8_validate (error->message, -1, NULL));
    }
  return bytes;
}

static void
check_json (GBytes *json)
{
  gsize size;
  const guint8 *data = g_bytes_get_data (json, &size);
  g_autoptr(GString) line = g_string_new (NULL);

  g_assert_true (evbus_json_append_compact (line, data, size, NULL));
  g_assert_cmpmem (line->str, line->len, data, size);
}

static void
check_boxed (GBytes   *bytes,
             GVariant *body)
{
  g_autoptr(GVariant) boxed = NULL;
  g_autoptr(GVariant) back = NULL;
  g_autofree char *expected = g_variant_print (body, TRUE);
  g_autofree char *found = NULL;

  boxed = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARIANT, bytes, FALSE));
  g_assert_true (g_variant_is_normal_form (boxed));
  back = g_variant_get_variant (boxed);
  g_assert_true (g_variant_is_of_type (back, g_variant_get_type (body)));
  /* As text: a boolean from the bus may be any byte that is not 0. */
  found = g_variant_print (back, TRUE);
  g_assert_cmpstr (found, ==, expected);
}

void
fuzz_body (GVariant *body)
{
  /* JSON first: it takes the body as it stands, the others serialise it. */
  g_autoptr(GBytes) json = serialize ("json", body);
  g_autoptr(GBytes) boxed = serialize ("gvariant", body);
  g_autoptr(GBytes) packed = serialize ("msgpack", body);
  g_autoptr(GBytes) text = serialize ("str", body);
  g_autoptr(GBytes) flat_json = serialize ("json", body);

  /* JSON takes less than the others, which agree. */
  g_assert_true (json == NULL || boxed != NULL);
  g_assert_true ((boxed == NULL) == (packed == NULL));
  g_assert_true ((boxed == NULL) == (text == NULL));
  g_assert_true ((json == NULL) == (flat_json == NULL));

  if (json != NULL)
    {
      check_json (json);
      judge_json (json, body);
      g_assert_true (g_bytes_equal (json, flat_json));
    }
  if (boxed != NULL)
    check_boxed (boxed, body);
}
