/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-event.h>

G_BEGIN_DECLS

typedef enum {
  EVBUS_OUTCOME_TRANSIENT,
  EVBUS_OUTCOME_BROKEN,
  EVBUS_OUTCOME_POISON,
} EvbusOutcome;

#define EVBUS_TYPE_BATCH (evbus_batch_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusBatch, evbus_batch, EVBUS, BATCH, GObject)

EVBUS_AVAILABLE_IN_1_0
guint       evbus_batch_get_n_events (EvbusBatch   *self);
EVBUS_AVAILABLE_IN_1_0
EvbusEvent *evbus_batch_get_event    (EvbusBatch   *self,
                                      guint         index);
EVBUS_AVAILABLE_IN_1_0
gsize       evbus_batch_get_n_bytes  (EvbusBatch   *self);
EVBUS_AVAILABLE_IN_1_0
void        evbus_batch_confirm      (EvbusBatch   *self,
                                      guint         index);
EVBUS_AVAILABLE_IN_1_0
void        evbus_batch_confirm_all  (EvbusBatch   *self);
EVBUS_AVAILABLE_IN_1_0
void        evbus_batch_fail         (EvbusBatch   *self,
                                      guint         index,
                                      EvbusOutcome  outcome,
                                      const char   *message);
EVBUS_AVAILABLE_IN_1_0
guint       evbus_batch_extend       (EvbusBatch   *self);
EVBUS_AVAILABLE_IN_1_0
void        evbus_batch_postpone     (EvbusBatch   *self);
EVBUS_AVAILABLE_IN_1_0
void        evbus_batch_retry_after  (EvbusBatch   *self,
                                      gint64        delay);

G_END_DECLS
