/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-ingress.h"
#include "evbus-provider.h"

G_BEGIN_DECLS

/* Loads the plugin with that .plugin file, if it is not loaded yet. It may have
 * anything in it. */
gboolean      evbus_plugin_host_load           (const char     *filename,
                                                GError        **error);

/* Loads the plugin of @provider if it is not loaded yet and makes one ingress
 * object of it. Called on a route's own thread; any number of threads may.
 * EVBUS_ERROR_PLUGIN says what went wrong, in which file. */
EvbusIngress *evbus_plugin_host_create_ingress (EvbusProvider  *provider,
                                                GError        **error);

/* Whether that one has made an ingress before. */
gboolean      evbus_plugin_host_is_proven      (EvbusProvider  *provider);

G_END_DECLS
