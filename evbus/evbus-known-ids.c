/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-known-ids-private.h"

void
evbus_known_ids_init (EvbusKnownIds *self,
                      guint          max)
{
  self->ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_queue_init (&self->by_age);
  self->max = max;
}

void
evbus_known_ids_clear (EvbusKnownIds *self)
{
  g_queue_clear (&self->by_age);
  g_clear_pointer (&self->ids, g_hash_table_unref);
}

gboolean
evbus_known_ids_contains (EvbusKnownIds *self,
                          const char    *id)
{
  return g_hash_table_contains (self->ids, id);
}

void
evbus_known_ids_add (EvbusKnownIds *self,
                     const char    *id)
{
  char *copy = g_strdup (id);

  if (self->by_age.length == self->max)
    g_hash_table_remove (self->ids, g_queue_pop_head (&self->by_age));

  g_hash_table_add (self->ids, copy);
  g_queue_push_tail (&self->by_age, copy);
}
