/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "amqp-link.h"

G_BEGIN_DECLS

/* The steps to an open channel. */
gboolean amqp_login_connect      (AmqpLink      *link,
                                  GCancellable  *cancellable,
                                  GError       **error);
gboolean amqp_login_authenticate (AmqpLink      *link,
                                  GError       **error);
gboolean amqp_login_open_channel (AmqpLink      *link,
                                  GError       **error);

G_END_DECLS
