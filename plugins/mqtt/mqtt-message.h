/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <mosquitto.h>

#include "mqtt-options.h"

G_BEGIN_DECLS

/* What messages are made in; kept from one to the next. */
typedef struct {
  GString            *topic;
  GString            *text;
  GString            *clean;
  GString            *json;
  gconstpointer       body;
  gsize               size;
  mosquitto_property *properties;
} MqttMessage;

void     mqtt_message_init  (MqttMessage        *self);
void     mqtt_message_clear (MqttMessage        *self);
gboolean mqtt_message_fill  (MqttMessage        *self,
                             const MqttOptions  *options,
                             EvbusEvent         *event,
                             EvbusOutcome       *outcome,
                             char              **reason);

G_END_DECLS
