/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>
#include <nats/nats.h>

G_BEGIN_DECLS

typedef enum {
  NATS_ANSWER_YES,         /* it is stored; or what was asked for is there */
  NATS_ANSWER_DUPLICATE,   /* a message of its id was there before */
  NATS_ANSWER_PASSES,
  NATS_ANSWER_BROKEN,
  NATS_ANSWER_POISON,
  NATS_ANSWER_ADDRESS,     /* no such stream, or not with that subject */
  NATS_ANSWER_STRANGE,     /* not JetStream's */
} NatsVerdict;

/* What JetStream says. */
typedef struct {
  NatsVerdict  verdict;
  char        *text;       /* why; or of what was asked for: the stream of a duplicate, the subject of a message */
  gint64       sequence;   /* of a duplicate */
} NatsAnswer;

void nats_answer_clear        (NatsAnswer *self);
void nats_answer_read_ack     (NatsAnswer *self,
                               natsMsg    *reply);
void nats_answer_read_streams (NatsAnswer *self,
                               natsMsg    *reply);
void nats_answer_read_stream  (NatsAnswer *self,
                               natsMsg    *reply);
void nats_answer_read_message (NatsAnswer *self,
                               natsMsg    *reply);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (NatsAnswer, nats_answer_clear)

G_END_DECLS
