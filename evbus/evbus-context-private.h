/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-context.h"
#include "evbus-route-spec-private.h"

G_BEGIN_DECLS

/* Resolves the secrets that @spec refers to, which may read files and ask the
 * keyring: for the route's own thread. Errors are EVBUS_ERROR_BROKEN and name the reference,
 * never the value. */
EvbusContext *evbus_context_new (EvbusRouteSpec  *spec,
                                 EvbusMailbox    *mailbox,
                                 GCancellable    *cancellable,
                                 GError         **error);

G_END_DECLS
