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
  guint64                 first;       /* of the messages of this run */
  guint8                 *confirmed;   /* of each of them, whether it is */
  guint64                 lowest;      /* all before this tag are */
  guint                   n_confirmed;
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

static void
confirm (Connection *self,
         guint64     tag)
{
  self->n_confirmed += !self->confirmed[tag - self->first];
  self->confirmed[tag - self->first] = TRUE;
}

/* They come in any order, some for all messages up to theirs. */
static gboolean
take_ack (Connection              *self,
          const amqp_basic_ack_t  *ack,
          GError                 **error)
{
  if (ack->delivery_tag < self->first || ack->delivery_tag > self->sent)
    return set_error (error, AMQP_STATUS_BAD_AMQP_DATA);
  if (!ack->multiple)
    confirm (self, ack->delivery_tag);
  else
    for (; self->lowest <= ack->delivery_tag; self->lowest++)
      confirm (self, self->lowest);
  return TRUE;
}

/* The frame that comes next. What no queue takes (of connections whose memory is measured) comes
 * back before its confirm. */
static gboolean
take_frame (Connection  *self,
            GError     **error)
{
  amqp_frame_t frame;
  int status = amqp_simple_wait_frame (self->state, &frame);

  if (status != AMQP_STATUS_OK)
    return set_error (error, status);
  if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_NACK_METHOD)
    return set_error (error, AMQP_STATUS_WRONG_METHOD);
  if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD &&
      !take_ack (self, frame.payload.method.decoded, error))
    return FALSE;
  amqp_maybe_release_buffers (self->state);
  return TRUE;
}

/* All that have come with the next one. */
static gboolean
take_frames (Connection  *self,
             GError     **error)
{
  do
    if (!take_frame (self, error))
      return FALSE;
  while (amqp_frames_enqueued (self->state) || amqp_data_in_buffer (self->state));
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
  g_autofree guint8 *confirmed = g_new0 (guint8, n);
  guint n_sent = 0;

  self->first = self->lowest = self->sent + 1;
  self->confirmed = confirmed;
  self->n_confirmed = 0;
  while (self->n_confirmed < n)
    {
      /* What is confirmed makes room at once, whatever is not before it. */
      for (; n_sent < n && n_sent - self->n_confirmed < window; n_sent++, self->sent++)
        {
          int status = publish (self, (amqp_bytes_t) { size, text });

          if (status != AMQP_STATUS_OK)
            return set_error (error, status);
        }
      if (!take_frames (self, error))
        return FALSE;
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
