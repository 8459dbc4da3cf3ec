/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event.h"

G_BEGIN_DECLS

/* What a mailbox holds: events in the order in which they came, overall and
 * for each routing key. No lock: the mailbox has it.
 *
 * As long as nobody asked for a routing key, the events stand in a ring, and
 * neither coming nor going touches them: they are cold in the other core's
 * cache, and the lock would be held for that long. From the first question on
 * they stand in lists, one over all and one for each routing key. */

typedef struct {
  EvbusEvent *event;
  gsize       size;     /* of its body */
} EvbusMailboxSlot;

typedef struct _EvbusMailboxItem EvbusMailboxItem;

/* Exists as long as it has an item or a waiter. */
typedef struct {
  char             *key;
  EvbusMailboxItem *head;
  EvbusMailboxItem *tail;
  GQueue            waiters;      /* the mailbox's business */
} EvbusMailboxQueue;

typedef struct {
  guint              n_events;
  gsize              n_bytes;

  EvbusMailboxSlot  *ring;
  guint              ring_size;   /* a power of two, or 0 */
  guint              ring_head;

  gboolean           indexed;
  EvbusMailboxItem  *head;
  EvbusMailboxItem  *tail;
  EvbusMailboxItem  *spare;
  guint              n_spare;
  GHashTable        *queues;
  EvbusMailboxQueue *last_queue;  /* the one used last, or NULL */
} EvbusMailboxStore;

void               evbus_mailbox_store_init         (EvbusMailboxStore      *self);
void               evbus_mailbox_store_clear        (EvbusMailboxStore      *self);
/* Takes over the references. */
void               evbus_mailbox_store_append       (EvbusMailboxStore      *self,
                                                     const EvbusMailboxSlot *slots,
                                                     guint                   n_slots);
/* The oldest of @key, or of all. Returns: how many, at most @n_events. */
guint              evbus_mailbox_store_take         (EvbusMailboxStore      *self,
                                                     const char             *key,
                                                     EvbusEvent            **events,
                                                     guint                   n_events);
EvbusMailboxQueue *evbus_mailbox_store_find_queue   (EvbusMailboxStore      *self,
                                                     const char             *key);
EvbusMailboxQueue *evbus_mailbox_store_ensure_queue (EvbusMailboxStore      *self,
                                                     const char             *key);
/* If it has neither items nor waiters. */
void               evbus_mailbox_store_drop_queue   (EvbusMailboxStore      *self,
                                                     EvbusMailboxQueue      *queue);

G_END_DECLS
