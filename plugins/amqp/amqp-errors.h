/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "amqp-options.h"

G_BEGIN_DECLS

/* While what the server complains about. */
typedef enum {
  AMQP_STAGE_CONNECT,   /* no event is concerned */
  AMQP_STAGE_PUBLISH,
} AmqpStage;

/* All return FALSE. */
gboolean amqp_errors_set_status (const AmqpOptions  *options,
                                 int                 status,
                                 GError            **error);
gboolean amqp_errors_set_lost   (const AmqpOptions  *options,
                                 int                 status,
                                 gboolean            wanted,
                                 GError            **error);
gboolean amqp_errors_set_reply  (const AmqpOptions  *options,
                                 AmqpStage           stage,
                                 guint               code,
                                 amqp_bytes_t        text,
                                 GError            **error);
gboolean amqp_errors_set_answer (const AmqpOptions  *options,
                                 amqp_rpc_reply_t    answer,
                                 GError            **error);

/* The server does not take the client's certificate. */
gboolean amqp_errors_set_refused (const AmqpOptions *options,
                                  GError           **error);

/* Of a message that no queue took. */
EvbusOutcome amqp_errors_judge_return (const AmqpOptions *options);

G_END_DECLS
