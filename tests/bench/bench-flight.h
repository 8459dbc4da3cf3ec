/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* Puts @n_events, of which at most @in_flight are unanswered at any time, and waits for
 * the last answer. */
gboolean bench_flight_put   (EvbusBroker        *broker,
                             GBytes             *body,
                             guint               n_events,
                             guint               in_flight,
                             GError            **error);

/* Waits until nothing is queued. FALSE: it is not so that each of @n_events was
 * delivered since @before, once. */
gboolean bench_flight_check (EvbusBroker        *broker,
                             const EvbusLedger  *before,
                             guint               n_events,
                             GError            **error);

void     bench_flight_stop  (EvbusBroker        *broker);

G_END_DECLS
