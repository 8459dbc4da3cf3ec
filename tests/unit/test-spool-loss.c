/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What becomes of events that are damaged, that are too much or too old: each leaves once. */

#include "spool-test.h"

static guint64
get_weight (EvbusSpoolRoute *route)
{
  EvbusLedger ledger;
  guint64 weight;

  evbus_spool_route_get_ledger (route, &ledger, &weight);
  return weight;
}

/* Nobody knows how many bytes a damaged event had: they go with the last event. */
static void
test_weight (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  const EvbusLedger dropped = { .dropped = 1 };
  gint64 seqs[3];

  spool_test_put (fixture->spool, &route, 1, 1, 3, seqs);
  evbus_spool_settle (fixture->spool, route, seqs[0], NULL, 0, &dropped, 0, NULL, 0);
  spool_test_deliver (fixture->spool, route, 1, seqs[1], NULL, 0);
  g_assert_cmpuint (get_weight (route), >, 0);
  spool_test_deliver (fixture->spool, route, 1, seqs[2], NULL, 0);
  spool_test_assert_ledger (route, "3 2 0 0 1 0");
  g_assert_cmpuint (get_weight (route), ==, 0);

  spool_test_reopen (fixture);
  g_assert_cmpuint (get_weight (evbus_spool_adopt_route (fixture->spool, "a")), ==, 0);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, test) g_test_add ("/spool/loss/" name, Fixture, NULL, spool_test_set_up, test, spool_test_tear_down)
  ADD ("weight", test_weight);
  return g_test_run ();
}
