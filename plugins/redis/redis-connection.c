/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* hiredis 0.14 knows no TLS, and its blocking calls no cancellable: it reads the
 * replies, and GIO the bytes. */

#include "redis-connection.h"

#include <gio/gunixsocketaddress.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "redis-tls.h"

#define READ_SIZE (64 * 1024)

/* No reply to what we ask is nearly as long. */
#define MAX_REPLY (1024 * 1024)

/* A way through the network that has forgotten an idle connection is found out by
 * the kernel within some two minutes. */
#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT      4

struct _RedisConnection
{
  RedisOptions  *options;     /* the ingress's, which outlives it */
  GSocket       *socket;
  GIOStream     *stream;
  redisReader   *reader;
  GSource       *watch;       /* in the route's context; NULL: it was found closed */
  char           buffer[READ_SIZE];
};

void
redis_connection_free (RedisConnection *self)
{
  if (self->watch != NULL)
    {
      g_source_destroy (self->watch);
      g_source_unref (self->watch);
    }
  g_clear_pointer (&self->reader, redisReaderFree);
  /* Not closed in form: that would wait for the other side, and nothing is owed to it. */
  if (self->socket != NULL)
    g_socket_close (self->socket, NULL);
  g_clear_object (&self->stream);
  g_clear_object (&self->socket);
  g_free (self);
}

/* Nothing is due. What comes nevertheless is the end; or a record of TLS itself,
 * which leaves nothing to read. */
static gboolean
is_still_open (RedisConnection *self)
{
  GPollableInputStream *input = G_POLLABLE_INPUT_STREAM (g_io_stream_get_input_stream (self->stream));
  g_autoptr(GError) error = NULL;

  g_pollable_input_stream_read_nonblocking (input, self->buffer, sizeof self->buffer, NULL, &error);
  return g_error_matches (error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK);
}

/* The next batch connects anew. Until there is one, nothing is kept of what is lost. */
static gboolean
on_readable (GObject  *input,
             gpointer  data)
{
  RedisConnection *self = data;

  if (is_still_open (self))
    return G_SOURCE_CONTINUE;

  g_info ("%s: the connection was lost between two batches", self->options->place);
  g_socket_close (self->socket, NULL);
  g_clear_pointer (&self->watch, g_source_unref);
  return G_SOURCE_REMOVE;
}

/* Asked before a batch: the context may not have come to it yet. */
gboolean
redis_connection_is_open (RedisConnection *self)
{
  return self->watch != NULL && is_still_open (self);
}

static void
watch (RedisConnection *self)
{
  GInputStream *input = g_io_stream_get_input_stream (self->stream);

  self->watch = g_pollable_input_stream_create_source (G_POLLABLE_INPUT_STREAM (input), NULL);
  g_source_set_callback (self->watch, G_SOURCE_FUNC (on_readable), self, NULL);
  g_source_attach (self->watch, g_main_context_get_thread_default ());
}

static GSocketConnectable *
make_address (RedisOptions *options)
{
  if (options->unix_socket != NULL)
    return G_SOCKET_CONNECTABLE (g_unix_socket_address_new (options->unix_socket));
  return g_network_address_new (options->host, options->port);
}

static void
set_socket_options (RedisConnection *self)
{
  /* That of connecting. Nothing is due while it is idle. */
  g_socket_set_timeout (self->socket, 0);
  if (self->options->unix_socket != NULL)
    return;

  g_socket_set_keepalive (self->socket, TRUE);
  g_socket_set_option (self->socket, IPPROTO_TCP, TCP_NODELAY, TRUE, NULL);
  g_socket_set_option (self->socket, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S, NULL);
  g_socket_set_option (self->socket, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S, NULL);
  g_socket_set_option (self->socket, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT, NULL);
}

/* The options as a whole are transient to their caller: it sorts the errors. */
RedisConnection *
redis_connection_new (RedisOptions  *options,
                      EvbusContext  *ctx,
                      GCancellable  *cancellable,
                      GError       **error)
{
  g_autoptr(RedisConnection) self = g_new0 (RedisConnection, 1);
  g_autoptr(GSocketClient) client = g_socket_client_new ();
  g_autoptr(GSocketConnectable) address = make_address (options);
  GSocketConnection *connection;

  self->options = options;
  g_socket_client_set_timeout (client, options->connect_timeout);
  /* The routes of one machine are no web browser. */
  g_socket_client_set_enable_proxy (client, FALSE);
  connection = g_socket_client_connect (client, address, cancellable, error);
  if (connection == NULL)
    return NULL;

  self->stream = G_IO_STREAM (connection);
  self->socket = g_object_ref (g_socket_connection_get_socket (connection));
  if (options->tls && !redis_tls_wrap (&self->stream, options, ctx, cancellable, error))
    return NULL;

  set_socket_options (self);
  self->reader = redisReaderCreate ();
  watch (self);
  return g_steal_pointer (&self);
}

gboolean
redis_connection_write (RedisConnection  *self,
                        GString          *data,
                        GCancellable     *cancellable,
                        GError          **error)
{
  GOutputStream *output = g_io_stream_get_output_stream (self->stream);
  gboolean done;

  g_socket_set_timeout (self->socket, self->options->timeout);
  done = g_output_stream_write_all (output, data->str, data->len, NULL, cancellable, error);
  g_socket_set_timeout (self->socket, 0);
  return done;
}

/* Returns: (transfer full): the next reply, NULL on error */
redisReply *
redis_connection_read (RedisConnection  *self,
                       GCancellable     *cancellable,
                       GError          **error)
{
  GInputStream *input = g_io_stream_get_input_stream (self->stream);
  gpointer reply = NULL;

  while (redisReaderGetReply (self->reader, &reply) == REDIS_OK && reply == NULL)
    {
      gssize n;

      g_socket_set_timeout (self->socket, self->options->timeout);
      n = g_input_stream_read (input, self->buffer, sizeof self->buffer, cancellable, error);
      g_socket_set_timeout (self->socket, 0);

      if (n < 0)
        return NULL;
      if (n == 0)
        {
          g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED,
                               "the server has closed the connection");
          return NULL;
        }
      if (self->reader->len - self->reader->pos > MAX_REPLY)
        {
          g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "a reply is longer than 1 MiB");
          return NULL;
        }
      redisReaderFeed (self->reader, self->buffer, n);
    }

  if (reply == NULL)
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "this does not speak the Redis protocol: %s",
                 self->reader->errstr);
  return reply;
}
