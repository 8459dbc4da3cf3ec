/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-orphan.h"
#include "evbus-spool-private.h"

G_BEGIN_DECLS

EvbusOrphan *evbus_orphan_new (EvbusSpoolRoute *route);

G_END_DECLS
