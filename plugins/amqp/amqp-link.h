/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "amqp-confirms.h"
#include "amqp-content.h"

G_BEGIN_DECLS

#define AMQP_LINK_CHANNEL 1

/* A connection with one channel. All of it is used on the route's thread. */
typedef struct {
  const AmqpOptions       *options;
  amqp_connection_state_t  state;      /* NULL: not connected */
  int                      fd;
  gboolean                 channel;    /* whether it is open */
  guint64                  last_tag;   /* of the messages published on it */
  gint64                   last_sent;  /* no later than when the library has sent something last */
  char                    *blocked;    /* why the server takes none now, or NULL */
  char                    *returned;   /* of the message that is just coming back */
  AmqpConfirms             confirms;
  GSource                 *watch;      /* between calls: heartbeats, and what the server says */
} AmqpLink;

void     amqp_link_init    (AmqpLink           *self,
                            const AmqpOptions  *options);
void     amqp_link_clear   (AmqpLink           *self);
/* Ends the connection without a word to the server. */
void     amqp_link_drop    (AmqpLink           *self);

/* If it is not open. Errors leave it closed, as far as they concern it. */
gboolean amqp_link_open    (AmqpLink           *self,
                            GCancellable       *cancellable,
                            GError            **error);
void     amqp_link_close   (AmqpLink           *self);
/* Whether something short can be sent without waiting. */
gboolean amqp_link_has_room (AmqpLink          *self);

/* amqp-frames.c: reads what has come, without waiting. */
gboolean amqp_link_read    (AmqpLink           *self,
                            GError            **error);
/* Waits for something to come or, if @to_write, until something can be sent:
 * @ready. @wake: of the cancellable. */
gboolean amqp_link_wait    (AmqpLink           *self,
                            const GPollFD      *wake,
                            gboolean            to_write,
                            gboolean           *ready,
                            GError            **error);
gboolean amqp_link_publish (AmqpLink           *self,
                            const AmqpContent  *content,
                            GCancellable       *cancellable,
                            GError            **error);

/* For those who were told to wait no longer; returns FALSE. */
gboolean amqp_link_set_cancelled (AmqpLink     *self,
                                  GError      **error);

G_END_DECLS
