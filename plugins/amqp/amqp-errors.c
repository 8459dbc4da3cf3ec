/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-errors.h"

#include <string.h>

/* What an error means, by the codes of the protocol and of the library. */
typedef enum {
  FAULT_TRANSIENT,
  FAULT_BROKEN,
  FAULT_EXCHANGE,   /* poison where the exchange comes from the event, else broken */
  FAULT_EVENT,      /* poison; broken where no event is concerned */
} Fault;

/* The server's: in channel.close and connection.close. */
static const struct {
  guint       code;
  Fault       fault;
  const char *advice;
} replies[] = {
  { 311, FAULT_EVENT, "it is too large for the server" },
  { 313, FAULT_TRANSIENT, "nobody consumes" },
  { 320, FAULT_TRANSIENT, "the server is being stopped, or somebody closed the connection there" },
  { 402, FAULT_BROKEN, "the virtual host must exist, and its name be right" },
  { 403, FAULT_EXCHANGE, "the login and the password must be right, and the user must have permission" },
  { 404, FAULT_EXCHANGE, "make it on the server, or set 'declare: true'" },
  { 405, FAULT_TRANSIENT, "another connection has it for itself" },
  { 406, FAULT_EVENT, "the server's settings and the profile's must agree" },
  { 501, FAULT_TRANSIENT, "the connection was disturbed" },
  { 502, FAULT_TRANSIENT, "the connection was disturbed" },
  { 503, FAULT_TRANSIENT, "the connection was disturbed" },
  { 504, FAULT_TRANSIENT, "the connection was disturbed" },
  { 505, FAULT_TRANSIENT, "the connection was disturbed" },
  { 506, FAULT_TRANSIENT, "the server lacks resources" },
  { 530, FAULT_BROKEN, "the virtual host must exist, and the user must have access to it" },
  { 540, FAULT_BROKEN, "this server does not have it" },
  { 541, FAULT_TRANSIENT, "see the server's log" },
};

/* The library's. What is not here is transient. */
static const struct {
  int         status;
  Fault       fault;
  const char *advice;
} statuses[] = {
  { AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED, FAULT_TRANSIENT, "the name in 'connection.host' cannot be resolved" },
  { AMQP_STATUS_INCOMPATIBLE_AMQP_VERSION, FAULT_BROKEN, "there is no server of AMQP 0-9-1 at this port" },
  { AMQP_STATUS_CONNECTION_CLOSED, FAULT_TRANSIENT, "the server closed the connection" },
  { AMQP_STATUS_SOCKET_ERROR, FAULT_TRANSIENT, "the server must run, and be reachable" },
  { AMQP_STATUS_TIMEOUT, FAULT_TRANSIENT, "the server does not answer in time" },
  { AMQP_STATUS_HEARTBEAT_TIMEOUT, FAULT_TRANSIENT, "nothing came from the server for too long" },
  { AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD, FAULT_BROKEN, "the server must allow logins with a password (PLAIN)" },
  { AMQP_STATUS_SSL_PEER_VERIFY_FAILED, FAULT_BROKEN,
    "the server's certificate must be valid, signed by one in 'ssl_options.cafile', "
    "and for 'connection.host' or 'ssl_options.server_name'" },
  { AMQP_STATUS_SSL_ERROR, FAULT_TRANSIENT, "the server ended the connection" },
  { AMQP_STATUS_SSL_CONNECTION_FAILED, FAULT_TRANSIENT, "the port must be one for TLS" },
};

static EvbusError
judge (const AmqpOptions *options,
       AmqpStage          stage,
       Fault              fault)
{
  if (fault == FAULT_TRANSIENT)
    return EVBUS_ERROR_TRANSIENT;
  if (fault == FAULT_BROKEN || stage == AMQP_STAGE_CONNECT ||
      (fault == FAULT_EXCHANGE && evbus_template_is_fixed (options->exchange)))
    return EVBUS_ERROR_BROKEN;
  return EVBUS_ERROR_POISON;
}

gboolean
amqp_errors_set_status (const AmqpOptions  *options,
                        int                 status,
                        GError            **error)
{
  Fault fault = FAULT_TRANSIENT;
  const char *advice = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (statuses); i++)
    if (statuses[i].status == status)
      {
        fault = statuses[i].fault;
        advice = statuses[i].advice;
      }

  g_set_error (error, EVBUS_ERROR, judge (options, AMQP_STAGE_CONNECT, fault), "%s: %s%s%s",
               options->name, amqp_error_string2 (status), advice != NULL ? ": " : "", advice != NULL ? advice : "");
  return FALSE;
}

/* While connecting. @wanted: the server has asked for a certificate of the client, which it may or may
 * not do without: an alert that says so did not come. */
gboolean
amqp_errors_set_lost (const AmqpOptions  *options,
                      int                 status,
                      gboolean            wanted,
                      GError            **error)
{
  static const int losses[] = {
    AMQP_STATUS_CONNECTION_CLOSED, AMQP_STATUS_SOCKET_ERROR, AMQP_STATUS_SSL_ERROR, AMQP_STATUS_SSL_CONNECTION_FAILED,
  };

  for (guint i = 0; wanted && i < G_N_ELEMENTS (losses); i++)
    if (losses[i] == status)
      {
        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the connection was lost; the server may want a "
                     "certificate of the client: give one as 'ssl_options.certfile'", options->name);
        return FALSE;
      }
  return amqp_errors_set_status (options, status, error);
}

/* RabbitMQ may restrict routing keys too, and tells it so. */
static gboolean
is_about_routing_key (const char *text)
{
  return strstr (text, "access to topic") != NULL;
}

gboolean
amqp_errors_set_reply (const AmqpOptions  *options,
                       AmqpStage           stage,
                       guint               code,
                       amqp_bytes_t        text,
                       GError            **error)
{
  g_autofree char *reason = g_utf8_make_valid (text.bytes != NULL ? text.bytes : "", text.len);
  Fault fault = FAULT_TRANSIENT;
  const char *advice = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (replies); i++)
    if (replies[i].code == code)
      {
        fault = replies[i].fault;
        advice = replies[i].advice;
      }
  if (code == 403 && is_about_routing_key (reason) && !evbus_template_is_fixed (options->routing_key))
    fault = FAULT_EVENT;

  g_set_error (error, EVBUS_ERROR, judge (options, stage, fault), "%s: the server refused, %u %s%s%s",
               options->name, code, reason, advice != NULL ? "; " : "", advice != NULL ? advice : "");
  return FALSE;
}

gboolean
amqp_errors_set_answer (const AmqpOptions  *options,
                        amqp_rpc_reply_t    answer,
                        GError            **error)
{
  amqp_channel_close_t *channel = answer.reply.decoded;
  amqp_connection_close_t *connection = answer.reply.decoded;

  if (answer.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
    return amqp_errors_set_status (options, answer.library_error, error);
  if (answer.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
    return amqp_errors_set_reply (options, AMQP_STAGE_CONNECT, channel->reply_code, channel->reply_text, error);
  return amqp_errors_set_reply (options, AMQP_STAGE_CONNECT, connection->reply_code, connection->reply_text, error);
}

gboolean
amqp_errors_set_refused (const AmqpOptions  *options,
                         GError            **error)
{
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
               "%s: the server wants a certificate of the client, or another one; give it one that it trusts "
               "as 'ssl_options.certfile'", options->name);
  return FALSE;
}

EvbusOutcome
amqp_errors_judge_return (const AmqpOptions *options)
{
  return options->fixed_address ? EVBUS_OUTCOME_BROKEN : EVBUS_OUTCOME_POISON;
}
