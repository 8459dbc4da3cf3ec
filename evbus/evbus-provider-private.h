/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-provider.h"

G_BEGIN_DECLS

/* @installed: of a .plugin file, not a .provider one. NULL without an error: a
 * plugin, but no provider's. @serializer: the name of the one that the plugin has,
 * or NULL. */
EvbusProvider *evbus_provider_new_from_file   (const char     *filename,
                                               gboolean        installed,
                                               char          **serializer,
                                               GError        **error);

/* The folders, in their order. */
char         **evbus_provider_search_path     (void);

/* All that the search path holds now (EvbusProvider), in its order; a provider
 * that stands twice is there once, as the first folder has it. Shared: not to
 * be changed. */
GPtrArray     *evbus_provider_scan            (void);

/* The serializers of its plugins: name → .plugin file. Shared: not to be changed. */
GHashTable    *evbus_provider_scan_serializers (void);

EvbusProvider *evbus_provider_find_by_name    (GPtrArray      *providers,
                                               const char     *name);

/* By name or alias; NULL with EVBUS_ERROR_NO_PROVIDER where there is no plugin,
 * and EVBUS_ERROR_INVALID_CONFIG where @name is a mistake for a known one. */
EvbusProvider *evbus_provider_find            (GPtrArray      *providers,
                                               const char     *name,
                                               GError        **error);

/* (element-type EvbusOption) (transfer none) */
GPtrArray     *evbus_provider_get_option_array (EvbusProvider *self);

G_END_DECLS
