/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

#define EVBUSD_BUS_NAME "org.evbus1"
#define EVBUSD_OBJECT_PATH "/org/evbus1"

GDBusConnection *evbusd_bus_connect  (GBusType          type,
                                      const char       *address,
                                      GError          **error);
gboolean         evbusd_bus_check_free (GDBusConnection *connection,
                                      GError          **error);
gboolean         evbusd_bus_own_name (GDBusConnection  *connection,
                                      GError          **error);

G_END_DECLS
