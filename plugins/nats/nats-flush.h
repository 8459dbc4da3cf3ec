/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nats-socket.h"

G_BEGIN_DECLS

/* Learns when a server has gone through all that was sent to it. */
typedef struct _NatsFlush NatsFlush;

NatsFlush *nats_flush_new     (natsConnection  *connection,
                               NatsSocket      *socket,
                               GError         **error);
/* The connection is closed before. */
void       nats_flush_free    (NatsFlush       *self);
void       nats_flush_begin   (NatsFlush       *self);
/* Whether what was begun is over; then @status is how it ended. */
gboolean   nats_flush_is_done (NatsFlush       *self,
                               natsStatus      *status);

G_END_DECLS
