/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <nats/nats.h>

G_BEGIN_DECLS

const char  *nats_errors_get_text   (natsStatus   status,
                                     const char  *text);
void         nats_errors_set        (GError     **error,
                                     const char  *where,
                                     natsStatus   status,
                                     const char  *text);
EvbusOutcome nats_errors_of_address (gboolean     fixed);

G_END_DECLS
