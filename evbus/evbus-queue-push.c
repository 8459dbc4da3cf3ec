/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What is accepted goes into the last chunk of the queue, or into a new one. */

#include "evbus-admission-private.h"

#include "evbus-limits-private.h"
#include "evbus-route-private.h"

#define MIN_CHUNK_EVENTS 8u
#define MAX_CHUNK_EVENTS 256u

/* A route takes a chunk into its window as a whole, and the spool stores it in
 * one transaction. */
#define MAX_CHUNK_BYTES (1024u * 1024u)

static void
count_unrouted (EvbusQueue *self,
                EvbusEvent *event)
{
  self->unrouted++;
  self->figures_moved = self->totals_moved = TRUE;

  if (g_hash_table_size (self->unrouted_names) < EVBUS_UNROUTED_NAMES &&
      !g_hash_table_contains (self->unrouted_names, event->profile))
    {
      g_hash_table_add (self->unrouted_names, g_strdup (event->profile));
      g_ptr_array_add (self->to_log, g_strdup (event->profile));
    }
}

/* Chunks grow while the listener does not keep up, so that a single event
 * does not pay for many. */
static guint
next_chunk_size (EvbusQueue *self)
{
  guint size = self->open != NULL ? 4 * self->open->n_events : MIN_CHUNK_EVENTS;

  return CLAMP (size, MIN_CHUNK_EVENTS, MAX_CHUNK_EVENTS);
}

static void
append_event (EvbusQueue *self,
              EvbusEvent *event,
              gboolean    goes_on)
{
  EvbusRouteSet *set = g_steal_pointer (&event->set);

  if (self->open != NULL && self->open->set == set &&
      self->open->n_events < self->open->n_allocated &&
      self->open->weight + event->weight <= MAX_CHUNK_BYTES)
    {
      evbus_route_set_release (set, 1, self->garbage);   /* the chunk has one */
    }
  else
    {
      if (goes_on)
        self->open->goes_on = TRUE;
      self->open = evbus_chunk_new (set, next_chunk_size (self));
      g_async_queue_push_unlocked (self->chunks, self->open);
    }

  evbus_chunk_append (self->open, event);
}

/* Where there is a spool, the answer to a put goes with the last of its events. */
static void
leave_receipt (EvbusQueue *self,
               EvbusPut   *put)
{
  if (self->open->receipts == NULL)
    self->open->receipts = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_put_unref);
  g_ptr_array_add (self->open->receipts, evbus_put_ref (put));
  put->has_receipt = TRUE;
}

void
evbus_queue_push_locked (EvbusQueue *self,
                         EvbusPut   *put)
{
  gboolean receipt = self->durable && put->task != NULL && !put->at_once;
  guint n_pushed = 0;

  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusEvent *event = put->events[i];

      if (event->set->n_routes == 0)
        {
          count_unrouted (self, event);
          evbus_queue_follow_unrouted_locked (self, put, event);
          continue;
        }

      put->events[i] = NULL;
      self->n_events++;
      self->n_pushed++;
      self->weight += event->weight;
      event->has_receipt = receipt;
      evbus_queue_follow_locked (self, put, event);
      append_event (self, event, n_pushed++ > 0);
    }

  /* One that waits for the delivery is with what it follows. */
  if (receipt && n_pushed > 0 && !put->to_be_delivered)
    leave_receipt (self, put);
}
