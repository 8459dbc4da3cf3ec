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
set_error (GError     **error,
           const char  *text)
{
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "redis: %s", text);
  return FALSE;
}

/* The replies that have come, after those to come were waited for. */
static gboolean
take_replies (redisContext  *redis,
              guint         *n_taken,
              GError       **error)
{
  redisReply *reply = NULL;

  if (redisBufferRead (redis) != REDIS_OK)
    return set_error (error, redis->errstr);
  while (redisGetReplyFromReader (redis, (void **) &reply) == REDIS_OK && reply != NULL)
    {
      gboolean refused = reply->type == REDIS_REPLY_ERROR && !set_error (error, reply->str);

      freeReplyObject (reply);
      if (refused)
        return FALSE;
      (*n_taken)++;
    }
  return redis->err == 0 || set_error (error, redis->errstr);
}

static gboolean
flush (redisContext  *redis,
       GError       **error)
{
  int done = 0;

  while (!done)
    if (redisBufferWrite (redis, &done) != REDIS_OK)
      return set_error (error, redis->errstr);
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
  guint sent = 0, taken = 0;

  /* What has been answered makes room at once: the window is never empty. */
  while (taken < n)
    {
      for (; sent < n && sent - taken < window; sent++)
        redisAppendCommandArgv (connection, G_N_ELEMENTS (words), words, NULL);
      if (!flush (connection, error) || !take_replies (connection, &taken, error))
        return FALSE;
    }
  return TRUE;
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
