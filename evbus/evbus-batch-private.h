/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-batch.h"

G_BEGIN_DECLS

typedef enum {
  EVBUS_MARK_NONE,
  EVBUS_MARK_CONFIRMED,
  EVBUS_MARK_TRANSIENT,
  EVBUS_MARK_BROKEN,
  EVBUS_MARK_POISON,
} EvbusMark;

/* Of a batch whose first @n_confirmed events are: more of them, by
 * evbus_batch_append(). Returns how many. */
typedef guint (* EvbusBatchMore) (guint    n_confirmed,
                                  gpointer data);

/* A route's way: one batch object for all of its publishes, which borrows the
 * events for one of them at a time. @more: NULL for none. */
EvbusBatch *evbus_batch_new           (EvbusBatchMore more,
                                       gpointer       data);
void        evbus_batch_fill          (EvbusBatch   *self,
                                       EvbusEvent  **events,
                                       guint         n_events);
/* While it is published. */
void        evbus_batch_append        (EvbusBatch   *self,
                                       EvbusEvent  **events,
                                       guint         n_events);
/* Ends the borrowing of the first @n events. */
void        evbus_batch_forget        (EvbusBatch   *self,
                                       guint         n);
/* Ends the publish, and the borrowing. TRUE: somebody kept the batch, so it now holds
 * references of its own, and the route must make itself a new one. */
gboolean    evbus_batch_close         (EvbusBatch   *self);

/* As many as evbus_batch_get_n_events() says. */
EvbusEvent **evbus_batch_peek_events  (EvbusBatch   *self);
EvbusMark   evbus_batch_get_mark      (EvbusBatch   *self,
                                       guint         index);
const char *evbus_batch_get_message   (EvbusBatch   *self,
                                       guint         index);
guint       evbus_batch_get_n_confirmed (EvbusBatch *self);

/* Microseconds from its publish on, 0: as soon as the route likes. */
gint64      evbus_batch_get_retry_after (EvbusBatch *self);

/* Whether what is unmarked is to come again at once. */
gboolean    evbus_batch_is_postponed  (EvbusBatch   *self);

/* What the plugin did with the batch that makes no sense, or NULL. */
const char *evbus_batch_get_nonsense  (EvbusBatch   *self);

G_END_DECLS
