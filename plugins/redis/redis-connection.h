/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <hiredis/hiredis.h>

#include "redis-options.h"

G_BEGIN_DECLS

/* One connection, plain or with TLS, to which bytes are written and from which
 * replies are read. It notices between two calls that the server has closed it. */
typedef struct _RedisConnection RedisConnection;

RedisConnection *redis_connection_new       (RedisOptions     *options,
                                             EvbusContext     *ctx,
                                             GCancellable     *cancellable,
                                             GError          **error);
void             redis_connection_free      (RedisConnection  *self);
gboolean         redis_connection_is_open   (RedisConnection  *self);
gboolean         redis_connection_write     (RedisConnection  *self,
                                             GString          *data,
                                             GCancellable     *cancellable,
                                             GError          **error);
redisReply      *redis_connection_read      (RedisConnection  *self,
                                             GCancellable     *cancellable,
                                             GError          **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (RedisConnection, redis_connection_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (redisReply, freeReplyObject)

G_END_DECLS
