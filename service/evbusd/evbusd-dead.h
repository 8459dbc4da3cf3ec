/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* Answers the calls about dead letters and orphaned routes. */
typedef struct _EvbusdDead EvbusdDead;

/* @manager: an EvbusdManager, which hands on no call once this is freed. */
EvbusdDead *evbusd_dead_new  (gpointer     manager,
                              EvbusBroker *broker);
void        evbusd_dead_free (EvbusdDead  *self);

G_END_DECLS
