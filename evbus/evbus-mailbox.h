/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-batch.h>
#include <evbus/evbus-event.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_MAILBOX (evbus_mailbox_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusMailbox, evbus_mailbox, EVBUS, MAILBOX, GObject)

EVBUS_AVAILABLE_IN_1_0
EvbusMailbox *evbus_mailbox_new          (void);

/* The plugin's side. */
EVBUS_AVAILABLE_IN_1_0
void          evbus_mailbox_set_limits   (EvbusMailbox         *self,
                                          guint                 max_events,
                                          gsize                 max_bytes);
EVBUS_AVAILABLE_IN_1_0
gboolean      evbus_mailbox_push_batch   (EvbusMailbox         *self,
                                          EvbusBatch           *batch,
                                          const char           *routing_key,
                                          GCancellable         *cancellable,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
gboolean      evbus_mailbox_push         (EvbusMailbox         *self,
                                          EvbusEvent           *event,
                                          const char           *routing_key,
                                          GCancellable         *cancellable,
                                          GError              **error);

/* The consumer's side. */
EVBUS_AVAILABLE_IN_1_0
guint         evbus_mailbox_get_length   (EvbusMailbox         *self);
EVBUS_AVAILABLE_IN_1_0
EvbusEvent   *evbus_mailbox_get          (EvbusMailbox         *self,
                                          const char           *routing_key,
                                          GCancellable         *cancellable,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
EvbusEvent   *evbus_mailbox_try_get      (EvbusMailbox         *self,
                                          const char           *routing_key);
EVBUS_AVAILABLE_IN_1_0
GPtrArray    *evbus_mailbox_try_get_many (EvbusMailbox         *self,
                                          const char           *routing_key,
                                          guint                 max_events);
EVBUS_AVAILABLE_IN_1_0
void          evbus_mailbox_get_async    (EvbusMailbox         *self,
                                          const char           *routing_key,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
EvbusEvent   *evbus_mailbox_get_finish   (EvbusMailbox         *self,
                                          GAsyncResult         *result,
                                          GError              **error);

G_END_DECLS
