/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-window-private.h"

#include <string.h>

#include "evbus-clock-private.h"
#include "evbus-event-private.h"

typedef struct {
  EvbusChunk *chunk;
  guint       from;
  guint       to;
} Slice;

EvbusChunk *
evbus_chunk_new (EvbusRouteSet *set,
                 guint          n_allocated)
{
  EvbusChunk *self = g_malloc (sizeof *self + n_allocated * sizeof (gpointer));

  g_atomic_ref_count_init (&self->ref_count);
  self->n_allocated = n_allocated;
  self->n_events = 0;
  self->max_hops = 0;
  self->next_expiry = 0;
  self->opened = evbus_clock_get_boot_time ();
  self->opened_time = 0;
  self->picked_up = 0;
  self->weight = 0;
  self->set = set;
  self->receipts = NULL;
  self->goes_on = FALSE;

  return self;
}

void
evbus_chunk_append (EvbusChunk *self,
                    EvbusEvent *event)
{
  self->events[self->n_events++] = event;
  self->weight += event->weight;
  self->max_hops = MAX (self->max_hops, event->hops);
  if (self->opened_time == 0)
    self->opened_time = event->time;
  if (event->max_age > 0)
    {
      gint64 expiry = (event->since != 0 ? event->since : self->opened) + event->max_age;

      /* 0 is none, and before this boot is past. */
      expiry = MAX (expiry, 1);
      self->next_expiry = self->next_expiry > 0 ? MIN (self->next_expiry, expiry) : expiry;
    }
}

/* The wall clock is read for every event anyway, the boot time once a chunk. So
 * a clock that is set counts for no more than the chunk was in the queue. */
gint64
evbus_chunk_since (EvbusChunk *self,
                   EvbusEvent *event)
{
  gint64 longest = MAX (0, self->picked_up - self->opened);

  if (event->since != 0)
    return event->since;

  return self->opened + CLAMP (event->time - self->opened_time, 0, longest);
}

EvbusChunk *
evbus_chunk_ref (EvbusChunk *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_chunk_unref (EvbusChunk *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  for (guint i = 0; i < self->n_events; i++)
    evbus_event_unref (self->events[i]);
  g_clear_pointer (&self->receipts, g_ptr_array_unref);
  g_free (self);
}

static void
slice_free (Slice *slice)
{
  evbus_chunk_unref (slice->chunk);
  g_free (slice);
}

void
evbus_window_init (EvbusWindow *self)
{
  g_queue_init (&self->slices);
  self->n_events = 0;
  self->weight = 0;
}

void
evbus_window_push (EvbusWindow *self,
                   EvbusChunk  *chunk)
{
  Slice *slice = g_new (Slice, 1);

  slice->chunk = evbus_chunk_ref (chunk);
  slice->from = 0;
  slice->to = chunk->n_events;
  g_queue_push_tail (&self->slices, slice);
  self->n_events += chunk->n_events;
  self->weight += chunk->weight;
}

EvbusEvent *
evbus_window_peek (EvbusWindow *self,
                   gint64      *since)
{
  Slice *slice = g_queue_peek_head (&self->slices);

  if (slice == NULL)
    return NULL;

  *since = evbus_chunk_since (slice->chunk, slice->chunk->events[slice->from]);
  return slice->chunk->events[slice->from];
}

void
evbus_window_list_until (EvbusWindow *self,
                         gint64       seq,
                         GArray      *seqs)
{
  for (GList *link = self->slices.head; link != NULL; link = link->next)
    {
      Slice *slice = link->data;

      for (guint i = slice->from; i < slice->to; i++)
        {
          if (slice->chunk->events[i]->seq > seq)
            return;
          g_array_append_val (seqs, slice->chunk->events[i]->seq);
        }
    }
}

void
evbus_hand_init (EvbusHand *self)
{
  self->events = g_ptr_array_new ();
  self->origins = g_ptr_array_new ();
  self->chunks = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_chunk_unref);
  self->weight = 0;
  self->max_hops = 0;
  self->next_expiry = 0;
}

void
evbus_hand_clear (EvbusHand *self)
{
  g_ptr_array_unref (self->events);
  g_ptr_array_unref (self->origins);
  g_ptr_array_unref (self->chunks);
}

