/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Durations: text such as "500ms", "30s", "7d", or a bare number of seconds;
 * in microseconds. Sizes: "64KiB", "16MiB", or a bare number of bytes. FALSE:
 * not such a text, negative, or past 2^53 (of which a double keeps each). */
gboolean evbus_parse_duration        (const char *text,
                                      gint64     *microseconds);
gboolean evbus_parse_size            (const char *text,
                                      gint64     *bytes);
gboolean evbus_duration_from_seconds (double      seconds,
                                      gint64     *microseconds);

/* The shortest text that the functions above read back to the same. */
char    *evbus_format_duration       (gint64      microseconds);
char    *evbus_format_size           (gint64      bytes);

G_END_DECLS
