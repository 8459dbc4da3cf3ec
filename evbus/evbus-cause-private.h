/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What the calling thread puts from now on is caused by an event of @hops. */
void  evbus_cause_set   (guint hops);
void  evbus_cause_clear (void);

/* The hops that an event put now, on this thread, must carry. */
guint evbus_cause_next_hops (void);

G_END_DECLS
