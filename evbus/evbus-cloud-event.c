/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* CloudEvents 1.0.2, https://github.com/cloudevents/spec: the context attributes
 * and the JSON event format. Where they go is the business of a transport's
 * binding, and so of a plugin. */

#include "evbus-cloud-event.h"

#include <string.h>

#include "evbus-json.h"
#include "evbus-uri-private.h"

/* "SHOULD NOT exceed 20 characters": a longer name is not understood everywhere. */
#define MAX_NAME 20

/* What an event always brings along, and what its producer may therefore not set. */
static const char * const taken[] = { "specversion", "id", "time", "datacontenttype", "data", "data_base64", NULL };

typedef gboolean (* ValueFunc) (const char *value);

/* The names of those whose values are not just any text. */
static const struct {
  const char *name;
  ValueFunc   is_value;
} typed[] = {
  { "source", evbus_uri_is_reference },
  { "dataschema", evbus_uri_is_uri },
};

/* An attribute is never empty. One of another type is no attribute of a CloudEvent, whatever its name. */
static gboolean
is_value (const char *name,
          const char *value)
{
  for (guint i = 0; i < G_N_ELEMENTS (typed); i++)
    if (strcmp (typed[i].name, name) == 0)
      return typed[i].is_value (value);
  return *value != '\0';
}

static const char *
get_attribute (EvbusEvent *event,
               const char *name,
               const char *fallback)
{
  GVariant *attributes = evbus_event_get_attributes (event);
  const char *value;

  if (attributes != NULL && g_variant_lookup (attributes, name, "&s", &value) && is_value (name, value))
    return value;
  return fallback;
}

/* Lower-case letters and digits, by the specification. */
static gboolean
is_extension (const char *name)
{
  gsize length = strspn (name, "abcdefghijklmnopqrstuvwxyz0123456789");

  return length > 0 && length <= MAX_NAME && name[length] == '\0' &&
         !g_strv_contains (taken, name) && strcmp (name, "source") != 0 && strcmp (name, "type") != 0;
}

/**
 * evbus_cloud_event_foreach: (skip)
 * @event: an event
 * @source: the attribute `source` for events that bring none along, a URI reference
 * @func: (scope call): what to call
 * @user_data: what to give it
 *
 * Calls @func for each attribute of @event as a CloudEvent, but for
 * `datacontenttype`, which goes where the transport has its content type.
 *
 * `id` and `time` are the event's own, `type` is its routing key. An attribute
 * of the event whose name is one of an attribute of CloudEvents goes along as it
 * is: `subject`, `traceparent` or another extension, also `source` and `type` in place of
 * those above. Others, as `x-shop`, which CloudEvents has no place for, are left out, and so is a
 * `source` that is no URI reference and a `dataschema` that is no URI.
 *
 * Since: 1.0
 */
void
evbus_cloud_event_foreach (EvbusEvent          *event,
                           const char          *source,
                           EvbusCloudEventFunc  func,
                           gpointer             user_data)
{
  GVariant *attributes;
  GVariantIter iter;
  const char *name;
  const char *value;
  g_autoptr(GString) time = g_string_new (NULL);

  g_return_if_fail (event != NULL && source != NULL && func != NULL);

  evbus_event_append_time (event, time);
  func ("specversion", "1.0", user_data);
  func ("id", evbus_event_get_id (event), user_data);
  func ("source", get_attribute (event, "source", source), user_data);
  func ("type", get_attribute (event, "type", evbus_event_get_routing_key (event)), user_data);
  func ("time", time->str, user_data);

  attributes = evbus_event_get_attributes (event);
  if (attributes == NULL)
    return;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    if (is_extension (name) && is_value (name, value))
      func (name, value, user_data);
}

/**
 * evbus_cloud_event_foreach_trace: (skip)
 * @event: an event
 * @func: (scope call): what to call
 * @user_data: what to give it
 *
 * Calls @func for `traceparent` and `tracestate`, where @event has them. They are attributes of the CloudEvent
 * too; but who follows messages looks for W3C's Trace Context under these very names in the headers of a
 * message, whatever it carries. For a transport whose binding has another name for the attribute, or none.
 *
 * Since: 1.0
 */
void
evbus_cloud_event_foreach_trace (EvbusEvent          *event,
                                 EvbusCloudEventFunc  func,
                                 gpointer             user_data)
{
  static const char * const names[] = { "traceparent", "tracestate" };

  g_return_if_fail (event != NULL && func != NULL);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      const char *value = get_attribute (event, names[i], NULL);

      if (value != NULL)
        func (names[i], value, user_data);
    }
}

static void
append_member (const char *name,
               const char *value,
               gpointer    user_data)
{
  GString *string = user_data;

  evbus_json_append_string (string, name, -1);
  g_string_append_c (string, ':');
  evbus_json_append_string (string, value, -1);
  g_string_append_c (string, ',');
}

/**
 * evbus_cloud_event_append_json:
 * @event: an event
 * @source: as for [func@cloud_event_foreach]
 * @string: where to
 * @error: return location for a #GError
 *
 * Appends @event in the JSON format of CloudEvents, whose content type is
 * `application/cloudevents+json`. A body that is not JSON goes there as base64.
 *
 * %EVBUS_ERROR_INVALID_BODY is returned for a body that is said to be JSON
 * and is not; @string is then as it was.
 *
 * Returns: %TRUE on success
 *
 * Since: 1.0
 */
gboolean
evbus_cloud_event_append_json (EvbusEvent  *event,
                               const char  *source,
                               GString     *string,
                               GError     **error)
{
  gsize start;
  gsize size;
  const guint8 *data;

  g_return_val_if_fail (event != NULL && source != NULL && string != NULL, FALSE);

  start = string->len;
  data = evbus_event_get_data (event, &size);
  g_string_append_c (string, '{');
  evbus_cloud_event_foreach (event, source, append_member, string);
  append_member ("datacontenttype", evbus_event_get_content_type (event), string);

  if (!evbus_event_is_json (event))
    {
      g_string_append (string, "\"data_base64\":\"");
      evbus_json_append_base64 (string, data, size);
      g_string_append (string, "\"}");
      return TRUE;
    }

  g_string_append (string, "\"data\":");
  if (!evbus_json_append_compact (string, data, size, error))
    {
      g_string_truncate (string, start);
      return FALSE;
    }
  g_string_append_c (string, '}');
  return TRUE;
}
