/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

#define BENCH_ROUNDS 15
#define BENCH_MIN_ROUNDS 5

/*
 * BenchSide:
 * @data: the bench's own data
 * @value: (out): the figure of this round, in the bench's unit
 *
 * Measures one side once. What is not to be measured (making brokers,
 * buses, input) belongs before bench_run().
 *
 * Returns: %FALSE with an error where it could not be measured, or where what
 *   was measured is wrong (the ledger, an answer): that fails the program
 */
typedef gboolean (* BenchSide) (gpointer   data,
                                double    *value,
                                GError   **error);

/*
 * Bench:
 * @name: stable name, in the output
 * @unit: of @ours and @limit
 * @target: what the ratio ours / limit is held against
 * @lower_is_better: the ratio must not be above @target instead of below
 * @ours: our side
 * @limit: the side that ours is measured against; %NULL: @fixed_limit is it
 * @fixed_limit: a limit that is a number; where it is 0 the ratio is the figure
 *   itself and @target should be 0
 * @data: for both sides
 */
typedef struct
{
  const char *name;
  const char *unit;
  double      target;
  gboolean    lower_is_better;
  BenchSide   ours;
  BenchSide   limit;
  double      fixed_limit;
  gpointer    data;
} Bench;

void      bench_init       (int         *argc,
                            char      ***argv);
gboolean  bench_is_quick   (void);
guint     bench_scale      (guint        n);
void      bench_run        (const Bench *bench);
void      bench_fail       (const char  *name,
                            const char  *side,
                            const char  *message);
int       bench_finish     (void);

void      bench_remove_folder (const char *folder);

double    bench_per_second (guint64      n,
                            gint64       start,
                            gint64       end);

/* The five-key a{sv} that every bench with a GVariant body uses; floating. */
GVariant *bench_build_body (guint        i);

G_END_DECLS
