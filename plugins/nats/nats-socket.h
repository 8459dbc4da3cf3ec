/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <nats/nats.h>

G_BEGIN_DECLS

/* In place of a refusal: no other comes. */
#define NATS_SOCKET_CLOSED ""

/* What libnats' own threads and the route's share of a connection. */
typedef struct {
  gatomicrefcount  ref_count;
  int              fd;           /* of the connection; set before the route's thread has it */
  int              wake_fd;      /* an eventfd: any thread writes, the route's reads */
  int              wants_write;  /* atomic, any thread: there are bytes to send */
  GAsyncQueue     *refusals;     /* texts: libnats' thread for callbacks pushes, the route's pops */
} NatsSocket;

NatsSocket *nats_socket_new      (void);
NatsSocket *nats_socket_ref      (NatsSocket  *self);
void        nats_socket_unref    (NatsSocket  *self);
natsStatus  nats_socket_apply    (NatsSocket  *self,
                                  natsOptions *options);
void        nats_socket_shut     (NatsSocket  *self);
void        nats_socket_wake     (NatsSocket  *self);
void        nats_socket_quiet    (NatsSocket  *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatsSocket, nats_socket_unref)

G_END_DECLS
