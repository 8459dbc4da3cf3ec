/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <nats/nats.h>

G_BEGIN_DECLS

gboolean nats_auth_apply   (EvbusContext  *ctx,
                            natsOptions   *options,
                            const char    *host,
                            gboolean       tls,
                            GError       **error);
char    *nats_auth_escape  (const char    *text);

G_END_DECLS
