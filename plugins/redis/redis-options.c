/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "redis-options.h"

#include <string.h>

static const char * const commands[] = {
  [REDIS_COMMAND_XADD] = "xadd",
  [REDIS_COMMAND_PUBLISH] = "publish",
  [REDIS_COMMAND_RPUSH] = "rpush",
};

static RedisCommand
parse_command (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (g_strcmp0 (name, commands[i]) == 0)
      return i;
  return REDIS_COMMAND_XADD;
}

/* A socket of GIO counts whole seconds. */
static guint
get_seconds (EvbusContext *ctx,
             const char   *name)
{
  return (evbus_context_get_int (ctx, name) + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC;
}

static char *
describe_place (RedisOptions *self)
{
  const char *scheme = self->tls ? "rediss" : "redis";

  if (self->unix_socket != NULL)
    return g_strdup_printf ("%s+unix://%s", scheme, self->unix_socket);
  return g_strdup_printf (strchr (self->host, ':') != NULL ? "%s://[%s]:%u" : "%s://%s:%u",
                          scheme, self->host, self->port);
}

RedisOptions *
redis_options_new (EvbusContext *ctx)
{
  RedisOptions *self = g_new0 (RedisOptions, 1);
  const char *server_name = evbus_context_get_string (ctx, "tls.server_name");

  self->host = g_strdup (evbus_context_get_string (ctx, "host"));
  self->port = evbus_context_get_int (ctx, "port");
  self->unix_socket = g_strdup (evbus_context_get_string (ctx, "unix_socket"));
  self->connect_timeout = get_seconds (ctx, "connect_timeout");
  self->timeout = get_seconds (ctx, "timeout");

  self->tls = evbus_context_wants_tls (ctx);
  self->verify = evbus_context_get_boolean (ctx, "tls.verify");
  self->server_name = g_strdup (server_name != NULL ? server_name : self->host);
  self->ca_file = g_strdup (evbus_context_get_string (ctx, "tls.ca_file"));
  self->cert_file = g_strdup (evbus_context_get_string (ctx, "tls.cert_file"));
  self->key_file = g_strdup (evbus_context_get_string (ctx, "tls.key_file"));
  self->place = describe_place (self);

  self->command = parse_command (evbus_context_get_string (ctx, "command"));
  self->stream = evbus_context_get_template (ctx, "stream");
  if (self->stream == NULL)
    self->stream = evbus_template_new ("{routing_key}", NULL);
  self->maxlen = evbus_context_get_int (ctx, "maxlen");
  self->approximate = evbus_context_get_boolean (ctx, "approximate");
  self->structured = evbus_context_get_string (ctx, "cloudevents") != NULL;
  self->source = g_strdup (evbus_context_get_string (ctx, "cloudevents_source"));

  return self;
}

void
redis_options_free (RedisOptions *self)
{
  g_free (self->host);
  g_free (self->unix_socket);
  g_free (self->place);
  g_free (self->server_name);
  g_free (self->ca_file);
  g_free (self->cert_file);
  g_free (self->key_file);
  evbus_template_unref (self->stream);
  g_free (self->source);
  g_free (self);
}
