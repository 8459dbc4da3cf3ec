/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <librdkafka/rdkafka.h>

G_BEGIN_DECLS

typedef enum {
  KAFKA_PASSES,     /* it is tried again */
  KAFKA_DOWN,       /* no broker can be reached */
  KAFKA_REFUSED,    /* by one broker; broken if there is no other */
  KAFKA_BROKEN,
  KAFKA_ADDRESS,    /* broken or poison, by whose the topic is */
  KAFKA_POISON,     /* which the brokers say of all messages that were sent together */
} KafkaKind;

rd_kafka_resp_err_t  kafka_errors_correct     (rd_kafka_resp_err_t   code,
                                               const char           *text);
KafkaKind            kafka_errors_get_kind    (rd_kafka_resp_err_t   code,
                                               const char          **way_out);
EvbusOutcome         kafka_errors_get_outcome (rd_kafka_resp_err_t   code,
                                               gboolean              fixed,
                                               const char          **way_out);
GError              *kafka_errors_new         (const char           *where,
                                               rd_kafka_resp_err_t   code,
                                               const char           *text);

G_END_DECLS
