/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-mailbox-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* A blocked push is woken once this many events fit, and not for each that is
 * taken, where the limit is large enough for the difference to matter. */
#define WAKE_EVENTS 64

/**
 * EvbusMailbox:
 *
 * The bounded in-process queues of one route, by routing key.
 *
 * A plugin puts events in ([method@Evbus.Mailbox.push_batch]), a consumer in
 * the same process takes them out: blocking, asynchronously, or only what is
 * there. The `internal` provider is just this; the mailbox of a route is
 * [method@Evbus.Route.get_mailbox].
 *
 * Events leave in the order in which they came, overall and for each routing
 * key. Consumers that wait are served in the order in which they came.
 *
 * All methods may be called from any thread, and from inside callbacks.
 *
 * Since: 1.0
 */

G_DEFINE_FINAL_TYPE (EvbusMailbox, evbus_mailbox, G_TYPE_OBJECT)

EvbusMailboxWaiter *
evbus_mailbox_waiter_new (EvbusMailbox *self,
                          GCancellable *cancellable)
{
  EvbusMailboxWaiter *waiter = g_new0 (EvbusMailboxWaiter, 1);

  g_atomic_ref_count_init (&waiter->ref_count);
  waiter->mailbox = g_object_ref (self);
  waiter->link.data = waiter;
  g_set_object (&waiter->cancellable, cancellable);
  g_cond_init (&waiter->cond);
  return waiter;
}

EvbusMailboxWaiter *
evbus_mailbox_waiter_ref (EvbusMailboxWaiter *waiter)
{
  g_atomic_ref_count_inc (&waiter->ref_count);
  return waiter;
}

void
evbus_mailbox_waiter_unref (EvbusMailboxWaiter *waiter)
{
  if (!g_atomic_ref_count_dec (&waiter->ref_count))
    return;

  g_clear_object (&waiter->cancellable);
  g_clear_object (&waiter->task);
  g_cond_clear (&waiter->cond);
  g_object_unref (waiter->mailbox);
  g_free (waiter);
}

/* @starved: the consumer found nothing, so all that may come must. */
void
evbus_mailbox_wake_pushers_locked (EvbusMailbox *self,
                                   gboolean      starved)
{
  guint enough;

  if (self->n_blocked == 0)
    return;

  enough = !starved && self->max_events >= 16 * WAKE_EVENTS ? WAKE_EVENTS : 1;
  if (self->store.n_events == 0 ||
      (self->store.n_events + enough <= self->max_events && self->store.n_bytes < self->max_bytes))
    g_cond_broadcast (&self->room);
}

void
evbus_mailbox_link_waiter_locked (EvbusMailbox       *self,
                                  EvbusMailboxWaiter *waiter,
                                  const char         *key)
{
  if (key != NULL)
    {
      waiter->queue = evbus_mailbox_store_ensure_queue (&self->store, key);
      g_queue_push_tail_link (&waiter->queue->waiters, &waiter->link);
    }
  else
    {
      g_queue_push_tail_link (&self->waiters, &waiter->link);
    }

  waiter->ticket = self->next_ticket++;
  waiter->waiting = TRUE;
  self->n_waiters++;
  evbus_mailbox_waiter_ref (waiter);
}

EvbusMailboxWaiter *
evbus_mailbox_unlink_waiter_locked (EvbusMailbox       *self,
                                    EvbusMailboxWaiter *waiter)
{
  g_queue_unlink (waiter->queue != NULL ? &waiter->queue->waiters : &self->waiters,
                  &waiter->link);
  waiter->waiting = FALSE;
  self->n_waiters--;
  if (waiter->queue != NULL)
    evbus_mailbox_store_drop_queue (&self->store, g_steal_pointer (&waiter->queue));

  return waiter;
}

static EvbusMailboxWaiter *
first_waiter_locked (EvbusMailbox *self,
                     const char   *key)
{
  EvbusMailboxWaiter *any = g_queue_peek_head (&self->waiters);
  EvbusMailboxWaiter *keyed = NULL;
  EvbusMailboxQueue *queue;

  if (self->store.indexed)
    {
      queue = evbus_mailbox_store_find_queue (&self->store, key);
      keyed = queue != NULL ? g_queue_peek_head (&queue->waiters) : NULL;
    }

  if (any == NULL || keyed == NULL)
    return any != NULL ? any : keyed;

  return any->ticket < keyed->ticket ? any : keyed;
}

/* @event, which is taken over: NULL if there is none and never will be. The
 * waiter is left in @served, to be told outside of the lock: woken under it, a
 * blocking consumer would run into the lock at once. */
static void
serve_locked (EvbusMailbox        *self,
              EvbusMailboxWaiter  *waiter,
              EvbusEvent          *event,
              GPtrArray          **served)
{
  evbus_mailbox_unlink_waiter_locked (self, waiter);
  waiter->served = TRUE;
  waiter->event = event;

  if (*served == NULL)
    *served = g_ptr_array_new ();
  g_ptr_array_add (*served, waiter);
}

/* Takes over @event if somebody waits for it. Where a consumer waits for its
 * key, the mailbox holds nothing of that key. A waiter whose cancellable has
 * fired leaves without the event, which goes to the next: what is handed over
 * is never thrown away. */
