/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "kafka-format.h"

#include <string.h>

/* Kafka's own limit. */
#define MAX_TOPIC 249

typedef enum {
  PLAIN,
  BINARY,
  STRUCTURED,
} Mode;

typedef struct {
  char          *name;
  EvbusTemplate *value;
} Header;

struct _KafkaFormat
{
  GPtrArray          *topics;      /* of EvbusTemplate, at least one */
  EvbusTemplate      *key;
  gint32              partition;
  GArray             *headers;     /* of Header: the profile's */
  Mode                mode;
  char               *source;      /* of CloudEvents */

  /* Of the message in the making. */
  GString            *topic;
  GString            *key_text;
  GString            *text;
  rd_kafka_headers_t *made;
};

/* ---- settings ---- */

static void
clear_header (gpointer data)
{
  Header *header = data;

  g_free (header->name);
  evbus_template_unref (header->value);
}

static char *
dup_text (GVariant *value)
{
  return g_variant_is_of_type (value, G_VARIANT_TYPE_STRING) ? g_variant_dup_string (value, NULL)
                                                              : g_variant_print (value, FALSE);
}

static gboolean
read_headers (KafkaFormat   *self,
              EvbusContext  *ctx,
              GError       **error)
{
  g_autoptr(GVariant) mapping = evbus_context_get_option (ctx, "headers");
  GVariantIter iter;
  const char *name;
  GVariant *inner;

  if (mapping == NULL)
    return TRUE;

  g_variant_iter_init (&iter, mapping);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &inner))
    {
      g_autoptr(GVariant) value = inner;
      g_autofree char *text = dup_text (value);
      Header header = { NULL, evbus_template_new (text, error) };

      if (header.value == NULL)
        return FALSE;
      header.name = g_strdup (name);
      g_array_append_val (self->headers, header);
    }
  return TRUE;
}

static gboolean
is_topic (const char *name)
{
  gsize length = strspn (name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-");

  return length > 0 && length <= MAX_TOPIC && name[length] == '\0' &&
         strcmp (name, ".") != 0 && strcmp (name, "..") != 0;
}

static gboolean
add_topic (KafkaFormat  *self,
           const char   *text,
           GError      **error)
{
  g_autoptr(EvbusTemplate) template = evbus_template_new (text, error);

  if (template == NULL)
    return FALSE;
  if (evbus_template_is_fixed (template) && !is_topic (text))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s' cannot be a topic: "
                   "its name has at most %u letters, digits, '.', '_' and '-'", text, MAX_TOPIC);
      return FALSE;
    }
  g_ptr_array_add (self->topics, g_steal_pointer (&template));
  return TRUE;
}

static gboolean
read_topics (KafkaFormat   *self,
             EvbusContext  *ctx,
             GError       **error)
{
  g_autoptr(GVariant) list = evbus_context_get_option (ctx, "topics");
  const char *topic = evbus_context_get_string (ctx, "topic");
  GVariantIter iter;
  GVariant *inner;

  if (list != NULL && topic != NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "give either 'topic' or 'topics'");
      return FALSE;
    }
  if (list == NULL || g_variant_n_children (list) == 0)
    return add_topic (self, topic != NULL ? topic : "{routing_key}", error);

  g_variant_iter_init (&iter, list);
  while (g_variant_iter_next (&iter, "v", &inner))
    {
      g_autoptr(GVariant) value = inner;
      g_autofree char *text = dup_text (value);

      if (!add_topic (self, text, error))
        return FALSE;
    }
  return TRUE;
}

KafkaFormat *
kafka_format_new (EvbusContext  *ctx,
                  GError       **error)
{
  g_autoptr(KafkaFormat) self = g_new0 (KafkaFormat, 1);
  g_autoptr(GVariant) partition = evbus_context_get_option (ctx, "partition");
  const char *mode = evbus_context_get_string (ctx, "cloudevents");

  self->topics = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_template_unref);
  self->key = evbus_context_get_template (ctx, "key");
  self->partition = partition != NULL ? g_variant_get_int64 (partition) : RD_KAFKA_PARTITION_UA;
  self->source = g_strdup (evbus_context_get_string (ctx, "cloudevents_source"));
  self->mode = mode == NULL ? PLAIN : strcmp (mode, "binary") == 0 ? BINARY : STRUCTURED;
  self->headers = g_array_new (FALSE, FALSE, sizeof (Header));
  g_array_set_clear_func (self->headers, clear_header);
  self->topic = g_string_new (NULL);
  self->key_text = g_string_new (NULL);
  self->text = g_string_new (NULL);

  return read_topics (self, ctx, error) && read_headers (self, ctx, error) ? g_steal_pointer (&self) : NULL;
}

void
kafka_format_free (KafkaFormat *self)
{
  g_ptr_array_unref (self->topics);
  evbus_template_unref (self->key);
  g_array_unref (self->headers);
  g_free (self->source);
  g_string_free (self->topic, TRUE);
  g_string_free (self->key_text, TRUE);
  g_string_free (self->text, TRUE);
  g_free (self);
}

/* ---- topics ---- */

