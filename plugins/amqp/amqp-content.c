/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-content.h"

#include <string.h>

/* By the CloudEvents 1.0.2 binding. */
#define CLOUD_EVENT_PREFIX  "cloudEvents:"
#define CLOUD_EVENT_TYPE    "application/cloudevents+json; charset=utf-8"

/* What the protocol adds to a header, and to all of them. */
#define HEADER_OVERHEAD     6
#define PROPERTIES_OVERHEAD 1024

/* A buffer that one large event made larger than this is not kept. */
#define MAX_BUFFER          (256 * 1024)

typedef struct {
  gsize                     name;        /* offset in the texts */
  gsize                     name_size;
  gsize                     text;
  gsize                     text_size;
  const amqp_field_value_t *value;       /* instead of the text, or NULL */
} Slot;

void
amqp_content_init (AmqpContent       *self,
                   const AmqpOptions *options)
{
  self->options = options;
  self->target = g_string_new (NULL);
  self->texts = g_string_new (NULL);
  self->slots = g_array_new (FALSE, FALSE, sizeof (Slot));
  self->entries = g_array_new (FALSE, FALSE, sizeof (amqp_table_entry_t));
  self->json = g_string_new (NULL);
}

void
amqp_content_clear (AmqpContent *self)
{
  g_string_free (self->target, TRUE);
  g_string_free (self->texts, TRUE);
  g_array_unref (self->slots);
  g_array_unref (self->entries);
  g_string_free (self->json, TRUE);
}

static amqp_bytes_t
bytes (const char *text,
       gsize       size)
{
  return (amqp_bytes_t) { size, (void *) text };
}

/* What was added first is not overwritten. NULL: there is one of that name. */
static Slot *
add_slot (AmqpContent *self,
          const char  *prefix,
          const char  *name)
{
  Slot slot = { .name = self->texts->len };

  g_string_append (self->texts, prefix);
  g_string_append (self->texts, name);
  slot.name_size = self->texts->len - slot.name;
  for (guint i = 0; i < self->slots->len; i++)
    {
      const Slot *other = &g_array_index (self->slots, Slot, i);

      if (other->name_size == slot.name_size &&
          memcmp (self->texts->str + other->name, self->texts->str + slot.name, slot.name_size) == 0)
        {
          g_string_truncate (self->texts, slot.name);
          return NULL;
        }
    }

  slot.text = self->texts->len;
  g_array_append_val (self->slots, slot);
  return &g_array_index (self->slots, Slot, self->slots->len - 1);
}

static void
add_text (AmqpContent *self,
          const char  *prefix,
          const char  *name,
          const char  *text)
{
  Slot *slot = add_slot (self, prefix, name);

  if (slot == NULL)
    return;
  g_string_append (self->texts, text);
  slot->text_size = self->texts->len - slot->text;
}

static void
add_profile_headers (AmqpContent *self,
                     EvbusEvent  *event)
{
  for (guint i = 0; i < self->options->headers->len; i++)
    {
      const AmqpHeader *header = &g_array_index (self->options->headers, AmqpHeader, i);
      Slot *slot = add_slot (self, "", header->name);

      if (slot == NULL)
        continue;
      if (header->template == NULL)
        slot->value = &header->value;
      else
        evbus_template_append (header->template, event, self->texts);
      slot->text_size = self->texts->len - slot->text;
    }
}

/* The attributes of an event are its producer's, who must not pass for us. CC and BCC have RabbitMQ
 * send copies: it refuses texts there. */
static gboolean
is_free_name (const char *name)
{
  static const char *const taken[] = { "evbus-", "cloudEvents" };

  for (guint i = 0; i < G_N_ELEMENTS (taken); i++)
    if (g_ascii_strncasecmp (name, taken[i], strlen (taken[i])) == 0)
      return FALSE;
  return !amqp_options_is_copy_header (name);
}

static void
add_attributes (AmqpContent *self,
                EvbusEvent  *event)
{
  GVariant *attributes = evbus_event_get_attributes (event);
  GVariantIter iter;
  const char *name;
  const char *value;

  if (attributes == NULL)
    return;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    if (is_free_name (name))
      add_text (self, "", name, value);
}

static void
add_plain (AmqpContent *self,
           EvbusEvent  *event)
{
  Slot *slot;

  add_text (self, "", "evbus-id", evbus_event_get_id (event));
  add_text (self, "", "evbus-routing-key", evbus_event_get_routing_key (event));
  add_text (self, "", "evbus-profile", evbus_event_get_profile (event));
  slot = add_slot (self, "", "evbus-time");
  evbus_event_append_time (event, self->texts);
  slot->text_size = self->texts->len - slot->text;
  add_profile_headers (self, event);
  add_attributes (self, event);
}

static void
add_cloud_event (const char *name,
                 const char *value,
                 gpointer    user_data)
{
  add_text (user_data, CLOUD_EVENT_PREFIX, name, value);
}

static void
add_trace (const char *name,
           const char *value,
           gpointer    user_data)
{
  add_text (user_data, "", name, value);
}

