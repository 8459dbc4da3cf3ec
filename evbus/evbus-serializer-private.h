/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-serializer.h"

G_BEGIN_DECLS

/* evbus-serializer.c: NULL for any other name. */
EvbusSerializer *evbus_serializer_lookup_builtin      (const char      *name);
/* Adds their names, which are not to be freed. */
void             evbus_serializer_list_builtin        (GPtrArray       *names);

/* evbus-serializer-registry.c: the content type it was registered with, or NULL. */
const char      *evbus_serializer_get_registered_type (EvbusSerializer *self);

G_END_DECLS
