/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

typedef struct _BenchBroker BenchBroker;

/*
 * BenchPut:
 * @producer: where to put it
 * @i: counts up within a producer's thread
 *
 * Puts one event; called on a producer's thread. Where the queue is full, see
 * bench_put_again().
 */
typedef gboolean (* BenchPut) (EvbusProducer  *producer,
                               guint           i,
                               gpointer        data,
                               GError        **error);

BenchBroker   *bench_broker_new       (void);
void           bench_broker_free      (BenchBroker  *self);
gboolean       bench_broker_add       (BenchBroker  *self,
                                       const char   *profile,
                                       gboolean      drained,
                                       GError      **error);
gboolean       bench_broker_start     (BenchBroker  *self,
                                       GError      **error);
gboolean       bench_broker_run       (BenchBroker  *self,
                                       guint         n_producers,
                                       guint         n_events,
                                       BenchPut      put,
                                       gpointer      data,
                                       double       *per_second,
                                       GError      **error);
double         bench_broker_last_put  (BenchBroker  *self);

gboolean       bench_put_again        (char         *id,
                                       GError      **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BenchBroker, bench_broker_free)

G_END_DECLS
