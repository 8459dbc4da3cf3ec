/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-explanation.h"

G_BEGIN_DECLS

/* Takes over @reason. */
EvbusExplanation *evbus_explanation_new (EvbusRoute *route,
                                         gboolean    matches,
                                         char       *reason);

G_END_DECLS
