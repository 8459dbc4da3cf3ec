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

  guint64 subscription;
  EvbusctlEventFunc on_event;
  EvbusctlSettledFunc on_settled;
  GFunc on_lost;                    /* NULL: nobody minds any more */
  gpointer user_data;
};

G_DEFINE_FINAL_TYPE (EvbusctlBus, evbusctl_bus, G_TYPE_OBJECT)

static gboolean want_session;
static gboolean want_system;
static char *address;
static int timeout_seconds = 25;

/* ARG_FILENAME where a string is meant: its bytes come as they were typed. The
 * other kind is converted from the locale, and fails in a cron job's. */
const GOptionEntry evbusctl_bus_entries[] = {
  { "session", 0, 0, G_OPTION_ARG_NONE, &want_session, "Use the session bus (the default where there is one)", NULL },
  { "system", 0, 0, G_OPTION_ARG_NONE, &want_system, "Use the system bus (the default otherwise)", NULL },
  { "address", 0, 0, G_OPTION_ARG_FILENAME, &address, "Use the bus at this D-Bus address", "ADDRESS" },
  { "timeout", 0, 0, G_OPTION_ARG_INT, &timeout_seconds, "How long to wait for an answer (25)", "SECONDS" },
  { NULL }
};

static void
evbusctl_bus_dispose (GObject *object)
{
  EvbusctlBus *self = EVBUSCTL_BUS (object);

  g_clear_object (&self->broker);
  g_clear_object (&self->manager);
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

/* ---- Which bus ---- */

gboolean
evbusctl_bus_check_options (GError **error)
{
  if (want_session + want_system + (address != NULL) > 1)
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "--session, --system and --address exclude each other");
  else if (address != NULL && !g_dbus_is_supported_address (address, NULL))
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "--address: not a D-Bus address, which looks like unix:path=/run/bus");
  else if (timeout_seconds < 1 || timeout_seconds > 86400)
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "--timeout: a number of seconds from 1 to 86400 is wanted");
  else
    return TRUE;

  return FALSE;
}

/* Root in a console or a cron job has no session, and means the system's
 * service; a user's program means the user's. */
static GBusType
chosen_bus (void)
{
  g_autofree char *path = NULL;

  if (want_session)
    return G_BUS_TYPE_SESSION;
  if (want_system)
    return G_BUS_TYPE_SYSTEM;
  if (g_getenv ("DBUS_SESSION_BUS_ADDRESS") != NULL)
    return G_BUS_TYPE_SESSION;

  /* GLib invents a runtime folder where the variable is not set. */
  if (g_getenv ("XDG_RUNTIME_DIR") == NULL)
    return G_BUS_TYPE_SYSTEM;

  path = g_build_filename (g_getenv ("XDG_RUNTIME_DIR"), "bus", NULL);

  return g_file_test (path, G_FILE_TEST_EXISTS) ? G_BUS_TYPE_SESSION : G_BUS_TYPE_SYSTEM;
}

const char *
evbusctl_bus_get_label (void)
{
  if (address != NULL)
    return address;

  return chosen_bus () == G_BUS_TYPE_SESSION ? "the session bus" : "the system bus";
}

GDBusConnection *
evbusctl_bus_get_connection (EvbusctlBus *self)
{
  return self->connection;
}

/* In milliseconds. */
guint
evbusctl_bus_get_timeout (void)
{
  return timeout_seconds * 1000u;
}

static GDBusConnection *
connect_bus (GError **error)
{
  GDBusConnection *connection;

  if (address != NULL)
    connection = g_dbus_connection_new_for_address_sync (address,
                                                         G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                         G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                                         NULL, NULL, error);
  else
    connection = g_bus_get_sync (chosen_bus (), NULL, error);

  /* A lost bus is an error to report, not a reason to be killed. */
  if (connection != NULL)
    g_dbus_connection_set_exit_on_close (connection, FALSE);

  return connection;
}

