/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-mailbox.h"
#include "evbus-mailbox-store-private.h"

G_BEGIN_DECLS

/* For a route that is gone for good: nothing more comes in, and a consumer
 * that finds nothing left gets EVBUS_ERROR_CLOSED instead of waiting for ever;
 * those who wait get it now. From any thread; twice is harmless. */
void evbus_mailbox_close (EvbusMailbox *self);

/* The rest is for the files of the mailbox alone: -mailbox.c has the object
 * and those who wait, -mailbox-push.c the way in, -mailbox-get.c the way out. */

#define EVBUS_MAILBOX_CLOSED_MESSAGE \
  "The mailbox is closed: its route was removed or the broker stopped"

typedef struct _EvbusMailboxWaiter EvbusMailboxWaiter;

/* A consumer that found nothing. Either on a GTask or in a blocking get. */
struct _EvbusMailboxWaiter
{
  gatomicrefcount    ref_count;
  EvbusMailbox      *mailbox;
  GCancellable      *cancellable;
  EvbusMailboxQueue *queue;       /* NULL: any routing key */
  GList              link;        /* in the waiters of `queue`, or of the mailbox */
  guint64            ticket;      /* who came first */
  gboolean           waiting;     /* is linked */
  gboolean           served;      /* got its answer, or is about to; under the mailbox's lock */
  EvbusEvent        *event;       /* what it was given */
  GTask             *task;        /* NULL: blocking */
  gulong             cancelled_id; /* the handler that ends the task; under the mailbox's lock, and then
                                    * of whoever set @served */
  GCond              cond;        /* of a blocking one */
};

struct _EvbusMailbox
{
  GObject            parent_instance;

  GMutex             lock;
  GCond              room;
  guint              n_blocked;    /* pushes that wait for room */

  guint              max_events;
  gsize              max_bytes;
  gboolean           closed;
  EvbusMailboxStore  store;

  GQueue             waiters;      /* for any routing key */
  guint              n_waiters;    /* for any or one */
  guint64            next_ticket;
};

EvbusMailboxWaiter *evbus_mailbox_waiter_new          (EvbusMailbox        *self,
                                                       GCancellable        *cancellable);
EvbusMailboxWaiter *evbus_mailbox_waiter_ref          (EvbusMailboxWaiter  *waiter);
void                evbus_mailbox_waiter_unref        (EvbusMailboxWaiter  *waiter);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusMailboxWaiter, evbus_mailbox_waiter_unref)

void                evbus_mailbox_link_waiter_locked  (EvbusMailbox        *self,
                                                       EvbusMailboxWaiter  *waiter,
                                                       const char          *key);
/* Hands the reference of the list to the caller. */
EvbusMailboxWaiter *evbus_mailbox_unlink_waiter_locked (EvbusMailbox       *self,
                                                       EvbusMailboxWaiter  *waiter);
gboolean            evbus_mailbox_hand_over_locked    (EvbusMailbox        *self,
                                                       EvbusEvent          *event,
                                                       GPtrArray          **served);
void                evbus_mailbox_complete_served     (GPtrArray           *served);
void                evbus_mailbox_wake_pushers_locked (EvbusMailbox        *self,
                                                       gboolean             starved);
void                evbus_mailbox_set_closed_error    (GError             **error);

G_END_DECLS
