/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusd-fanout.h"

G_BEGIN_DECLS

typedef struct _EvbusdExported EvbusdExported;

/* Answers the call with evbusd_exported_answer_reload(), now or later. */
typedef void (* EvbusdReload) (gpointer               user_data,
                               GDBusMethodInvocation *invocation);

EvbusdExported *evbusd_exported_new  (GDBusConnection  *connection,
                                      EvbusBroker      *broker,
                                      EvbusdFanout     *fanout,
                                      EvbusdReload      reload,
                                      gpointer          user_data,
                                      GError          **error);
void            evbusd_exported_free (EvbusdExported   *self);

const char     *evbusd_exported_get_configuration (EvbusdExported *self);
void            evbusd_exported_set_configuration (EvbusdExported *self,
                                                   const char     *path);

/* @not_running: (element-type char*), NULL with an @error. */
void            evbusd_exported_answer_reload (GDBusMethodInvocation *invocation,
                                               GPtrArray             *not_running,
                                               const GError          *error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdExported, evbusd_exported_free)

G_END_DECLS
