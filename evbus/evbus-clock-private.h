/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The clocks that ages are told by; microseconds. */

/* Since the boot, suspension included: nobody can set it. */
gint64 evbus_clock_get_boot_time  (void);

/* When @boot_time is by g_get_monotonic_time(), by which sources wait; later, where the
 * machine is suspended meanwhile. */
gint64 evbus_clock_to_monotonic   (gint64                boot_time);

/* A steady clock goes on through boots: with the boot time while the machine runs, and
 * by the wall clock for the time between two boots. As that may be wrong, it counts for
 * no more than %EVBUS_MAX_OFF_US, and never backwards. The clock is told as what it is
 * ahead of the boot time; what it showed, and when, is kept as a mark. */
typedef struct {
  gint64 boot;         /* which one; 0: there is no mark */
  gint64 boot_time;
  gint64 wall_time;
  gint64 steady_time;
} EvbusClockMark;

/* A new one, which shows the time of the wall clock. */
gint64 evbus_clock_begin          (void);
gint64 evbus_clock_resume         (const EvbusClockMark *mark);
void   evbus_clock_mark           (gint64                ahead,
                                   EvbusClockMark       *mark);

/* For tests: from now on all clocks stand as @mark says, or, without one, go as they
 * do. From one thread, while nobody else looks at a clock. */
void   evbus_clock_fake           (const EvbusClockMark *mark);

G_END_DECLS
