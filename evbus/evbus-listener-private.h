/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "evbus-queue-private.h"
#include "evbus-route-private.h"
#include "evbus-spooler-private.h"

G_BEGIN_DECLS

/* The thread that watches the queue and hands each event to its routes. It
 * never waits for anything but its main loop. Until it is started, what it is
 * told waits in its main context. It holds no reference of the broker. */

EvbusListener *evbus_listener_new    (void);
EvbusListener *evbus_listener_ref    (EvbusListener  *self);
void           evbus_listener_unref  (EvbusListener  *self);

EvbusQueue    *evbus_listener_get_queue (EvbusListener *self);

/* FALSE with a G_THREAD_ERROR: there is no thread now; it can be tried again. */
/* Before the start: everything goes through a spool. */
void           evbus_listener_set_spooler (EvbusListener *self,
                                      EvbusSpooler   *spooler);
gboolean       evbus_listener_start  (EvbusListener  *self,
                                      GError        **error);

/* Starts the route's thread; if @after is given, once that one has finished. */
void           evbus_listener_add    (EvbusListener  *self,
                                      EvbusRoute     *route,
                                      EvbusRoute     *after);
/* Lets a route that is out of the table deliver what it was given (all events
 * up to the @n_pushed-th of the queue) within @timeout milliseconds. */
void           evbus_listener_retire (EvbusListener  *self,
                                      EvbusRoute     *route,
                                      guint64         n_pushed,
                                      guint           timeout);
/* Drains the closed queue and every route within @timeout milliseconds, ends
 * the thread, and returns TRUE from @task, or EVBUS_ERROR_TIMED_OUT if
 * something was dropped. Cancelling any such task ends the draining. Once the
 * listener has ended, or was discarded, the task is answered at once. */
void           evbus_listener_stop   (EvbusListener  *self,
                                      GTask          *task,
                                      guint           timeout);
/* Asks for a sign of life; FALSE: there was none since the last time. */
gboolean       evbus_listener_ping   (EvbusListener  *self);
/* Ends everything at once, waiting for nothing. */
void           evbus_listener_abort  (EvbusListener  *self);
/* For a listener whose thread was never started, or is ending. */
void           evbus_listener_discard (EvbusListener *self);

/* From the routes' threads. */
void           evbus_listener_watch    (EvbusListener  *self,
                                        gint64          deadline);
void           evbus_listener_finished (EvbusListener  *self,
                                        EvbusRoute     *route);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusListener, evbus_listener_unref)

G_END_DECLS
