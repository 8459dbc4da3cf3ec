/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl-bus.h"

#include "evbusctl.h"
#include "evbusctl-dbus.h"
#include "evbusctl-output.h"

struct _EvbusctlBus
{
  GObject parent_instance;

  GDBusConnection *connection;
  EvbusctlBroker *broker;
  EvbusctlManager *manager;
  EvbusctlBroker *properties;       /* keeps those of the broker; NULL: not watched, or not yet */

  guint64 subscription;
  EvbusctlEventFunc on_event;
  EvbusctlSettledFunc on_settled;
  GFunc on_lost;                    /* NULL: nobody minds any more */
  gpointer user_data;
};

G_DEFINE_FINAL_TYPE (EvbusctlBus, evbusctl_bus, G_TYPE_OBJECT)

static void
evbusctl_bus_dispose (GObject *object)
{
  EvbusctlBus *self = EVBUSCTL_BUS (object);

  g_clear_object (&self->broker);
  g_clear_object (&self->manager);
  g_clear_object (&self->properties);
  g_clear_object (&self->connection);

  G_OBJECT_CLASS (evbusctl_bus_parent_class)->dispose (object);
}

static void
evbusctl_bus_class_init (EvbusctlBusClass *klass)
{
  G_OBJECT_CLASS (klass)->dispose = evbusctl_bus_dispose;
}

static void
evbusctl_bus_init (EvbusctlBus *self)
{
}

GDBusConnection *
evbusctl_bus_get_connection (EvbusctlBus *self)
{
  return self->connection;
}

EvbusctlBus *
evbusctl_bus_open (GError **error)
{
  g_autoptr(EvbusctlBus) self = g_object_new (EVBUSCTL_TYPE_BUS, NULL);
  g_autoptr(GError) local_error = NULL;

  /* Registers the names of its errors. */
  (void) EVBUS_ERROR;

  self->connection = evbusctl_bus_connect (&local_error);
  if (self->connection == NULL)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED, "%s", local_error->message);
      return NULL;
    }

  self->broker = evbusctl_broker_proxy_new_sync (self->connection,
                                                 G_DBUS_PROXY_FLAGS_DO_NOT_LOAD_PROPERTIES |
                                                 G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START_AT_CONSTRUCTION,
                                                 EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH, NULL, error);
  if (self->broker == NULL)
    return NULL;

  self->manager = evbusctl_manager_proxy_new_sync (self->connection,
                                                   G_DBUS_PROXY_FLAGS_DO_NOT_LOAD_PROPERTIES |
                                                   G_DBUS_PROXY_FLAGS_DO_NOT_CONNECT_SIGNALS |
                                                   G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START_AT_CONSTRUCTION,
                                                   EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH, NULL, error);
  if (self->manager == NULL)
    return NULL;

  return g_steal_pointer (&self);
}

/* A D-Bus string that is not UTF-8 would cost the connection. */
gboolean
evbusctl_check_text (const char  *what,
                     const char  *text,
                     GError     **error)
{
  if (g_utf8_validate (text, -1, NULL))
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "the %s is not UTF-8", what);

  return FALSE;
}

/* ---- Putting ---- */

/* Events may start the service; questions about it do not: whoever stopped it
 * and looks whether it is gone does not want it back. */
char *
evbusctl_bus_put (EvbusctlBus  *self,
                  const char   *routing_key,
                  GVariant     *body,
                  const char   *profile,
                  GVariant     *options,
                  GError      **error)
{
  GVariant *wrapped = g_variant_new_variant (body);
  char *id = NULL;

  if (options != NULL)
    evbusctl_broker_call_put_with_options_sync (self->broker, routing_key, wrapped, profile,
                                                options, G_DBUS_CALL_FLAGS_NONE,
                                                evbusctl_bus_get_timeout (), &id, NULL, error);
  else
    evbusctl_broker_call_put_sync (self->broker, routing_key, wrapped, profile,
                                   G_DBUS_CALL_FLAGS_NONE, evbusctl_bus_get_timeout (),
                                   &id, NULL, error);

  return id;
}

/* Without a limit of time: of many that are under way, the last waits for all
 * before it. The caller watches that answers keep coming. */
