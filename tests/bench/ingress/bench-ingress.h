/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/*
 * BenchLibrary:
 * @open: connects to the server that the environment names (see run-ingress), with a
 *   destination of this name
 * @send: sends @n messages of @size bytes as the ingress would, with at most @window of
 *   them unconfirmed, and waits until all are confirmed
 * @close: lets go
 * @share: of its rate, that a route has to reach; 0: nine tenths
 *
 * The client library of a provider, used directly. library-NAME.c has one,
 * bench_library.
 */
typedef struct
{
  gpointer (* open)  (const char    *destination,
                      GError       **error);
  gboolean (* send)  (gpointer       connection,
                      guint          n,
                      gsize          size,
                      guint          window,
                      GError       **error);
  void     (* close) (gpointer       connection);
  double      share;
} BenchLibrary;

extern const BenchLibrary bench_library;

G_END_DECLS
