/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-event.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_TEMPLATE (evbus_template_get_type ())

typedef struct _EvbusTemplate EvbusTemplate;

EVBUS_AVAILABLE_IN_1_0
GType          evbus_template_get_type (void) G_GNUC_CONST;

EVBUS_AVAILABLE_IN_1_0
EvbusTemplate *evbus_template_new      (const char     *text,
                                        GError        **error);
EVBUS_AVAILABLE_IN_1_0
EvbusTemplate *evbus_template_ref      (EvbusTemplate  *self);
EVBUS_AVAILABLE_IN_1_0
void           evbus_template_unref    (EvbusTemplate  *self);
EVBUS_AVAILABLE_IN_1_0
gboolean       evbus_template_is_fixed (EvbusTemplate  *self);
EVBUS_AVAILABLE_IN_1_0
void           evbus_template_append   (EvbusTemplate  *self,
                                        EvbusEvent     *event,
                                        GString        *string);
EVBUS_AVAILABLE_IN_1_0
void           evbus_template_append_escaped (EvbusTemplate *self,
                                              EvbusEvent    *event,
                                              GString       *string);
EVBUS_AVAILABLE_IN_1_0
char          *evbus_template_expand   (EvbusTemplate  *self,
                                        EvbusEvent     *event);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusTemplate, evbus_template_unref)

G_END_DECLS
