/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusd-fanout.h"

G_BEGIN_DECLS

typedef struct _EvbusdExported EvbusdExported;

typedef gboolean (* EvbusdReload) (gpointer   user_data,
                                   GError   **error);

EvbusdExported *evbusd_exported_new  (GDBusConnection  *connection,
                                      EvbusBroker      *broker,
                                      EvbusdFanout     *fanout,
                                      EvbusdReload      reload,
                                      gpointer          user_data,
                                      GError          **error);
void            evbusd_exported_free (EvbusdExported   *self);

void            evbusd_exported_set_configuration (EvbusdExported *self,
                                                   const char     *path);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdExported, evbusd_exported_free)

G_END_DECLS
