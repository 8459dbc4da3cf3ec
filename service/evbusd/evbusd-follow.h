/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* From now on who put an event with the option "follow" is told what becomes of it. */
void evbusd_follow_watch (EvbusBroker     *broker,
                          GDBusConnection *connection);

G_END_DECLS
