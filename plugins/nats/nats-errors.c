/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the codes of NATS and of JetStream come to. */

#include "nats-errors.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* JetStream's code for a header that is too large, which libnats has no name for. */
#define STREAM_HEADER_EXCEEDS_MAXIMUM 10097

/* ---- of the connection ---- */

/* What is not here passes: the network, a server that is down or overloaded. */
static const struct {
  natsStatus    status;
  EvbusError    code;
  const char   *way_out;
} statuses[] = {
  { NATS_CONNECTION_AUTH_FAILED, EVBUS_ERROR_BROKEN, "check user and password, token, nkey_seed or credentials" },
  { NATS_NOT_PERMITTED, EVBUS_ERROR_BROKEN, "give the user that permission" },
  { NATS_SSL_ERROR, EVBUS_ERROR_BROKEN, "check the certificates and the options of 'tls'" },
  { NATS_SECURE_CONNECTION_WANTED, EVBUS_ERROR_BROKEN, "the server has no TLS; turn it on there, or leave out 'tls' and tls://" },
  { NATS_SECURE_CONNECTION_REQUIRED, EVBUS_ERROR_BROKEN, "the server wants TLS; set 'tls: {enabled: true}'" },
  { NATS_NO_SERVER_SUPPORT, EVBUS_ERROR_BROKEN, "the server is too old: headers came with NATS 2.2" },
  { NATS_ADDRESS_MISSING, EVBUS_ERROR_BROKEN, "check 'servers'" },
  { NATS_INVALID_ARG, EVBUS_ERROR_BROKEN, "check the options" },
  { NATS_ILLEGAL_STATE, EVBUS_ERROR_BROKEN, "check the options" },
};

/* @text: of nats_GetLastError(); it may begin with the place in libnats. */
const char *
nats_errors_get_text (natsStatus  status,
                      const char *text)
{
  if (text == NULL || *text == '\0')
    return natsStatus_GetText (status);
  if (*text == '(' && strstr (text, "): ") != NULL)
    return strstr (text, "): ") + strlen ("): ");
  return text;
}

void
nats_errors_set (GError     **error,
                 const char  *where,
                 natsStatus   status,
                 const char  *text)
{
  text = nats_errors_get_text (status, text);

  for (guint i = 0; i < G_N_ELEMENTS (statuses); i++)
    if (statuses[i].status == status)
      {
        g_set_error (error, EVBUS_ERROR, statuses[i].code, "%s: %s: %s", where, text, statuses[i].way_out);
        return;
      }
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", where, text);
}

/* Of a subject or a stream that is not there. */
EvbusOutcome
nats_errors_of_address (gboolean fixed)
{
  return fixed ? EVBUS_OUTCOME_BROKEN : EVBUS_OUTCOME_POISON;
}

/* ---- of JetStream ---- */

typedef enum {
  PASSES,
  BROKEN,
  POISON,
  ADDRESS,    /* broken or poison, by whose the address is */
} Kind;

/* Its own codes, where that of HTTP beside them says too little. */
static const struct {
  gint64  code;
  Kind    kind;
} codes[] = {
  { JSAccountResourcesExceededErr, PASSES },
  { JSNotEnabledForAccountErr, BROKEN },
  { JSNotEnabledErr, BROKEN },
  { JSNoAccountErr, BROKEN },
  { JSNoLimitsErr, BROKEN },
  { JSStreamMessageExceedsMaximumErr, POISON },
  { STREAM_HEADER_EXCEEDS_MAXIMUM, POISON },
  { JSStreamNotFoundErr, ADDRESS },
  { JSStreamNotMatchErr, ADDRESS },
  { JSStreamSealedErr, ADDRESS },
};

/* Those of HTTP, by their hundreds. */
static Kind
kind_of_http (gint64 code)
{
  switch (code)
    {
    case 401:
    case 403:
      return BROKEN;
    case 404:
      return ADDRESS;
    case 408:
    case 429:
      return PASSES;
    default:
      return code >= 400 && code < 500 ? POISON : PASSES;
    }
}

