/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef struct _EvbusdFanout EvbusdFanout;

EvbusdFanout *evbusd_fanout_new         (GDBusConnection  *connection);
void          evbusd_fanout_free        (EvbusdFanout     *self);

guint64       evbusd_fanout_subscribe   (EvbusdFanout     *self,
                                         const char       *subscriber,
                                         GVariant         *options,
                                         GError          **error);
gboolean      evbusd_fanout_unsubscribe (EvbusdFanout     *self,
                                         const char       *subscriber,
                                         guint64           number,
                                         GError          **error);
void          evbusd_fanout_deliver     (EvbusdFanout     *self,
                                         EvbusEvent       *event);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdFanout, evbusd_fanout_free)

G_END_DECLS
