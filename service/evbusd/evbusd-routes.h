/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* The objects of the routes on the bus. */
typedef struct _EvbusdRoutes EvbusdRoutes;

/* @routes: of EvbusRoute. @make: a skeleton of org.evbus1.Route. */
EvbusdRoutes *evbusd_routes_new  (GDBusConnection *connection,
                                  GListModel      *routes,
                                  GObject       *(*make) (void));
void          evbusd_routes_free (EvbusdRoutes    *self);

/* How a ledger looks on the bus (a{st}, floating). */
GVariant     *evbusd_routes_ledger (EvbusRoute    *route);

G_END_DECLS
