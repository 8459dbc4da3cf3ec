/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-event.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_DEAD_LETTER (evbus_dead_letter_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusDeadLetter, evbus_dead_letter, EVBUS, DEAD_LETTER, GObject)

EVBUS_AVAILABLE_IN_1_0
gint64      evbus_dead_letter_get_number (EvbusDeadLetter *self);
EVBUS_AVAILABLE_IN_1_0
const char *evbus_dead_letter_get_route  (EvbusDeadLetter *self);
EVBUS_AVAILABLE_IN_1_0
const char *evbus_dead_letter_get_reason (EvbusDeadLetter *self);
EVBUS_AVAILABLE_IN_1_0
gint64      evbus_dead_letter_get_time   (EvbusDeadLetter *self);
EVBUS_AVAILABLE_IN_1_0
EvbusEvent *evbus_dead_letter_get_event  (EvbusDeadLetter *self);

G_END_DECLS
