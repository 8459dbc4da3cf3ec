/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the codes of MQTT and of libmosquitto come to. */

#include "mqtt-errors.h"

#include <mosquitto.h>
#include <mqtt_protocol.h>

typedef enum {
  PASSES,
  BROKEN,
  POISON,
  ADDRESS,    /* broken or poison, by whose the topic is */
} Kind;

typedef struct {
  int         code;
  Kind        kind;
  const char *way_out;
} Code;

/* Of MQTT 5, in any packet. What is not here passes. */
static const Code codes[] = {
  { MQTT_RC_UNSPECIFIED, PASSES, "see the server's log" },
  { MQTT_RC_MALFORMED_PACKET, POISON, "the server cannot read it" },
  { MQTT_RC_PROTOCOL_ERROR, BROKEN, "the server does not want what the options ask for" },
  { MQTT_RC_IMPLEMENTATION_SPECIFIC, PASSES, "see the server's log" },
  { MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION, BROKEN, "set 'protocol_version: 3.1.1'" },
  { MQTT_RC_CLIENTID_NOT_VALID, BROKEN, "choose another 'client_id'" },
  { MQTT_RC_BAD_USERNAME_OR_PASSWORD, BROKEN, "correct 'username' and 'password'" },
  { MQTT_RC_NOT_AUTHORIZED, ADDRESS, "correct 'username' and 'password', or let the user publish there" },
  { MQTT_RC_SERVER_UNAVAILABLE, PASSES, "it is tried again" },
  { MQTT_RC_SERVER_BUSY, PASSES, "it is tried again" },
  { MQTT_RC_BANNED, BROKEN, "the server has banned this client" },
  { MQTT_RC_SERVER_SHUTTING_DOWN, PASSES, "it is tried again" },
  { MQTT_RC_BAD_AUTHENTICATION_METHOD, BROKEN, "the server must allow logins with a password" },
  { MQTT_RC_KEEP_ALIVE_TIMEOUT, PASSES, "the server has not heard from us in time" },
  { MQTT_RC_SESSION_TAKEN_OVER, PASSES, "another client has connected with the same 'client_id'" },
  { MQTT_RC_TOPIC_NAME_INVALID, ADDRESS, "choose another 'topic'" },
  { MQTT_RC_PACKET_ID_IN_USE, PASSES, "it is tried again" },
  { MQTT_RC_PACKET_ID_NOT_FOUND, PASSES, "it is tried again" },
  { MQTT_RC_RECEIVE_MAXIMUM_EXCEEDED, PASSES, "lower 'max_inflight'" },
  { MQTT_RC_TOPIC_ALIAS_INVALID, PASSES, "it is tried again" },
  { MQTT_RC_PACKET_TOO_LARGE, POISON, "too large for the server" },
  { MQTT_RC_MESSAGE_RATE_TOO_HIGH, PASSES, "the server wants fewer messages" },
  { MQTT_RC_QUOTA_EXCEEDED, PASSES, "raise the server's quota" },
  { MQTT_RC_ADMINISTRATIVE_ACTION, PASSES, "somebody has closed the connection" },
  { MQTT_RC_PAYLOAD_FORMAT_INVALID, POISON, "the body is not what its content type says" },
  { MQTT_RC_RETAIN_NOT_SUPPORTED, BROKEN, "set 'retain: false'" },
  { MQTT_RC_QOS_NOT_SUPPORTED, BROKEN, "lower 'qos'" },
  { MQTT_RC_USE_ANOTHER_SERVER, BROKEN, "correct 'host'" },
  { MQTT_RC_SERVER_MOVED, BROKEN, "correct 'host'" },
  { MQTT_RC_CONNECTION_RATE_EXCEEDED, PASSES, "it is tried again" },
  { MQTT_RC_MAXIMUM_CONNECT_TIME, PASSES, "it is tried again" },
};

/* Of a CONNACK of MQTT 3.1.1. */
static const Code old_codes[] = {
  { CONNACK_REFUSED_PROTOCOL_VERSION, BROKEN, "the server does not speak this version of MQTT" },
  { CONNACK_REFUSED_IDENTIFIER_REJECTED, BROKEN, "choose another 'client_id'" },
  { CONNACK_REFUSED_SERVER_UNAVAILABLE, PASSES, "it is tried again" },
  { CONNACK_REFUSED_BAD_USERNAME_PASSWORD, BROKEN, "correct 'username' and 'password'" },
  { CONNACK_REFUSED_NOT_AUTHORIZED, BROKEN, "correct 'username' and 'password'" },
};

