/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* The connection to the service. evbusctl-bus.c is the only place that knows the
 * generated D-Bus code; which bus it is on comes from the options --session,
 * --system, --address and --timeout (evbusctl-bus-choice.c). Everything runs in
 * the main context. */

#define EVBUSCTL_BUS_NAME    "org.evbus1"
#define EVBUSCTL_OBJECT_PATH "/org/evbus1"

#define EVBUSCTL_TYPE_BUS (evbusctl_bus_get_type ())
G_DECLARE_FINAL_TYPE (EvbusctlBus, evbusctl_bus, EVBUSCTL, BUS, GObject)

extern const GOptionEntry evbusctl_bus_entries[];

typedef void (* EvbusctlEventFunc) (guint64     subscription,
                                    const char *id,
                                    gint64      time_us,
                                    const char *routing_key,
                                    const char *profile,
                                    GVariant   *body,
                                    GVariant   *attributes,
                                    gpointer    user_data);

typedef void (* EvbusctlSettledFunc) (const char *id,
                                      const char *route,
                                      const char *fate,
                                      const char *reason,
                                      guint       left,
                                      gpointer    user_data);

gboolean     evbusctl_bus_check_options   (GError              **error);
GDBusConnection *evbusctl_bus_connect     (GError              **error);
EvbusctlBus *evbusctl_bus_open            (GError              **error);
int          evbusctl_bus_report          (GError               *error);
const char  *evbusctl_bus_get_label       (void);
GDBusConnection *evbusctl_bus_get_connection (EvbusctlBus       *self);
guint        evbusctl_bus_get_timeout     (void);

gboolean     evbusctl_check_text          (const char           *what,
                                           const char           *text,
                                           GError              **error);

char        *evbusctl_bus_put             (EvbusctlBus          *self,
                                           const char           *routing_key,
                                           GVariant             *body,
                                           const char           *profile,
                                           GVariant             *options,
                                           GError              **error);
void         evbusctl_bus_put_async       (EvbusctlBus          *self,
                                           const char           *routing_key,
                                           GVariant             *body,
                                           const char           *profile,
                                           GVariant             *options,
                                           GCancellable         *cancellable,
                                           GAsyncReadyCallback   callback,
                                           gpointer              user_data);
char        *evbusctl_bus_put_finish      (EvbusctlBus          *self,
                                           GAsyncResult         *result,
                                           GError              **error);
void         evbusctl_bus_put_many_async  (EvbusctlBus          *self,
                                           GVariant             *events,
                                           int                   timeout_ms,
                                           GCancellable         *cancellable,
                                           GAsyncReadyCallback   callback,
                                           gpointer              user_data);
char       **evbusctl_bus_put_many_finish (EvbusctlBus          *self,
                                           GAsyncResult         *result,
                                           GError              **error);

void         evbusctl_bus_watch_serializer (EvbusctlBus         *self);
gboolean     evbusctl_bus_writes_json     (EvbusctlBus          *self);

gboolean     evbusctl_bus_subscribe       (EvbusctlBus          *self,
                                           GVariant             *options,
                                           EvbusctlEventFunc     callback,
                                           GFunc                 lost,
                                           gpointer              user_data,
                                           GError              **error);
void         evbusctl_bus_follow          (EvbusctlBus          *self,
                                           EvbusctlSettledFunc   callback,
                                           GFunc                 lost,
                                           gpointer              user_data);
void         evbusctl_bus_unsubscribe     (EvbusctlBus          *self);

GVariant    *evbusctl_bus_list_routes     (EvbusctlBus          *self,
                                           GError              **error);
void         evbusctl_bus_list_routes_async  (EvbusctlBus       *self,
                                           GAsyncReadyCallback   callback,
                                           gpointer              user_data);
GVariant    *evbusctl_bus_list_routes_finish (EvbusctlBus       *self,
                                           GAsyncResult         *result,
                                           GError              **error);
GVariant    *evbusctl_bus_get_ledger      (EvbusctlBus          *self,
                                           GError              **error);
GVariant    *evbusctl_bus_get_properties  (EvbusctlBus          *self,
                                           GError              **error);
GVariant    *evbusctl_bus_call_manager    (EvbusctlBus          *self,
                                           const char           *method,
                                           GVariant             *arguments,
                                           const char           *reply_type,
                                           GError              **error);
GVariant    *evbusctl_bus_explain         (EvbusctlBus          *self,
                                           const char           *profile,
                                           GError              **error);
char       **evbusctl_bus_reload          (EvbusctlBus          *self,
                                           GError              **error);

G_END_DECLS
