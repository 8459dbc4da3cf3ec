/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusd-fanout.h"

G_BEGIN_DECLS

typedef struct _EvbusdPump EvbusdPump;

EvbusdPump *evbusd_pump_new   (GListModel   *routes,
                               EvbusdFanout *fanout);
void        evbusd_pump_flush (EvbusdPump   *self);
void        evbusd_pump_free  (EvbusdPump   *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdPump, evbusd_pump_free)

G_END_DECLS
