/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Events as messages of MQTT. */

#include "mqtt-message.h"

#include <mqtt_protocol.h>
#include <string.h>

#include "mqtt-errors.h"

#define STRUCTURED_TYPE "application/cloudevents+json; charset=utf-8"

/* A buffer that one large event made larger than this is not kept. */
#define MAX_BUFFER (1024 * 1024)

void
mqtt_message_init (MqttMessage *self)
{
  self->topic = g_string_new (NULL);
  self->text = g_string_new (NULL);
  self->clean = g_string_new (NULL);
  self->json = g_string_new (NULL);
}

void
mqtt_message_clear (MqttMessage *self)
{
  g_string_free (self->topic, TRUE);
  g_string_free (self->text, TRUE);
  g_string_free (self->clean, TRUE);
  g_string_free (self->json, TRUE);
  mosquitto_property_free_all (&self->properties);
}

/* ---- texts ---- */

/* MQTT wants neither control characters nor code points that are none. */
static const char *
clean (MqttMessage *self,
       const char  *text)
{
  g_string_truncate (self->clean, 0);
  for (; *text != '\0'; text = g_utf8_next_char (text))
    {
      gunichar c = g_utf8_get_char (text);

      if (g_unichar_iscntrl (c) || !g_unichar_validate (c) || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef))
        g_string_append_c (self->clean, ' ');
      else
        g_string_append_unichar (self->clean, c);
    }
  return self->clean->str;
}

static gboolean
is_clean (const char *text)
{
  return mosquitto_validate_utf8 (text, strlen (text)) == MOSQ_ERR_SUCCESS;
}

static void
add_string (MqttMessage *self,
            int          property,
            const char  *value)
{
  mosquitto_property_add_string (&self->properties, property, is_clean (value) ? value : clean (self, value));
}

/* One that is longer than 64 KiB, or has a name with control characters, is left out. The
 * library would send it, and the server hang up. */
static void
add_user (const char *name,
          const char *value,
          gpointer    data)
{
  MqttMessage *self = data;

  if (is_clean (name))
    mosquitto_property_add_string_pair (&self->properties, MQTT_PROP_USER_PROPERTY, name,
                                        is_clean (value) ? value : clean (self, value));
}

/* ---- topics ---- */

/* The server's own, of which `$share` is for subscribers. */
static gboolean
is_reserved (const char *topic)
{
  return strcmp (topic, "$SYS") == 0 || g_str_has_prefix (topic, "$SYS/") || g_str_has_prefix (topic, "$share/");
}

/* It is not empty, not longer than 64 KiB, and without wildcards and control characters. */
static gboolean
is_topic (const GString *topic)
{
  return topic->len > 0 && topic->len <= G_MAXUINT16 &&
         mosquitto_pub_topic_check2 (topic->str, topic->len) == MOSQ_ERR_SUCCESS &&
         mosquitto_validate_utf8 (topic->str, topic->len) == MOSQ_ERR_SUCCESS && !is_reserved (topic->str);
}

/* ---- properties ---- */

/* An event's attributes are its producer's, and pass for none of ours. */
static gboolean
is_free_name (const MqttOptions *options,
              const char        *name)
{
  for (guint i = 0; i < options->user->len; i++)
    if (strcmp (g_array_index (options->user, MqttProperty, i).name, name) == 0)
      return FALSE;
  return g_ascii_strncasecmp (name, "evbus-", strlen ("evbus-")) != 0;
}

static void
add_attributes (MqttMessage       *self,
                const MqttOptions *options,
                EvbusEvent        *event)
{
  GVariant *attributes = evbus_event_get_attributes (event);
  GVariantIter iter;
  const char *name;
  const char *value;

  if (attributes == NULL)
    return;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    if (is_free_name (options, name))
      add_user (name, value, self);
}

static void
add_plain (MqttMessage       *self,
           const MqttOptions *options,
           EvbusEvent        *event)
{
  g_string_truncate (self->text, 0);
  evbus_event_append_time (event, self->text);
  add_user ("evbus-id", evbus_event_get_id (event), self);
  add_user ("evbus-routing-key", evbus_event_get_routing_key (event), self);
  add_user ("evbus-profile", evbus_event_get_profile (event), self);
  add_user ("evbus-time", self->text->str, self);
  add_attributes (self, options, event);
}

static void
add_binary (MqttMessage       *self,
            const MqttOptions *options,
            EvbusEvent        *event)
{
  evbus_cloud_event_foreach (event, options->source, add_user, self);
}

