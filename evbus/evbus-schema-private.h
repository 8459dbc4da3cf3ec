/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-option-private.h"

G_BEGIN_DECLS

/* Checks the mapping @node (NULL or null: empty) against @options (EvbusOption)
 * and fills in the defaults. @open: other keys are allowed at the top. @place
 * is where the lack of a required option is reported. The result is a{sv}, a
 * full reference; what was wrong is in @report and left out of it. */
GVariant   *evbus_schema_check  (GPtrArray        *options,
                                 gboolean          open,
                                 const EvbusNode  *node,
                                 const EvbusPlace *place,
                                 EvbusReport      *report);

/* The value at a name with dots, or NULL. A full reference. */
GVariant   *evbus_schema_lookup (GVariant         *data,
                                 const char       *name);

G_END_DECLS
