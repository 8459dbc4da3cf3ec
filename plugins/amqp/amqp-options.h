/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <amqp.h>
#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef enum {
  AMQP_FORM_PLAIN,        /* the body as it is */
  AMQP_FORM_BINARY,       /* CloudEvents: attributes in headers */
  AMQP_FORM_STRUCTURED,   /* CloudEvents: all of it in the body */
} AmqpForm;

/* A header that the profile asks for. */
typedef struct {
  char               *name;
  EvbusTemplate      *template;   /* NULL: always @value */
  amqp_field_value_t  value;      /* no text */
} AmqpHeader;

/* A profile, read once. */
typedef struct {
  char          *name;            /* amqp://HOST:PORT/VIRTUALHOST, for messages */
  char          *host;
  char          *login;
  char          *password;
  char          *vhost;
  guint          port;
  gboolean       tls;
  char          *ca_file;         /* NULL: what the system trusts */
  char          *cert_file;
  char          *key_file;
  char          *key_password;
  char          *server_name;     /* what the server's certificate is for */
  gboolean       verify;
  guint          heartbeat;       /* seconds, 0: none */
  gint64         timeout;         /* microseconds: while connecting */
  char          *client_id;
  GVariant      *client_properties;   /* a{sv}, or NULL */

  EvbusTemplate *exchange;
  char          *exchange_type;   /* NULL: the exchange is not declared */
  EvbusTemplate *routing_key;
  gboolean       fixed_address;   /* the same for all events */
  gboolean       persistent;
  gboolean       mandatory;
  char          *expiration;      /* milliseconds, as the protocol has them; NULL: none */
  int            priority;        /* -1: none */
  GArray        *headers;         /* of AmqpHeader */
  AmqpForm       form;
  char          *source;
} AmqpOptions;

AmqpOptions *amqp_options_new  (EvbusContext  *ctx,
                                GError       **error);
void         amqp_options_free (AmqpOptions   *self);

/* FALSE: @value is neither a number nor a boolean. */
/* Whether RabbitMQ sends copies by what stands there. */
gboolean     amqp_options_is_copy_header (const char  *name);
gboolean     amqp_options_convert (GVariant           *value,
                                   amqp_field_value_t *field);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (AmqpOptions, amqp_options_free)

G_END_DECLS
