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
 * @syslog_ng: the destination of syslog-ng of the same system, leading to "syslog-ng",
 *   with `BENCH_…` for what is in the environment, if it has one; and the same with more
 *   workers, which do not keep the order, if that makes it faster
 * @count: with @syslog_ng: how many messages the server has had at that destination
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
  const char *syslog_ng[2];
  gboolean (* count) (gpointer       connection,
                      const char    *destination,
                      guint64       *n,
                      GError       **error);
} BenchLibrary;

extern const BenchLibrary bench_library;

G_END_DECLS
