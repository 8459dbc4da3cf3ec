/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <nats/nats.h>

G_BEGIN_DECLS

gboolean nats_tls_apply (EvbusContext  *ctx,
                         natsOptions   *options,
                         const char    *host,
                         GError       **error);

G_END_DECLS
