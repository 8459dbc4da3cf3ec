/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "mqtt-link.h"

G_BEGIN_DECLS

MqttLink *mqtt_connect (const MqttOptions  *options,
                        GCancellable       *cancellable,
                        GError            **error);

G_END_DECLS