guint
kafka_format_get_n_topics (KafkaFormat *self)
{
  return self->topics->len;
}

gboolean
kafka_format_is_fixed_topic (KafkaFormat *self,
                             guint        index)
{
  return evbus_template_is_fixed (self->topics->pdata[index]);
}

/* NULL: the event makes a name of it that no topic can have. The text lives until the
 * next call. */
const char *
kafka_format_get_topic (KafkaFormat *self,
                        guint        index,
                        EvbusEvent  *event)
{
  g_string_truncate (self->topic, 0);
  evbus_template_append (self->topics->pdata[index], event, self->topic);
  return is_topic (self->topic->str) ? self->topic->str : NULL;
}

/* ---- headers ---- */

static void
add_header (KafkaFormat *self,
            const char  *name,
            const char  *value)
{
  rd_kafka_header_add (self->made, name, -1, value, -1);
}

/* The attributes of an event are its producer's, who must not pass for us. */
static gboolean
is_free_name (const char *name)
{
  static const char * const taken[] = { "evbus-", "ce_", "content-type" };

  for (guint i = 0; i < G_N_ELEMENTS (taken); i++)
    if (g_ascii_strncasecmp (name, taken[i], strlen (taken[i])) == 0)
      return FALSE;
  return TRUE;
}

static void
add_attributes (KafkaFormat *self,
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
      add_header (self, name, value);
}

static void
add_plain (KafkaFormat *self,
           EvbusEvent  *event)
{
  g_string_truncate (self->text, 0);
  evbus_event_append_time (event, self->text);
  add_header (self, "evbus-id", evbus_event_get_id (event));
  add_header (self, "evbus-routing-key", evbus_event_get_routing_key (event));
  add_header (self, "evbus-profile", evbus_event_get_profile (event));
  add_header (self, "evbus-time", self->text->str);
  add_header (self, "content-type", evbus_event_get_content_type (event));
  add_attributes (self, event);
}

static void
add_cloud_attribute (const char *name,
                     const char *value,
                     gpointer    user_data)
{
  KafkaFormat *self = user_data;

  g_string_assign (self->text, "ce_");
  g_string_append (self->text, name);
  add_header (self, self->text->str, value);
}

static void
add_trace (const char *name,
           const char *value,
           gpointer    user_data)
{
  add_header (user_data, name, value);
}

static void
add_binary (KafkaFormat *self,
            EvbusEvent  *event)
{
  evbus_cloud_event_foreach (event, self->source, add_cloud_attribute, self);
  add_header (self, "content-type", evbus_event_get_content_type (event));
  evbus_cloud_event_foreach_trace (event, add_trace, self);
}

static void
add_structured (KafkaFormat *self,
                EvbusEvent  *event)
{
  add_header (self, "content-type", "application/cloudevents+json; charset=utf-8");
  evbus_cloud_event_foreach_trace (event, add_trace, self);
}

static void
add_headers (KafkaFormat *self,
             EvbusEvent  *event)
{
  static void (* const add[]) (KafkaFormat *, EvbusEvent *) = {
    [PLAIN] = add_plain,
    [BINARY] = add_binary,
    [STRUCTURED] = add_structured,
  };

  add[self->mode] (self, event);
  for (guint i = 0; i < self->headers->len; i++)
    {
      const Header *header = &g_array_index (self->headers, Header, i);

      g_string_truncate (self->text, 0);
      evbus_template_append (header->value, event, self->text);
      add_header (self, header->name, self->text->str);
    }
}

/* ---- messages ---- */

static gboolean
fill_body (KafkaFormat   *self,
           EvbusEvent    *event,
           KafkaMessage  *message,
           GError       **error)
{
  g_autoptr(GString) body = NULL;

  if (self->mode != STRUCTURED)
    {
      message->body = (const char *) evbus_event_get_data (event, &message->body_size);
      return TRUE;
    }

  body = g_string_new (NULL);
  if (!evbus_cloud_event_append_json (event, self->source, body, error))
    return FALSE;
  message->body_size = body->len;
  message->body = message->made_body = g_string_free (g_steal_pointer (&body), FALSE);
  return TRUE;
}

void
kafka_message_clear (gpointer data)
{
  KafkaMessage *message = data;

  g_free (message->key);
  g_free (message->made_body);
  if (message->headers != NULL)
    rd_kafka_headers_destroy (message->headers);
}

/* @message is empty, and stays so for an event that makes none. */
gboolean
kafka_format_make (KafkaFormat   *self,
                   EvbusEvent    *event,
                   KafkaMessage  *message,
                   GError       **error)
{
  if (!fill_body (self, event, message, error))
    return FALSE;

  g_string_truncate (self->key_text, 0);
  evbus_template_append (self->key, event, self->key_text);
  message->key = self->key_text->len > 0 ? g_strndup (self->key_text->str, self->key_text->len) : NULL;
  message->key_size = self->key_text->len;
  message->partition = self->partition;

  self->made = rd_kafka_headers_new (8);
  add_headers (self, event);
  message->headers = g_steal_pointer (&self->made);
  return TRUE;
}
