/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <nats/nats.h>

G_BEGIN_DECLS

typedef struct {
  char     *url;     /* without what a password could be in, so that errors may name it */
  char     *host;
  gboolean  tls;
} NatsServer;

NatsServer  *nats_server_ref           (NatsServer        *self);
void         nats_server_unref         (NatsServer        *self);

GPtrArray   *nats_options_read_servers (EvbusContext      *ctx,
                                        GError           **error);
natsOptions *nats_options_new          (EvbusContext      *ctx,
                                        const NatsServer  *server,
                                        GError           **error);

G_END_DECLS
