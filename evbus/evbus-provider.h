/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <gio/gio.h>
#include <evbus/evbus-version-macros.h>

G_BEGIN_DECLS

/* EvbusOption: one option of a provider, as its .plugin file describes it. */

#define EVBUS_TYPE_OPTION (evbus_option_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusOption, evbus_option, EVBUS, OPTION, GObject)

EVBUS_AVAILABLE_IN_1_0
const char         *evbus_option_get_name         (EvbusOption *self);
EVBUS_AVAILABLE_IN_1_0
const char         *evbus_option_get_kind         (EvbusOption *self);
EVBUS_AVAILABLE_IN_1_0
const char         *evbus_option_get_help         (EvbusOption *self);
EVBUS_AVAILABLE_IN_1_0
char               *evbus_option_describe_range   (EvbusOption *self);
EVBUS_AVAILABLE_IN_1_0
GVariant           *evbus_option_get_default      (EvbusOption *self);
EVBUS_AVAILABLE_IN_1_0
gboolean            evbus_option_get_required     (EvbusOption *self);
EVBUS_AVAILABLE_IN_1_0
gboolean            evbus_option_get_secret       (EvbusOption *self);

/* EvbusProvider: what is known of a plugin without running it. */

#define EVBUS_TYPE_PROVIDER (evbus_provider_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusProvider, evbus_provider, EVBUS, PROVIDER, GObject)

EVBUS_AVAILABLE_IN_1_0
GListModel         *evbus_provider_list           (void);
EVBUS_AVAILABLE_IN_1_0
EvbusProvider      *evbus_provider_lookup         (const char     *name,
                                                   GError        **error);
EVBUS_AVAILABLE_IN_1_0
const char         *evbus_provider_get_name       (EvbusProvider  *self);
EVBUS_AVAILABLE_IN_1_0
const char * const *evbus_provider_get_aliases    (EvbusProvider  *self);
EVBUS_AVAILABLE_IN_1_0
const char         *evbus_provider_get_description (EvbusProvider *self);
EVBUS_AVAILABLE_IN_1_0
const char         *evbus_provider_get_example    (EvbusProvider  *self);
EVBUS_AVAILABLE_IN_1_0
const char         *evbus_provider_get_filename   (EvbusProvider  *self);
EVBUS_AVAILABLE_IN_1_0
GListModel         *evbus_provider_get_options    (EvbusProvider  *self);

G_END_DECLS
