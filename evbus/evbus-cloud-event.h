/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-event.h>

G_BEGIN_DECLS

/**
 * EvbusCloudEventFunc:
 * @name: the name of an attribute
 * @value: its value
 * @user_data: (closure): what was given to [func@cloud_event_foreach]
 *
 * Is called for each attribute of a CloudEvent.
 *
 * Since: 1.0
 */
typedef void (* EvbusCloudEventFunc) (const char *name,
                                      const char *value,
                                      gpointer    user_data);

EVBUS_AVAILABLE_IN_1_0
void     evbus_cloud_event_foreach       (EvbusEvent           *event,
                                          const char           *source,
                                          EvbusCloudEventFunc   func,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
void     evbus_cloud_event_foreach_trace (EvbusEvent           *event,
                                          EvbusCloudEventFunc   func,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean evbus_cloud_event_append_json   (EvbusEvent           *event,
                                          const char           *source,
                                          GString              *string,
                                          GError              **error);

G_END_DECLS
