/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What JetStream answers, and what its codes come to. */

#include "nats-answer.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* Codes that libnats has no name for. */
#define STREAM_HEADER_EXCEEDS_MAXIMUM 10097
#define STREAM_DUPLICATE_IN_PROCESS 10158

/* Its own codes, where that of HTTP beside them says too little. */
static const struct {
  gint64       code;
  NatsVerdict  verdict;
} codes[] = {
  { JSAccountResourcesExceededErr, NATS_ANSWER_PASSES },
  { STREAM_DUPLICATE_IN_PROCESS, NATS_ANSWER_PASSES },
  { JSNotEnabledForAccountErr, NATS_ANSWER_BROKEN },
  { JSNotEnabledErr, NATS_ANSWER_BROKEN },
  { JSNoAccountErr, NATS_ANSWER_BROKEN },
  { JSNoLimitsErr, NATS_ANSWER_BROKEN },
  { JSStreamMessageExceedsMaximumErr, NATS_ANSWER_POISON },
  { STREAM_HEADER_EXCEEDS_MAXIMUM, NATS_ANSWER_POISON },
  { JSStreamNotFoundErr, NATS_ANSWER_ADDRESS },
  { JSStreamNotMatchErr, NATS_ANSWER_ADDRESS },
  { JSStreamSealedErr, NATS_ANSWER_ADDRESS },
};

/* Those of HTTP, by their hundreds. */
static NatsVerdict
judge_http (gint64 code)
{
  switch (code)
    {
    case 401:
    case 403:
      return NATS_ANSWER_BROKEN;
    case 404:
      return NATS_ANSWER_ADDRESS;
    case 408:
    case 429:
      return NATS_ANSWER_PASSES;
    default:
      return code >= 400 && code < 500 ? NATS_ANSWER_POISON : NATS_ANSWER_PASSES;
    }
}

static NatsVerdict
judge (gint64 code,
       gint64 http)
{
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    if (codes[i].code == code)
      return codes[i].verdict;
  return judge_http (http);
}

static JsonObject *
get_object (JsonObject *object,
            const char *name)
{
  JsonNode *node = json_object_get_member (object, name);

  return node != NULL && JSON_NODE_HOLDS_OBJECT (node) ? json_node_get_object (node) : NULL;
}

static const char *
get_string (JsonObject *object,
            const char *name)
{
  return json_object_get_string_member_with_default (object, name, NULL);
}

static void
set (NatsAnswer  *self,
     NatsVerdict  verdict,
     const char  *text)
{
  self->verdict = verdict;
  self->text = g_strdup (text);
}

/* Returns what is there to be read, NULL where @self has all: it is an error, or not
 * JetStream's. */
static JsonObject *
parse (NatsAnswer *self,
       JsonParser *parser,
       natsMsg    *reply)
{
  JsonNode *root = json_parser_load_from_data (parser, natsMsg_GetData (reply), natsMsg_GetDataLength (reply), NULL)
                   ? json_parser_get_root (parser) : NULL;
  JsonObject *object = root != NULL && JSON_NODE_HOLDS_OBJECT (root) ? json_node_get_object (root) : NULL;
  JsonObject *error = object != NULL ? get_object (object, "error") : NULL;
  gint64 code;

  if (object == NULL)
    {
      set (self, NATS_ANSWER_STRANGE, "what answers is not JetStream");
      return NULL;
    }
  if (error == NULL)
    return object;

  code = json_object_get_int_member_with_default (error, "err_code", 0);
  self->verdict = judge (code, json_object_get_int_member_with_default (error, "code", 0));
  self->text = g_strdup_printf ("JetStream refused it: %s (%" G_GINT64_FORMAT ")",
                                json_object_get_string_member_with_default (error, "description", "no reason given"),
                                code);
  return NULL;
}

static gboolean
contains (natsMsg    *reply,
          const char *text)
{
  return memmem (natsMsg_GetData (reply), natsMsg_GetDataLength (reply), text, strlen (text)) != NULL;
}

/* A PubAck is `{"stream":"S","seq":1}`, with `"duplicate":true` or not; or it has an
 * error in it. */
void
nats_answer_read_ack (NatsAnswer *self,
                      natsMsg    *reply)
{
  static const char usual[] = "{\"stream\":\"";
  g_autoptr(JsonParser) parser = NULL;
  JsonObject *root;

  /* Every event has one, so that it is not worth a parser. */
  if (natsMsg_GetDataLength (reply) > (int) strlen (usual) &&
      memcmp (natsMsg_GetData (reply), usual, strlen (usual)) == 0 &&
      contains (reply, "\"seq\":") && !contains (reply, "\"error\"") && !contains (reply, "\"duplicate\""))
    {
      self->verdict = NATS_ANSWER_YES;
      return;
    }

  parser = json_parser_new ();
  root = parse (self, parser, reply);
  if (root == NULL)
    return;
  self->sequence = json_object_get_int_member_with_default (root, "seq", 0);
  if (get_string (root, "stream") == NULL || !json_object_has_member (root, "seq"))
    set (self, NATS_ANSWER_STRANGE, "what answers is not JetStream");
  else if (json_object_get_boolean_member_with_default (root, "duplicate", FALSE))
    set (self, NATS_ANSWER_DUPLICATE, get_string (root, "stream"));
  else
    self->verdict = NATS_ANSWER_YES;
}

/* The streams that have a subject: `{"total":0,"streams":null}`. One that is there, and
 * has not answered, has no leader now. */
void
nats_answer_read_streams (NatsAnswer *self,
                          natsMsg    *reply)
{
  g_autoptr(JsonParser) parser = json_parser_new ();
  JsonObject *root = parse (self, parser, reply);

  if (root == NULL)
    return;
  if (json_object_get_int_member_with_default (root, "total", 0) > 0)
    set (self, NATS_ANSWER_PASSES, "its stream has no leader now");
  else
    set (self, NATS_ANSWER_ADDRESS, "no stream has its subject; add it to one");
}

/* A stream, if it is there: `{"config":{"name":"S"}}`. */
void
nats_answer_read_stream (NatsAnswer *self,
                         natsMsg    *reply)
{
  g_autoptr(JsonParser) parser = json_parser_new ();

  if (parse (self, parser, reply) != NULL)
    self->verdict = NATS_ANSWER_YES;
}

/* A message of a stream, if it is there: `{"message":{"subject":"a.b"}}`. */
void
nats_answer_read_message (NatsAnswer *self,
                          natsMsg    *reply)
{
  g_autoptr(JsonParser) parser = json_parser_new ();
  JsonObject *root = parse (self, parser, reply);
  JsonObject *message = root != NULL ? get_object (root, "message") : NULL;

  if (root != NULL)
    set (self, NATS_ANSWER_YES, message != NULL ? get_string (message, "subject") : NULL);
}

void
nats_answer_clear (NatsAnswer *self)
{
  g_clear_pointer (&self->text, g_free);
}