static void
add_structured (MqttMessage       *self,
                const MqttOptions *options,
                EvbusEvent        *event)
{
  add_user ("evbus-id", evbus_event_get_id (event), self);
  evbus_cloud_event_foreach_trace (event, add_user, self);
}

static const struct {
  void       (* add) (MqttMessage       *self,
                      const MqttOptions *options,
                      EvbusEvent        *event);
  const char   *content_type;   /* NULL: the event's */
} forms[] = {
  [MQTT_FORM_PLAIN] = { add_plain, NULL },
  [MQTT_FORM_BINARY] = { add_binary, NULL },
  [MQTT_FORM_STRUCTURED] = { add_structured, STRUCTURED_TYPE },
};

static const char *
get_content_type (const MqttOptions *options,
                  EvbusEvent        *event)
{
  if (forms[options->form].content_type != NULL)
    return forms[options->form].content_type;
  return options->content_type != NULL ? options->content_type : evbus_event_get_content_type (event);
}

static const char *
expand (MqttMessage   *self,
        EvbusTemplate *template,
        EvbusEvent    *event)
{
  g_string_truncate (self->text, 0);
  evbus_template_append (template, event, self->text);
  return self->text->str;
}

/* The profile's. FALSE: the response topic cannot be one. */
static gboolean
add_profile (MqttMessage       *self,
             const MqttOptions *options,
             EvbusEvent        *event)
{
  if (options->message_expiry > 0)
    mosquitto_property_add_int32 (&self->properties, MQTT_PROP_MESSAGE_EXPIRY_INTERVAL, options->message_expiry);
  if (options->correlation_data != NULL)
    {
      expand (self, options->correlation_data, event);
      mosquitto_property_add_binary (&self->properties, MQTT_PROP_CORRELATION_DATA, self->text->str,
                                     MIN (self->text->len, G_MAXUINT16));
    }
  for (guint i = 0; i < options->user->len; i++)
    {
      const MqttProperty *property = &g_array_index (options->user, MqttProperty, i);

      add_user (property->name, expand (self, property->value, event), self);
    }
  if (options->response_topic == NULL)
    return TRUE;
  expand (self, options->response_topic, event);
  mosquitto_property_add_string (&self->properties, MQTT_PROP_RESPONSE_TOPIC, self->text->str);
  return is_topic (self->text);
}

static gboolean
fill_properties (MqttMessage        *self,
                 const MqttOptions  *options,
                 EvbusEvent         *event,
                 EvbusOutcome       *outcome,
                 char              **reason)
{
  mosquitto_property_free_all (&self->properties);
  if (!options->v5)
    return TRUE;

  add_string (self, MQTT_PROP_CONTENT_TYPE, get_content_type (options, event));
  forms[options->form].add (self, options, event);
  if (add_profile (self, options, event))
    return TRUE;
  *outcome = evbus_template_is_fixed (options->response_topic) ? EVBUS_OUTCOME_BROKEN : EVBUS_OUTCOME_POISON;
  *reason = g_strdup_printf ("'properties.response_topic': '%s' cannot be a topic", self->text->str);
  return FALSE;
}

/* ---- messages ---- */

static gboolean
fill_body (MqttMessage        *self,
           const MqttOptions  *options,
           EvbusEvent         *event,
           char              **reason)
{
  g_autoptr(GError) error = NULL;

  if (options->form != MQTT_FORM_STRUCTURED)
    {
      self->body = evbus_event_get_data (event, &self->size);
      return TRUE;
    }

  if (self->json->allocated_len > MAX_BUFFER)
    {
      g_string_free (self->json, TRUE);
      self->json = g_string_new (NULL);
    }
  g_string_truncate (self->json, 0);
  if (!evbus_cloud_event_append_json (event, options->source, self->json, &error))
    {
      *reason = g_strdup (error->message);
      return FALSE;
    }
  self->body = self->json->str;
  self->size = self->json->len;
  return TRUE;
}

/* FALSE: it says what is to come of the event. */
gboolean
mqtt_message_fill (MqttMessage        *self,
                   const MqttOptions  *options,
                   EvbusEvent         *event,
                   EvbusOutcome       *outcome,
                   char              **reason)
{
  g_string_truncate (self->topic, 0);
  evbus_template_append (options->topic, event, self->topic);
  if (!is_topic (self->topic))
    {
      *outcome = mqtt_errors_of_address (options);
      *reason = g_strdup_printf ("'%s' cannot be a topic to publish to", self->topic->str);
      return FALSE;
    }

  *outcome = EVBUS_OUTCOME_POISON;
  return fill_body (self, options, event, reason) && fill_properties (self, options, event, outcome, reason);
}
