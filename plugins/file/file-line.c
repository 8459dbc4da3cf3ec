/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "file-line.h"

static void
append_attributes (GString  *buffer,
                   GVariant *attributes)
{
  GVariantIter iter;
  const char *key;
  const char *value;
  char separator = '{';

  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &key, &value))
    {
      g_string_append_c (buffer, separator);
      evbus_json_append_string (buffer, key, -1);
      g_string_append_c (buffer, ':');
      evbus_json_append_string (buffer, value, -1);
      separator = ',';
    }

  if (separator == '{')
    g_string_append_c (buffer, separator);
  g_string_append_c (buffer, '}');
}

#define APPEND_LITERAL(buffer, text) \
  g_string_append_len ((buffer), (text), sizeof (text) - 1)

/* On error @buffer is as it was. Everything that a producer can choose passes
 * through the JSON writer, so that no line can be forged. */
gboolean
file_line_append (GString     *buffer,
                  EvbusEvent  *event,
                  GError     **error)
{
  const char *content_type = evbus_event_get_content_type (event);
  GVariant *attributes = evbus_event_get_attributes (event);
  gsize start = buffer->len;
  gsize size;
  const guint8 *data = evbus_event_get_data (event, &size);

  APPEND_LITERAL (buffer, "{\"id\":");
  evbus_json_append_string (buffer, evbus_event_get_id (event), -1);
  APPEND_LITERAL (buffer, ",\"time\":\"");
  evbus_event_append_time (event, buffer);
  APPEND_LITERAL (buffer, "\",\"routing_key\":");
  evbus_json_append_string (buffer, evbus_event_get_routing_key (event), -1);
  APPEND_LITERAL (buffer, ",\"profile\":");
  evbus_json_append_string (buffer, evbus_event_get_profile (event), -1);
  if (!g_str_equal (content_type, "application/json"))
    {
      APPEND_LITERAL (buffer, ",\"content_type\":");
      evbus_json_append_string (buffer, content_type, -1);
    }
  if (attributes != NULL)
    {
      APPEND_LITERAL (buffer, ",\"attributes\":");
      append_attributes (buffer, attributes);
    }

  if (evbus_event_is_json (event))
    {
      APPEND_LITERAL (buffer, ",\"body\":");
      if (!evbus_json_append_compact (buffer, data, size, error))
        {
          g_string_truncate (buffer, start);
          return FALSE;
        }
      APPEND_LITERAL (buffer, "}\n");
    }
  else
    {
      APPEND_LITERAL (buffer, ",\"body_base64\":\"");
      evbus_json_append_base64 (buffer, data, size);
      APPEND_LITERAL (buffer, "\"}\n");
    }

  return TRUE;
}
