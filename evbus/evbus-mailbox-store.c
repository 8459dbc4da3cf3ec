/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-mailbox-store-private.h"

#include <string.h>

/* Items that are kept for reuse, so that a steady flow allocates none. */
#define MAX_SPARE_ITEMS 2048

#define MIN_RING        64
/* A ring that a burst made larger than this goes when it is empty. */
#define MAX_SPARE_RING  4096

struct _EvbusMailboxItem
{
  EvbusMailboxItem  *next;
  EvbusMailboxItem  *prev;
  EvbusMailboxItem  *next_of_key;
  EvbusMailboxQueue *queue;
  EvbusMailboxSlot   slot;
};

static void
queue_free (EvbusMailboxQueue *queue)
{
  g_free (queue->key);
  g_free (queue);
}

void
evbus_mailbox_store_init (EvbusMailboxStore *self)
{
  memset (self, 0, sizeof *self);
  self->queues = g_hash_table_new_full (g_str_hash, g_str_equal,
                                        NULL, (GDestroyNotify) queue_free);
}

/* The ring. */

static void
grow_ring (EvbusMailboxStore *self,
           guint              n_slots)
{
  guint size = MAX (self->ring_size, MIN_RING);
  guint first = MIN (self->n_events, self->ring_size - self->ring_head);
  EvbusMailboxSlot *ring;

  while (size < n_slots)
    size *= 2;

  ring = g_new (EvbusMailboxSlot, size);
  if (self->n_events > 0)
    {
      memcpy (ring, self->ring + self->ring_head, first * sizeof *ring);
      memcpy (ring + first, self->ring, (self->n_events - first) * sizeof *ring);
    }
  g_free (self->ring);
  self->ring = ring;
  self->ring_size = size;
  self->ring_head = 0;
}

static void
append_to_ring (EvbusMailboxStore      *self,
                const EvbusMailboxSlot *slots,
                guint                   n_slots)
{
  guint tail;
  guint first;

  if (self->n_events + n_slots > self->ring_size)
    grow_ring (self, self->n_events + n_slots);

  tail = (self->ring_head + self->n_events) & (self->ring_size - 1);
  first = MIN (n_slots, self->ring_size - tail);
  memcpy (self->ring + tail, slots, first * sizeof *slots);
  memcpy (self->ring, slots + first, (n_slots - first) * sizeof *slots);
}

static guint
take_from_ring (EvbusMailboxStore  *self,
                EvbusEvent        **events,
                guint               n_events)
{
  guint n = MIN (n_events, self->n_events);
  guint i;

  for (i = 0; i < n; i++)
    {
      EvbusMailboxSlot *slot = &self->ring[(self->ring_head + i) & (self->ring_size - 1)];

      /* Who takes it needs it next, and writes its number of references. */
      __builtin_prefetch (slot->event, 1);
      events[i] = slot->event;
      self->n_bytes -= slot->size;
    }

  self->n_events -= n;
  self->ring_head = (self->ring_head + n) & (self->ring_size - 1);
  if (self->n_events == 0 && self->ring_size > MAX_SPARE_RING)
    {
      g_clear_pointer (&self->ring, g_free);
      self->ring_size = 0;
      self->ring_head = 0;
    }

  return n;
}

/* The lists. */

static EvbusMailboxItem *
new_item (EvbusMailboxStore *self)
{
  EvbusMailboxItem *item = self->spare;

  if (item == NULL)
    return g_new (EvbusMailboxItem, 1);

  self->spare = item->next;
  self->n_spare--;
  return item;
}

static void
free_item (EvbusMailboxStore *self,
           EvbusMailboxItem  *item)
{
  if (self->n_spare >= MAX_SPARE_ITEMS)
    {
      g_free (item);
      return;
    }

  item->next = self->spare;
  self->spare = item;
  self->n_spare++;
}

static void
append_to_lists (EvbusMailboxStore      *self,
                 const EvbusMailboxSlot *slot)
{
  EvbusMailboxItem *item = new_item (self);
  EvbusMailboxQueue *queue;

  item->slot = *slot;
  item->next = NULL;
  item->prev = self->tail;
  if (self->tail != NULL)
    self->tail->next = item;
  else
    self->head = item;
  self->tail = item;

  queue = evbus_mailbox_store_ensure_queue (self, evbus_event_get_routing_key (slot->event));
  item->queue = queue;
  item->next_of_key = NULL;
  if (queue->tail != NULL)
    queue->tail->next_of_key = item;
  else
    queue->head = item;
  queue->tail = item;
}

