/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <librdkafka/rdkafka.h>

G_BEGIN_DECLS

/* What is to be warned of, where a broker is on another machine. */
typedef enum {
  KAFKA_RISK_UNENCRYPTED = 1 << 0,
  KAFKA_RISK_UNVERIFIED = 1 << 1,
} KafkaRisks;

rd_kafka_conf_t *kafka_properties_new       (EvbusContext           *ctx,
                                             GError                **error);
char            *kafka_properties_get       (const rd_kafka_conf_t  *conf,
                                             const char             *name);
KafkaRisks       kafka_properties_get_risks (const rd_kafka_conf_t  *conf);

G_END_DECLS
