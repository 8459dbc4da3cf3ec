/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* How long to wait before the next try, in microseconds: exponential backoff
 * with full jitter, a uniformly random part of min (@max, @min * 2^@failures).
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
 * 2015. @failures counts from 0. At least a millisecond. */
gint64 evbus_retry_delay (guint  failures,
                          gint64 min,
                          gint64 max);

G_END_DECLS
