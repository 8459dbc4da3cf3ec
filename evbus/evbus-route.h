/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-ledger.h>
#include <evbus/evbus-mailbox.h>

G_BEGIN_DECLS

typedef enum {
  EVBUS_ROUTE_STATE_STOPPED,
  EVBUS_ROUTE_STATE_OPENING,
  EVBUS_ROUTE_STATE_RUNNING,
  EVBUS_ROUTE_STATE_PAUSED,
  EVBUS_ROUTE_STATE_RETRYING,
  EVBUS_ROUTE_STATE_BROKEN,
  EVBUS_ROUTE_STATE_STUCK,
  EVBUS_ROUTE_STATE_FAILED,
} EvbusRouteState;

#define EVBUS_TYPE_ROUTE (evbus_route_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusRoute, evbus_route, EVBUS, ROUTE, GObject)

EVBUS_AVAILABLE_IN_1_0
const char      *evbus_route_get_name         (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
const char      *evbus_route_get_provider     (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
const char      *evbus_route_get_profile      (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
EvbusRouteState  evbus_route_get_state        (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
char            *evbus_route_dup_reason       (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
EvbusRouteState  evbus_route_get_status       (EvbusRoute  *self,
                                               char       **reason);
EVBUS_AVAILABLE_IN_1_0
void             evbus_route_get_ledger       (EvbusRoute  *self,
                                               EvbusLedger *ledger);
EVBUS_AVAILABLE_IN_1_0
guint64          evbus_route_get_queued_bytes (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
EvbusMailbox    *evbus_route_get_mailbox      (EvbusRoute  *self);

EVBUS_AVAILABLE_IN_1_0
void             evbus_route_pause            (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
void             evbus_route_resume           (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
gboolean         evbus_route_get_paused       (EvbusRoute  *self);
EVBUS_AVAILABLE_IN_1_0
void             evbus_route_flush            (EvbusRoute  *self);

G_END_DECLS
