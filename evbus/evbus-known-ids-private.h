/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The last ids that producers gave, so that a repeated put makes no second
 * event. Bounded: the oldest is forgotten first. An id is *settled* once its
 * event's acceptance is final (in the spool, where there is one); those who repeat
 * it before have to wait for that. */
typedef struct {
  GHashTable     *ids;       /* id → its entry */
  GQueue          by_age;    /* entries */
  guint           max;
  GDestroyNotify  free_repeat;
} EvbusKnownIds;

void     evbus_known_ids_init       (EvbusKnownIds  *self,
                                     guint           max,
                                     GDestroyNotify  free_repeat);
void     evbus_known_ids_clear      (EvbusKnownIds  *self);
gboolean evbus_known_ids_contains   (EvbusKnownIds  *self,
                                     const char     *id);
void     evbus_known_ids_add        (EvbusKnownIds  *self,
                                     const char     *id,
                                     gboolean        settled);
gboolean evbus_known_ids_is_settled (EvbusKnownIds  *self,
                                     const char     *id);
/* Keeps @repeat (taken over) with an id that is not settled. */
void     evbus_known_ids_repeat     (EvbusKnownIds  *self,
                                     const char     *id,
                                     gpointer        repeat);
/* The id is settled, or (@accepted FALSE) its event was not accepted after all
 * and it is forgotten. What was kept with it is moved to @repeats. */
void     evbus_known_ids_settle     (EvbusKnownIds  *self,
                                     const char     *id,
                                     gboolean        accepted,
                                     GQueue         *repeats);

G_END_DECLS
