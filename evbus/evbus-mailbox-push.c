/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-mailbox-private.h"

#include "evbus-batch-private.h"
#include "evbus-error.h"
#include "evbus-event-private.h"

/* Batches up to this size need no allocation. */
#define STACK_SLOTS 256

/* Events are fetched from memory this far ahead of their turn. */
#define FETCH_AHEAD 8

/* What is to be pushed: the events of a batch, or one. */
typedef struct {
  EvbusBatch       *batch;     /* NULL: there is nothing to confirm */
  EvbusMailboxSlot *slots;     /* own a reference each, from n_taken on */
  guint             n_events;
  gsize             n_bytes;   /* of all of them */
  guint             n_taken;
} Push;

/* An event always fits into an empty mailbox, or it could never pass. */
static gboolean
fits_locked (EvbusMailbox *self,
             gsize         size)
{
  return self->store.n_events == 0 ||
         (self->store.n_events < self->max_events &&
          size <= self->max_bytes && self->store.n_bytes <= self->max_bytes - size);
}

static gboolean
all_fit_locked (EvbusMailbox *self,
                Push         *push)
{
  return push->n_events <= self->max_events &&
         self->store.n_events <= self->max_events - push->n_events &&
         push->n_bytes <= self->max_bytes &&
         self->store.n_bytes <= self->max_bytes - push->n_bytes;
}

/* Takes what fits. Returns: whether that is all. */
static gboolean
push_some_locked (EvbusMailbox  *self,
                  Push          *push,
                  GPtrArray    **served)
{
  if (push->n_taken == 0 && self->n_waiters == 0 && all_fit_locked (self, push))
    {
      evbus_mailbox_store_append (&self->store, push->slots, push->n_events);
      push->n_taken = push->n_events;
      return TRUE;
    }

  for (; push->n_taken < push->n_events; push->n_taken++)
    {
      EvbusMailboxSlot *slot = &push->slots[push->n_taken];

      if (self->n_waiters > 0 &&
          evbus_mailbox_hand_over_locked (self, slot->event, served))
        continue;

      if (!fits_locked (self, slot->size))
        return FALSE;

      evbus_mailbox_store_append (&self->store, slot, 1);
    }

  return TRUE;
}

static void
on_push_cancelled (GCancellable *cancellable,
                   EvbusMailbox *self)
{
  g_mutex_lock (&self->lock);
  g_cond_broadcast (&self->room);
  g_mutex_unlock (&self->lock);
}

static void
confirm_taken (Push  *push,
               guint *n_confirmed)
{
  if (push->batch == NULL)
    return;

  if (*n_confirmed == 0 && push->n_taken == push->n_events)
    {
      evbus_batch_confirm_all (push->batch);
      *n_confirmed = push->n_taken;
      return;
    }

  for (; *n_confirmed < push->n_taken; (*n_confirmed)++)
    evbus_batch_confirm (push->batch, *n_confirmed);
}

static void
set_full_error_locked (EvbusMailbox  *self,
                       Push          *push,
                       GError       **error)
{
  const char *key = evbus_event_get_routing_key (push->slots[push->n_taken].event);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT,
               "The mailbox is full and nobody took from it in time: %u of %u events, "
               "%" G_GSIZE_FORMAT " of %" G_GSIZE_FORMAT " bytes; the next is for '%s'. "
               "Take events faster, or raise max_events or max_bytes",
               self->store.n_events, self->max_events,
               self->store.n_bytes, self->max_bytes, key);
}

/* Waits until something was taken. Returns: whether to go on. */
static gboolean
push_more_locked (EvbusMailbox  *self,
                  Push          *push,
                  GCancellable  *cancellable,
                  GPtrArray    **served,
                  GError       **error)
{
  guint before = push->n_taken;
  gboolean all;

  while (!self->closed)
    {
      all = push_some_locked (self, push, served);
      if (all)
        return FALSE;

      if (g_cancellable_is_cancelled (cancellable))
        {
          set_full_error_locked (self, push, error);
          return FALSE;
        }

      if (push->n_taken > before)
        return TRUE;

      self->n_blocked++;
      g_cond_wait (&self->room, &self->lock);
      self->n_blocked--;
    }

  evbus_mailbox_set_closed_error (error);
  return FALSE;
}

/* Confirms as it goes, so that what was taken shows at once. */
static gboolean
push_blocking (EvbusMailbox  *self,
               Push          *push,
               guint         *n_confirmed,
               GCancellable  *cancellable,
               GError       **error)
{
  gboolean more;
  gulong handler = 0;

  /* Disconnected by g_signal_handler_disconnect(), which does not wait for a
   * handler that waits for our lock. */
  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_push_cancelled),
                                     g_object_ref (self), g_object_unref);

  do
    {
      GPtrArray *served = NULL;

      g_mutex_lock (&self->lock);
      more = push_more_locked (self, push, cancellable, &served, error);
      g_mutex_unlock (&self->lock);

      evbus_mailbox_complete_served (served);
      confirm_taken (push, n_confirmed);
    }
  while (more);

  if (handler != 0)
    g_signal_handler_disconnect (cancellable, handler);

  return push->n_taken == push->n_events;
}

