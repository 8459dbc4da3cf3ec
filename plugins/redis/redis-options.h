/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef enum {
  REDIS_COMMAND_XADD,
  REDIS_COMMAND_PUBLISH,
  REDIS_COMMAND_RPUSH,
} RedisCommand;

/* What the profile says, read once; its passwords stay in the context. */
typedef struct {
  char           *host;
  guint16         port;
  char           *unix_socket;       /* or NULL */
  char           *place;             /* for messages: redis://HOST:PORT */
  guint           connect_timeout;   /* seconds */
  guint           timeout;           /* seconds, 0: none */

  gboolean        tls;
  gboolean        verify;
  char           *server_name;
  char           *ca_file;           /* or NULL */
  char           *cert_file;         /* or NULL */
  char           *key_file;          /* or NULL */

  RedisCommand    command;
  EvbusTemplate  *stream;
  gint64          maxlen;            /* 0: no limit */
  gboolean        approximate;
  gboolean        structured;        /* the body is a CloudEvent */
  char           *source;
} RedisOptions;

RedisOptions *redis_options_new  (EvbusContext *ctx);
void          redis_options_free (RedisOptions *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (RedisOptions, redis_options_free)

G_END_DECLS
