/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <nats/nats.h>

G_BEGIN_DECLS

/* How events become messages. */
typedef struct _NatsFormat NatsFormat;

NatsFormat *nats_format_new           (EvbusContext  *ctx,
                                       GError       **error);
void        nats_format_free          (NatsFormat    *self);
gboolean    nats_format_is_fixed      (NatsFormat    *self);
gboolean    nats_format_fixes_subject (NatsFormat    *self);
const char *nats_format_get_stream    (NatsFormat    *self);
const char *nats_format_get_subject   (NatsFormat    *self,
                                       EvbusEvent    *event);
void        nats_format_trim          (NatsFormat    *self);
void        nats_format_share_stream  (NatsFormat    *self);
gboolean    nats_format_shares_stream (NatsFormat    *self);
natsMsg    *nats_format_make          (NatsFormat    *self,
                                       EvbusEvent    *event,
                                       const char    *reply,
                                       gsize          max_payload,
                                       EvbusOutcome  *outcome,
                                       char         **reason);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (NatsFormat, nats_format_free)

G_END_DECLS
