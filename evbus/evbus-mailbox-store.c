/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-mailbox-store-private.h"

/* Items that are kept for reuse, so that a steady flow allocates none. */
#define MAX_SPARE_ITEMS 2048

struct _EvbusMailboxItem
{
  EvbusMailboxItem  *next;
  EvbusMailboxItem  *prev;
  EvbusMailboxItem  *next_of_key;  /* set while the store is indexed */
  EvbusMailboxQueue *queue;        /* likewise */
  EvbusEvent        *event;
  gsize              size;
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

static void
index_item (EvbusMailboxStore *self,
            EvbusMailboxItem  *item,
            const char        *key)
{
  EvbusMailboxQueue *queue = evbus_mailbox_store_ensure_queue (self, key);

  item->queue = queue;
  item->next_of_key = NULL;
  if (queue->tail != NULL)
    queue->tail->next_of_key = item;
  else
    queue->head = item;
  queue->tail = item;
}

/* Until now no item had a routing key other than its event's own. */
static void
ensure_indexed (EvbusMailboxStore *self)
{
  EvbusMailboxItem *item;

  if (self->indexed)
    return;

  self->indexed = TRUE;
  for (item = self->head; item != NULL; item = item->next)
    index_item (self, item, evbus_event_get_routing_key (item->event));
}

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

/* @key: NULL for the event's own. */
void
evbus_mailbox_store_append (EvbusMailboxStore *self,
                            EvbusEvent        *event,
                            gsize              size,
                            const char        *key)
{
  EvbusMailboxItem *item;

  if (key != NULL)
    ensure_indexed (self);

  item = new_item (self);
  item->event = evbus_event_ref (event);
  item->size = size;
  item->next = NULL;
  item->prev = self->tail;
  if (self->tail != NULL)
    self->tail->next = item;
  else
    self->head = item;
  self->tail = item;
  self->n_events++;
  self->n_bytes += size;

  if (self->indexed)
    index_item (self, item, key != NULL ? key : evbus_event_get_routing_key (event));
}

static void
unlink_item (EvbusMailboxStore *self,
             EvbusMailboxItem  *item)
{
  if (item->prev != NULL)
    item->prev->next = item->next;
  else
    self->head = item->next;
  if (item->next != NULL)
    item->next->prev = item->prev;
  else
    self->tail = item->prev;
  self->n_events--;
  self->n_bytes -= item->size;
}

/* The oldest of @key, or of all. The oldest of all is also the oldest of its
 * key, so that it is always the head that leaves a queue. */
EvbusEvent *
evbus_mailbox_store_take (EvbusMailboxStore *self,
                          const char        *key)
{
  EvbusMailboxItem *item = self->head;
  EvbusMailboxQueue *queue = NULL;
  EvbusEvent *event;

  if (key != NULL)
    {
      queue = evbus_mailbox_store_find_queue (self, key);
      item = queue != NULL ? queue->head : NULL;
    }
  if (item == NULL)
    return NULL;

  unlink_item (self, item);
  if (self->indexed)
    {
      queue = item->queue;
      queue->head = item->next_of_key;
      if (queue->head == NULL)
        {
          queue->tail = NULL;
          evbus_mailbox_store_drop_queue (self, queue);
        }
    }

  event = item->event;
  free_item (self, item);
  return event;
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

/* If it has neither items nor waiters. */
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

  while (self->head != NULL)
    evbus_event_unref (evbus_mailbox_store_take (self, NULL));

  while ((item = self->spare) != NULL)
    {
      self->spare = item->next;
      g_free (item);
    }

  g_clear_pointer (&self->queues, g_hash_table_unref);
}
