/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* One of the methods that put. */
typedef struct {
  const char  *name;
  const char  *signature;

  /* Puts without waiting and sets the results. FALSE without an error: only
   * @begin can do it. */
  gboolean  (* attempt) (EvbusBroker          *broker,
                         GVariant             *arguments,
                         GVariant            **results,
                         GError              **error);

  /* Puts, and waits for space: then FALSE. NULL: the method never waits. */
  gboolean  (* begin)   (EvbusBroker          *broker,
                         GVariant             *arguments,
                         GCancellable         *cancellable,
                         GAsyncReadyCallback   callback,
                         gpointer              user_data);
  GVariant *(* finish)  (EvbusBroker          *broker,
                         GAsyncResult         *result,
                         GError              **error);
} EvbusdMethod;

const EvbusdMethod *evbusd_method_lookup      (const char *name,
                                               const char *signature);
GDBusMessage       *evbusd_method_prepare     (GDBusMessage *message,
                                               GError      **error);
gboolean            evbusd_method_waits_for_delivery (GVariant *arguments);
guint               evbusd_method_get_timeout (GVariant   *arguments);

/* What a call is told that waited too long, or that came when too many did. */
GError             *evbusd_method_new_timed_out (void);
GError             *evbusd_method_new_too_many  (void);

G_END_DECLS
