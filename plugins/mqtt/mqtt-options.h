/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef enum {
  MQTT_FORM_PLAIN,        /* the body as it is */
  MQTT_FORM_BINARY,       /* CloudEvents: attributes in user properties */
  MQTT_FORM_STRUCTURED,   /* CloudEvents: all of it in the body */
} MqttForm;

/* A user property that the profile asks for. */
typedef struct {
  char          *name;
  EvbusTemplate *value;
} MqttProperty;

/* A profile, read once. */
typedef struct {
  char          *place;              /* for messages: mqtt://HOST:PORT */
  char          *host;
  guint          port;
  char          *client_id;
  char          *username;           /* or NULL */
  char          *password;           /* or NULL */
  gboolean       v5;
  guint          keepalive;          /* seconds, 0: none */
  gboolean       clean_session;
  gint64         connect_timeout;    /* microseconds */

  gboolean       tls;
  gboolean       verify;
  char          *server_name;
  char          *ca_file;            /* or NULL */
  char          *cert_file;          /* or NULL */
  char          *key_file;           /* or NULL */
  char          *key_password;       /* or NULL */

  char          *will_topic;         /* NULL: none */
  char          *will_payload;       /* or NULL */
  int            will_qos;
  gboolean       will_retain;

  EvbusTemplate *topic;
  int            qos;
  gboolean       retain;
  guint          max_inflight;
  MqttForm       form;
  char          *source;             /* of CloudEvents */

  char          *content_type;       /* or NULL */
  gint64         message_expiry;     /* seconds, 0: none */
  EvbusTemplate *response_topic;     /* or NULL */
  EvbusTemplate *correlation_data;   /* or NULL */
  GArray        *user;               /* of MqttProperty */
} MqttOptions;

MqttOptions *mqtt_options_new  (EvbusContext  *ctx,
                                GError       **error);
void         mqtt_options_free (MqttOptions   *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MqttOptions, mqtt_options_free)

G_END_DECLS
