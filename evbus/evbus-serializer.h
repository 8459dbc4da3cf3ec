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

#define EVBUS_TYPE_SERIALIZER (evbus_serializer_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_INTERFACE (EvbusSerializer, evbus_serializer, EVBUS, SERIALIZER, GObject)

struct _EvbusSerializerInterface
{
  GTypeInterface parent_iface;

  const char * (* get_content_type) (EvbusSerializer  *self);
  gboolean     (* serialize)        (EvbusSerializer  *self,
                                     GVariant         *body,
                                     GByteArray       *buffer,
                                     GError          **error);
  GBytes *     (* to_bytes)         (EvbusSerializer  *self,
                                     GVariant         *body,
                                     GError          **error);

  /*< private >*/
  gpointer padding[4];
};

EVBUS_AVAILABLE_IN_1_0
gboolean         evbus_serializer_register         (const char       *name,
                                                    EvbusSerializer  *serializer,
                                                    GError          **error);
EVBUS_AVAILABLE_IN_1_0
EvbusSerializer *evbus_serializer_lookup           (const char       *name,
                                                    GError          **error);
EVBUS_AVAILABLE_IN_1_0
const char      *evbus_serializer_get_content_type (EvbusSerializer  *self);
EVBUS_AVAILABLE_IN_1_0
gboolean         evbus_serializer_serialize        (EvbusSerializer  *self,
                                                    GVariant         *body,
                                                    GByteArray       *buffer,
                                                    GError          **error);
EVBUS_AVAILABLE_IN_1_0
GBytes          *evbus_serializer_to_bytes         (EvbusSerializer  *self,
                                                    GVariant         *body,
                                                    GError          **error);

G_END_DECLS
