/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#if !defined(EVBUS_INSIDE) && !defined(EVBUS_COMPILATION)
# error "Only <evbus/evbus.h> can be included directly."
#endif

#include <evbus/evbus-dead-letter.h>
#include <evbus/evbus-explanation.h>
#include <evbus/evbus-orphan.h>
#include <evbus/evbus-producer.h>
#include <evbus/evbus-profiles.h>
#include <evbus/evbus-route.h>
#include <evbus/evbus-spool-condition.h>

G_BEGIN_DECLS

#define EVBUS_TYPE_BROKER (evbus_broker_get_type ())

EVBUS_AVAILABLE_IN_1_0
G_DECLARE_FINAL_TYPE (EvbusBroker, evbus_broker, EVBUS, BROKER, GObject)

EVBUS_AVAILABLE_IN_1_0
EvbusBroker *evbus_broker_new            (void);

EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_load_profiles  (EvbusBroker          *self,
                                          const char           *path,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_apply_profiles (EvbusBroker          *self,
                                          EvbusProfiles        *profiles,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
EvbusRoute  *evbus_broker_add_route      (EvbusBroker          *self,
                                          const char           *provider,
                                          const char           *profile,
                                          GVariant             *data,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_remove_route   (EvbusBroker          *self,
                                          EvbusRoute           *route,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
GListModel  *evbus_broker_get_routes     (EvbusBroker          *self);
EVBUS_AVAILABLE_IN_1_0
GPtrArray   *evbus_broker_explain        (EvbusBroker          *self,
                                          const char           *profile,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_get_ledger     (EvbusBroker          *self,
                                          EvbusLedger          *ledger);

EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_start          (EvbusBroker          *self,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_stop_async     (EvbusBroker          *self,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_stop_finish    (EvbusBroker          *self,
                                          GAsyncResult         *result,
                                          GError              **error);

EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_begin_put      (EvbusBroker          *self,
                                          const char           *routing_key,
                                          GVariant             *body,
                                          const char           *profile,
                                          GVariant             *options,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_begin_put_many (EvbusBroker          *self,
                                          GVariant             *events,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);

EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_ping           (EvbusBroker          *self);

EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_open_spool_async (EvbusBroker        *self,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_open_spool_finish (EvbusBroker       *self,
                                          GAsyncResult         *result,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
EvbusSpoolCondition
             evbus_broker_get_spool_condition (EvbusBroker    *self);
EVBUS_AVAILABLE_IN_1_0
char        *evbus_broker_dup_spool_note (EvbusBroker          *self);
EVBUS_AVAILABLE_IN_1_0
char        *evbus_broker_dup_spool_directory (EvbusBroker    *self);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_set_spool_directory (EvbusBroker    *self,
                                          const char           *directory);

EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_list_dead_async  (EvbusBroker          *self,
                                          const char           *route,
                                          gint64                after,
                                          guint                 max_letters,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
GPtrArray   *evbus_broker_list_dead_finish (EvbusBroker         *self,
                                          GAsyncResult         *result,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_replay_dead_async (EvbusBroker         *self,
                                          const char           *route,
                                          const gint64         *numbers,
                                          gsize                 n_numbers,
                                          const char           *profile,
                                          GFileProgressCallback progress,
                                          gpointer              progress_data,
                                          GDestroyNotify        progress_free,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_replay_dead_finish (EvbusBroker       *self,
                                          GAsyncResult         *result,
                                          guint64              *n_replayed,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_export_dead_async (EvbusBroker         *self,
                                          const char           *route,
                                          const gint64         *numbers,
                                          gsize                 n_numbers,
                                          GOutputStream        *stream,
                                          GFileProgressCallback progress,
                                          gpointer              progress_data,
                                          GDestroyNotify        progress_free,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_export_dead_finish (EvbusBroker       *self,
                                          GAsyncResult         *result,
                                          guint64              *n_exported,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_drop_dead_async  (EvbusBroker          *self,
                                          const char           *route,
                                          const gint64         *numbers,
                                          gsize                 n_numbers,
                                          GFileProgressCallback progress,
                                          gpointer              progress_data,
                                          GDestroyNotify        progress_free,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_drop_dead_finish (EvbusBroker         *self,
                                          GAsyncResult         *result,
                                          guint64              *n_dropped,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
GPtrArray   *evbus_broker_list_orphans    (EvbusBroker          *self);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_forget_route_async (EvbusBroker        *self,
                                          const char           *route,
                                          GFileProgressCallback progress,
                                          gpointer              progress_data,
                                          GDestroyNotify        progress_free,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_forget_route_finish (EvbusBroker      *self,
                                          GAsyncResult         *result,
                                          guint64              *n_dropped,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_name_orphan_async (EvbusBroker        *self,
                                          const char           *orphan,
                                          const char           *name,
                                          GCancellable         *cancellable,
                                          GAsyncReadyCallback   callback,
                                          gpointer              user_data);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_name_orphan_finish (EvbusBroker       *self,
                                          GAsyncResult         *result,
                                          GError              **error);

EVBUS_AVAILABLE_IN_1_0
guint        evbus_broker_get_stop_timeout (EvbusBroker        *self);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_set_stop_timeout (EvbusBroker        *self,
                                          guint                 milliseconds);
EVBUS_AVAILABLE_IN_1_0
const char  *evbus_broker_get_serializer (EvbusBroker          *self);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_set_serializer (EvbusBroker          *self,
                                          const char           *name,
                                          GError              **error);
EVBUS_AVAILABLE_IN_1_0
gboolean     evbus_broker_get_reject_unrouted (EvbusBroker     *self);
EVBUS_AVAILABLE_IN_1_0
void         evbus_broker_set_reject_unrouted (EvbusBroker     *self,
                                          gboolean              reject_unrouted);

G_END_DECLS
