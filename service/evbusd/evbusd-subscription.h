/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef struct _EvbusdSubscription EvbusdSubscription;

EvbusdSubscription *evbusd_subscription_new     (GDBusConnection     *connection,
                                                 const char          *subscriber,
                                                 guint64              number,
                                                 const char          *profile,
                                                 const char          *routing_key);
EvbusdSubscription *evbusd_subscription_ref     (EvbusdSubscription  *self);
void                evbusd_subscription_unref   (EvbusdSubscription  *self);
void                evbusd_subscription_end     (EvbusdSubscription  *self);

const char         *evbusd_subscription_get_subscriber (EvbusdSubscription *self);
gboolean            evbusd_subscription_matches (EvbusdSubscription  *self,
                                                 EvbusEvent          *event);
void                evbusd_subscription_deliver (EvbusdSubscription  *self,
                                                 EvbusEvent          *event,
                                                 GVariant            *body);

G_END_DECLS
