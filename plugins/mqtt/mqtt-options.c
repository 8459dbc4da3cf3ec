/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "mqtt-options.h"

#include <string.h>

#define PORT     1883
#define PORT_TLS 8883

/* What libmosquitto takes, beside none. */
#define MIN_KEEPALIVE 5

#define MAX_INFLIGHT G_MAXUINT16

/* What Mosquitto takes by default. In MQTT 3.1.1 a server cannot say it, and ends the
 * connection over what is beyond. */
#define MAX_INFLIGHT_UNTOLD 20

static void
clear_property (gpointer data)
{
  MqttProperty *property = data;

  g_free (property->name);
  evbus_template_unref (property->value);
}

static void
wipe (char *secret)
{
  if (secret != NULL)
    explicit_bzero (secret, strlen (secret));
  g_free (secret);
}

void
mqtt_options_free (MqttOptions *self)
{
  g_free (self->place);
  g_free (self->host);
  g_free (self->client_id);
  g_free (self->username);
  wipe (self->password);
  g_free (self->server_name);
  g_free (self->ca_file);
  g_free (self->cert_file);
  g_free (self->key_file);
  wipe (self->key_password);
  g_free (self->will_topic);
  g_free (self->will_payload);
  g_clear_pointer (&self->topic, evbus_template_unref);
  g_free (self->source);
  g_free (self->content_type);
  g_clear_pointer (&self->response_topic, evbus_template_unref);
  g_clear_pointer (&self->correlation_data, evbus_template_unref);
  g_clear_pointer (&self->user, g_array_unref);
  g_free (self);
}

static char *
dup_string (EvbusContext *ctx,
            const char   *name)
{
  return g_strdup (evbus_context_get_string (ctx, name));
}

