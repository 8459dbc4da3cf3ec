/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

#define BENCH_EMPTY_NAME "org.evbus1.Bench"
#define BENCH_EVBUSD_NAME "org.evbus1"

/* The answer to a Put, and to each event of a PutMany, of the empty methods. */
#define BENCH_EMPTY_ID "01900000-0000-7000-8000-000000000000"
#define BENCH_PUT_MANY 100

typedef struct _BenchBus BenchBus;
typedef struct _BenchService BenchService;

BenchBus        *bench_bus_new                (GError             **error);
void             bench_bus_free               (BenchBus            *self);
const char      *bench_bus_get_address        (BenchBus            *self);

BenchService    *bench_service_new            (BenchBus            *bus,
                                               const char          *name,
                                               const char * const  *argv,
                                               GError             **error);
BenchService    *bench_service_new_evbusd     (BenchBus            *bus,
                                               const char          *evbusd,
                                               const char          *config,
                                               GError             **error);
void             bench_service_free           (BenchService        *self);
const char      *bench_service_get_pid        (BenchService        *self);
double           bench_service_get_start_ms   (BenchService        *self);

gboolean         bench_service_calls          (BenchService        *self,
                                               const char          *method,
                                               GVariant            *arguments,
                                               guint                n,
                                               guint                in_flight,
                                               double              *per_second,
                                               GError             **error);
gboolean         bench_service_wait_delivered (BenchService        *self,
                                               guint64              n,
                                               GError             **error);
GVariant        *bench_put_arguments          (void);
GVariant        *bench_put_many_arguments     (void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (BenchBus, bench_bus_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BenchService, bench_service_free)

G_END_DECLS
