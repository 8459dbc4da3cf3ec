/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* One configuration takes the place of another, while events flow. Main context only. */
typedef struct _EvbusdSwap EvbusdSwap;

EvbusdSwap *evbusd_swap_new    (EvbusBroker          *broker);
void        evbusd_swap_free   (EvbusdSwap           *self);

/* Tries the plugins of @profiles, puts it in place, and waits for the first try of each
 * route that is new or was changed, but not for ever. The next swap ends this one: what is
 * not in place by then is refused. */
void        evbusd_swap_async  (EvbusdSwap           *self,
                                EvbusProfiles        *profiles,
                                GAsyncReadyCallback   callback,
                                gpointer              user_data);
/* Which of those routes do not run, and why: (element-type char*), none if all do.
 * NULL: the old configuration was in place all the time. */
GPtrArray  *evbusd_swap_finish (EvbusdSwap           *self,
                                GAsyncResult         *result,
                                GError              **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdSwap, evbusd_swap_free)

G_END_DECLS
