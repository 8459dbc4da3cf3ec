/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

#define EVBUS_ID_LENGTH 36

/* Writes the 36 characters of a new UUIDv7 and a NUL into @id.
 * @time: microseconds since 1970 UTC. */
void evbus_id_generate (gint64  time,
                        char   *id);

/* Whether @id can serve as an id given by a producer: 1 to EVBUS_MAX_ID_BYTES
 * printable ASCII characters without space. */
gboolean evbus_id_is_valid (const char *id);

G_END_DECLS
