/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "mqtt-link.h"
#include "mqtt-message.h"

G_BEGIN_DECLS

gboolean mqtt_publish (MqttLink      *link,
                       MqttMessage   *message,
                       EvbusBatch    *batch,
                       gsize         *largest,
                       GCancellable  *cancellable,
                       GError       **error);

G_END_DECLS
