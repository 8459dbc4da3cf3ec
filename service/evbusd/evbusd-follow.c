/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The signal Settled, to the one sender alone who asked for it: the library gives back
 * the unique name that was given to it with the put. If that has left, the bus drops it. */

#include "evbusd-follow.h"

#include "evbusd-bus.h"

static void
on_settled (EvbusBroker     *broker,
            const char      *follower,
            const char      *id,
            const char      *route,
            EvbusFate        fate,
            const char      *reason,
            guint            left,
            GDBusConnection *connection)
{
  g_autoptr (GEnumClass) fates = g_type_class_ref (EVBUS_TYPE_FATE);

  g_dbus_connection_emit_signal (connection, follower, EVBUSD_OBJECT_PATH, "org.evbus1.Broker", "Settled",
                                 g_variant_new ("(ssssu)", id, route != NULL ? route : "",
                                                g_enum_get_value (fates, fate)->value_nick,
                                                reason != NULL ? reason : "", left),
                                 NULL);
}

void
evbusd_follow_watch (EvbusBroker     *broker,
                     GDBusConnection *connection)
{
  g_signal_connect_object (broker, "event-settled", G_CALLBACK (on_settled), connection, 0);
}
