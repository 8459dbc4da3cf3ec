/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The last ids that producers gave, so that a repeated put makes no second
 * event. Bounded: the oldest is forgotten first. */
typedef struct {
  GHashTable *ids;
  GQueue      by_age;
  guint       max;
} EvbusKnownIds;

void     evbus_known_ids_init     (EvbusKnownIds *self,
                                   guint          max);
void     evbus_known_ids_clear    (EvbusKnownIds *self);
gboolean evbus_known_ids_contains (EvbusKnownIds *self,
                                   const char    *id);
void     evbus_known_ids_add      (EvbusKnownIds *self,
                                   const char    *id);

G_END_DECLS
