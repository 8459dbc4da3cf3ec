/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

/* A syslog-ng that hands on what it gets through a socket. */
typedef struct _BenchSyslogNg BenchSyslogNg;

/* @destination: the driver with its options, as a configuration has it; `NAME` in it is
 * the environment's. Returns it once it listens. */
BenchSyslogNg *bench_syslog_ng_start (const char     *destination,
                                      GError        **error);

/* Hands it lines of @size bytes, many with one write; it holds the writer up rather than
 * losing any. */
gboolean       bench_syslog_ng_write (BenchSyslogNg  *self,
                                      guint           n_lines,
                                      gsize           size,
                                      GError        **error);

void           bench_syslog_ng_stop  (BenchSyslogNg  *self);

G_END_DECLS
