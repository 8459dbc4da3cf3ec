/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* Answers Pause, Resume and Flush of @manager, an EvbusdManager; both live longer
 * than what is connected. */
void evbusd_control_connect (gpointer     manager,
                             EvbusBroker *broker);

G_END_DECLS
