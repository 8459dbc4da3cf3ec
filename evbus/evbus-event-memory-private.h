/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct _EvbusEventBlock EvbusEventBlock;

gpointer evbus_event_memory_new  (gsize             size,
                                  EvbusEventBlock **block);
void     evbus_event_memory_free (gpointer          memory,
                                  EvbusEventBlock  *block);

G_END_DECLS
