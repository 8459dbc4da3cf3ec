/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <glib-object.h>
#include <evbus/evbus-version-macros.h>

G_BEGIN_DECLS

typedef enum {
  EVBUS_FATE_DELIVERED,
  EVBUS_FATE_DEAD,
  EVBUS_FATE_EXPIRED,
  EVBUS_FATE_DROPPED,
  EVBUS_FATE_SETTLED,
  EVBUS_FATE_UNROUTED,
} EvbusFate;

G_END_DECLS
