/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the codes of Kafka, and those of librdkafka itself, come to. */

#include "kafka-errors.h"

#include <string.h>

/* What is not here passes: the network, brokers that are down, have no leader, too few
 * replicas in sync or too much to do. */
static const struct {
  rd_kafka_resp_err_t  code;
  KafkaKind            kind;
  const char          *way_out;
} codes[] = {
  { RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, KAFKA_DOWN, NULL },

  /* CORRUPT_MESSAGE in Kafka's own table of errors, where it is one to be tried again. */
  { RD_KAFKA_RESP_ERR_INVALID_MSG, KAFKA_PASSES,
    "it was damaged on its way; or, before Kafka 2.4, the topic wants a key" },

  { RD_KAFKA_RESP_ERR__AUTHENTICATION, KAFKA_REFUSED,
    "check sasl_mechanism, sasl_plain_username and sasl_plain_password; SCRAM with Kafka 4 needs librdkafka 2.6.1" },
  { RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, KAFKA_REFUSED, "check sasl_plain_username and sasl_plain_password" },
  { RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, KAFKA_REFUSED, "choose another sasl_mechanism" },
  { RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE, KAFKA_REFUSED, "check security_protocol" },
  { RD_KAFKA_RESP_ERR_SECURITY_DISABLED, KAFKA_REFUSED, "check security_protocol" },
  { RD_KAFKA_RESP_ERR__SSL, KAFKA_REFUSED, "check security_protocol and the options ssl_…" },
  { RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, KAFKA_BROKEN,
    "allow the user IdempotentWrite, or set 'rdkafka: {enable.idempotence: false}'" },
  { RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, KAFKA_BROKEN, "the broker is too old, see 'rdkafka: {enable.idempotence: false}'" },
  { RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION, KAFKA_BROKEN, "the broker is too old" },
  { RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, KAFKA_BROKEN, "the topic has an old format without headers" },
  { RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, KAFKA_BROKEN, "choose another compression_type" },
  { RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, KAFKA_BROKEN, "check acks" },

  { RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, KAFKA_ADDRESS, "create the topic, or correct its name" },
  { RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, KAFKA_ADDRESS, "create the topic, or correct its name" },
  { RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, KAFKA_ADDRESS, "correct the name of the topic" },
  { RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, KAFKA_ADDRESS, "allow the user to write to the topic" },
  { RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, KAFKA_ADDRESS, "correct 'partition', or give the topic more of them" },

  { RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, KAFKA_POISON,
    "raise message.max.bytes of the broker, max_request_size and queue.buffering.max.kbytes" },
  { RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, KAFKA_POISON, "raise segment.bytes of the topic, or lower max_batch_size" },
  { RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, KAFKA_POISON, "the broker takes it for damaged" },
  { RD_KAFKA_RESP_ERR_INVALID_RECORD, KAFKA_POISON, "the topic wants a key, or something else it lacks" },
  { RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, KAFKA_POISON, "it is older or newer than the topic allows" },
};

KafkaKind
kafka_errors_get_kind (rd_kafka_resp_err_t   code,
                       const char          **way_out)
{
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    if (codes[i].code == code)
      {
        *way_out = codes[i].way_out;
        return codes[i].kind;
      }

  *way_out = NULL;
  return KAFKA_PASSES;
}

/* In TLS 1.3 a broker says what it has against the client's certificate when librdkafka
 * takes the connection for made; so it calls that a matter of transport. And a
 * connection that is lost in the handshake it calls a matter of TLS. */
rd_kafka_resp_err_t
kafka_errors_correct (rd_kafka_resp_err_t  code,
                      const char          *text)
{
  static const char number[] = "SSL alert number ";
  static const char lost[] = "unexpected eof";
  /* bad, unsupported, revoked, expired, unknown certificate; unknown authority, access
   * denied; certificate required. */
  static const guint64 alerts[] = { 42, 43, 44, 45, 46, 48, 49, 116 };
  const char *found = code == RD_KAFKA_RESP_ERR__TRANSPORT ? strstr (text, number) : NULL;

  if (code == RD_KAFKA_RESP_ERR__SSL && strstr (text, lost) != NULL)
    return RD_KAFKA_RESP_ERR__TRANSPORT;

  for (guint i = 0; found != NULL && i < G_N_ELEMENTS (alerts); i++)
    if (g_ascii_strtoull (found + strlen (number), NULL, 10) == alerts[i])
      return RD_KAFKA_RESP_ERR__SSL;
  return code;
}

/* @fixed: whether the topic is the same for all events. */
EvbusOutcome
kafka_errors_get_outcome (rd_kafka_resp_err_t   code,
                          gboolean              fixed,
                          const char          **way_out)
{
  static const EvbusOutcome outcomes[] = {
    [KAFKA_PASSES] = EVBUS_OUTCOME_TRANSIENT,
    [KAFKA_DOWN] = EVBUS_OUTCOME_TRANSIENT,
    [KAFKA_REFUSED] = EVBUS_OUTCOME_BROKEN,
    [KAFKA_BROKEN] = EVBUS_OUTCOME_BROKEN,
    [KAFKA_ADDRESS] = EVBUS_OUTCOME_POISON,
    [KAFKA_POISON] = EVBUS_OUTCOME_POISON,
  };
  KafkaKind kind = kafka_errors_get_kind (code, way_out);

  return kind == KAFKA_ADDRESS && fixed ? EVBUS_OUTCOME_BROKEN : outcomes[kind];
}

/* Of what the whole route has to hear. */
GError *
kafka_errors_new (const char          *where,
                  rd_kafka_resp_err_t  code,
                  const char          *text)
{
  const char *way_out;
  gboolean broken = kafka_errors_get_outcome (code, TRUE, &way_out) == EVBUS_OUTCOME_BROKEN;

  return g_error_new (EVBUS_ERROR, broken ? EVBUS_ERROR_BROKEN : EVBUS_ERROR_TRANSIENT, "%s: %s%s%s",
                      where, text, way_out != NULL ? ": " : "", way_out != NULL ? way_out : "");
}