void
evbusctl_bus_put_async (EvbusctlBus         *self,
                        const char          *routing_key,
                        GVariant            *body,
                        const char          *profile,
                        GVariant            *options,
                        GCancellable        *cancellable,
                        GAsyncReadyCallback  callback,
                        gpointer             user_data)
{
  if (options == NULL)
    options = g_variant_new ("a{sv}", NULL);

  evbusctl_broker_call_put_with_options (self->broker, routing_key, g_variant_new_variant (body),
                                         profile, options, G_DBUS_CALL_FLAGS_NONE, G_MAXINT,
                                         cancellable, callback, user_data);
}

char *
evbusctl_bus_put_finish (EvbusctlBus   *self,
                         GAsyncResult  *result,
                         GError       **error)
{
  char *id = NULL;

  evbusctl_broker_call_put_with_options_finish (self->broker, &id, result, error);

  return id;
}

void
evbusctl_bus_put_many_async (EvbusctlBus         *self,
                             GVariant            *events,
                             int                  timeout_ms,
                             GCancellable        *cancellable,
                             GAsyncReadyCallback  callback,
                             gpointer             user_data)
{
  evbusctl_broker_call_put_many (self->broker, events, G_DBUS_CALL_FLAGS_NONE, timeout_ms,
                                 cancellable, callback, user_data);
}

char **
evbusctl_bus_put_many_finish (EvbusctlBus   *self,
                              GAsyncResult  *result,
                              GError       **error)
{
  char **ids = NULL;

  evbusctl_broker_call_put_many_finish (self->broker, &ids, result, error);

  return ids;
}

static void
on_properties (GObject      *source,
               GAsyncResult *result,
               gpointer      user_data)
{
  g_autoptr(EvbusctlBus) self = user_data;

  self->properties = evbusctl_broker_proxy_new_finish (result, NULL);
}

/* Asks how the service writes values, and keeps that up to date, also when the
 * service is another one. */
void
evbusctl_bus_watch_serializer (EvbusctlBus *self)
{
  evbusctl_broker_proxy_new (self->connection, G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START_AT_CONSTRUCTION,
                             EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH, NULL, on_properties, g_object_ref (self));
}

/* Whether it is known that a value becomes JSON. */
gboolean
evbusctl_bus_writes_json (EvbusctlBus *self)
{
  return self->properties != NULL &&
         g_strcmp0 (evbusctl_broker_get_serializer (self->properties), "json") == 0;
}

/* ---- Subscribing ---- */

static void
on_event (EvbusctlBroker *broker,
          guint64         subscription,
          const char     *id,
          gint64          time_us,
          const char     *routing_key,
          const char     *profile,
          GVariant       *body,
          GVariant       *attributes,
          gpointer        user_data)
{
  EvbusctlBus *self = user_data;
  g_autoptr(GVariant) value = g_variant_get_variant (body);

  if (subscription == self->subscription)
    self->on_event (subscription, id, time_us, routing_key, profile, value, attributes,
                    self->user_data);
}

static void
on_owner (GObject    *broker,
          GParamSpec *pspec,
          gpointer    user_data)
{
  EvbusctlBus *self = user_data;
  g_autofree char *owner = g_dbus_proxy_get_name_owner (G_DBUS_PROXY (broker));

  if (self->on_lost != NULL && owner == NULL)
    {
      GFunc lost = self->on_lost;

      self->subscription = 0;
      self->on_lost = NULL;
      lost (self, self->user_data);
    }
}

static void
watch_service (EvbusctlBus *self,
               GFunc        lost,
               gpointer     user_data)
{
  self->on_lost = lost;
  self->user_data = user_data;
  g_signal_connect_object (self->broker, "notify::g-name-owner", G_CALLBACK (on_owner), self, 0);
}

/* @lost is called with the bus once the service is gone, and the subscription
 * with it. */
gboolean
evbusctl_bus_subscribe (EvbusctlBus        *self,
                        GVariant           *options,
                        EvbusctlEventFunc   callback,
                        GFunc               lost,
                        gpointer            user_data,
                        GError            **error)
{
  self->on_event = callback;
  watch_service (self, lost, user_data);
  g_signal_connect_object (self->broker, "event", G_CALLBACK (on_event), self, 0);

  return evbusctl_broker_call_subscribe_sync (self->broker, options, G_DBUS_CALL_FLAGS_NONE,
                                              evbusctl_bus_get_timeout (), &self->subscription,
                                              NULL, error);
}

/* Leaving the bus ends the subscription as well; this is the polite way, and
 * nobody needs its answer. */
