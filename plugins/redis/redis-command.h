/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "redis-options.h"

G_BEGIN_DECLS

/* What commands are made in; kept from batch to batch. */
typedef struct {
  GString *out;      /* the commands */
  GString *stream;   /* the parts of the one that is being made */
  GString *body;
  GString *time;
} RedisWriter;

void     redis_writer_init           (RedisWriter         *self);
void     redis_writer_clear          (RedisWriter         *self);
void     redis_writer_trim           (RedisWriter         *self);
void     redis_writer_append_command (RedisWriter         *self,
                                      const char * const  *words);
gboolean redis_writer_append_event   (RedisWriter         *self,
                                      RedisOptions        *options,
                                      EvbusEvent          *event,
                                      GError             **error);

G_END_DECLS
