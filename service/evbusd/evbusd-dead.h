/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* Answers the calls about dead letters and orphaned routes that come to @manager, an
 * EvbusdManager; both live longer than what is connected. */
void evbusd_dead_connect (gpointer     manager,
                          EvbusBroker *broker);

G_END_DECLS
