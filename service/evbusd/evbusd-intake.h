/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef struct _EvbusdIntake EvbusdIntake;

/* @durable: it has a spool; a Put is answered once its event is on the disk. */
EvbusdIntake *evbusd_intake_new  (GDBusConnection *connection,
                                  EvbusProducer   *producer,
                                  gboolean         durable);
void          evbusd_intake_free (EvbusdIntake    *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdIntake, evbusd_intake_free)

G_END_DECLS
