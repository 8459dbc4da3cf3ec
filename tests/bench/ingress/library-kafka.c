/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <librdkafka/rdkafka.h>
#include <string.h>

/* Its messages have no headers. */
#define SYSLOG_NG \
  "kafka-c(bootstrap-servers('127.0.0.1:`BENCH_PORT`') topic('syslog-ng') key('order.created')" \
  " message(\"${MESSAGE}\") sync-send(no) workers(1)" \
  " config('acks' => 'all' 'linger.ms' => '1' 'queue.buffering.max.messages' => '1000000'))"

typedef struct
{
  rd_kafka_t          *rk;
  rd_kafka_topic_t    *topic;
  guint                in_flight;
  rd_kafka_resp_err_t  failure;
} Connection;

static void
take_report (rd_kafka_t               *rk,
             const rd_kafka_message_t *message,
             void                     *opaque)
{
  Connection *self = opaque;

  self->in_flight--;
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
    self->failure = message->err;
}

static void
close_kafka (gpointer connection)
{
  Connection *self = connection;

  rd_kafka_topic_destroy (self->topic);
  rd_kafka_destroy (self->rk);
  g_free (self);
}

static gpointer
open_kafka (const char  *destination,
            GError     **error)
{
  static const char * const settings[][2] = {
    { "acks", "all" },
    { "enable.idempotence", "true" },
    { "linger.ms", "1" },
    { "socket.nagle.disable", "true" },
    { "queue.buffering.max.kbytes", "65536" },
  };
  g_autofree char *server = g_strconcat ("127.0.0.1:", g_getenv ("BENCH_PORT"), NULL);
  Connection *self = g_new0 (Connection, 1);
  rd_kafka_conf_t *conf = rd_kafka_conf_new ();
  char text[512];

  for (guint i = 0; i < G_N_ELEMENTS (settings); i++)
    rd_kafka_conf_set (conf, settings[i][0], settings[i][1], NULL, 0);
  rd_kafka_conf_set (conf, "bootstrap.servers", server, NULL, 0);
  rd_kafka_conf_set_dr_msg_cb (conf, take_report);
  rd_kafka_conf_set_opaque (conf, self);

  self->rk = rd_kafka_new (RD_KAFKA_PRODUCER, conf, text, sizeof text);
  if (self->rk == NULL)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "kafka: %s", text);
      rd_kafka_conf_destroy (conf);
      g_free (self);
      return NULL;
    }
  self->topic = rd_kafka_topic_new (self->rk, destination, NULL);
  return self;
}

/* The same message as the ingress sends. */
static rd_kafka_resp_err_t
produce (Connection *self,
         const char *text,
         gsize       size)
{
  static const char * const texts[][2] = {
    { "evbus-id", "01a2183b-747c-72d4-b30d-99913151f050" },
    { "evbus-routing-key", "order.created" },
    { "evbus-profile", "default" },
    { "evbus-time", "2026-11-23T18:58:41.802852Z" },
    { "content-type", "application/octet-stream" },
  };
  rd_kafka_headers_t *headers = rd_kafka_headers_new (G_N_ELEMENTS (texts));
  rd_kafka_resp_err_t code;

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    rd_kafka_header_add (headers, texts[i][0], -1, texts[i][1], -1);
  code = rd_kafka_producev (self->rk,
                            RD_KAFKA_V_RKT (self->topic),
                            RD_KAFKA_V_MSGFLAGS (RD_KAFKA_MSG_F_COPY),
                            RD_KAFKA_V_KEY ("order.created", strlen ("order.created")),
                            RD_KAFKA_V_VALUE ((void *) text, size),
                            RD_KAFKA_V_TIMESTAMP (1700000000000),
                            RD_KAFKA_V_HEADERS (headers),
                            RD_KAFKA_V_END);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    rd_kafka_headers_destroy (headers);
  return code;
}

static gboolean
send_kafka (gpointer   connection,
            guint      n,
            gsize      size,
            guint      window,
            GError   **error)
{
  Connection *self = connection;
  g_autofree char *text = g_strnfill (size, 'x');

  for (guint i = 0; i < n && self->failure == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
    {
      self->failure = produce (self, text, size);
      self->in_flight++;
      rd_kafka_poll (self->rk, 0);
      while (self->in_flight >= window)
        rd_kafka_poll (self->rk, 1000);
    }
  while (self->in_flight > 0 && self->failure == RD_KAFKA_RESP_ERR_NO_ERROR)
    rd_kafka_poll (self->rk, 1000);

  if (self->failure == RD_KAFKA_RESP_ERR_NO_ERROR)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "kafka: %s", rd_kafka_err2str (self->failure));
  return FALSE;
}

/* The topics of run-ingress have one partition. */
static gboolean
count_kafka (gpointer     connection,
             const char  *destination,
             guint64     *n,
             GError     **error)
{
  Connection *self = connection;
  gint64 first, end;
  rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets (self->rk, destination, 0, &first, &end, 10 * 1000);

  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "kafka: %s", rd_kafka_err2str (code));
      return FALSE;
    }
  *n = end;
  return TRUE;
}

const BenchLibrary bench_library = { open_kafka, send_kafka, close_kafka, 0.5, { SYSLOG_NG }, count_kafka };
