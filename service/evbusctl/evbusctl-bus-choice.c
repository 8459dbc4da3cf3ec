/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which bus the service is looked for on, and what an error there means to the
 * person. */

#include "evbusctl-bus.h"

#include "evbusctl.h"
#include "evbusctl-output.h"

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

/* In milliseconds. */
guint
evbusctl_bus_get_timeout (void)
{
  return timeout_seconds * 1000u;
}

/* Returns: (transfer full) */
GDBusConnection *
evbusctl_bus_connect (GError **error)
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
