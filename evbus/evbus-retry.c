/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-retry-private.h"

/* Full jitter can come out as nothing at all; that would be a busy loop. */
#define FLOOR_US 1000

gint64
evbus_retry_delay (guint  failures,
                   gint64 min,
                   gint64 max)
{
  gint64 ceiling = min;
  gint64 delay;

  while (failures-- > 0 && ceiling < max)
    ceiling *= 2;
  ceiling = MIN (ceiling, max);

  delay = (gint64) (g_random_double () * ceiling);
  return MAX (FLOOR_US, delay);
}
