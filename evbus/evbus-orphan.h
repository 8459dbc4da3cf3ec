/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-ledger.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_ORPHAN (evbus_orphan_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusOrphan, evbus_orphan, EVBUS, ORPHAN, GObject)

EVBUS_AVAILABLE_IN_1_0
const char *evbus_orphan_get_name   (EvbusOrphan *self);
EVBUS_AVAILABLE_IN_1_0
const char *evbus_orphan_get_key    (EvbusOrphan *self);
EVBUS_AVAILABLE_IN_1_0
void        evbus_orphan_get_ledger (EvbusOrphan *self,
                                     EvbusLedger *ledger);

G_END_DECLS
