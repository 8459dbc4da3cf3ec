/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <glib-object.h>

G_BEGIN_DECLS

typedef enum {
  EVBUS_SPOOL_CONDITION_NONE,
  EVBUS_SPOOL_CONDITION_OPENING,
  EVBUS_SPOOL_CONDITION_INTACT,
  EVBUS_SPOOL_CONDITION_MIGRATED,
  EVBUS_SPOOL_CONDITION_RECOVERED,
  EVBUS_SPOOL_CONDITION_DAMAGED,
  EVBUS_SPOOL_CONDITION_FULL,
  EVBUS_SPOOL_CONDITION_FAILED,
} EvbusSpoolCondition;

G_END_DECLS
