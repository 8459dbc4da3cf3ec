/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* RFC 3986, section 4.1, but for an empty one, which names nothing. */
gboolean evbus_uri_is_reference (const char *text);

/* Section 3: with a scheme. */
gboolean evbus_uri_is_uri       (const char *text);

G_END_DECLS
