/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-route-private.h"

G_BEGIN_DECLS

/* Routes that start when another one has ended: a map from each to the one it
 * waits for (references of both). On the listener's thread. */

/* What has to end before @route may start: of @routes the last one that has its
 * part of the spool, or else @replaced, or nothing. */
EvbusRoute *evbus_waits_find (GPtrArray  *routes,
                              EvbusRoute *route,
                              EvbusRoute *replaced);
/* @route has ended: those that may start now, a reference of each. */
GPtrArray  *evbus_waits_end  (GHashTable *waits,
                              EvbusRoute *route);

G_END_DECLS
