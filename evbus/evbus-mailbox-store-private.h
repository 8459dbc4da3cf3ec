/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event.h"

G_BEGIN_DECLS

/* What a mailbox holds: events in the order in which they came, overall and
 * for each routing key. Each operation is O(1). No lock: the mailbox has it. */

typedef struct _EvbusMailboxItem EvbusMailboxItem;

/* Exists as long as it has an item or a waiter. */
typedef struct {
  char             *key;
  EvbusMailboxItem *head;
  EvbusMailboxItem *tail;
  GQueue            waiters;      /* the mailbox's business */
} EvbusMailboxQueue;

typedef struct {
  EvbusMailboxItem  *head;
  EvbusMailboxItem  *tail;
  EvbusMailboxItem  *spare;
  guint              n_spare;
  guint              n_events;
  gsize              n_bytes;

  /* Items are sorted by routing key once somebody asked for one: who only
   * ever takes the oldest does not pay for it. */
  gboolean           indexed;
  GHashTable        *queues;
  EvbusMailboxQueue *last_queue;  /* the one used last, or NULL */
} EvbusMailboxStore;

void               evbus_mailbox_store_init         (EvbusMailboxStore *self);
void               evbus_mailbox_store_clear        (EvbusMailboxStore *self);
void               evbus_mailbox_store_append       (EvbusMailboxStore *self,
                                                     EvbusEvent        *event,
                                                     gsize              size,
                                                     const char        *key);
EvbusEvent        *evbus_mailbox_store_take         (EvbusMailboxStore *self,
                                                     const char        *key);
EvbusMailboxQueue *evbus_mailbox_store_find_queue   (EvbusMailboxStore *self,
                                                     const char        *key);
EvbusMailboxQueue *evbus_mailbox_store_ensure_queue (EvbusMailboxStore *self,
                                                     const char        *key);
void               evbus_mailbox_store_drop_queue   (EvbusMailboxStore *self,
                                                     EvbusMailboxQueue *queue);

G_END_DECLS
