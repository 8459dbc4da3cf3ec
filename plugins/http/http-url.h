/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "http-options.h"

G_BEGIN_DECLS

gboolean http_url_read   (HttpOptions   *options,
                          EvbusContext  *ctx,
                          char         **host_header,
                          GError       **error);
gboolean http_url_append (HttpOptions   *options,
                          EvbusEvent    *event,
                          GString       *url,
                          char         **reason);

G_END_DECLS
