/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-option-private.h"
#include "evbus-profiles-private.h"

G_BEGIN_DECLS

/* The options "delivery.…" that any profile may have, beside its provider's.
 * (element-type EvbusOption) (transfer none) */
GPtrArray *evbus_delivery_get_options (void);

/* `batch: 100` is short for `batch: {events: 100}`; the long form is made of it
 * in place. @profile: the whole data of a profile. */
void       evbus_delivery_expand      (EvbusNode        *profile);

/* From what evbus_schema_check() has made of a profile. */
void       evbus_delivery_read        (GVariant         *data,
                                       const EvbusPlace *place,
                                       EvbusDelivery    *delivery,
                                       EvbusReport      *report);

/* The same for the top-level key `evbus:`. */
GPtrArray *evbus_settings_get_options (void);
void       evbus_settings_read        (GVariant         *data,
                                       EvbusSettings    *settings);

G_END_DECLS
