/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <librdkafka/rdkafka.h>

G_BEGIN_DECLS

/* A producer of librdkafka, whose threads do the work; what they have to say is read on
 * the route's thread alone: in a publish, and between two of them by a source in its main
 * context. */
typedef struct _KafkaClient KafkaClient;

/* Is called with each delivery report. */
typedef void (* KafkaReportFunc) (const rd_kafka_message_t *message,
                                  gpointer                  user_data);

KafkaClient         *kafka_client_open      (EvbusContext        *ctx,
                                             GCancellable        *cancellable,
                                             GError             **error);
void                 kafka_client_close     (KafkaClient         *self);
gboolean             kafka_client_is_good   (KafkaClient         *self);
const char          *kafka_client_get_where (KafkaClient         *self);
const char          *kafka_client_get_last  (KafkaClient         *self);
rd_kafka_t          *kafka_client_get       (KafkaClient         *self);
rd_kafka_topic_t    *kafka_client_get_topic (KafkaClient         *self,
                                             const char          *name);
gboolean             kafka_client_wait      (KafkaClient         *self,
                                             KafkaReportFunc      func,
                                             gpointer             user_data,
                                             GCancellable        *cancellable,
                                             GError             **error);
void                 kafka_client_push      (KafkaClient         *self,
                                             gint64               began);
void                 kafka_client_look      (KafkaClient         *self,
                                             KafkaReportFunc      func,
                                             gpointer             user_data);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (KafkaClient, kafka_client_close)

G_END_DECLS
