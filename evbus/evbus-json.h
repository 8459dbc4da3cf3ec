/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <glib.h>
#include <evbus/evbus-version-macros.h>

G_BEGIN_DECLS

EVBUS_AVAILABLE_IN_1_0
gboolean evbus_json_validate       (const guint8  *data,
                                    gsize          size,
                                    GError       **error);
EVBUS_AVAILABLE_IN_1_0
gboolean evbus_json_append_compact (GString       *string,
                                    const guint8  *data,
                                    gsize          size,
                                    GError       **error);
EVBUS_AVAILABLE_IN_1_0
void     evbus_json_append_string  (GString       *string,
                                    const char    *text,
                                    gssize         length);
EVBUS_AVAILABLE_IN_1_0
void     evbus_json_append_base64  (GString       *string,
                                    const guint8  *data,
                                    gsize          size);

G_END_DECLS
