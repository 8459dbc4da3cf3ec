/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-known-ids-private.h"

#include <string.h>

typedef struct {
  GList        link;       /* in @by_age */
  EvbusKnownId known;
  GQueue       repeats;
  char         id[];
} Entry;

static Entry *
find (EvbusKnownIds *self,
      const char    *id)
{
  return g_hash_table_lookup (self->ids, id);
}

static void
forget (EvbusKnownIds *self,
        Entry         *entry)
{
  gpointer repeat;

  g_hash_table_remove (self->ids, entry->id);
  g_queue_unlink (&self->by_age, &entry->link);
  if (entry->known.replayed != NULL)
    {
      self->n_replayed -= entry->known.replayed->len;
      g_array_unref (entry->known.replayed);
    }
  while ((repeat = g_queue_pop_head (&entry->repeats)) != NULL)
    self->free_repeat (repeat);
  g_free (entry);
}

void
evbus_known_ids_init (EvbusKnownIds  *self,
                      guint           max,
                      GDestroyNotify  free_repeat)
{
  self->ids = g_hash_table_new (g_str_hash, g_str_equal);
  g_queue_init (&self->by_age);
  self->max = max;
  self->free_repeat = free_repeat;
}

void
evbus_known_ids_clear (EvbusKnownIds *self)
{
  while (self->by_age.head != NULL)
    forget (self, self->by_age.head->data);
  g_clear_pointer (&self->ids, g_hash_table_unref);
}

const EvbusKnownId *
evbus_known_ids_find (EvbusKnownIds *self,
                      const char    *id)
{
  Entry *entry = find (self, id);

  return entry != NULL ? &entry->known : NULL;
}

/* One that is not settled stays, or nobody would answer those who wait for it;
 * there are no more of these than the queue can hold. */
static void
make_room (EvbusKnownIds *self)
{
  Entry *oldest;

  while (self->by_age.length + self->n_replayed >= self->max)
    {
      oldest = g_queue_peek_head (&self->by_age);
      if (!oldest->known.settled)
        break;
      forget (self, oldest);
    }
}

void
evbus_known_ids_add (EvbusKnownIds *self,
                     const char    *id,
                     gboolean       settled,
                     gboolean       alone,
                     gint64         seq)
{
  gsize size = strlen (id) + 1;
  Entry *entry;

  make_room (self);

  entry = g_malloc0 (sizeof *entry + size);
  memcpy (entry->id, id, size);
  entry->known.settled = settled;
  entry->known.alone = alone;
  entry->known.seq = seq;
  entry->link.data = entry;
  g_queue_init (&entry->repeats);
  g_hash_table_insert (self->ids, entry->id, entry);
  g_queue_push_tail_link (&self->by_age, &entry->link);
}

void
evbus_known_ids_set_delivered (EvbusKnownIds *self,
                               const char    *id)
{
  Entry *entry = find (self, id);

  if (entry != NULL)
    entry->known.delivered = TRUE;
}

static gint64 *
find_replayed (const EvbusKnownId *known,
               gint64              seq)
{
  for (guint i = 0; known->replayed != NULL && i < known->replayed->len; i++)
    {
      gint64 *at = &g_array_index (known->replayed, gint64, i);

      if (*at == seq)
        return at;
    }

  return NULL;
}

/* Only the event itself is of several routes, any of which may have a dead letter. */
gboolean
evbus_known_ids_replay (EvbusKnownIds *self,
                        const char    *id,
                        gint64         old,
                        gint64         seq)
{
  Entry *entry = find (self, id);
  gint64 *at;

  if (entry == NULL || entry->known.seq == 0 || seq < entry->known.seq)
    return FALSE;
  at = find_replayed (&entry->known, old);
  if (at != NULL)
    {
      *at = seq;
      return TRUE;
    }
  if (old != 0 && old != entry->known.seq)
    return FALSE;

  make_room (self);
  entry = find (self, id);
  if (entry == NULL)
    return FALSE;
  if (entry->known.replayed == NULL)
    entry->known.replayed = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_array_append_val (entry->known.replayed, seq);
  self->n_replayed++;
  return TRUE;
}

void
evbus_known_ids_repeat (EvbusKnownIds *self,
                        const char    *id,
                        gpointer       repeat)
{
  g_queue_push_tail (&find (self, id)->repeats, repeat);
}

void
evbus_known_ids_settle (EvbusKnownIds *self,
                        const char    *id,
                        gboolean       accepted,
                        gint64         seq,
                        GQueue        *repeats)
{
  Entry *entry = find (self, id);
  gpointer repeat;

  if (entry == NULL)
    return;

  while ((repeat = g_queue_pop_head (&entry->repeats)) != NULL)
    g_queue_push_tail (repeats, repeat);
  entry->known.settled = TRUE;
  entry->known.seq = seq;
  if (!accepted)
    forget (self, entry);
}
