/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "evbus-event-private.h"

G_BEGIN_DECLS

typedef enum {
  EVBUS_PUT_NEW,
  EVBUS_PUT_WAITING,
  EVBUS_PUT_DONE,
} EvbusPutState;

/* One call of a put function: the events that are accepted together or not at
 * all. A put that has to wait lives as long as its task; others on the stack. */
typedef struct {
  EvbusEvent   **events;
  guint          n_events;
  gsize          weight;          /* of the events together */
  gboolean       has_id;          /* one event, whose id the producer gave */

  /* Of a put that can wait. */
  gatomicrefcount ref_count;
  EvbusPutState  state;           /* under the queue's lock */
  struct _EvbusQueue *queue;      /* from when it waits */
  GError        *refusal;         /* between lock and answer */
  GTask         *task;            /* given up when it is answered, by whoever set EVBUS_PUT_DONE */
  gpointer       result;
  GDestroyNotify free_result;
  GCancellable  *cancellable;
  gulong         cancelled_id;
  guint          timeout;         /* milliseconds; G_MAXUINT: none */
  GSource       *timeout_source;
} EvbusPut;

/* Takes over @events and @result, which is what the task will return. */
EvbusPut *evbus_put_new        (GTask           *task,
                                EvbusEvent     **events,
                                guint            n_events,
                                gpointer         result,
                                GDestroyNotify   free_result);
EvbusPut *evbus_put_ref        (EvbusPut        *self);
void      evbus_put_unref      (EvbusPut        *self);

/* Answers the put, outside every lock, after its state was set to done. The
 * answer is delivered in the caller's main context. @error: NULL if it was
 * accepted; taken over. */
void      evbus_put_answer     (EvbusPut        *self,
                                GError          *error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusPut, evbus_put_unref)

G_END_DECLS
