/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

void evbusd_report_watch (EvbusBroker *broker);

const char *evbusd_report_state_name (EvbusRouteState state);

G_END_DECLS
