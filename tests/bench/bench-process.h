/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

gboolean bench_process_rss       (const char  *pid,
                                  double      *mib,
                                  GError     **error);
gboolean bench_process_wakeups   (const char  *pid,
                                  guint64     *wakeups,
                                  GError     **error);

G_END_DECLS
