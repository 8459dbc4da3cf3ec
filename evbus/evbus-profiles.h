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

#define EVBUS_TYPE_PROFILES (evbus_profiles_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusProfiles, evbus_profiles, EVBUS, PROFILES, GObject)

EVBUS_AVAILABLE_IN_1_0
EvbusProfiles      *evbus_profiles_new_for_path (const char     *path,
                                                 GError        **error);
EVBUS_AVAILABLE_IN_1_0
EvbusProfiles      *evbus_profiles_new_for_data (const char     *data,
                                                 gssize          length,
                                                 const char     *name,
                                                 GError        **error);
EVBUS_AVAILABLE_IN_1_0
guint               evbus_profiles_get_n_routes (EvbusProfiles  *self);
EVBUS_AVAILABLE_IN_1_0
const char * const *evbus_profiles_get_missing  (EvbusProfiles  *self);
EVBUS_AVAILABLE_IN_1_0
const char * const *evbus_profiles_get_warnings (EvbusProfiles  *self);
EVBUS_AVAILABLE_IN_1_0
void                evbus_profiles_try_plugins_async
                                                (EvbusProfiles  *self,
                                                 GCancellable   *cancellable,
                                                 GAsyncReadyCallback
                                                                 callback,
                                                 gpointer        user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean            evbus_profiles_try_plugins_finish
                                                (EvbusProfiles  *self,
                                                 GAsyncResult   *result,
                                                 GError        **error);

G_END_DECLS
