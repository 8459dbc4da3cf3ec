/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "redis-options.h"

G_BEGIN_DECLS

gboolean redis_tls_wrap (GIOStream     **stream,
                         RedisOptions   *options,
                         EvbusContext   *ctx,
                         GCancellable   *cancellable,
                         GError        **error);

G_END_DECLS