gboolean
evbus_mailbox_hand_over_locked (EvbusMailbox  *self,
                                EvbusEvent    *event,
                                GPtrArray    **served)
{
  const char *key = evbus_event_get_routing_key (event);
  EvbusMailboxWaiter *waiter;

  while ((waiter = first_waiter_locked (self, key)) != NULL)
    {
      if (!g_cancellable_is_cancelled (waiter->cancellable))
        {
          serve_locked (self, waiter, event, served);
          return TRUE;
        }

      /* Its cancellation, which is under way, answers it. */
      evbus_mailbox_waiter_unref (evbus_mailbox_unlink_waiter_locked (self, waiter));
    }

  return FALSE;
}

/* Without the lock: a GTask may call back at once. */
void
evbus_mailbox_complete_served (GPtrArray *served)
{
  guint i;

  if (served == NULL)
    return;

  for (i = 0; i < served->len; i++)
    {
      g_autoptr(EvbusMailboxWaiter) waiter = g_ptr_array_index (served, i);

      /* Not g_cancellable_disconnect(), which waits for the handler. That one
       * finds the waiter served if it still runs. */
      if (waiter->cancelled_id != 0)
        g_signal_handler_disconnect (waiter->cancellable, waiter->cancelled_id);
      if (waiter->task == NULL)
        g_cond_signal (&waiter->cond);
      else if (waiter->event != NULL)
        g_task_return_pointer (waiter->task,
                               g_steal_pointer (&waiter->event),
                               (GDestroyNotify) evbus_event_unref);
      else
        g_task_return_new_error (waiter->task, EVBUS_ERROR, EVBUS_ERROR_CLOSED,
                                 EVBUS_MAILBOX_CLOSED_MESSAGE);
    }

  g_ptr_array_unref (served);
}

void
evbus_mailbox_set_closed_error (GError **error)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED, EVBUS_MAILBOX_CLOSED_MESSAGE);
}

static void
evbus_mailbox_finalize (GObject *object)
{
  EvbusMailbox *self = EVBUS_MAILBOX (object);

  evbus_mailbox_store_clear (&self->store);
  g_cond_clear (&self->room);
  g_mutex_clear (&self->lock);

  G_OBJECT_CLASS (evbus_mailbox_parent_class)->finalize (object);
}

static void
evbus_mailbox_class_init (EvbusMailboxClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_mailbox_finalize;
}

static void
evbus_mailbox_init (EvbusMailbox *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->room);
  g_queue_init (&self->waiters);
  self->max_events = EVBUS_DEFAULT_QUEUE_EVENTS;
  self->max_bytes = EVBUS_DEFAULT_QUEUE_BYTES;
  evbus_mailbox_store_init (&self->store);
}

/**
 * evbus_mailbox_new:
 *
 * Makes an empty mailbox of at most 65,536 events and 64 MiB. Routes have one
 * already; this is for tests and for uses outside of a broker.
 *
 * Returns: (transfer full): a new mailbox
 *
 * Since: 1.0
 */
EvbusMailbox *
evbus_mailbox_new (void)
{
  return g_object_new (EVBUS_TYPE_MAILBOX, NULL);
}

/**
 * evbus_mailbox_set_limits:
 * @self: a mailbox
 * @max_events: events that may wait in it, at least 1
 * @max_bytes: bytes that their bodies may have in total, at least 1
 *
 * Bounds what waits in the mailbox. What is in it already stays. An event
 * larger than @max_bytes passes when the mailbox is empty.
 *
 * Since: 1.0
 */
void
evbus_mailbox_set_limits (EvbusMailbox *self,
                          guint         max_events,
                          gsize         max_bytes)
{
  g_return_if_fail (EVBUS_IS_MAILBOX (self));
  g_return_if_fail (max_events > 0);
  g_return_if_fail (max_bytes > 0);

  g_mutex_lock (&self->lock);
  self->max_events = max_events;
  self->max_bytes = max_bytes;
  evbus_mailbox_wake_pushers_locked (self, TRUE);
  g_mutex_unlock (&self->lock);
}

static void
collect_waiters (GQueue    *waiters,
                 GPtrArray *all)
{
  GList *l;

  for (l = waiters->head; l != NULL; l = l->next)
    g_ptr_array_add (all, l->data);
}

void
evbus_mailbox_close (EvbusMailbox *self)
{
  g_autoptr(GPtrArray) all = g_ptr_array_new ();
  GPtrArray *served = g_ptr_array_new ();
  GHashTableIter iter;
  gpointer queue;
  guint i;

  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  g_cond_broadcast (&self->room);

  collect_waiters (&self->waiters, all);
  g_hash_table_iter_init (&iter, self->store.queues);
  while (g_hash_table_iter_next (&iter, NULL, &queue))
    collect_waiters (&((EvbusMailboxQueue *) queue)->waiters, all);

  for (i = 0; i < all->len; i++)
    serve_locked (self, g_ptr_array_index (all, i), NULL, &served);
  g_mutex_unlock (&self->lock);

  evbus_mailbox_complete_served (served);
}

/**
 * evbus_mailbox_get_length:
 * @self: a mailbox
 *
 * Counts what waits.
 *
 * Returns: the number of events that wait in the mailbox now
 *
 * Since: 1.0
 */
guint
evbus_mailbox_get_length (EvbusMailbox *self)
{
  guint length;

  g_return_val_if_fail (EVBUS_IS_MAILBOX (self), 0);

  g_mutex_lock (&self->lock);
  length = self->store.n_events;
  g_mutex_unlock (&self->lock);

  return length;
}
