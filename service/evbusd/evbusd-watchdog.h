/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

#include "evbusd-intake.h"

G_BEGIN_DECLS

/* Tells the service manager at each interval that this process is well, if it asked
 * to be told. Both live as long as the main loop runs. */
void evbusd_watchdog_start (EvbusBroker  *broker,
                            EvbusdIntake *intake);

G_END_DECLS
