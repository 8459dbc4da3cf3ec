/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "bench-ingress.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

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

static void
close_redis (gpointer connection)
{
  redisFree (connection);
}

const BenchLibrary bench_library = { open_redis, send_redis, close_redis };
