/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-mailbox.h>
#include <evbus/evbus-template.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_CONTEXT (evbus_context_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusContext, evbus_context, EVBUS, CONTEXT, GObject)

EVBUS_AVAILABLE_IN_1_0
const char    *evbus_context_get_provider  (EvbusContext *self);
EVBUS_AVAILABLE_IN_1_0
const char    *evbus_context_get_profile   (EvbusContext *self);
EVBUS_AVAILABLE_IN_1_0
GVariant      *evbus_context_get_data      (EvbusContext *self);
EVBUS_AVAILABLE_IN_1_0
GVariant      *evbus_context_get_option    (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
const char    *evbus_context_get_string    (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
gboolean       evbus_context_get_boolean   (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
gint64         evbus_context_get_int       (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
double         evbus_context_get_double    (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
EvbusTemplate *evbus_context_get_template  (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
gboolean       evbus_context_has_secret    (EvbusContext *self,
                                            const char   *name);
EVBUS_AVAILABLE_IN_1_0
gint64         evbus_context_get_timeout   (EvbusContext *self);
EVBUS_AVAILABLE_IN_1_0
char          *evbus_context_dup_client_id (EvbusContext *self);
EVBUS_AVAILABLE_IN_1_0
gboolean       evbus_context_wants_tls     (EvbusContext *self);
EVBUS_AVAILABLE_IN_1_0
void           evbus_context_warn_unencrypted (EvbusContext *self,
                                               const char   *host);
EVBUS_AVAILABLE_IN_1_0
void           evbus_context_warn_unverified  (EvbusContext *self,
                                               const char   *host);
EVBUS_AVAILABLE_IN_1_0
EvbusMailbox  *evbus_context_get_mailbox   (EvbusContext *self);

G_END_DECLS
