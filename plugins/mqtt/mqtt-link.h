/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <mosquitto.h>

#include "mqtt-options.h"
#include "mqtt-tls.h"

G_BEGIN_DECLS

/* A message is settled; @reason: the server's own words, or NULL. */
typedef void (* MqttSettledFunc) (guint       mid,
                                  int         code,
                                  const char *reason,
                                  gpointer    data);

/* A connection to a server, which the route's own thread drives: in a call by
 * mqtt_link_pump(), between two of them by a source in its main context. It is used until
 * something fails, and then freed with all that libmosquitto remembers: nothing is sent
 * again but by the route. */
typedef struct {
  const MqttOptions *options;       /* outlive it */
  struct mosquitto  *client;
  GSource           *source;

  gboolean           answered;      /* the server has said whether it lets us in */
  int                connack;       /* with this code */
  guint              max_inflight;
  guint              server_keepalive;   /* seconds */

  int                mid;           /* of the last message */
  MqttSettledFunc    settled;       /* or NULL */
  gpointer           settled_data;

  MqttTls            tls;
  int                code;          /* with which the server has ended the connection, or 0 */
  char              *reason;        /* its own words for that, or NULL */
  int                system_error;  /* or 0 */
  gboolean           is_silent;     /* no answer to a ping */
} MqttLink;

MqttLink *mqtt_link_new      (const MqttOptions  *options,
                              GError            **error);
void      mqtt_link_free     (MqttLink           *self);
void      mqtt_link_close    (MqttLink           *self);
void      mqtt_link_watch    (MqttLink           *self);
gboolean  mqtt_link_is_open  (MqttLink           *self);
gboolean  mqtt_link_pump     (MqttLink           *self,
                              int                 timeout,
                              const GPollFD      *wake,
                              GError            **error);
void      mqtt_link_cork     (MqttLink           *self,
                              gboolean            corked);
gboolean  mqtt_link_set_lost (MqttLink           *self,
                              int                 status,
                              GError            **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (MqttLink, mqtt_link_free)

G_END_DECLS
