/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nats-options.h"
#include "nats-socket.h"

G_BEGIN_DECLS

natsConnection *nats_connect (EvbusContext  *ctx,
                              NatsServer    *server,
                              NatsSocket    *socket,
                              GCancellable  *cancellable,
                              GError       **error);

G_END_DECLS
