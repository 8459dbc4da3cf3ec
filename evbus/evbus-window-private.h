/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event.h"

G_BEGIN_DECLS

/* A run of events with the same routes, made once by the listener and shared
 * by those routes: a reference of the run for each, instead of one of every
 * event, is what makes a second route cheap. Immutable. */
typedef struct {
  gatomicrefcount  ref_count;
  guint            n_events;
  gsize            weight;
  EvbusEvent      *events[];
} EvbusChunk;

/* Takes over the references in @events. */
EvbusChunk *evbus_chunk_new   (EvbusEvent **events,
                               guint        n_events);
EvbusChunk *evbus_chunk_ref   (EvbusChunk  *self);
void        evbus_chunk_unref (EvbusChunk  *self);

/* The events that wait for one route: slices of chunks, oldest first. */
typedef struct {
  GQueue slices;
  guint  n_events;
  gsize  weight;
} EvbusWindow;

void  evbus_window_init        (EvbusWindow *self);
void  evbus_window_push        (EvbusWindow *self,
                                EvbusChunk  *chunk);

/* The oldest event, borrowed, or NULL. */
EvbusEvent *evbus_window_peek  (EvbusWindow *self);

/* Appends the oldest events, at least one if there is any, to @events. They
 * are borrowed from the chunks of which references are appended to @chunks. */
void  evbus_window_take        (EvbusWindow *self,
                                guint        max_events,
                                gsize        max_weight,
                                GPtrArray   *events,
                                GPtrArray   *chunks);

/* Shrink the window to the limits, from one end; references of what was
 * pushed out are appended to @out, oldest first. */
void  evbus_window_drop_oldest (EvbusWindow *self,
                                guint        max_events,
                                gsize        max_weight,
                                GPtrArray   *out);
void  evbus_window_drop_newest (EvbusWindow *self,
                                guint        max_events,
                                gsize        max_weight,
                                GPtrArray   *out);

G_END_DECLS
