/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdlib.h>
#include <string.h>

#define CHANNEL 1

/* The same headers; it knows no other properties, and no confirms. */
#define SYSLOG_NG \
  "amqp(host('127.0.0.1') port(`BENCH_PORT`) username(\"`BENCH_USER`\") password(\"`BENCH_PASSWORD`\")" \
  " exchange('') routing-key('syslog-ng') persistent(yes) body(\"${MESSAGE}\")" \
  " value-pairs(pair('evbus-id' '01a2183b-747c-72d4-b30d-99913151f050')" \
  "  pair('evbus-routing-key' 'order.created') pair('evbus-profile' 'default')" \
  "  pair('evbus-time' '2026-11-23T18:58:41.802852Z')))"

typedef struct
{
  amqp_connection_state_t state;
  char                   *queue;
  guint64                 sent;        /* the tag of the last message */
  guint64                 confirmed;   /* up to this tag */
} Connection;

static void
close_amqp (gpointer data)
{
  Connection *self = data;

  amqp_destroy_connection (self->state);
  g_free (self->queue);
  g_free (self);
}

static gboolean
set_error (GError **error,
           int      status)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "amqp: %s", amqp_error_string2 (status));
  return FALSE;
}

static gpointer
open_amqp (const char  *destination,
           GError     **error)
{
  Connection *self = g_new0 (Connection, 1);
  amqp_socket_t *socket;
  amqp_rpc_reply_t reply;

  self->queue = g_strdup (destination);
  self->state = amqp_new_connection ();
  socket = amqp_tcp_socket_new (self->state);
  if (amqp_socket_open (socket, "127.0.0.1", atoi (g_getenv ("BENCH_PORT"))) == AMQP_STATUS_OK)
    {
      reply = amqp_login (self->state, "/", CHANNEL, AMQP_DEFAULT_FRAME_SIZE, 60, AMQP_SASL_METHOD_PLAIN,
                          g_getenv ("BENCH_USER"), g_getenv ("BENCH_PASSWORD"));
      if (reply.reply_type == AMQP_RESPONSE_NORMAL &&
          amqp_channel_open (self->state, CHANNEL) != NULL && amqp_confirm_select (self->state, CHANNEL) != NULL)
        return self;
    }

  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "amqp: cannot connect, or log in");
  close_amqp (self);
  return NULL;
}

/* The next frame, of those that have come or, to @wait, one that comes. Confirms come
 * in order where one queue takes all. */
static gboolean
take_confirm (Connection  *self,
              gboolean     wait,
              gboolean    *taken,
              GError     **error)
{
  const struct timeval at_once = { 0, 0 };
  amqp_frame_t frame;
  int status = amqp_simple_wait_frame_noblock (self->state, &frame, wait ? NULL : &at_once);

  *taken = status == AMQP_STATUS_OK;
  if (status == AMQP_STATUS_TIMEOUT && !wait)
    return TRUE;
  if (status != AMQP_STATUS_OK)
    return set_error (error, status);
  if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD)
    self->confirmed = MAX (self->confirmed, ((amqp_basic_ack_t *) frame.payload.method.decoded)->delivery_tag);
  amqp_maybe_release_buffers (self->state);
  return TRUE;
}

/* The same message as the ingress sends. */
static int
publish (Connection   *self,
         amqp_bytes_t  body)
{
  static const char * const texts[][2] = {
    { "evbus-id", "01a2183b-747c-72d4-b30d-99913151f050" },
    { "evbus-routing-key", "order.created" },
    { "evbus-profile", "default" },
    { "evbus-time", "2026-11-23T18:58:41.802852Z" },
  };
  amqp_table_entry_t headers[G_N_ELEMENTS (texts)];
  amqp_basic_properties_t properties = {
    ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
              AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG,
    .content_type = amqp_cstring_bytes ("application/octet-stream"),
    .delivery_mode = AMQP_DELIVERY_PERSISTENT,
    .message_id = amqp_cstring_bytes (texts[0][1]),
    .timestamp = 1700000000,
    .headers = { G_N_ELEMENTS (headers), headers },
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      headers[i].key = amqp_cstring_bytes (texts[i][0]);
      headers[i].value.kind = AMQP_FIELD_KIND_UTF8;
      headers[i].value.value.bytes = amqp_cstring_bytes (texts[i][1]);
    }
  return amqp_basic_publish (self->state, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes (self->queue), TRUE, FALSE,
                             &properties, body);
}

static gboolean
send_amqp (gpointer   connection,
           guint      n,
           gsize      size,
           guint      window,
           GError   **error)
{
  Connection *self = connection;
  g_autofree char *text = g_strnfill (size, 'x');
  guint64 last = self->sent + n;
  gboolean taken = TRUE;

  while (self->confirmed < last)
    {
      gboolean full = self->sent == last || self->sent - self->confirmed >= window;

      if (!full)
        {
          int status = publish (self, (amqp_bytes_t) { size, text });

          if (status != AMQP_STATUS_OK)
            return set_error (error, status);
          self->sent++;
        }
      do
        if (!take_confirm (self, full, &taken, error))
          return FALSE;
      while (taken && !full);
    }
  return TRUE;
}

/* What is in the queue: nobody takes anything out. */
static gboolean
count_amqp (gpointer     connection,
            const char  *destination,
            guint64     *n,
            GError     **error)
{
  Connection *self = connection;
  amqp_queue_declare_ok_t *queue = amqp_queue_declare (self->state, CHANNEL, amqp_cstring_bytes (destination), TRUE,
                                                       FALSE, FALSE, FALSE, amqp_empty_table);

  if (queue == NULL)
    return set_error (error, amqp_get_rpc_reply (self->state).library_error);
  *n = queue->message_count;
  amqp_maybe_release_buffers (self->state);
  return TRUE;
}

const BenchLibrary bench_library = { open_amqp, send_amqp, close_amqp, 0, { SYSLOG_NG }, count_amqp };
