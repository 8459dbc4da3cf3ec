/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

/* The longest escape, as \u001f. */
#define EVBUS_JSON_ESCAPE_SIZE 6

/* Whether a byte must not stand as it is within a JSON string. DEL may, but
 * readers on a terminal thank us. */
static inline gboolean
evbus_json_needs_escape (guint8 byte)
{
  return byte < 0x20 || byte == '"' || byte == '\\' || byte == 0x7f;
}

gsize evbus_json_escape (guint8 byte,
                         char   escape[EVBUS_JSON_ESCAPE_SIZE]);

gboolean evbus_json_check_body (const guint8  *data,
                                gsize          size,
                                GError       **error);