static gboolean
push_all (EvbusMailbox  *self,
          Push          *push,
          GCancellable  *cancellable,
          GError       **error)
{
  GPtrArray *served = NULL;
  guint n_confirmed = 0;
  gboolean closed;
  gboolean all = FALSE;
  guint i;

  g_mutex_lock (&self->lock);
  closed = self->closed;
  if (!closed)
    all = push_some_locked (self, push, &served);
  g_mutex_unlock (&self->lock);

  evbus_mailbox_complete_served (served);
  confirm_taken (push, &n_confirmed);
  if (closed)
    evbus_mailbox_set_closed_error (error);

  if (!all && !closed)
    all = push_blocking (self, push, &n_confirmed, cancellable, error);

  for (i = push->n_taken; i < push->n_events; i++)
    evbus_event_unref (push->slots[i].event);

  return all;
}

/* Before the lock: this may have to fetch the event from memory. */
static void
push_add (Push       *push,
          EvbusEvent *event,
          const char *routing_key)
{
  EvbusMailboxSlot *slot = &push->slots[push->n_events++];

  slot->event = routing_key == NULL ? evbus_event_ref (event)
                                    : evbus_event_with_routing_key (event, routing_key);
  evbus_event_get_data (event, &slot->size);
  push->n_bytes += slot->size;
}

/**
 * evbus_mailbox_push_batch:
 * @self: a mailbox
 * @batch: the events, none of which is marked yet
 * @routing_key: (nullable): the routing key that consumers see and find them
 *   by, or %NULL for each event's own
 * @cancellable: (nullable): ends the wait for room
 * @error: return location for a [error@Evbus.Error]
 *
 * Puts all events of @batch into the mailbox, in order, and confirms each one
 * that it took. Blocks while the mailbox is full: until a consumer makes room,
 * or until @cancellable fires. Then the error is %EVBUS_ERROR_TRANSIENT, and
 * what was taken stays taken and confirmed.
 *
 * Returns: %TRUE if all events were taken
 *
 * Since: 1.0
 */
gboolean
evbus_mailbox_push_batch (EvbusMailbox  *self,
                          EvbusBatch    *batch,
                          const char    *routing_key,
                          GCancellable  *cancellable,
                          GError       **error)
{
  EvbusMailboxSlot stack[STACK_SLOTS];
  g_autofree EvbusMailboxSlot *heap = NULL;
  Push push = { .batch = batch, .slots = stack };
  EvbusEvent **events;
  guint n_events;
  guint i;

  g_return_val_if_fail (EVBUS_IS_MAILBOX (self), FALSE);
  g_return_val_if_fail (EVBUS_IS_BATCH (batch), FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);

  n_events = evbus_batch_get_n_events (batch);
  if (n_events > STACK_SLOTS)
    push.slots = heap = g_new (EvbusMailboxSlot, n_events);
  events = evbus_batch_peek_events (batch);
  for (i = 0; i < n_events; i++)
    {
      if (i + FETCH_AHEAD < n_events)
        __builtin_prefetch (events[i + FETCH_AHEAD], 1);
      push_add (&push, events[i], routing_key);
    }

  return push_all (self, &push, cancellable, error);
}

/**
 * evbus_mailbox_push:
 * @self: a mailbox
 * @event: an event
 * @routing_key: (nullable): the routing key that consumers see and find it
 *   by, or %NULL for its own
 * @cancellable: (nullable): ends the wait for room
 * @error: return location for a [error@Evbus.Error]
 *
 * Puts one event into the mailbox, like [method@Evbus.Mailbox.push_batch],
 * but confirms nothing: for a plugin that takes some events of a batch only.
 *
 * Returns: %TRUE if the event was taken
 *
 * Since: 1.0
 */
gboolean
evbus_mailbox_push (EvbusMailbox  *self,
                    EvbusEvent    *event,
                    const char    *routing_key,
                    GCancellable  *cancellable,
                    GError       **error)
{
  EvbusMailboxSlot slot;
  Push push = { .slots = &slot };

  g_return_val_if_fail (EVBUS_IS_MAILBOX (self), FALSE);
  g_return_val_if_fail (event != NULL, FALSE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), FALSE);

  push_add (&push, event, routing_key);
  return push_all (self, &push, cancellable, error);
}
