/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <gio/gio.h>
#include <evbus/evbus-version-macros.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_EVENT (evbus_event_get_type ())

typedef struct _EvbusEvent EvbusEvent;

EVBUS_AVAILABLE_IN_1_0
GType         evbus_event_get_type         (void) G_GNUC_CONST;

EVBUS_AVAILABLE_IN_1_0
EvbusEvent   *evbus_event_ref              (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
void          evbus_event_unref            (EvbusEvent   *self);

EVBUS_AVAILABLE_IN_1_0
const char   *evbus_event_get_id           (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
gint64        evbus_event_get_time         (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
const char   *evbus_event_get_routing_key  (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
const char   *evbus_event_get_profile      (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
const char   *evbus_event_get_content_type (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
GBytes       *evbus_event_get_body         (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
const guint8 *evbus_event_get_data         (EvbusEvent   *self,
                                            gsize        *size);
EVBUS_AVAILABLE_IN_1_0
gboolean      evbus_event_is_json          (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
void          evbus_event_append_time      (EvbusEvent   *self,
                                            GString      *string);
EVBUS_AVAILABLE_IN_1_0
GVariant     *evbus_event_get_attributes   (EvbusEvent   *self);
EVBUS_AVAILABLE_IN_1_0
guint         evbus_event_get_hops         (EvbusEvent   *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusEvent, evbus_event_unref)

G_END_DECLS
