/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nats-options.h"

G_BEGIN_DECLS

/* A connection to a server, which the route's own thread drives: in a publish by
 * nats_link_pump(), between two of them by a source in its main context. */
typedef struct _NatsLink NatsLink;

NatsLink   *nats_link_open            (EvbusContext      *ctx,
                                       NatsServer        *server,
                                       GCancellable      *cancellable,
                                       GError           **error);
void        nats_link_close           (NatsLink          *self);
gboolean    nats_link_is_open         (NatsLink          *self);
const char *nats_link_get_where       (NatsLink          *self);
const char *nats_link_get_inbox       (NatsLink          *self);
gsize       nats_link_get_max_payload (NatsLink          *self);
gulong      nats_link_guard           (NatsLink          *self,
                                       GCancellable      *cancellable);
gboolean    nats_link_send            (NatsLink          *self,
                                       natsMsg           *msg,
                                       GCancellable      *cancellable,
                                       GError           **error);
gboolean    nats_link_pump            (NatsLink          *self,
                                       gboolean           wait,
                                       GCancellable      *cancellable,
                                       GError           **error);
natsMsg    *nats_link_next_reply      (NatsLink          *self,
                                       guint             *n_nobody);
void        nats_link_begin_flush     (NatsLink          *self);
gboolean    nats_link_wait_flushed    (NatsLink          *self,
                                       GCancellable      *cancellable,
                                       GError           **error);
char       *nats_link_next_refusal    (NatsLink          *self);
gboolean    nats_link_was_refused     (NatsLink          *self);
gboolean    nats_link_last_refusal    (NatsLink          *self,
                                       char             **text);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatsLink, nats_link_close)

G_END_DECLS
