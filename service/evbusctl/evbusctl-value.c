/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The body of the signal Event, as the JSON that it was.
 *
 * Not with the serializer alone: in that signal null is the empty signature,
 * and a document in which a key stands twice is one that it rightly refuses to
 * make, while here it has to be shown. */

#include "evbusctl.h"

#include <string.h>

static gboolean append_value (EvbusSerializer  *serializer,
                              GString          *string,
                              GVariant         *value,
                              GError          **error);

static gboolean
append_object (EvbusSerializer  *serializer,
               GString          *string,
               GVariant         *object,
               GError          **error)
{
  GVariantIter iter;
  const char *key;
  GVariant *member;
  char separator = '{';

  g_variant_iter_init (&iter, object);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &member))
    {
      g_string_append_c (string, separator);
      evbus_json_append_string (string, key, -1);
      g_string_append_c (string, ':');
      if (!append_value (serializer, string, member, error))
        {
          g_variant_unref (member);
          return FALSE;
        }
      separator = ',';
    }

  g_string_append (string, separator == '{' ? "{}" : "}");

  return TRUE;
}

static gboolean
append_array (EvbusSerializer  *serializer,
              GString          *string,
              GVariant         *array,
              GError          **error)
{
  GVariantIter iter;
  GVariant *element;
  char separator = '[';

  g_variant_iter_init (&iter, array);
  while (g_variant_iter_loop (&iter, "v", &element))
    {
      g_string_append_c (string, separator);
      if (!append_value (serializer, string, element, error))
        {
          g_variant_unref (element);
          return FALSE;
        }
      separator = ',';
    }

  g_string_append (string, separator == '[' ? "[]" : "]");

  return TRUE;
}

static gboolean
append_leaf (EvbusSerializer  *serializer,
             GString          *string,
             GVariant         *value,
             GError          **error)
{
  g_autoptr(GByteArray) buffer = g_byte_array_new ();

  if (!evbus_serializer_serialize (serializer, value, buffer, error))
    return FALSE;

  g_string_append_len (string, (const char *) buffer->data, buffer->len);

  return TRUE;
}

static gboolean
append_value (EvbusSerializer  *serializer,
              GString          *string,
              GVariant         *value,
              GError          **error)
{
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT))
    return append_object (serializer, string, value, error);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE ("av")))
    return append_array (serializer, string, value, error);

  if (g_variant_is_of_type (value, G_VARIANT_TYPE_SIGNATURE) && g_variant_get_size (value) == 1)
    {
      g_string_append (string, "null");
      return TRUE;
    }

  return append_leaf (serializer, string, value, error);
}

/* Appends the body of an Event as JSON. On error @string is as it was. A
 * document that no value could say comes as its bytes. */
gboolean
evbusctl_append_json_body (GString   *string,
                           GVariant  *body,
                           GError   **error)
{
  g_autoptr(EvbusSerializer) serializer = NULL;
  gsize start = string->len;

  if (g_variant_is_of_type (body, G_VARIANT_TYPE_BYTESTRING))
    return evbus_json_append_compact (string, g_variant_get_data (body), g_variant_get_size (body), error);

  serializer = evbus_serializer_lookup ("json", error);
  if (serializer != NULL && append_value (serializer, string, body, error))
    return TRUE;

  g_string_truncate (string, start);

  return FALSE;
}
