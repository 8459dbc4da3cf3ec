/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "mqtt-options.h"

G_BEGIN_DECLS

/* MQTT 5 has codes from here on for what is refused. */
#define MQTT_REFUSED 0x80

EvbusOutcome mqtt_errors_of_address  (const MqttOptions  *options);
EvbusOutcome mqtt_errors_of_code     (const MqttOptions  *options,
                                      int                 code,
                                      const char         *reason,
                                      char              **message);
void         mqtt_errors_set_connack (const MqttOptions  *options,
                                      int                 code,
                                      const char         *reason,
                                      GError            **error);
void         mqtt_errors_set_code    (const MqttOptions  *options,
                                      int                 code,
                                      const char         *reason,
                                      GError            **error);
EvbusOutcome mqtt_errors_of_library  (int                 status,
                                      const char        **text);

G_END_DECLS