void
evbusctl_bus_unsubscribe (EvbusctlBus *self)
{
  if (self->subscription == 0)
    return;

  evbusctl_broker_call_unsubscribe (self->broker, self->subscription,
                                    G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, NULL, NULL, NULL);
  self->subscription = 0;
  self->on_lost = NULL;
  g_dbus_connection_flush_sync (self->connection, NULL, NULL);
}

static void
on_settled (EvbusctlBroker *broker,
            const char     *id,
            const char     *route,
            const char     *fate,
            const char     *reason,
            guint           left,
            gpointer        user_data)
{
  EvbusctlBus *self = user_data;

  self->on_settled (id, route, fate, reason, left, self->user_data);
}

/* What becomes of the events that are put with the option "follow" from now on. @lost is
 * called with the bus once the service is gone. */
void
evbusctl_bus_follow (EvbusctlBus         *self,
                     EvbusctlSettledFunc  callback,
                     GFunc                lost,
                     gpointer             user_data)
{
  self->on_settled = callback;
  watch_service (self, lost, user_data);
  g_signal_connect_object (self->broker, "settled", G_CALLBACK (on_settled), self, 0);
}

/* ---- Asking ---- */

GVariant *
evbusctl_bus_list_routes (EvbusctlBus  *self,
                          GError      **error)
{
  GVariant *routes = NULL;

  evbusctl_manager_call_list_routes_sync (self->manager, G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                          evbusctl_bus_get_timeout (), &routes, NULL, error);

  return routes;
}

void
evbusctl_bus_list_routes_async (EvbusctlBus         *self,
                                GAsyncReadyCallback  callback,
                                gpointer             user_data)
{
  evbusctl_manager_call_list_routes (self->manager, G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                     evbusctl_bus_get_timeout (), NULL, callback, user_data);
}

GVariant *
evbusctl_bus_list_routes_finish (EvbusctlBus   *self,
                                 GAsyncResult  *result,
                                 GError       **error)
{
  GVariant *routes = NULL;

  evbusctl_manager_call_list_routes_finish (self->manager, &routes, result, error);

  return routes;
}

GVariant *
evbusctl_bus_get_ledger (EvbusctlBus  *self,
                         GError      **error)
{
  GVariant *ledger = NULL;

  evbusctl_manager_call_get_ledger_sync (self->manager, G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                         evbusctl_bus_get_timeout (), &ledger, NULL, error);

  return ledger;
}

/* a{sv}: Version, Configuration and StartTime. */
GVariant *
evbusctl_bus_get_properties (EvbusctlBus  *self,
                             GError      **error)
{
  g_autoptr(GVariant) reply = NULL;

  reply = g_dbus_connection_call_sync (self->connection, EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH,
                                       "org.freedesktop.DBus.Properties", "GetAll",
                                       g_variant_new ("(s)", EVBUSCTL_BUS_NAME ".Manager"),
                                       G_VARIANT_TYPE ("(a{sv})"),
                                       G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                       evbusctl_bus_get_timeout (), NULL, error);

  return reply != NULL ? g_variant_get_child_value (reply, 0) : NULL;
}

/* Any method of the manager, by its name. */
GVariant *
evbusctl_bus_call_manager (EvbusctlBus  *self,
                           const char   *method,
                           GVariant     *arguments,
                           const char   *reply_type,
                           GError      **error)
{
  return g_dbus_connection_call_sync (self->connection, EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH, EVBUSCTL_BUS_NAME ".Manager",
                                      method, arguments, G_VARIANT_TYPE (reply_type),
                                      G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                      evbusctl_bus_get_timeout (), NULL, error);
}

GVariant *
evbusctl_bus_explain (EvbusctlBus  *self,
                      const char   *profile,
                      GError      **error)
{
  GVariant *routes = NULL;

  evbusctl_manager_call_explain_sync (self->manager, profile, G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                      evbusctl_bus_get_timeout (), &routes, NULL, error);

  return routes;
}

/* Which routes do not run after it, a line each; NULL: the old ones are in place. */
char **
evbusctl_bus_reload (EvbusctlBus  *self,
                     GError      **error)
{
  char **not_running = NULL;

  evbusctl_manager_call_reload_sync (self->manager, G_DBUS_CALL_FLAGS_NO_AUTO_START,
                                     evbusctl_bus_get_timeout (), &not_running, NULL, error);

  return not_running;
}
