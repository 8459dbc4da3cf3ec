/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "amqp-options.h"

G_BEGIN_DECLS

/* A message for an event. Everything in it is valid until the next one is made. */
typedef struct {
  amqp_bytes_t            exchange;
  amqp_bytes_t            routing_key;
  amqp_basic_properties_t properties;
  amqp_bytes_t            body;

  /*< private >*/
  const AmqpOptions      *options;
  GString                *target;     /* exchange and routing key */
  GString                *texts;      /* names and values of the headers */
  GArray                 *slots;      /* where in it each of them is */
  GArray                 *entries;    /* the headers for the library */
  GString                *json;
} AmqpContent;

void     amqp_content_init  (AmqpContent        *self,
                             const AmqpOptions  *options);
void     amqp_content_clear (AmqpContent        *self);

/* Of an event that cannot be one: @max_size is what the headers may have. */
gboolean amqp_content_fill  (AmqpContent        *self,
                             EvbusEvent         *event,
                             gsize               max_size,
                             GError            **error);

G_END_DECLS
