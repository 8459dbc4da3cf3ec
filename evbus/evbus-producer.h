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

#define EVBUS_TYPE_PRODUCER (evbus_producer_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_INTERFACE (EvbusProducer, evbus_producer, EVBUS, PRODUCER, GObject)

struct _EvbusProducerInterface
{
  GTypeInterface parent_iface;

  void    (* put_with_options_async)  (EvbusProducer        *self,
                                       const char           *routing_key,
                                       GVariant             *body,
                                       const char           *profile,
                                       GVariant             *options,
                                       GCancellable         *cancellable,
                                       GAsyncReadyCallback   callback,
                                       gpointer              user_data);
  char *  (* put_with_options_finish) (EvbusProducer        *self,
                                       GAsyncResult         *result,
                                       GError              **error);
  char *  (* put_nowait)              (EvbusProducer        *self,
                                       const char           *routing_key,
                                       GVariant             *body,
                                       const char           *profile,
                                       GError              **error);
  void    (* put_bytes_async)         (EvbusProducer        *self,
                                       const char           *routing_key,
                                       GBytes               *body,
                                       const char           *content_type,
                                       const char           *profile,
                                       GCancellable         *cancellable,
                                       GAsyncReadyCallback   callback,
                                       gpointer              user_data);
  char *  (* put_bytes_finish)        (EvbusProducer        *self,
                                       GAsyncResult         *result,
                                       GError              **error);
  char *  (* put_bytes_nowait)        (EvbusProducer        *self,
                                       const char           *routing_key,
                                       GBytes               *body,
                                       const char           *content_type,
                                       const char           *profile,
                                       GError              **error);
  void    (* put_many_async)          (EvbusProducer        *self,
                                       GVariant             *events,
                                       GCancellable         *cancellable,
                                       GAsyncReadyCallback   callback,
                                       gpointer              user_data);
  char ** (* put_many_finish)         (EvbusProducer        *self,
                                       GAsyncResult         *result,
                                       GError              **error);
  char ** (* put_many_nowait)         (EvbusProducer        *self,
                                       GVariant             *events,
                                       GError              **error);

  /*< private >*/
  gpointer padding[8];
};

EVBUS_AVAILABLE_IN_1_0
void    evbus_producer_put_async              (EvbusProducer        *self,
                                               const char           *routing_key,
                                               GVariant             *body,
                                               const char           *profile,
                                               GCancellable         *cancellable,
                                               GAsyncReadyCallback   callback,
                                               gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
char   *evbus_producer_put_finish             (EvbusProducer        *self,
                                               GAsyncResult         *result,
                                               GError              **error);
EVBUS_AVAILABLE_IN_1_0
char   *evbus_producer_put_nowait             (EvbusProducer        *self,
                                               const char           *routing_key,
                                               GVariant             *body,
                                               const char           *profile,
                                               GError              **error);
EVBUS_AVAILABLE_IN_1_0
void    evbus_producer_put_with_options_async (EvbusProducer        *self,
                                               const char           *routing_key,
                                               GVariant             *body,
                                               const char           *profile,
                                               GVariant             *options,
                                               GCancellable         *cancellable,
                                               GAsyncReadyCallback   callback,
                                               gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
char   *evbus_producer_put_with_options_finish (EvbusProducer       *self,
                                               GAsyncResult         *result,
                                               GError              **error);
EVBUS_AVAILABLE_IN_1_0
void    evbus_producer_put_bytes_async        (EvbusProducer        *self,
                                               const char           *routing_key,
                                               GBytes               *body,
                                               const char           *content_type,
                                               const char           *profile,
                                               GCancellable         *cancellable,
                                               GAsyncReadyCallback   callback,
                                               gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
char   *evbus_producer_put_bytes_finish       (EvbusProducer        *self,
                                               GAsyncResult         *result,
                                               GError              **error);
EVBUS_AVAILABLE_IN_1_0
char   *evbus_producer_put_bytes_nowait       (EvbusProducer        *self,
                                               const char           *routing_key,
                                               GBytes               *body,
                                               const char           *content_type,
                                               const char           *profile,
                                               GError              **error);
EVBUS_AVAILABLE_IN_1_0
void    evbus_producer_put_many_async         (EvbusProducer        *self,
                                               GVariant             *events,
                                               GCancellable         *cancellable,
                                               GAsyncReadyCallback   callback,
                                               gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
char  **evbus_producer_put_many_finish        (EvbusProducer        *self,
                                               GAsyncResult         *result,
                                               GError              **error);
EVBUS_AVAILABLE_IN_1_0
char  **evbus_producer_put_many_nowait        (EvbusProducer        *self,
                                               GVariant             *events,
                                               GError              **error);

G_END_DECLS
