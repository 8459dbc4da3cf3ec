/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A source that sleeps until it is woken or its ready time comes. It calls
 * @func (@data) and goes back to sleep first, so that a wake-up while @func
 * runs is not lost. */
GSource *evbus_source_new  (const char     *name,
                            GSourceFunc     func,
                            gpointer        data,
                            GDestroyNotify  destroy);

/* From any thread. */
void     evbus_source_wake (GSource        *source);

G_END_DECLS
