/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <librdkafka/rdkafka.h>

G_BEGIN_DECLS

/* How events become messages. */
typedef struct _KafkaFormat KafkaFormat;

/* Ready to be handed over. */
typedef struct {
  char               *key;          /* NULL: none */
  gsize               key_size;
  const char         *body;         /* the event's own, or … */
  char               *made_body;    /* … this; or NULL */
  gsize               body_size;
  rd_kafka_headers_t *headers;      /* NULL: there is no message, or it has been handed over */
  gint32              partition;
} KafkaMessage;

KafkaFormat *kafka_format_new            (EvbusContext    *ctx,
                                          GError         **error);
void         kafka_format_free           (KafkaFormat     *self);
guint        kafka_format_get_n_topics   (KafkaFormat     *self);
gboolean     kafka_format_is_fixed_topic (KafkaFormat     *self,
                                          guint            index);
const char  *kafka_format_get_topic      (KafkaFormat     *self,
                                          guint            index,
                                          EvbusEvent      *event);
gboolean     kafka_format_make           (KafkaFormat     *self,
                                          EvbusEvent      *event,
                                          KafkaMessage    *message,
                                          GError         **error);
void         kafka_message_clear         (gpointer         message);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (KafkaFormat, kafka_format_free)

G_END_DECLS
