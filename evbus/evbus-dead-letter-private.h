/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-dead-letter.h"
#include "evbus-spool-private.h"

G_BEGIN_DECLS

EvbusDeadLetter *evbus_dead_letter_new (const EvbusSpoolDead *dead);

G_END_DECLS
