/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How long a route waits before it tries again. */

#include "evbus-retry-private.h"

#define MS 1000

static void
test_floor (void)
{
  for (guint i = 0; i < 10000; i++)
    g_assert_cmpint (evbus_retry_delay (0, 2 * MS, 60 * 1000 * MS), >=, 1 * MS);
}

static void
test_ceiling (void)
{
  for (guint failures = 0; failures < 100; failures++)
    {
      gint64 ceiling = MIN (((gint64) 100 * MS) << MIN (failures, 20), 5000 * MS);

      for (guint i = 0; i < 100; i++)
        g_assert_cmpint (evbus_retry_delay (failures, 100 * MS, 5000 * MS), <=, ceiling);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/retry/floor", test_floor);
  g_test_add_func ("/retry/ceiling", test_ceiling);
  return g_test_run ();
}
