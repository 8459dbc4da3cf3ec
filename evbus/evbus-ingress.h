/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-batch.h>
#include <evbus/evbus-context.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_INGRESS (evbus_ingress_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_INTERFACE (EvbusIngress, evbus_ingress, EVBUS, INGRESS, GObject)

struct _EvbusIngressInterface
{
  GTypeInterface parent_iface;

  gboolean (* open)    (EvbusIngress  *self,
                        EvbusContext  *ctx,
                        GCancellable  *cancellable,
                        GError       **error);
  gboolean (* publish) (EvbusIngress  *self,
                        EvbusContext  *ctx,
                        EvbusBatch    *batch,
                        GCancellable  *cancellable,
                        GError       **error);
  gboolean (* close)   (EvbusIngress  *self,
                        EvbusContext  *ctx,
                        GError       **error);

  /*< private >*/
  gpointer padding[8];
};

EVBUS_AVAILABLE_IN_1_0
gboolean evbus_ingress_open    (EvbusIngress  *self,
                                EvbusContext  *ctx,
                                GCancellable  *cancellable,
                                GError       **error);
EVBUS_AVAILABLE_IN_1_0
gboolean evbus_ingress_publish (EvbusIngress  *self,
                                EvbusContext  *ctx,
                                EvbusBatch    *batch,
                                GCancellable  *cancellable,
                                GError       **error);
EVBUS_AVAILABLE_IN_1_0
gboolean evbus_ingress_close   (EvbusIngress  *self,
                                EvbusContext  *ctx,
                                GError       **error);

G_END_DECLS