static void
ensure_indexed (EvbusMailboxStore *self)
{
  guint i;

  if (self->indexed)
    return;

  self->indexed = TRUE;
  for (i = 0; i < self->n_events; i++)
    append_to_lists (self, &self->ring[(self->ring_head + i) & (self->ring_size - 1)]);
  g_clear_pointer (&self->ring, g_free);
  self->ring_size = 0;
}

static void
unlink_item (EvbusMailboxStore *self,
             EvbusMailboxItem  *item)
{
  EvbusMailboxQueue *queue = item->queue;

  if (item->prev != NULL)
    item->prev->next = item->next;
  else
    self->head = item->next;
  if (item->next != NULL)
    item->next->prev = item->prev;
  else
    self->tail = item->prev;

  queue->head = item->next_of_key;
  if (queue->head == NULL)
    {
      queue->tail = NULL;
      evbus_mailbox_store_drop_queue (self, queue);
    }
}

/* The oldest of all is also the oldest of its key, so that it is always the
 * head that leaves a queue. */
static EvbusEvent *
take_from_lists (EvbusMailboxStore *self,
                 const char        *key)
{
  EvbusMailboxItem *item = self->head;
  EvbusMailboxQueue *queue;
  EvbusEvent *event;

  if (key != NULL)
    {
      queue = evbus_mailbox_store_find_queue (self, key);
      item = queue != NULL ? queue->head : NULL;
    }
  if (item == NULL)
    return NULL;

  unlink_item (self, item);
  self->n_events--;
  self->n_bytes -= item->slot.size;
  event = item->slot.event;
  free_item (self, item);
  return event;
}

/* Both. */

void
evbus_mailbox_store_append (EvbusMailboxStore      *self,
                            const EvbusMailboxSlot *slots,
                            guint                   n_slots)
{
  guint i;

  if (!self->indexed)
    append_to_ring (self, slots, n_slots);

  for (i = 0; i < n_slots; i++)
    {
      self->n_bytes += slots[i].size;
      if (self->indexed)
        append_to_lists (self, &slots[i]);
    }
  self->n_events += n_slots;
}

guint
evbus_mailbox_store_take (EvbusMailboxStore  *self,
                          const char         *key,
                          EvbusEvent        **events,
                          guint               n_events)
{
  guint n = 0;

  if (key != NULL)
    ensure_indexed (self);
  if (!self->indexed)
    return take_from_ring (self, events, n_events);

  while (n < n_events && (events[n] = take_from_lists (self, key)) != NULL)
    n++;

  return n;
}

EvbusMailboxQueue *
evbus_mailbox_store_find_queue (EvbusMailboxStore *self,
                                const char        *key)
{
  ensure_indexed (self);
  if (self->last_queue == NULL || strcmp (self->last_queue->key, key) != 0)
    self->last_queue = g_hash_table_lookup (self->queues, key);

  return self->last_queue;
}

EvbusMailboxQueue *
evbus_mailbox_store_ensure_queue (EvbusMailboxStore *self,
                                  const char        *key)
{
  EvbusMailboxQueue *queue = evbus_mailbox_store_find_queue (self, key);

  if (queue == NULL)
    {
      queue = g_new0 (EvbusMailboxQueue, 1);
      queue->key = g_strdup (key);
      g_hash_table_insert (self->queues, queue->key, queue);
      self->last_queue = queue;
    }

  return queue;
}

void
evbus_mailbox_store_drop_queue (EvbusMailboxStore *self,
                                EvbusMailboxQueue *queue)
{
  if (queue->head != NULL || queue->waiters.length > 0)
    return;

  if (self->last_queue == queue)
    self->last_queue = NULL;
  g_hash_table_remove (self->queues, queue->key);
}

void
evbus_mailbox_store_clear (EvbusMailboxStore *self)
{
  EvbusMailboxItem *item;
  EvbusEvent *event;

  while (evbus_mailbox_store_take (self, NULL, &event, 1) > 0)
    evbus_event_unref (event);

  while ((item = self->spare) != NULL)
    {
      self->spare = item->next;
      g_free (item);
    }

  g_clear_pointer (&self->ring, g_free);
  g_clear_pointer (&self->queues, g_hash_table_unref);
}
