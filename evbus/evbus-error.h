/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <gio/gio.h>
#include <evbus/evbus-version-macros.h>

G_BEGIN_DECLS

#define EVBUS_ERROR (evbus_error_quark ())

typedef enum {
  EVBUS_ERROR_FAILED,
  EVBUS_ERROR_INVALID_ARGUMENT,
  EVBUS_ERROR_INVALID_BODY,
  EVBUS_ERROR_TOO_LARGE,
  EVBUS_ERROR_QUEUE_FULL,
  EVBUS_ERROR_CLOSED,
  EVBUS_ERROR_UNROUTED,
  EVBUS_ERROR_HOP_LIMIT,
  EVBUS_ERROR_MATCH,
  EVBUS_ERROR_INVALID_CONFIG,
  EVBUS_ERROR_NO_PROVIDER,
  EVBUS_ERROR_PLUGIN,
  EVBUS_ERROR_NOT_FOUND,
  EVBUS_ERROR_EXISTS,
  EVBUS_ERROR_TIMED_OUT,
  EVBUS_ERROR_ACCESS_DENIED,
  EVBUS_ERROR_TRANSIENT,
  EVBUS_ERROR_BROKEN,
  EVBUS_ERROR_POISON,
} EvbusError;

EVBUS_AVAILABLE_IN_1_0
GQuark evbus_error_quark (void);

G_END_DECLS
