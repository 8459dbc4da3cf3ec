/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The limit of the D-Bus benches: methods of the signatures of Put and PutMany
 * on a skeleton from gdbus-codegen, which do nothing but answer, with as many
 * ids as the real ones would.
 *
 * Argument: the address of the bus.
 */

#include "bench-bus.h"
#include "empty-broker.h"

#include <glib-unix.h>

static gboolean
on_put (EmptyBroker           *broker,
        GDBusMethodInvocation *invocation,
        const char            *routing_key,
        GVariant              *body,
        const char            *profile,
        gpointer               user_data)
{
  empty_broker_complete_put (broker, invocation, BENCH_EMPTY_ID);
  return TRUE;
}

static gboolean
on_put_many (EmptyBroker           *broker,
             GDBusMethodInvocation *invocation,
             GVariant              *events,
             gpointer               user_data)
{
  empty_broker_complete_put_many (broker, invocation, user_data);
  return TRUE;
}

static void
on_name_lost (GDBusConnection *connection,
              const char      *name,
              gpointer         user_data)
{
  g_error ("%s: not on the bus", name);
}

static gboolean
on_terminated (gpointer user_data)
{
  g_main_loop_quit (user_data);
  return G_SOURCE_REMOVE;
}

int
main (int    argc,
      char **argv)
{
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr (EmptyBroker) broker = empty_broker_skeleton_new ();
  g_autoptr (GDBusConnection) connection = NULL;
  g_autoptr (GError) error = NULL;
  const char *ids[BENCH_PUT_MANY + 1] = { NULL };
  guint name;
  guint i;

  for (i = 0; i < BENCH_PUT_MANY; i++)
    ids[i] = BENCH_EMPTY_ID;

  if (argc != 2)
    g_error ("Usage: %s ADDRESS", argv[0]);

  connection = g_dbus_connection_new_for_address_sync (argv[1],
                                                       G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                       G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                                       NULL, NULL, &error);
  if (connection == NULL)
    g_error ("%s", error->message);

  g_signal_connect (broker, "handle-put", G_CALLBACK (on_put), NULL);
  g_signal_connect (broker, "handle-put-many", G_CALLBACK (on_put_many), ids);
  if (!g_dbus_interface_skeleton_export (G_DBUS_INTERFACE_SKELETON (broker), connection,
                                         "/org/evbus1", &error))
    g_error ("%s", error->message);

  name = g_bus_own_name_on_connection (connection, BENCH_EMPTY_NAME, G_BUS_NAME_OWNER_FLAGS_NONE,
                                       NULL, on_name_lost, NULL, NULL);
  g_unix_signal_add (SIGTERM, on_terminated, loop);
  g_main_loop_run (loop);
  g_bus_unown_name (name);
  return 0;
}
