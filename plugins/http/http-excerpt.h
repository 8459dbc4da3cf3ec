/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

char *http_excerpt_new (const char   *text,
                        EvbusContext *ctx);

G_END_DECLS
