/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

char          *evbusd_config_find (const char *given,
                                   gboolean    system);
char          *evbusd_config_find_spool (gboolean system);
EvbusProfiles *evbusd_config_load (const char *path,
                                   GError    **error);

G_END_DECLS
