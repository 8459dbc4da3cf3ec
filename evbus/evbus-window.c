/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-window-private.h"

#include <string.h>

#include "evbus-event-private.h"

typedef struct {
  EvbusChunk *chunk;
  guint       from;
  guint       to;
} Slice;

EvbusChunk *
evbus_chunk_new (EvbusEvent **events,
                 guint        n_events)
{
  EvbusChunk *self = g_malloc (sizeof *self + n_events * sizeof *events);

  g_atomic_ref_count_init (&self->ref_count);
  self->n_events = n_events;
  self->weight = 0;
  memcpy (self->events, events, n_events * sizeof *events);
  for (guint i = 0; i < n_events; i++)
    self->weight += events[i]->weight;

  return self;
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
evbus_window_peek (EvbusWindow *self)
{
  Slice *slice = g_queue_peek_head (&self->slices);

  return slice != NULL ? slice->chunk->events[slice->from] : NULL;
}

void
evbus_window_take (EvbusWindow *self,
                   guint        max_events,
                   gsize        max_weight,
                   GPtrArray   *events,
                   GPtrArray   *chunks)
{
  gsize weight = 0;
  guint n_events = 0;
  Slice *slice;

  while (n_events < max_events && (slice = g_queue_peek_head (&self->slices)) != NULL)
    {
      guint from = slice->from;

      while (slice->from < slice->to && n_events < max_events)
        {
          EvbusEvent *event = slice->chunk->events[slice->from];

          if (n_events > 0 && weight + event->weight > max_weight)
            break;
          g_ptr_array_add (events, event);
          weight += event->weight;
          n_events++;
          slice->from++;
        }

      if (slice->from == from)
        break;

      g_ptr_array_add (chunks, evbus_chunk_ref (slice->chunk));
      if (slice->from < slice->to)
        break;
      slice_free (g_queue_pop_head (&self->slices));
    }

  self->n_events -= n_events;
  self->weight -= weight;
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

void
evbus_window_drop_newest (EvbusWindow *self,
                          guint        max_events,
                          gsize        max_weight,
                          GPtrArray   *out)
{
  guint first = out->len;

  while (is_over (self, max_events, max_weight))
    {
      Slice *slice = g_queue_peek_tail (&self->slices);

      account_dropped (self, slice->chunk->events[--slice->to], out);
      if (slice->from == slice->to)
        slice_free (g_queue_pop_tail (&self->slices));
    }

  /* They came off the end, newest first. */
  for (guint i = first, j = out->len; i + 1 < j; i++)
    {
      gpointer event = out->pdata[i];

      out->pdata[i] = out->pdata[--j];
      out->pdata[j] = event;
    }
}
