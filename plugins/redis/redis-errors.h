/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "redis-options.h"

G_BEGIN_DECLS

EvbusOutcome redis_reply_get_outcome   (RedisOptions  *options,
                                        const char    *reply,
                                        const char   **advice);
void         redis_set_reply_error     (RedisOptions  *options,
                                        const char    *reply,
                                        GError       **error);
void         redis_set_connect_error   (RedisOptions  *options,
                                        const GError  *cause,
                                        gboolean       let_in,
                                        GError       **error);

G_END_DECLS
