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
/* Called on the thread on which a connection has failed: whether the server said that it was for the
 * client's certificate. */
gboolean nats_tls_was_refused (void);

G_END_DECLS
