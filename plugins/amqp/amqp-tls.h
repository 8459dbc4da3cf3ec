/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "amqp-options.h"

G_BEGIN_DECLS

/* A socket of @state, not opened yet; NULL on error. */
amqp_socket_t *amqp_tls_socket_new (const AmqpOptions        *options,
                                    amqp_connection_state_t   state,
                                    GError                  **error);
/* Whether the server has asked for a certificate of the client, and there is none. */
gboolean       amqp_tls_certificate_wanted (amqp_connection_state_t state);
/* Called on the thread on which the library failed while connecting, before anything else
 * is done with TLS: whether the server said that it was because of the client's certificate. */
gboolean       amqp_tls_certificate_refused (void);

G_END_DECLS