static guint
get_seconds (EvbusContext *ctx,
             const char   *name)
{
  return (evbus_context_get_int (ctx, name) + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC;
}

static void
read_tls (MqttOptions  *self,
          EvbusContext *ctx)
{
  self->tls = evbus_context_wants_tls (ctx);
  self->verify = evbus_context_get_boolean (ctx, "tls.verify");
  self->server_name = dup_string (ctx, "tls.server_name");
  if (self->server_name == NULL)
    self->server_name = g_strdup (self->host);
  self->ca_file = dup_string (ctx, "tls.ca_file");
  self->cert_file = dup_string (ctx, "tls.cert_file");
  self->key_file = dup_string (ctx, "tls.key_file");
  self->key_password = dup_string (ctx, "tls.key_password");
}

static void
read_connection (MqttOptions  *self,
                 EvbusContext *ctx)
{
  self->host = dup_string (ctx, "host");
  read_tls (self, ctx);
  self->port = evbus_context_get_int (ctx, "port");
  if (self->port == 0)
    self->port = self->tls ? PORT_TLS : PORT;
  self->place = g_strdup_printf (strchr (self->host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u",
                                 self->tls ? "mqtts" : "mqtt", self->host, self->port);

  self->client_id = dup_string (ctx, "client_id");
  if (self->client_id == NULL)
    self->client_id = evbus_context_dup_client_id (ctx);
  self->username = dup_string (ctx, "username");
  self->password = dup_string (ctx, "password");
  self->v5 = g_strcmp0 (evbus_context_get_string (ctx, "protocol_version"), "5") == 0;
  self->keepalive = get_seconds (ctx, "keepalive");
  self->clean_session = evbus_context_get_boolean (ctx, "clean_session");
  self->connect_timeout = MIN (evbus_context_get_int (ctx, "connect_timeout"), evbus_context_get_timeout (ctx));

  self->will_topic = dup_string (ctx, "will.topic");
  self->will_payload = dup_string (ctx, "will.payload");
  self->will_qos = evbus_context_get_int (ctx, "will.qos");
  self->will_retain = evbus_context_get_boolean (ctx, "will.retain");
}

static gboolean
read_user_properties (MqttOptions   *self,
                      EvbusContext  *ctx,
                      GError       **error)
{
  g_autoptr(GVariant) mapping = evbus_context_get_option (ctx, "properties.user");
  GVariantIter iter;
  const char *name;
  GVariant *value;

  self->user = g_array_new (FALSE, FALSE, sizeof (MqttProperty));
  g_array_set_clear_func (self->user, clear_property);
  if (mapping == NULL)
    return TRUE;

  g_variant_iter_init (&iter, mapping);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      g_autofree char *text = g_variant_is_of_type (value, G_VARIANT_TYPE_STRING)
                              ? g_variant_dup_string (value, NULL) : g_variant_print (value, FALSE);
      MqttProperty property = { NULL, evbus_template_new (text, error) };

      g_variant_unref (value);
      if (property.value == NULL)
        return FALSE;
      property.name = g_strdup (name);
      g_array_append_val (self->user, property);
    }
  return TRUE;
}

static gboolean
read_message (MqttOptions   *self,
              EvbusContext  *ctx,
              GError       **error)
{
  const char *form = evbus_context_get_string (ctx, "cloudevents");

  self->topic = evbus_context_get_template (ctx, "topic");
  self->qos = evbus_context_get_int (ctx, "qos");
  self->retain = evbus_context_get_boolean (ctx, "retain");
  self->max_inflight = evbus_context_get_int (ctx, "max_inflight");
  if (self->max_inflight == 0)
    self->max_inflight = self->qos == 2 && !self->v5 ? MAX_INFLIGHT_UNTOLD : MAX_INFLIGHT;
  self->form = form == NULL ? MQTT_FORM_PLAIN
               : strcmp (form, "binary") == 0 ? MQTT_FORM_BINARY : MQTT_FORM_STRUCTURED;
  self->source = dup_string (ctx, "cloudevents_source");

  self->content_type = dup_string (ctx, "properties.content_type");
  self->message_expiry = get_seconds (ctx, "properties.message_expiry");
  self->response_topic = evbus_context_get_template (ctx, "properties.response_topic");
  self->correlation_data = evbus_context_get_template (ctx, "properties.correlation_data");
  return read_user_properties (self, ctx, error);
}

static gboolean
has_properties (MqttOptions *self)
{
  return self->content_type != NULL || self->message_expiry != 0 || self->response_topic != NULL ||
         self->correlation_data != NULL || self->user->len > 0;
}

static const char *
find_contradiction (MqttOptions *self)
{
  const struct {
    gboolean    given;
    const char *text;
  } contradictions[] = {
    { self->keepalive > 0 && self->keepalive < MIN_KEEPALIVE, "'keepalive' must be 0, or 5 seconds or more" },
    { !self->v5 && has_properties (self), "'properties' need 'protocol_version: 5'" },
    { !self->v5 && self->form == MQTT_FORM_BINARY, "'cloudevents: binary' needs 'protocol_version: 5'; "
      "or choose 'structured'" },
    { !self->v5 && self->password != NULL && self->username == NULL, "'password' needs a 'username'" },
    /* The server would take a new message for an old one that was given up. */
    { self->qos == 2 && !self->clean_session, "'clean_session: false' and 'qos: 2' cannot go together; leave one out" },
    { self->cert_file == NULL && self->key_file != NULL, "'tls.key_file' needs a 'tls.cert_file'" },
    { self->will_topic == NULL && self->will_payload != NULL, "'will.payload' needs a 'will.topic'" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (contradictions); i++)
    if (contradictions[i].given)
      return contradictions[i].text;
  return NULL;
}

MqttOptions *
mqtt_options_new (EvbusContext  *ctx,
                  GError       **error)
{
  g_autoptr(MqttOptions) self = g_new0 (MqttOptions, 1);
  const char *contradiction;

  read_connection (self, ctx);
  if (!read_message (self, ctx, error))
    return NULL;
  contradiction = find_contradiction (self);
  if (contradiction == NULL)
    return g_steal_pointer (&self);

  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, contradiction);
  return NULL;
}
