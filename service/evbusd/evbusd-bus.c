/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The connection to the bus, and the name on it. */

#include "evbusd-bus.h"

#include <evbus/evbus.h>

#define DBUS_NAME "org.freedesktop.DBus"
#define DBUS_PATH "/org/freedesktop/DBus"
#define REQUEST_NAME_DO_NOT_QUEUE 4u
#define REQUEST_NAME_REPLY_PRIMARY_OWNER 1u
#define BUS_TIMEOUT_MS 10000

static const char *
get_type_name (GBusType type)
{
  return type == G_BUS_TYPE_SYSTEM ? "system bus" : "session bus";
}

/* A connection of our own, not GIO's shared one: nothing else in the process
 * closes it or ends the process with it. */
GDBusConnection *
evbusd_bus_connect (GBusType     type,
                    const char  *address,
                    GError     **error)
{
  g_autofree char *found = NULL;
  GDBusConnection *connection;

  if (address == NULL)
    {
      address = found = g_dbus_address_get_for_bus_sync (type, NULL, error);
      if (found == NULL)
        {
          g_prefix_error (error, "there is no %s: ", get_type_name (type));
          return NULL;
        }
    }

  connection = g_dbus_connection_new_for_address_sync (address,
                                                       G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                       G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                                       NULL, NULL, error);
  if (connection == NULL)
    {
      g_prefix_error (error, "cannot connect to the bus at %s: ", address);
      return NULL;
    }

  g_dbus_connection_set_exit_on_close (connection, FALSE);
  return connection;
}

static GVariant *
call_bus (GDBusConnection     *connection,
          const char          *method,
          GVariant            *parameters,
          const char          *reply_type,
          GError             **error)
{
  return g_dbus_connection_call_sync (connection, DBUS_NAME, DBUS_PATH, DBUS_NAME, method, parameters,
                                      G_VARIANT_TYPE (reply_type), G_DBUS_CALL_FLAGS_NONE, BUS_TIMEOUT_MS,
                                      NULL, error);
}

static char *
get_process_name (guint32 pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%u/comm", pid);
  char *name = NULL;

  if (!g_file_get_contents (path, &name, NULL, NULL))
    return g_strdup ("?");

  return g_strchomp (name);
}

static char *
describe_owner (GDBusConnection *connection)
{
  g_autoptr (GVariant) name = NULL;
  g_autoptr (GVariant) reply = NULL;
  g_autoptr (GVariant) credentials = NULL;
  g_autofree char *process = NULL;
  const char *owner = NULL;
  guint32 pid = 0;

  name = call_bus (connection, "GetNameOwner", g_variant_new ("(s)", EVBUSD_BUS_NAME), "(s)", NULL);
  if (name == NULL)
    return g_strdup ("someone who has just left");

  g_variant_get (name, "(&s)", &owner);
  reply = call_bus (connection, "GetConnectionCredentials", g_variant_new ("(s)", owner), "(a{sv})", NULL);
  if (reply != NULL)
    credentials = g_variant_get_child_value (reply, 0);
  if (credentials == NULL || !g_variant_lookup (credentials, "ProcessID", "u", &pid))
    return g_strdup (owner);

  process = get_process_name (pid);
  return g_strdup_printf ("%s (process %u, %s)", owner, pid, process);
}

static void
set_taken (GDBusConnection  *connection,
           GError          **error)
{
  g_autofree char *owner = describe_owner (connection);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS,
               "the name " EVBUSD_BUS_NAME " is already owned by %s; stop that one first, or use another bus", owner);
}

/* Whether nobody has the name, as far as that can be told. */
gboolean
evbusd_bus_check_free (GDBusConnection  *connection,
                       GError          **error)
{
  g_autoptr (GVariant) reply = call_bus (connection, "NameHasOwner", g_variant_new ("(s)", EVBUSD_BUS_NAME), "(b)", NULL);
  gboolean owned = FALSE;

  if (reply != NULL)
    g_variant_get (reply, "(b)", &owned);
  if (owned)
    set_taken (connection, error);
  return !owned;
}

/* Takes the name, which nobody can take away again. */
gboolean
evbusd_bus_own_name (GDBusConnection  *connection,
                     GError          **error)
{
  g_autoptr (GVariant) reply = NULL;
  guint32 result;

  reply = call_bus (connection, "RequestName",
                    g_variant_new ("(su)", EVBUSD_BUS_NAME, REQUEST_NAME_DO_NOT_QUEUE), "(u)", error);
  if (reply == NULL)
    {
      if (error != NULL)
        g_dbus_error_strip_remote_error (*error);
      g_prefix_error (error, "cannot own the name " EVBUSD_BUS_NAME ": ");
      return FALSE;
    }

  g_variant_get (reply, "(u)", &result);
  if (result == REQUEST_NAME_REPLY_PRIMARY_OWNER)
    return TRUE;

  set_taken (connection, error);
  return FALSE;
}
