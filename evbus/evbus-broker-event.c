/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Makes events of what producers give: it is checked and serialised here, in the
 * caller's thread. */

#include "evbus-broker-private.h"

#include <string.h>

#include "evbus-cause-private.h"
#include "evbus-error.h"
#include "evbus-json-private.h"
#include "evbus-limits-private.h"

#define DEFAULT_CONTENT_TYPE "application/octet-stream"

/* A thread's buffer for serialising is kept, unless a body made it large. */
#define KEEP_BUFFER_BYTES (64u * 1024u)

static EvbusEvent *
make_event (EvbusBroker            *self,
            const EvbusPutOptions  *options,
            EvbusEventInit         *init,
            GError                **error)
{
  gsize max_bytes = (gsize) g_atomic_pointer_get (&self->event_bytes);
  EvbusEvent *event;
  gsize size;

  init->hops = evbus_cause_next_hops ();
  if (init->hops > EVBUS_MAX_HOPS)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_HOP_LIMIT,
                   "this event was caused by a chain of %u others, which looks like a loop",
                   init->hops);
      return NULL;
    }

  init->id = options->id;
  init->attributes = options->attributes;
  init->max_age = MIN (options->max_age, G_MAXINT64 / 2000) * 1000;
  event = evbus_event_new (init);
  size = event->size + init->routing_key_length + init->profile_length;
  if (size <= max_bytes)
    return event;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
               "the event has %" G_GSIZE_FORMAT " bytes with its routing key and profile, and may have %" G_GSIZE_FORMAT,
               size, max_bytes);
  evbus_event_unref (event);
  return NULL;
}

static gboolean
is_json (const char *content_type)
{
  static const char json[] = "application/json";

  return g_ascii_strncasecmp (content_type, json, strlen (json)) == 0 &&
         strchr ("; ", content_type[strlen (json)]) != NULL;
}

/* Of a body that is serialised already, which may not be what it says. What is
 * no JSON is for the destination to judge. */
static EvbusEvent *
make_given_event (EvbusBroker            *self,
                  const EvbusPutOptions  *options,
                  EvbusEventInit         *init,
                  GError                **error)
{
  EvbusEvent *event = make_event (self, options, init, error);

  if (event == NULL || !is_json (event->content_type) ||
      evbus_json_check_body (event->data, event->size, error))
    return event;

  evbus_event_unref (event);
  return NULL;
}

static void
free_buffer (gpointer buffer)
{
  g_byte_array_unref (buffer);
}

static GPrivate buffer_key = G_PRIVATE_INIT (free_buffer);

static GByteArray *
get_buffer (void)
{
  GByteArray *buffer = g_private_get (&buffer_key);

  if (buffer == NULL)
    {
      buffer = g_byte_array_new ();
      g_private_set (&buffer_key, buffer);
    }
  g_byte_array_set_size (buffer, 0);

  return buffer;
}

EvbusEvent *
evbus_broker_make_event (EvbusBroker            *self,
                         const char             *routing_key,
                         GVariant               *body,
                         const char             *profile,
                         const EvbusPutOptions  *options,
                         GError                **error)
{
  EvbusSerializer *serializer = g_atomic_pointer_get (&self->serializer);
  EvbusEventInit init = { 0 };
  GByteArray *buffer;
  EvbusEvent *event = NULL;

  if (!evbus_broker_init_names (&init, routing_key, profile, error))
    return NULL;

  if (options->content_type != NULL)
    {
      g_autoptr(GBytes) bytes = NULL;

      if (!g_variant_is_of_type (body, G_VARIANT_TYPE_BYTESTRING))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                       "with option 'content-type' the body must be bytes (ay), not %s",
                       g_variant_get_type_string (body));
          return NULL;
        }
      bytes = g_variant_get_data_as_bytes (body);
      init.content_type = options->content_type;
      init.bytes = bytes;
      return make_given_event (self, options, &init, error);
    }

  buffer = get_buffer ();
  if (evbus_serializer_serialize (serializer, body, buffer, error))
    {
      init.content_type = evbus_serializer_get_content_type (serializer);
      init.data = buffer->data;
      init.size = buffer->len;
      event = make_event (self, options, &init, error);
    }
  if (buffer->len > KEEP_BUFFER_BYTES)
    g_private_replace (&buffer_key, NULL);

  return event;
}

EvbusEvent *
evbus_broker_make_event_of_bytes (EvbusBroker  *self,
                                  const char   *routing_key,
                                  GBytes       *body,
                                  const char   *content_type,
                                  const char   *profile,
                                  GError      **error)
{
  static const EvbusPutOptions no_options = EVBUS_PUT_NO_OPTIONS;
  EvbusEventInit init = { 0 };

  if (content_type == NULL)
    content_type = DEFAULT_CONTENT_TYPE;
  if (!evbus_broker_init_names (&init, routing_key, profile, error) ||
      !evbus_put_check_content_type (content_type, error))
    return NULL;

  init.content_type = content_type;
  init.bytes = body;
  return make_given_event (self, &no_options, &init, error);
}