EvbusEvent *
evbus_hand_last (EvbusHand *self)
{
  return self->events->pdata[self->events->len - 1];
}

void
evbus_hand_drop (EvbusHand *self)
{
  g_ptr_array_set_size (self->events, 0);
  g_ptr_array_set_size (self->origins, 0);
  g_ptr_array_set_size (self->chunks, 0);
  self->weight = 0;
  self->max_hops = 0;
  self->next_expiry = 0;
}

/* Of what is left. */
static void
find_next_expiry (EvbusHand *self)
{
  EvbusChunk *last = NULL;

  if (self->next_expiry == 0)
    return;

  self->next_expiry = 0;
  for (guint i = 0; i < self->origins->len; i++)
    {
      EvbusChunk *chunk = self->origins->pdata[i];

      if (chunk != last && chunk->next_expiry > 0 &&
          (self->next_expiry == 0 || chunk->next_expiry < self->next_expiry))
        self->next_expiry = chunk->next_expiry;
      last = chunk;
    }
}

void
evbus_hand_drop_first (EvbusHand *self,
                       guint      n)
{
  guint n_chunks = 0;

  if (n == self->events->len)
    {
      evbus_hand_drop (self);
      return;
    }
  if (n == 0)
    return;

  for (guint i = 0; i < n; i++)
    self->weight -= ((EvbusEvent *) self->events->pdata[i])->weight;
  g_ptr_array_remove_range (self->events, 0, n);
  g_ptr_array_remove_range (self->origins, 0, n);
  while (self->chunks->pdata[n_chunks] != self->origins->pdata[0])
    n_chunks++;
  if (n_chunks > 0)
    g_ptr_array_remove_range (self->chunks, 0, n_chunks);
  find_next_expiry (self);
}

void
evbus_hand_keep (EvbusHand    *self,
                 guint         n,
                 const guint8 *keep)
{
  guint n_kept = 0;

  for (guint i = 0; i < self->events->len; i++)
    {
      EvbusEvent *event = self->events->pdata[i];

      if (i < n && !keep[i])
        {
          self->weight -= event->weight;
          continue;
        }
      self->events->pdata[n_kept] = event;
      self->origins->pdata[n_kept] = self->origins->pdata[i];
      n_kept++;
    }

  g_ptr_array_set_size (self->events, n_kept);
  g_ptr_array_set_size (self->origins, n_kept);
  if (n_kept == 0)
    evbus_hand_drop (self);
  find_next_expiry (self);
}

/* How many of the slice's events, from its first, are of at most @max_weight
 * together; their weight. Only a slice of a part has to be added up. */
static guint
count_fitting (Slice *slice,
               guint  max_events,
               gsize  max_weight,
               gsize *weight)
{
  EvbusChunk *chunk = slice->chunk;
  guint n = slice->to - slice->from;

  if (n == chunk->n_events && n <= max_events && chunk->weight <= max_weight)
    {
      *weight = chunk->weight;
      return n;
    }

  *weight = 0;
  for (guint i = 0; i < MIN (n, max_events); i++)
    {
      gsize more = chunk->events[slice->from + i]->weight;

      if (*weight + more > max_weight)
        return i;
      *weight += more;
    }

  return MIN (n, max_events);
}

static void
take_from_slice (Slice     *slice,
                 guint      n,
                 EvbusHand *hand)
{
  EvbusChunk *chunk = slice->chunk;
  guint len = hand->events->len;

  g_ptr_array_set_size (hand->events, len + n);
  memcpy (hand->events->pdata + len, chunk->events + slice->from, n * sizeof (gpointer));
  g_ptr_array_set_size (hand->origins, len + n);
  for (guint i = len; i < len + n; i++)
    hand->origins->pdata[i] = chunk;
  g_ptr_array_add (hand->chunks, evbus_chunk_ref (chunk));
  hand->max_hops = MAX (hand->max_hops, chunk->max_hops);
  if (chunk->next_expiry > 0)
    hand->next_expiry = hand->next_expiry > 0 ? MIN (hand->next_expiry, chunk->next_expiry)
                                              : chunk->next_expiry;
  slice->from += n;
}

