/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <stdlib.h>

typedef struct
{
  struct mosquitto *client;
  char             *topic;
  gboolean          connected;
  guint             confirmed;
} Connection;

static void
close_mqtt (gpointer data)
{
  Connection *self = data;

  mosquitto_destroy (self->client);
  g_free (self->topic);
  g_free (self);
}

static void
on_connect (struct mosquitto         *client,
            void                     *data,
            int                       code,
            int                       flags,
            const mosquitto_property *properties)
{
  ((Connection *) data)->connected = code == 0;
}

static void
on_publish (struct mosquitto         *client,
            void                     *data,
            int                       mid,
            int                       code,
            const mosquitto_property *properties)
{
  ((Connection *) data)->confirmed += code < 0x80;
}

static gboolean
check (int      status,
       GError **error)
{
  if (status == MOSQ_ERR_SUCCESS)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "mqtt: %s", mosquitto_strerror (status));
  return FALSE;
}

static gpointer
open_mqtt (const char  *destination,
           GError     **error)
{
  Connection *self = g_new0 (Connection, 1);
  int status;

  mosquitto_lib_init ();
  self->topic = g_strconcat (destination, "/order.created", NULL);
  self->client = mosquitto_new (destination, TRUE, self);
  mosquitto_int_option (self->client, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5);
  mosquitto_int_option (self->client, MOSQ_OPT_SEND_MAXIMUM, G_MAXUINT16);
  mosquitto_username_pw_set (self->client, g_getenv ("BENCH_USER"), g_getenv ("BENCH_PASSWORD"));
  mosquitto_connect_v5_callback_set (self->client, on_connect);
  mosquitto_publish_v5_callback_set (self->client, on_publish);

  status = mosquitto_connect (self->client, "127.0.0.1", atoi (g_getenv ("BENCH_PORT")), 60);
  while (status == MOSQ_ERR_SUCCESS && !self->connected)
    status = mosquitto_loop (self->client, -1, 1);
  if (check (status, error))
    return self;
  close_mqtt (self);
  return NULL;
}

/* The same message as the ingress sends. */
static int
publish (Connection *self,
         const char *body,
         gsize       size)
{
  static const char * const texts[][2] = {
    { "evbus-id", "01a2183b-747c-72d4-b30d-99913151f050" },
    { "evbus-routing-key", "order.created" },
    { "evbus-profile", "default" },
    { "evbus-time", "2026-11-23T18:58:41.802852Z" },
  };
  mosquitto_property *properties = NULL;
  int status;

  mosquitto_property_add_string (&properties, MQTT_PROP_CONTENT_TYPE, "application/octet-stream");
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    mosquitto_property_add_string_pair (&properties, MQTT_PROP_USER_PROPERTY, texts[i][0], texts[i][1]);
  status = mosquitto_publish_v5 (self->client, NULL, self->topic, size, body, 1, FALSE, properties);
  mosquitto_property_free_all (&properties);
  return status;
}

static gboolean
send_mqtt (gpointer   connection,
           guint      n,
           gsize      size,
           guint      window,
           GError   **error)
{
  Connection *self = connection;
  g_autofree char *body = g_strnfill (size, 'x');
  guint sent = 0;

  self->confirmed = 0;
  while (self->confirmed < n)
    {
      while (sent < n && sent - self->confirmed < window)
        {
          if (!check (publish (self, body, size), error))
            return FALSE;
          sent++;
        }
      if (!check (mosquitto_loop (self->client, -1, 1), error))
        return FALSE;
    }
  return TRUE;
}

const BenchLibrary bench_library = { open_mqtt, send_mqtt, close_mqtt };