static EvbusOutcome
outcome_of (gint64   code,
            gint64   http,
            gboolean fixed)
{
  static const EvbusOutcome outcomes[] = {
    [PASSES] = EVBUS_OUTCOME_TRANSIENT,
    [BROKEN] = EVBUS_OUTCOME_BROKEN,
    [POISON] = EVBUS_OUTCOME_POISON,
  };
  Kind kind = kind_of_http (http);

  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    if (codes[i].code == code)
      kind = codes[i].kind;
  return kind == ADDRESS ? nats_errors_of_address (fixed) : outcomes[kind];
}

static JsonObject *
get_object (JsonObject *object,
            const char *name)
{
  JsonNode *node = json_object_get_member (object, name);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

/* An answer of JetStream, or NULL. */
static JsonObject *
parse (JsonParser *parser,
       natsMsg    *reply)
{
  JsonNode *root;

  if (!json_parser_load_from_data (parser, natsMsg_GetData (reply), natsMsg_GetDataLength (reply), NULL))
    return NULL;
  root = json_parser_get_root (parser);
  return root != NULL && JSON_NODE_HOLDS_OBJECT (root) ? json_node_get_object (root) : NULL;
}

static void
read_error (JsonObject    *error,
            gboolean       fixed,
            EvbusOutcome  *outcome,
            char         **reason)
{
  gint64 code = json_object_get_int_member_with_default (error, "err_code", 0);
  gint64 http = json_object_get_int_member_with_default (error, "code", 0);
  const char *text = json_object_get_string_member_with_default (error, "description", "no reason given");

  *outcome = outcome_of (code, http, fixed);
  *reason = g_strdup_printf ("JetStream refused it: %s (%" G_GINT64_FORMAT ")", text, code);
}

static gboolean
contains (natsMsg    *reply,
          const char *text)
{
  int length = natsMsg_GetDataLength (reply);

  return length > 0 && memmem (natsMsg_GetData (reply), length, text, strlen (text)) != NULL;
}

/* A PubAck is `{"stream":"S","seq":1}`, or has an error in it. FALSE: it was not
 * stored. */
gboolean
nats_errors_read_ack (natsMsg       *reply,
                      gboolean       fixed,
                      EvbusOutcome  *outcome,
                      char         **reason)
{
  g_autoptr(JsonParser) parser = NULL;
  JsonObject *root;
  JsonObject *error;

  /* Every event has one, so that it is not worth a parser. */
  if (contains (reply, "\"seq\":") && !contains (reply, "\"error\""))
    return TRUE;

  parser = json_parser_new ();
  root = parse (parser, reply);
  error = root != NULL ? get_object (root, "error") : NULL;
  if (error != NULL)
    {
      read_error (error, fixed, outcome, reason);
      return FALSE;
    }

  *outcome = nats_errors_of_address (fixed);
  *reason = g_strdup ("what answers on the subject is not JetStream; add the subject to a stream, or set 'jetstream: false'");
  return FALSE;
}

/* The streams that have the subject of an event that nobody took: `{"total":0,
 * "streams":null}`, or an error. One that is there only has no leader now. */
gboolean
nats_errors_read_streams (natsMsg       *reply,
                          gboolean       fixed,
                          EvbusOutcome  *outcome,
                          char         **reason)
{
  g_autoptr(JsonParser) parser = json_parser_new ();
  JsonObject *root = parse (parser, reply);
  JsonObject *error = root != NULL ? get_object (root, "error") : NULL;

  if (error != NULL)
    {
      read_error (error, fixed, outcome, reason);
    }
  else if (root != NULL && json_object_get_int_member_with_default (root, "total", 0) > 0)
    {
      *outcome = EVBUS_OUTCOME_TRANSIENT;
      *reason = g_strdup ("its stream has no leader now");
    }
  else
    {
      *outcome = nats_errors_of_address (fixed);
      *reason = g_strdup ("no stream has its subject; add it to one");
    }
  return FALSE;
}
