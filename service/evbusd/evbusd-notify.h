/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

void   evbusd_notify              (const char *state);
void   evbusd_notify_starting     (const char *what);
void   evbusd_notify_reloading    (void);
gint64 evbusd_notify_watchdog     (void);

G_END_DECLS