EvbusctlBus *
evbusctl_bus_open (GError **error)
{
  g_autoptr(EvbusctlBus) self = g_object_new (EVBUSCTL_TYPE_BUS, NULL);
  g_autoptr(GError) local_error = NULL;

  /* Registers the names of its errors. */
  (void) EVBUS_ERROR;

  self->connection = connect_bus (&local_error);
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

/* ---- What an error means to the person ---- */

static void
advise_no_bus (const char *message)
{
  evbusctl_error ("cannot reach %s: %s\n"
                  "Choose one with --session, --system or --address ADDRESS, or begin a private\n"
                  "session with: dbus-run-session -- sh",
                  evbusctl_bus_get_label (), message);
}

static void
advise_no_service (const char *message)
{
  g_autofree char *by_hand = NULL;
  const char *by_systemd = NULL;

  if (address != NULL)
    by_hand = g_strdup_printf ("  evbusd --address '%s'\n", address);
  else if (chosen_bus () == G_BUS_TYPE_SESSION)
    by_systemd = "  systemctl --user start evbusd.service\n";
  else
    by_systemd = "  systemctl start evbusd.service\n";

  evbusctl_error ("evbusd is not running on %s\nStart it with\n%s%sor choose another bus with %s.",
                  evbusctl_bus_get_label (),
                  by_hand != NULL ? by_hand :
                  chosen_bus () == G_BUS_TYPE_SESSION ? "  evbusd --session\n" : "  evbusd --system\n",
                  by_systemd != NULL ? by_systemd : "",
                  address != NULL || chosen_bus () == G_BUS_TYPE_SYSTEM ? "--session" : "--system");
}

static void
advise_spawn (const char *message)
{
  evbusctl_error ("%s could not start evbusd: %s\nStarted by hand it says why: evbusd %s",
                  evbusctl_bus_get_label (), message,
                  chosen_bus () == G_BUS_TYPE_SESSION ? "--session" : "--system");
}

static void
advise_timeout (const char *message)
{
  evbusctl_error ("no answer from evbusd within %d s; whether it did what was asked is not known "
                  "('evbusctl status' shows what it has)", timeout_seconds);
}

static void
advise_lost (const char *message)
{
  evbusctl_error ("evbusd or the bus left before it answered: %s", message);
}

static void
advise_denied (const char *message)
{
  evbusctl_error ("not allowed: %s", message);
}

static void
advise_stranger (const char *message)
{
  evbusctl_error ("the service on %s does not know this call; is it of another version than this "
                  "evbusctl, which is " EVBUS_VERSION_S "? (%s)",
                  evbusctl_bus_get_label (), message);
}

static const struct {
  GQuark     (* domain) (void);
  int           code;
  int           status;
  void       (* advise) (const char *message);
} meanings[] = {
  { g_io_error_quark,   G_IO_ERROR_NOT_CONNECTED,            EVBUSCTL_UNREACHABLE, advise_no_bus },
  { g_dbus_error_quark, G_DBUS_ERROR_SERVICE_UNKNOWN,        EVBUSCTL_UNREACHABLE, advise_no_service },
  { g_dbus_error_quark, G_DBUS_ERROR_NAME_HAS_NO_OWNER,      EVBUSCTL_UNREACHABLE, advise_no_service },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_EXEC_FAILED,      EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_FORK_FAILED,      EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_CHILD_EXITED,     EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_CHILD_SIGNALED,   EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_FAILED,           EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_SETUP_FAILED,     EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_CONFIG_INVALID,   EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_FILE_INVALID,     EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_NO_MEMORY,        EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_PERMISSIONS_INVALID, EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_SERVICE_INVALID,  EVBUSCTL_UNREACHABLE, advise_spawn },
  { g_dbus_error_quark, G_DBUS_ERROR_SPAWN_SERVICE_NOT_FOUND, EVBUSCTL_UNREACHABLE, advise_no_service },
  { g_io_error_quark,   G_IO_ERROR_TIMED_OUT,                EVBUSCTL_FAILED,      advise_timeout },
  { g_dbus_error_quark, G_DBUS_ERROR_NO_REPLY,               EVBUSCTL_FAILED,      advise_lost },
  { g_dbus_error_quark, G_DBUS_ERROR_DISCONNECTED,           EVBUSCTL_FAILED,      advise_lost },
  { g_io_error_quark,   G_IO_ERROR_CLOSED,                   EVBUSCTL_FAILED,      advise_lost },
  { g_dbus_error_quark, G_DBUS_ERROR_ACCESS_DENIED,          EVBUSCTL_FAILED,      advise_denied },
  { g_dbus_error_quark, G_DBUS_ERROR_UNKNOWN_METHOD,         EVBUSCTL_FAILED,      advise_stranger },
  { g_dbus_error_quark, G_DBUS_ERROR_UNKNOWN_INTERFACE,      EVBUSCTL_FAILED,      advise_stranger },
  { g_dbus_error_quark, G_DBUS_ERROR_UNKNOWN_OBJECT,         EVBUSCTL_FAILED,      advise_stranger },
};

/* Prints what went wrong and returns the exit code for it. */
int
evbusctl_bus_report (GError *error)
{
  guint i;

  g_dbus_error_strip_remote_error (error);

  for (i = 0; i < G_N_ELEMENTS (meanings); i++)
    if (g_error_matches (error, meanings[i].domain (), meanings[i].code))
      {
        meanings[i].advise (error->message);
        return meanings[i].status;
      }

  evbusctl_error ("%s", error->message);

  return EVBUSCTL_FAILED;
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
                             GAsyncReadyCallback  callback,
                             gpointer             user_data)
{
  evbusctl_broker_call_put_many (self->broker, events, G_DBUS_CALL_FLAGS_NONE,
                                 evbusctl_bus_get_timeout (), NULL, callback, user_data);
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
