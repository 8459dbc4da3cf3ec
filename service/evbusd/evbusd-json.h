/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

GVariant *evbusd_json_to_variant (const guint8 *data,
                                  gsize         size);

G_END_DECLS