void
evbus_window_take (EvbusWindow *self,
                   guint        max_events,
                   gsize        max_weight,
                   EvbusHand   *hand)
{
  guint n_before = hand->events->len;
  gsize weight_before = hand->weight;
  Slice *slice;

  while (hand->events->len < max_events && (slice = g_queue_peek_head (&self->slices)) != NULL)
    {
      gsize weight;
      guint n = count_fitting (slice, max_events - hand->events->len,
                               max_weight - MIN (max_weight, hand->weight), &weight);

      if (n == 0 && hand->events->len == 0)
        {
          /* An event that is larger than a batch goes alone. */
          n = 1;
          weight = slice->chunk->events[slice->from]->weight;
        }
      if (n == 0)
        break;

      take_from_slice (slice, n, hand);
      hand->weight += weight;
      if (slice->from < slice->to)
        break;
      slice_free (g_queue_pop_head (&self->slices));
    }

  self->n_events -= hand->events->len - n_before;
  self->weight -= hand->weight - weight_before;
}

static gboolean
is_over (EvbusWindow *self,
         guint        max_events,
         gsize        max_weight)
{
  return self->n_events > 0 &&
         (self->n_events > max_events || self->weight > max_weight);
}

static void
account_dropped (EvbusWindow *self,
                 EvbusEvent  *event,
                 GPtrArray   *out)
{
  self->n_events--;
  self->weight -= event->weight;
  g_ptr_array_add (out, evbus_event_ref (event));
}

void
evbus_window_drop_oldest (EvbusWindow *self,
                          guint        max_events,
                          gsize        max_weight,
                          GPtrArray   *out)
{
  while (is_over (self, max_events, max_weight))
    {
      Slice *slice = g_queue_peek_head (&self->slices);

      account_dropped (self, slice->chunk->events[slice->from++], out);
      if (slice->from == slice->to)
        slice_free (g_queue_pop_head (&self->slices));
    }
}

/* Pushes those of the chunk's events that fit, each when its turn comes; the
 * first in any case with @one_fits. What is kept goes into a chunk of its own,
 * so that it does not keep alive what was dropped. */
static void
push_fitting (EvbusWindow *self,
              EvbusChunk  *chunk,
              guint        max_events,
              gsize        max_weight,
              gboolean     one_fits,
              GPtrArray   *out)
{
  EvbusChunk *kept = evbus_chunk_new (NULL, chunk->n_events);

  kept->opened = chunk->opened;
  kept->opened_time = chunk->opened_time;
  kept->picked_up = chunk->picked_up;
  for (guint i = 0; i < chunk->n_events; i++)
    {
      EvbusEvent *event = evbus_event_ref (chunk->events[i]);
      guint n_events = self->n_events + kept->n_events;
      gsize weight = self->weight + kept->weight;

      if ((one_fits && n_events == 0) ||
          (n_events < max_events && weight + event->weight <= max_weight))
        evbus_chunk_append (kept, event);
      else
        g_ptr_array_add (out, event);
    }

  if (kept->n_events > 0)
    evbus_window_push (self, kept);
  evbus_chunk_unref (kept);
}

GPtrArray *
evbus_window_push_within (EvbusWindow         *self,
                          EvbusChunk          *chunk,
                          const EvbusDelivery *delivery,
                          guint                n_held,
                          gsize                held_weight)
{
  guint max_events = delivery->window_events - MIN (delivery->window_events, n_held);
  gsize max_weight = delivery->window_bytes - MIN (delivery->window_bytes, held_weight);
  g_autoptr(GPtrArray) out = NULL;

  if (self->n_events + chunk->n_events <= max_events && self->weight + chunk->weight <= max_weight)
    {
      evbus_window_push (self, chunk);
      return NULL;
    }

  out = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  if (delivery->overflow == EVBUS_OVERFLOW_DROP_NEWEST)
    {
      push_fitting (self, chunk, max_events, max_weight, n_held == 0, out);
    }
  else
    {
      EvbusEvent *newest = chunk->events[chunk->n_events - 1];

      evbus_window_push (self, chunk);
      /* The newest event always stays, or a route whose thread holds all that
       * its window may have would drop whatever comes. */
      if (delivery->overflow == EVBUS_OVERFLOW_DROP_OLDEST)
        evbus_window_drop_oldest (self, MAX (max_events, 1), MAX (max_weight, newest->weight), out);
    }

  return out->len > 0 ? g_steal_pointer (&out) : NULL;
}
