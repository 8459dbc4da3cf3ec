/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

void evbusd_memory_avoid_slices (char       **argv);
void evbusd_memory_init         (void);
void evbusd_memory_watch        (GListModel  *routes);

G_END_DECLS
