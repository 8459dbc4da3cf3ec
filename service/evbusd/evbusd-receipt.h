/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Calls that put into a spool: each is answered once its event is on the disk.
 * They are started as they come, so that one commit can be for many, also of one
 * sender; that no put overtakes one that waits for space is the broker's doing. */

#pragma once

#include "evbusd-line.h"

G_BEGIN_DECLS

/* @method: one that can wait. Answered in the thread-default main context. */
void evbusd_receipt_start (GDBusConnection    *connection,
                           EvbusProducer      *producer,
                           const EvbusdMethod *method,
                           GDBusMessage       *message,
                           EvbusdAnswer        answer);

G_END_DECLS
