/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whether JSON has the value that it was written from, by a reader that is not ours.
 * What json-glib writes badly (see test-json-writer.c) it reads well, but for one thing: it
 * has no integers beyond 2^63, and gives the same bits as a negative one.
 */

#include "judge-json.h"

#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

static void judge (JsonNode *node,
                   GVariant *value);

/* The integer that @value is, as 64 bits. */
static guint64
get_bits (GVariant *value)
{
  switch (g_variant_classify (value))
    {
    case G_VARIANT_CLASS_BYTE:
      return g_variant_get_byte (value);
    case G_VARIANT_CLASS_INT16:
      return (guint64) g_variant_get_int16 (value);
    case G_VARIANT_CLASS_UINT16:
      return g_variant_get_uint16 (value);
    case G_VARIANT_CLASS_INT32:
      return (guint64) g_variant_get_int32 (value);
    case G_VARIANT_CLASS_UINT32:
      return g_variant_get_uint32 (value);
    case G_VARIANT_CLASS_INT64:
      return (guint64) g_variant_get_int64 (value);
    case G_VARIANT_CLASS_UINT64:
      return g_variant_get_uint64 (value);
    default:
      g_error ("%s is no integer", g_variant_get_type_string (value));
    }
}

static void
judge_double (double found,
              double expected)
{
  g_assert_true (memcmp (&found, &expected, sizeof found) == 0);
}

static void
judge_key (const char *name,
           GVariant   *key)
{
  g_autofree char *expected = NULL;

  if (g_variant_is_of_type (key, G_VARIANT_TYPE_DOUBLE))
    {
      judge_double (g_ascii_strtod (name, NULL), g_variant_get_double (key));
      return;
    }

  if (strchr ("sog", *g_variant_get_type_string (key)) != NULL)
    expected = g_variant_dup_string (key, NULL);
  else if (g_variant_is_of_type (key, G_VARIANT_TYPE_BOOLEAN))
    expected = g_strdup (g_variant_get_boolean (key) ? "true" : "false");
  else if (strchr ("nix", *g_variant_get_type_string (key)) != NULL)
    expected = g_strdup_printf ("%" G_GINT64_FORMAT, (gint64) get_bits (key));
  else
    expected = g_strdup_printf ("%" G_GUINT64_FORMAT, get_bits (key));
  g_assert_cmpstr (name, ==, expected);
}

static void
judge_entry (JsonObject *object,
             const char *name,
             GVariant   *entry)
{
  g_autoptr(GVariant) key = g_variant_get_child_value (entry, 0);
  g_autoptr(GVariant) value = g_variant_get_child_value (entry, 1);

  judge_key (name, key);
  judge (json_object_get_member (object, name), value);
}

static void
judge_object (JsonNode *node,
              GVariant *value)
{
  JsonObject *object = json_node_get_object (node);
  g_autoptr(GList) names = json_object_get_members (object);
  GList *name = names;

  if (!g_variant_is_of_type (value, G_VARIANT_TYPE_ARRAY))
    {
      g_assert_cmpuint (json_object_get_size (object), ==, 1);
      judge_entry (object, name->data, value);
      return;
    }

  /* In the order in which they stand. */
  g_assert_cmpuint (json_object_get_size (object), ==, g_variant_n_children (value));
  for (gsize i = 0; i < g_variant_n_children (value); i++, name = name->next)
    {
      g_autoptr(GVariant) entry = g_variant_get_child_value (value, i);

      judge_entry (object, name->data, entry);
    }
}

static void
judge_array (JsonNode *node,
             GVariant *value)
{
  JsonArray *array = json_node_get_array (node);

  g_assert_cmpuint (json_array_get_length (array), ==, g_variant_n_children (value));
  for (gsize i = 0; i < g_variant_n_children (value); i++)
    {
      g_autoptr(GVariant) child = g_variant_get_child_value (value, i);

      judge (json_array_get_element (array, i), child);
    }
}

static void
judge_scalar (JsonNode *node,
              GVariant *value)
{
  g_assert_true (JSON_NODE_HOLDS_VALUE (node));
  switch (g_variant_classify (value))
    {
    case G_VARIANT_CLASS_BOOLEAN:
      g_assert_true (json_node_get_value_type (node) == G_TYPE_BOOLEAN);
      g_assert_cmpint (json_node_get_boolean (node), ==, g_variant_get_boolean (value));
      break;

    case G_VARIANT_CLASS_DOUBLE:
      g_assert_true (json_node_get_value_type (node) == G_TYPE_DOUBLE);
      judge_double (json_node_get_double (node), g_variant_get_double (value));
      break;

    case G_VARIANT_CLASS_STRING:
    case G_VARIANT_CLASS_OBJECT_PATH:
    case G_VARIANT_CLASS_SIGNATURE:
      g_assert_true (json_node_get_value_type (node) == G_TYPE_STRING);
      g_assert_cmpstr (json_node_get_string (node), ==, g_variant_get_string (value, NULL));
      break;

    default:
      g_assert_true (json_node_get_value_type (node) == G_TYPE_INT64);
      g_assert_cmpuint ((guint64) json_node_get_int (node), ==, get_bits (value));
    }
}

/* The value that is written: within all variants and maybes; NULL for nothing. */
static GVariant *
unwrap (GVariant *value)
{
  GVariant *inner;

  if (g_variant_is_of_type (value, G_VARIANT_TYPE_MAYBE))
    inner = g_variant_get_maybe (value);
  else if (g_variant_is_of_type (value, G_VARIANT_TYPE_VARIANT))
    inner = g_variant_get_variant (value);
  else
    return g_variant_ref (value);

  value = inner != NULL ? unwrap (inner) : NULL;
  g_clear_pointer (&inner, g_variant_unref);
  return value;
}

static void
judge (JsonNode *node,
       GVariant *boxed)
{
  g_autoptr(GVariant) value = unwrap (boxed);

  if (value == NULL)
    g_assert_true (JSON_NODE_HOLDS_NULL (node));
  else if (g_variant_is_of_type (value, G_VARIANT_TYPE_DICTIONARY) ||
           g_variant_is_of_type (value, G_VARIANT_TYPE_DICT_ENTRY))
    judge_object (node, value);
  else if (g_variant_is_container (value))
    judge_array (node, value);
  else
    judge_scalar (node, value);
}

void
judge_json (GBytes   *json,
            GVariant *body)
{
  g_autoptr(JsonParser) parser = json_parser_new_immutable ();
  g_autoptr(GVariant) normal = g_variant_get_normal_form (body);
  g_autoptr(GError) error = NULL;
  gsize size;
  const char *data = g_bytes_get_data (json, &size);

  json_parser_load_from_data (parser, data, size, &error);
  g_assert_no_error (error);
  judge (json_parser_get_root (parser), normal);
}
