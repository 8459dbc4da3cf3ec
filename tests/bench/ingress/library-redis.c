/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

/* The same entries too. */
#define SYSLOG_NG(workers) \
  "redis(host('127.0.0.1') port(`BENCH_PORT`) auth(\"`BENCH_PASSWORD`\") batch-lines(1000)" \
  " workers(" workers ")" \
  " command('XADD' 'syslog-ng' 'MAXLEN' '~' '100000' '*' 'id' '01a2183b-747c-72d4-b30d-99913151f050'" \
  " 'time' '2026-11-23T18:58:41.802852Z' 'routing_key' 'order.created' 'profile' 'default'" \
  " 'content_type' 'application/octet-stream' 'body' \"${MESSAGE}\"))"

static gpointer
open_redis (const char  *destination,
            GError     **error)
{
  redisContext *redis = redisConnect ("127.0.0.1", atoi (g_getenv ("BENCH_PORT")));
  redisReply *reply;

  if (redis == NULL || redis->err != 0)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "redis: %s", redis != NULL ? redis->errstr : "no memory");
      return NULL;
    }
  reply = redisCommand (redis, "AUTH %s", g_getenv ("BENCH_PASSWORD"));
  freeReplyObject (reply);
  return redis;
}

static gboolean
take_replies (redisContext  *redis,
              guint          n,
              GError       **error)
{
  for (guint i = 0; i < n; i++)
    {
      redisReply *reply = NULL;

      if (redisGetReply (redis, (void **) &reply) != REDIS_OK || reply->type == REDIS_REPLY_ERROR)
        {
          g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "redis: %s", reply != NULL ? reply->str : redis->errstr);
          return FALSE;
        }
      freeReplyObject (reply);
    }
  return TRUE;
}

/* The same entries as the ingress writes. */
static gboolean
send_redis (gpointer   connection,
            guint      n,
            gsize      size,
            guint      window,
            GError   **error)
{
  g_autofree char *body = g_strnfill (size, 'x');
  const char *words[] = {
    "XADD", "direct", "MAXLEN", "~", "100000", "*", "id", "01a2183b-747c-72d4-b30d-99913151f050",
    "time", "2026-11-23T18:58:41.802852Z", "routing_key", "order.created", "profile", "default",
    "content_type", "application/octet-stream", "body", body,
  };
  guint in_flight = 0;

  for (guint i = 0; i < n; i++)
    {
      redisAppendCommandArgv (connection, G_N_ELEMENTS (words), words, NULL);
      if (++in_flight < window)
        continue;
      if (!take_replies (connection, in_flight, error))
        return FALSE;
      in_flight = 0;
    }
  return take_replies (connection, in_flight, error);
}

/* A stream that is not there yet has had none. */
static gboolean
count_redis (gpointer     connection,
             const char  *destination,
             guint64     *n,
             GError     **error)
{
  redisReply *reply = redisCommand (connection, "XINFO STREAM %s", destination);

  *n = 0;
  for (guint i = 0; reply != NULL && i + 1 < reply->elements; i += 2)
    if (strcmp (reply->element[i]->str, "entries-added") == 0)
      *n = reply->element[i + 1]->integer;
  if (reply == NULL)
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "redis: %s", ((redisContext *) connection)->errstr);
  else
    freeReplyObject (reply);
  return reply != NULL;
}

static void
close_redis (gpointer connection)
{
  redisFree (connection);
}

const BenchLibrary bench_library = {
  open_redis, send_redis, close_redis, 0, { SYSLOG_NG ("1"), SYSLOG_NG ("8") }, count_redis
};
