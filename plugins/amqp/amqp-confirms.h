/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "amqp-options.h"

G_BEGIN_DECLS

/* Which event of a batch the server speaks of. It numbers the messages of a
 * channel, from 1 on. */
typedef struct {
  const AmqpOptions *options;
  EvbusBatch        *batch;      /* NULL: nothing is waited for */
  GArray            *sent;       /* of guint: the indices of what was sent, in the order of the tags */
  GByteArray        *settled;    /* a byte for each of them */
  guint64            first;      /* tag of the first of them */
  guint              oldest;     /* all before it are settled */
  guint              n_open;     /* not settled */
} AmqpConfirms;

void amqp_confirms_init     (AmqpConfirms      *self,
                             const AmqpOptions *options);
void amqp_confirms_clear    (AmqpConfirms      *self);

void amqp_confirms_begin    (AmqpConfirms      *self,
                             EvbusBatch        *batch);
void amqp_confirms_end      (AmqpConfirms      *self);

void amqp_confirms_sent     (AmqpConfirms      *self,
                             guint64            tag,
                             guint              index);
void amqp_confirms_settle   (AmqpConfirms      *self,
                             guint64            tag,
                             gboolean           multiple,
                             gboolean           taken);
void amqp_confirms_return   (AmqpConfirms      *self,
                             amqp_bytes_t       id,
                             const char        *message);

G_END_DECLS