/* Not before the texts are complete, for they move while they grow. */
static void
make_table (AmqpContent *self)
{
  g_array_set_size (self->entries, self->slots->len);
  for (guint i = 0; i < self->slots->len; i++)
    {
      const Slot *slot = &g_array_index (self->slots, Slot, i);
      amqp_table_entry_t *entry = &g_array_index (self->entries, amqp_table_entry_t, i);

      entry->key = bytes (self->texts->str + slot->name, slot->name_size);
      if (slot->value != NULL)
        {
          entry->value = *slot->value;
          continue;
        }
      entry->value.kind = AMQP_FIELD_KIND_UTF8;
      entry->value.value.bytes = bytes (self->texts->str + slot->text, slot->text_size);
    }

  self->properties.headers.num_entries = self->entries->len;
  self->properties.headers.entries = (amqp_table_entry_t *) (gpointer) self->entries->data;
}

/* The library would cut long names short, and send half a message of what
 * does not fit into a frame. */
static gboolean
check_headers (AmqpContent  *self,
               gsize         max_size,
               GError      **error)
{
  gsize size = PROPERTIES_OVERHEAD + self->texts->len + HEADER_OVERHEAD * self->slots->len;

  for (guint i = 0; i < self->slots->len; i++)
    if (g_array_index (self->slots, Slot, i).name_size > G_MAXUINT8)
      {
        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_POISON,
                     "%s: an attribute has a name of more than 255 bytes, which AMQP has no place for",
                     self->options->name);
        return FALSE;
      }

  if (size <= max_size)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_POISON,
               "%s: headers of %" G_GSIZE_FORMAT " bytes do not fit into a frame of the server, which has %" G_GSIZE_FORMAT
               "; send fewer attributes, or raise its frame_max", self->options->name, size, max_size);
  return FALSE;
}

static gboolean
fill_target (AmqpContent  *self,
             EvbusEvent   *event,
             GError      **error)
{
  gsize exchange_size;

  g_string_truncate (self->target, 0);
  evbus_template_append (self->options->exchange, event, self->target);
  exchange_size = self->target->len;
  evbus_template_append (self->options->routing_key, event, self->target);
  self->exchange = bytes (self->target->str, exchange_size);
  self->routing_key = bytes (self->target->str + exchange_size, self->target->len - exchange_size);
  if (self->exchange.len <= G_MAXUINT8 && self->routing_key.len <= G_MAXUINT8)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_POISON,
               "%s: an exchange and a routing key have at most 255 bytes in AMQP; these have %" G_GSIZE_FORMAT
               " and %" G_GSIZE_FORMAT, self->options->name, self->exchange.len, self->routing_key.len);
  return FALSE;
}

static gboolean
fill_body (AmqpContent  *self,
           EvbusEvent   *event,
           GError      **error)
{
  g_autoptr(GError) local_error = NULL;
  gsize size;
  const guint8 *data = evbus_event_get_data (event, &size);

  if (self->options->form != AMQP_FORM_STRUCTURED)
    {
      self->body = bytes ((const char *) data, size);
      self->properties.content_type = amqp_cstring_bytes (evbus_event_get_content_type (event));
      return TRUE;
    }

  if (self->json->allocated_len > MAX_BUFFER)
    {
      g_string_free (self->json, TRUE);
      self->json = g_string_new (NULL);
    }
  g_string_truncate (self->json, 0);
  if (!evbus_cloud_event_append_json (event, self->options->source, self->json, &local_error))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_POISON, "%s: %s", self->options->name, local_error->message);
      return FALSE;
    }
  self->body = bytes (self->json->str, self->json->len);
  self->properties.content_type = amqp_cstring_bytes (CLOUD_EVENT_TYPE);
  return TRUE;
}

static void
fill_properties (AmqpContent *self,
                 EvbusEvent  *event)
{
  const AmqpOptions *options = self->options;
  amqp_basic_properties_t *properties = &self->properties;

  properties->_flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                       AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG;
  properties->delivery_mode = options->persistent ? AMQP_DELIVERY_PERSISTENT : AMQP_DELIVERY_NONPERSISTENT;
  properties->message_id = amqp_cstring_bytes (evbus_event_get_id (event));
  properties->timestamp = evbus_event_get_time (event) / G_USEC_PER_SEC;
  if (options->expiration != NULL)
    {
      properties->_flags |= AMQP_BASIC_EXPIRATION_FLAG;
      properties->expiration = amqp_cstring_bytes (options->expiration);
    }
  if (options->priority >= 0)
    {
      properties->_flags |= AMQP_BASIC_PRIORITY_FLAG;
      properties->priority = options->priority;
    }
}

gboolean
amqp_content_fill (AmqpContent  *self,
                   EvbusEvent   *event,
                   gsize         max_size,
                   GError      **error)
{
  g_string_truncate (self->texts, 0);
  g_array_set_size (self->slots, 0);
  fill_properties (self, event);
  if (!fill_target (self, event, error) || !fill_body (self, event, error))
    return FALSE;

  if (self->options->form == AMQP_FORM_PLAIN)
    add_plain (self, event);
  else
    {
      if (self->options->form == AMQP_FORM_BINARY)
        evbus_cloud_event_foreach (event, self->options->source, add_cloud_event, self);
      add_profile_headers (self, event);
      evbus_cloud_event_foreach_trace (event, add_trace, self);
    }
  if (!check_headers (self, max_size, error))
    return FALSE;
  make_table (self);
  return TRUE;
}