/* Of a publish in libmosquitto; the others mean that the connection is gone. */
static const struct {
  int          status;
  EvbusOutcome outcome;
  const char  *text;
} statuses[] = {
  { MOSQ_ERR_OVERSIZE_PACKET, EVBUS_OUTCOME_POISON, "too large for the server" },
  { MOSQ_ERR_PAYLOAD_SIZE, EVBUS_OUTCOME_POISON, "too large for MQTT" },
  { MOSQ_ERR_QOS_NOT_SUPPORTED, EVBUS_OUTCOME_BROKEN, "the server does not support this 'qos'; lower it" },
  { MOSQ_ERR_RETAIN_NOT_SUPPORTED, EVBUS_OUTCOME_BROKEN, "the server keeps nothing; set 'retain: false'" },
};

static const Code *
find (const Code *table,
      guint       n,
      int         code)
{
  static const Code unknown = { 0, PASSES, "it is tried again" };

  for (guint i = 0; i < n; i++)
    if (table[i].code == code)
      return &table[i];
  return &unknown;
}

/* Of a topic that cannot be one, or may not be published to. */
EvbusOutcome
mqtt_errors_of_address (const MqttOptions *options)
{
  return evbus_template_is_fixed (options->topic) ? EVBUS_OUTCOME_BROKEN : EVBUS_OUTCOME_POISON;
}

static EvbusOutcome
get_outcome (const MqttOptions *options,
             Kind               kind)
{
  static const EvbusOutcome outcomes[] = {
    [PASSES] = EVBUS_OUTCOME_TRANSIENT,
    [BROKEN] = EVBUS_OUTCOME_BROKEN,
    [POISON] = EVBUS_OUTCOME_POISON,
  };

  return kind == ADDRESS ? mqtt_errors_of_address (options) : outcomes[kind];
}

/* @reason: the server's own words, or NULL. */
static char *
describe (const MqttOptions *options,
          const char        *name,
          const char        *reason,
          const Code        *code)
{
  return g_strdup_printf ("%s: %s%s%s: %s", options->place, name, reason != NULL ? ": " : "",
                          reason != NULL ? reason : "", code->way_out);
}

/* Of a single message. */
EvbusOutcome
mqtt_errors_of_code (const MqttOptions  *options,
                     int                 code,
                     const char         *reason,
                     char              **message)
{
  const Code *found = find (codes, G_N_ELEMENTS (codes), code);

  *message = describe (options, mosquitto_reason_string (code), reason, found);
  return get_outcome (options, found->kind);
}

static void
set_error (const MqttOptions  *options,
           const Code         *code,
           const char         *name,
           const char         *reason,
           EvbusOutcome        outcome,
           GError            **error)
{
  static const EvbusError errors[] = {
    [EVBUS_OUTCOME_TRANSIENT] = EVBUS_ERROR_TRANSIENT,
    [EVBUS_OUTCOME_BROKEN] = EVBUS_ERROR_BROKEN,
    [EVBUS_OUTCOME_POISON] = EVBUS_ERROR_POISON,
  };
  g_autofree char *message = describe (options, name, reason, code);

  g_set_error_literal (error, EVBUS_ERROR, errors[outcome], message);
}

void
mqtt_errors_set_connack (const MqttOptions  *options,
                         int                 code,
                         const char         *reason,
                         GError            **error)
{
  gboolean old = code < MQTT_REFUSED;
  const Code *found = old ? find (old_codes, G_N_ELEMENTS (old_codes), code) : find (codes, G_N_ELEMENTS (codes), code);

  /* No event is to blame for it. */
  set_error (options, found, old ? mosquitto_connack_string (code) : mosquitto_reason_string (code), reason,
             found->kind == PASSES ? EVBUS_OUTCOME_TRANSIENT : EVBUS_OUTCOME_BROKEN, error);
}

/* With which the server ended the connection. */
void
mqtt_errors_set_code (const MqttOptions  *options,
                      int                 code,
                      const char         *reason,
                      GError            **error)
{
  const Code *found = find (codes, G_N_ELEMENTS (codes), code);
  /* Of the client as a whole: rights that were taken away, a token that has run out. */
  EvbusOutcome outcome = code == MQTT_RC_NOT_AUTHORIZED ? EVBUS_OUTCOME_BROKEN : get_outcome (options, found->kind);

  set_error (options, found, mosquitto_reason_string (code), reason, outcome, error);
}

EvbusOutcome
mqtt_errors_of_library (int          status,
                        const char **text)
{
  for (guint i = 0; i < G_N_ELEMENTS (statuses); i++)
    if (statuses[i].status == status)
      {
        *text = statuses[i].text;
        return statuses[i].outcome;
      }
  *text = NULL;
  return EVBUS_OUTCOME_TRANSIENT;
}
