/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef struct _EvbusdIntake EvbusdIntake;

EvbusdIntake *evbusd_intake_new    (GDBusConnection *connection,
                                    EvbusBroker     *broker,
                                    gboolean         durable);
void          evbusd_intake_settle (EvbusdIntake    *self,
                                    GSourceFunc      done,
                                    gpointer         user_data);
void          evbusd_intake_free   (EvbusdIntake    *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdIntake, evbusd_intake_free)

G_END_DECLS
