/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-provider.h"

G_BEGIN_DECLS

/* All that the search path holds now (EvbusProvider), in its order; a provider
 * that stands twice is there once, as the first folder has it. */
GPtrArray     *evbus_provider_scan            (void);

/* By name or alias; NULL with EVBUS_ERROR_NO_PROVIDER where there is no plugin,
 * and EVBUS_ERROR_INVALID_CONFIG where @name is a mistake for a known one. */
EvbusProvider *evbus_provider_find            (GPtrArray      *providers,
                                               const char     *name,
                                               GError        **error);

/* (element-type EvbusOption) (transfer none) */
GPtrArray     *evbus_provider_get_option_array (EvbusProvider *self);

G_END_DECLS
