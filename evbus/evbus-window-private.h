/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-delivery-private.h"
#include "evbus-event-private.h"

G_BEGIN_DECLS

/* A run of events with the same routes. The producers fill it, under the
 * queue's lock, while it is the last one in the queue; taken out by the
 * listener it is immutable, and shared by the routes. So nobody has to touch
 * an event between its put and its publish (each touch is a cache line that
 * comes over from another core), and a second route costs one more reference
 * of the run instead of one of every event. */
typedef struct {
  gatomicrefcount  ref_count;
  guint            n_allocated;
  guint            n_events;
  guint            max_hops;     /* of the events */
  gint64           next_expiry;  /* boot time: no event with a max_age of its own expires before; 0: none has one */
  gint64           opened;       /* boot time: when it was made … */
  gint64           opened_time;  /* … and the time of its first event, by the clock */
  gint64           picked_up;    /* boot time, set by the listener */
  gsize            weight;       /* of the events together */
  EvbusRouteSet   *set;          /* while in the queue, a reference under its lock */
  GPtrArray       *receipts;     /* puts (a reference of each) that end in this chunk and are answered
                                  * once it is in the spool, or NULL; filled like the events */
  gboolean         goes_on;      /* a put goes on in the next chunk: they are stored together */
  EvbusEvent      *events[];
} EvbusChunk;

EvbusChunk *evbus_chunk_new    (EvbusRouteSet *set,
                                guint          n_allocated);
/* Takes over the reference. There must be room. */
void        evbus_chunk_append (EvbusChunk    *self,
                                EvbusEvent    *event);
/* Since when an event of it waits; boot time. */
gint64      evbus_chunk_since  (EvbusChunk    *self,
                                EvbusEvent    *event);
EvbusChunk *evbus_chunk_ref    (EvbusChunk    *self);
void        evbus_chunk_unref  (EvbusChunk    *self);

/* The events that wait for one route: slices of chunks, oldest first. */
typedef struct {
  GQueue slices;
  guint  n_events;
  gsize  weight;
} EvbusWindow;

void  evbus_window_init        (EvbusWindow *self);
void  evbus_window_push        (EvbusWindow *self,
                                EvbusChunk  *chunk);

/* The oldest event, borrowed, or NULL; since when it waits (boot time). */
EvbusEvent *evbus_window_peek  (EvbusWindow *self,
                                gint64      *since);

/* Appends the sequence numbers (gint64) of the events up to @seq. */
void  evbus_window_list_until  (EvbusWindow *self,
                                gint64       seq,
                                GArray      *seqs);

/* Events that were taken out of a window: borrowed from the chunks. */
typedef struct {
  GPtrArray *events;
  GPtrArray *origins;       /* in step with @events: the chunk of each, borrowed */
  GPtrArray *chunks;        /* a reference of each */
  gsize      weight;        /* of the events together */
  guint      max_hops;      /* at least that of every event */
  gint64     next_expiry;   /* no event with a max_age of its own expires before; 0: none has one */
} EvbusHand;

void  evbus_hand_init          (EvbusHand   *self);
void  evbus_hand_clear         (EvbusHand   *self);
/* Of one that is not empty; borrowed. */
EvbusEvent *evbus_hand_last    (EvbusHand   *self);
/* Empties it. */
void  evbus_hand_drop          (EvbusHand   *self);
/* Without the first @n events, and what of the chunks is needed for them alone. */
void  evbus_hand_drop_first    (EvbusHand   *self,
                                guint        n);
/* Replaces the first @n events by those of them whose bit in @keep is set. */
void  evbus_hand_keep          (EvbusHand    *self,
                                guint         n,
                                const guint8 *keep);

/* Takes the oldest events into @hand, until it has @max_events or @max_weight; at least
 * one if it is empty. */
void  evbus_window_take        (EvbusWindow *self,
                                guint        max_events,
                                gsize        max_weight,
                                EvbusHand   *hand);

/* Shrinks the window to the limits; references of what was pushed out are
 * appended to @out, oldest first. */
void  evbus_window_drop_oldest (EvbusWindow *self,
                                guint        max_events,
                                gsize        max_weight,
                                GPtrArray   *out);
/* Pushes the chunk's events as if they came one by one, each with the overflow
 * policy and the budget of @delivery, of which the route's thread holds some.
 * A single event always fits, however large. Returns references of what was
 * dropped, oldest first, or NULL. */
GPtrArray *evbus_window_push_within (EvbusWindow         *self,
                                     EvbusChunk          *chunk,
                                     const EvbusDelivery *delivery,
                                     guint                n_held,
                                     gsize                held_weight);

G_END_DECLS
