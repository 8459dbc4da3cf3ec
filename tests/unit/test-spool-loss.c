/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What becomes of events that are damaged, that are too much or too old: each leaves once. */

#include <sqlite3.h>

#include "spool-test.h"

/* An event weighs what its record takes, at its route as in the spool. */
static void
test_record (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");

  spool_test_put (fixture->spool, &route, 1, 1, 3, NULL);
  g_assert_cmpuint (spool_test_weight (route), ==, evbus_spool_get_weight (fixture->spool));
  spool_test_assert_weight (fixture->spool, route);
  spool_test_reopen (fixture);
  route = spool_test_get_route (fixture->spool, 0);
  g_assert_cmpuint (spool_test_weight (route), ==, evbus_spool_get_weight (fixture->spool));
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
  g_assert_cmpuint (spool_test_weight (route), >, 0);
  spool_test_deliver (fixture->spool, route, 1, seqs[2], NULL, 0);
  spool_test_assert_ledger (route, "3 2 0 0 1 0");
  g_assert_cmpuint (spool_test_weight (route), ==, 0);

  spool_test_reopen (fixture);
  g_assert_cmpuint (spool_test_weight (evbus_spool_adopt_route (fixture->spool, "a")), ==, 0);
}

/* The oldest event that is stored is damaged. */
static void
damage_oldest (Fixture *fixture)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  sqlite3 *db;

  evbus_spool_unref (fixture->spool);
  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "UPDATE event SET record = zeroblob (length (record)) "
                                     "WHERE place = (SELECT min (place) FROM event WHERE substr (record, 1, 4) = x'45565231')",
                                 NULL, NULL, NULL), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_changes (db), ==, 1);
  sqlite3_close (db);
  spool_test_open (fixture);
}

static guint
expire (Fixture         *fixture,
        EvbusSpoolRoute *route,
        guint64          max_weight,
        gint64           put_before)
{
  g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  guint n = evbus_spool_expire_orphan (fixture->spool, route, max_weight, put_before, 100, expired);

  g_assert_cmpuint (expired->len, ==, n);
  return n;
}

/* An orphan was at its first event, which is damaged, and at its third: they go first, and once. */
static void
test_orphan (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 seqs[6], pending[2];
  guint64 weight;

  spool_test_put (fixture->spool, &route, 1, 1, 6, seqs);
  pending[0] = seqs[0];
  pending[1] = seqs[2];
  weight = spool_test_weight (route) / 6;
  evbus_spool_settle (fixture->spool, route, seqs[3], pending, 2, &(EvbusLedger) { .delivered = 2 }, 2 * weight, NULL, 0);
  evbus_spool_orphan_route (fixture->spool, route);
  damage_oldest (fixture);
  route = spool_test_get_route (fixture->spool, 0);
  g_assert_true (evbus_spool_route_is_orphan (route));
  spool_test_assert_ledger (route, "6 2 0 0 0 4");

  /* Too much by one: that is not the fifth. */
  g_assert_cmpuint (expire (fixture, route, 3 * weight, G_MININT64), ==, 1);
  spool_test_assert_ledger (route, "6 2 0 1 1 2");
  spool_test_assert_backlog (fixture->spool, route, "5 6");
  g_assert_cmpuint (expire (fixture, route, 3 * weight, G_MININT64), ==, 0);
  g_assert_cmpuint (expire (fixture, route, G_MAXUINT64, 0), ==, 0);

  /* They all are too old. */
  g_assert_cmpuint (expire (fixture, route, G_MAXUINT64, G_MAXINT64), ==, 2);
  g_assert_cmpuint (expire (fixture, route, G_MAXUINT64, G_MAXINT64), ==, 0);
  spool_test_assert_ledger (route, "6 2 0 3 1 0");
  g_assert_cmpuint (spool_test_weight (route), ==, 0);
}

/* All that is left is damaged. */
static void
test_damaged_alone (Fixture       *fixture,
                    gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");

  spool_test_put (fixture->spool, &route, 1, 1, 1, NULL);
  evbus_spool_orphan_route (fixture->spool, route);
  damage_oldest (fixture);
  route = spool_test_get_route (fixture->spool, 0);
  g_assert_cmpuint (expire (fixture, route, G_MAXUINT64, G_MAXINT64), ==, 0);
  spool_test_assert_ledger (route, "1 0 0 0 1 0");
}

/* What a route has not in memory, by its age. */
static void
test_old (Fixture       *fixture,
          gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 seqs[6];

  spool_test_put (fixture->spool, &route, 1, 1, 6, seqs);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[1], G_MAXUINT64, 0, 3, NULL, NULL), ==, 0);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[1], G_MAXUINT64, G_MAXINT64, 3, NULL, NULL),
                    ==, 3);
  spool_test_assert_ledger (route, "6 0 0 3 0 3");
  spool_test_assert_backlog (fixture->spool, route, "1 2 6");
  spool_test_assert_weight (fixture->spool, route);
}

/* One that is damaged does not keep those behind it; alone it is of no age. */
static void
test_old_and_damaged (Fixture       *fixture,
                      gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");

  spool_test_put (fixture->spool, &route, 1, 1, 2, NULL);
  damage_oldest (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, 0, G_MAXUINT64, 0, 3, NULL, NULL), ==, 0);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, 0, G_MAXUINT64, G_MAXINT64, 1, NULL, NULL), ==, 0);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, 0, G_MAXUINT64, G_MAXINT64, 3, NULL, NULL), ==, 2);
  spool_test_assert_ledger (route, "2 0 0 2 0 0");

  spool_test_put (fixture->spool, &route, 1, 1, 1, NULL);
  while (evbus_spool_maintain (fixture->spool))
    ;
  damage_oldest (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, 0, G_MAXUINT64, G_MAXINT64, 3, NULL, NULL), ==, 0);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, test) g_test_add ("/spool/loss/" name, Fixture, NULL, spool_test_set_up, test, spool_test_tear_down)
  ADD ("record", test_record);
  ADD ("weight", test_weight);
  ADD ("orphan", test_orphan);
  ADD ("damaged-alone", test_damaged_alone);
  ADD ("old", test_old);
  ADD ("old-and-damaged", test_old_and_damaged);
  return g_test_run ();
}
