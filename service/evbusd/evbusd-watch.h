/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* Whether a connection leaves the bus, or has left it, on GDBus's worker thread. */
typedef struct _EvbusdWatch EvbusdWatch;

typedef void (* EvbusdGone) (gpointer user_data);

EvbusdWatch *evbusd_watch_new  (GDBusConnection *connection,
                                const char      *name,
                                EvbusdGone       gone,
                                gpointer         user_data);
void         evbusd_watch_free (EvbusdWatch     *self);

G_END_DECLS
