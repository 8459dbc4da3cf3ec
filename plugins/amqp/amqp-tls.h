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
/* Called on the thread on which the library failed while connecting, before anything else
 * is done with TLS: whether that was because of the client's certificate. */
gboolean       amqp_tls_certificate_refused (amqp_connection_state_t state);

G_END_DECLS
