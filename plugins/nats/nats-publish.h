/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "nats-format.h"
#include "nats-link.h"

G_BEGIN_DECLS

/* The publish of one batch. */
typedef struct {
  NatsLink     *link;
  NatsFormat   *format;
  EvbusBatch   *batch;
  GCancellable *cancellable;
  guint64       first;    /* the number of the batch's first message */
} NatsPublish;

gboolean nats_publish_stored (NatsPublish  *self,
                              GError      **error);
gboolean nats_publish_core   (NatsPublish  *self,
                              GError      **error);

G_END_DECLS
