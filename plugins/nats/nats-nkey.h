/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

char *nats_nkey_get_public (const char  *seed,
                            GError     **error);

G_END_DECLS
