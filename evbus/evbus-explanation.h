/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-route.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_EXPLANATION (evbus_explanation_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusExplanation, evbus_explanation, EVBUS, EXPLANATION, GObject)

EVBUS_AVAILABLE_IN_1_0
EvbusRoute *evbus_explanation_get_route   (EvbusExplanation *self);
EVBUS_AVAILABLE_IN_1_0
gboolean    evbus_explanation_get_matches (EvbusExplanation *self);
EVBUS_AVAILABLE_IN_1_0
const char *evbus_explanation_get_reason  (EvbusExplanation *self);

G_END_DECLS
