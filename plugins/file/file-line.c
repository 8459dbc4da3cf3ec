/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "file-line.h"

#include <string.h>
#include <time.h>

/* RFC 3339, UTC, microseconds. */
static void
append_time (GString   *buffer,
             FileClock *clock,
             gint64     when)
{
  gint64 second = when / G_USEC_PER_SEC;
  int fraction = (int) (when % G_USEC_PER_SEC);
  char digits[8];
  int i;

  if (fraction < 0)
    {
      fraction += G_USEC_PER_SEC;
      second--;
    }

  if (second != clock->second || clock->text[0] == '\0')
    {
      time_t t = (time_t) second;
      struct tm tm;

      gmtime_r (&t, &tm);
      strftime (clock->text, sizeof clock->text, "%Y-%m-%dT%H:%M:%S", &tm);
      clock->second = second;
    }

  digits[0] = '.';
  for (i = 6; i > 0; i--, fraction /= 10)
    digits[i] = '0' + fraction % 10;
  digits[7] = 'Z';

  g_string_append (buffer, clock->text);
  g_string_append_len (buffer, digits, sizeof digits);
}

static gboolean
is_json (const char *content_type)
{
  gsize length = strcspn (content_type, "; ");

  if (length == strlen ("application/json"))
    return g_ascii_strncasecmp (content_type, "application/json", length) == 0;

  return length > strlen ("+json") &&
         g_ascii_strncasecmp (content_type + length - strlen ("+json"), "+json", strlen ("+json")) == 0;
}

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

static void
append_base64 (GString      *buffer,
               const guint8 *data,
               gsize         size)
{
  gsize at = buffer->len;
  gsize length;
  int state = 0;
  int save = 0;

  g_string_set_size (buffer, at + (size / 3 + 1) * 4 + 4);
  length = g_base64_encode_step (data, size, FALSE, buffer->str + at, &state, &save);
  length += g_base64_encode_close (FALSE, buffer->str + at + length, &state, &save);
  g_string_truncate (buffer, at + length);
}

#define APPEND_LITERAL(buffer, text) \
  g_string_append_len ((buffer), (text), sizeof (text) - 1)

/* On error @buffer is as it was. Everything that a producer can choose passes
 * through the JSON writer, so that no line can be forged. */
gboolean
file_line_append (GString     *buffer,
                  FileClock   *clock,
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
  append_time (buffer, clock, evbus_event_get_time (event));
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

  if (is_json (content_type))
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
      append_base64 (buffer, data, size);
      APPEND_LITERAL (buffer, "\"}\n");
    }

  return TRUE;
}
