/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "nats-options.h"

#include <string.h>

#include "nats-auth.h"
#include "nats-errors.h"
#include "nats-tls.h"

#define DEFAULT_SERVER "nats://localhost"
#define DEFAULT_PORT 4222

/* ---- servers ---- */

NatsServer *
nats_server_ref (NatsServer *self)
{
  return g_atomic_rc_box_acquire (self);
}

static void
clear_server (gpointer data)
{
  NatsServer *self = data;

  g_free (self->url);
  g_free (self->host);
}

void
nats_server_unref (NatsServer *self)
{
  g_atomic_rc_box_release_full (self, clear_server);
}

static NatsServer *
read_server (EvbusContext  *ctx,
             const char    *text,
             gsize          number,
             GError       **error)
{
  g_autofree char *full = strstr (text, "://") != NULL ? g_strdup (text) : g_strconcat ("nats://", text, NULL);
  g_autoptr(GUri) uri = g_uri_parse (full, G_URI_FLAGS_PARSE_RELAXED, NULL);
  const char *scheme = uri != NULL ? g_uri_get_scheme (uri) : NULL;
  const char *host = uri != NULL ? g_uri_get_host (uri) : NULL;
  NatsServer *server;
  gboolean tls;
  int port;

  /* Also where what was to be a password makes it no URL at all. */
  if (strchr (text, '@') != NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "'servers': number %" G_GSIZE_FORMAT " names a user; give 'user' and 'password', or 'token', instead",
                   number);
      return NULL;
    }
  tls = g_strcmp0 (scheme, "tls") == 0;
  if (host == NULL || *host == '\0' || (!tls && g_strcmp0 (scheme, "nats") != 0))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "'servers': '%s' is no URL of a server; write nats://HOST:PORT or tls://HOST:PORT", text);
      return NULL;
    }

  port = g_uri_get_port (uri);
  server = g_atomic_rc_box_new0 (NatsServer);
  server->host = g_strdup (host);
  server->tls = tls || evbus_context_wants_tls (ctx);
  server->url = g_strdup_printf (strchr (host, ':') != NULL ? "%s://[%s]:%d" : "%s://%s:%d",
                                 scheme, host, port > 0 ? port : DEFAULT_PORT);
  return server;
}

/* Returns an array of #NatsServer, NULL on error. */
GPtrArray *
nats_options_read_servers (EvbusContext  *ctx,
                           GError       **error)
{
  g_autoptr(GVariant) list = evbus_context_get_option (ctx, "servers");
  g_autoptr(GPtrArray) servers = g_ptr_array_new_with_free_func ((GDestroyNotify) nats_server_unref);
  gsize n = list != NULL ? g_variant_n_children (list) : 0;

  if (list == NULL)
    g_ptr_array_add (servers, read_server (ctx, DEFAULT_SERVER, 1, NULL));
  for (gsize i = 0; i < n; i++)
    {
      g_autoptr(GVariant) value = NULL;
      const char *text = "";
      NatsServer *server;

      g_variant_get_child (list, i, "v", &value);
      if (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
        text = g_variant_get_string (value, NULL);
      server = read_server (ctx, text, i + 1, error);
      if (server == NULL)
        return NULL;
      g_ptr_array_add (servers, server);
    }
  if (servers->len > 0)
    return g_steal_pointer (&servers);

  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                       "'servers' is empty; write nats://HOST:PORT or tls://HOST:PORT into it");
  return NULL;
}

/* ---- what libnats is told ---- */

static gint64
get_milliseconds (EvbusContext *ctx,
                  const char   *option)
{
  return evbus_context_get_int (ctx, option) / 1000;
}

/* The retries are the route's: what libnats would send again by itself, it would
 * send beside them and out of order. */
static natsStatus
turn_off_reconnect (natsOptions *options)
{
  natsStatus status = natsOptions_SetAllowReconnect (options, false);

  if (status == NATS_OK)
    status = natsOptions_SetIgnoreDiscoveredServers (options, true);
  return status;
}

static natsStatus
apply_connection (EvbusContext     *ctx,
                  const NatsServer *server,
                  natsOptions      *options)
{
  const char *name = evbus_context_get_string (ctx, "name");
  g_autofree char *own = name == NULL ? evbus_context_dup_client_id (ctx) : NULL;
  g_autofree char *escaped = nats_auth_escape (own != NULL ? own : name);
  natsStatus status = natsOptions_SetURL (options, server->url);

  if (status == NATS_OK)
    status = turn_off_reconnect (options);
  if (status == NATS_OK)
    status = natsOptions_SetName (options, escaped);
  if (status == NATS_OK)
    status = natsOptions_SetTimeout (options, get_milliseconds (ctx, "connect_timeout"));
  if (status == NATS_OK)
    status = natsOptions_SetPingInterval (options, get_milliseconds (ctx, "ping_interval"));
  if (status == NATS_OK)
    status = natsOptions_SetMaxPingsOut (options, evbus_context_get_int (ctx, "max_pings_out"));
  /* There is no thread that would flush: the route's own does. */
  if (status == NATS_OK)
    status = natsOptions_SetSendAsap (options, true);
  if (status == NATS_OK && server->tls)
    status = natsOptions_SetSecure (options, true);
  return status;
}

natsOptions *
nats_options_new (EvbusContext      *ctx,
                  const NatsServer  *server,
                  GError           **error)
{
  natsOptions *options = NULL;
  natsStatus status = natsOptions_Create (&options);

  if (server->tls && !evbus_context_get_boolean (ctx, "tls.verify"))
    evbus_context_warn_unverified (ctx, server->host);
  if (status == NATS_OK)
    status = apply_connection (ctx, server, options);
  if (status != NATS_OK)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: the options cannot be used: %s",
                 server->url, nats_errors_get_text (status, nats_GetLastError (NULL)));
  else if (nats_tls_apply (ctx, options, server->host, error) &&
           nats_auth_apply (ctx, options, server->host, server->tls, error))
    return options;

  natsOptions_Destroy (options);
  return NULL;
}
