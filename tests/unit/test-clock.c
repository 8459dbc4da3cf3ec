/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How old an event is, whatever becomes of the clocks and through boots. */

#include <sqlite3.h>

#include "evbus-clock-private.h"
#include "evbus-limits-private.h"
#include "evbus-window-private.h"
#include "spool-test.h"

#define MINUTE G_TIME_SPAN_MINUTE
#define HOUR   G_TIME_SPAN_HOUR
#define DAY    G_TIME_SPAN_DAY
#define YEAR   (365 * DAY)

/* A boot an hour ago, in 2026. */
static const EvbusClockMark began = { .boot = 1, .boot_time = HOUR, .wall_time = 56 * YEAR };

typedef struct {
  Fixture spool;
  EvbusClockMark now;
  EvbusSpoolRoute *route;
} Clocks;

static void
look (Clocks *clocks)
{
  evbus_clock_fake (&clocks->now);
}

static void
set_up (Clocks        *clocks,
        gconstpointer  data)
{
  clocks->now = began;
  look (clocks);
  spool_test_set_up (&clocks->spool, NULL);
  clocks->route = evbus_spool_adopt_route (clocks->spool.spool, "a");
}

static void
tear_down (Clocks        *clocks,
           gconstpointer  data)
{
  spool_test_tear_down (&clocks->spool, NULL);
  evbus_clock_fake (NULL);
}

static void
put (Clocks *clocks,
     guint   number)
{
  spool_test_put (clocks->spool.spool, &clocks->route, 1, number, number, NULL);
}

/* Runs on for so long; the wall clock shows so much more then. */
static void
run (Clocks *clocks,
     gint64  time,
     gint64  by_wall)
{
  clocks->now.boot_time += time;
  clocks->now.wall_time += by_wall;
  look (clocks);
}

/* Is switched off, and on again, @up ago. */
static void
boot (Clocks *clocks,
      gint64  up,
      gint64  by_wall)
{
  evbus_spool_unref (clocks->spool.spool);
  clocks->now.boot++;
  clocks->now.boot_time = up;
  clocks->now.wall_time += by_wall;
  look (clocks);
  spool_test_open (&clocks->spool);
  clocks->route = evbus_spool_adopt_route (clocks->spool.spool, "a");
}

static gint64
get_age (Clocks *clocks,
         guint   number)
{
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (clocks->spool.spool, clocks->route, NULL);
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

  g_assert_true (evbus_spool_reader_read (reader, 100, G_MAXSIZE, events, NULL, NULL));
  g_assert_cmpuint (events->len, >=, number);
  g_assert_cmpuint (spool_test_number (events->pdata[number - 1]), ==, number);
  return clocks->now.boot_time - ((EvbusEvent *) events->pdata[number - 1])->since;
}

/* While the machine runs, and when only the process begins anew, the wall clock may
 * show what it likes. */
static void
test_same_boot (Clocks        *clocks,
                gconstpointer  data)
{
  static const gint64 jumps[] = { 0, DAY, -DAY, YEAR, -60 * YEAR, 50 * YEAR };
  gint64 age = 0;

  put (clocks, 1);
  for (guint i = 0; i < G_N_ELEMENTS (jumps); i++)
    {
      run (clocks, MINUTE, jumps[i]);
      age += MINUTE;
      g_assert_cmpint (get_age (clocks, 1), ==, age);
      spool_test_reopen (&clocks->spool);
      clocks->route = evbus_spool_adopt_route (clocks->spool.spool, "a");
      g_assert_cmpint (get_age (clocks, 1), ==, age);
    }
}

/* The time off is what the wall clock says. */
static void
test_other_boot (Clocks        *clocks,
                 gconstpointer  data)
{
  put (clocks, 1);
  run (clocks, 10 * MINUTE, 10 * MINUTE);
  put (clocks, 2);
  boot (clocks, MINUTE, 3 * HOUR);
  g_assert_cmpint (get_age (clocks, 1), ==, 3 * HOUR + 10 * MINUTE);
  g_assert_cmpint (get_age (clocks, 2), ==, 3 * HOUR);
  put (clocks, 3);
  run (clocks, MINUTE, MINUTE);
  boot (clocks, MINUTE, 5 * HOUR);
  g_assert_cmpint (get_age (clocks, 1), ==, 8 * HOUR + 11 * MINUTE);
  g_assert_cmpint (get_age (clocks, 3), ==, 5 * HOUR + MINUTE);
}

/* No battery for the clock: it was 1970 at the put, and is not at the next start. So
 * nobody knows for how long the machine was off, and no event is given up for it. */
static void
test_no_battery (Clocks        *clocks,
                 gconstpointer  data)
{
  clocks->now.wall_time = MINUTE;
  look (clocks);
  put (clocks, 1);
  boot (clocks, MINUTE, 56 * YEAR);
  g_assert_cmpint (get_age (clocks, 1), ==, EVBUS_MAX_OFF_US + MINUTE);

  /* And back, and again. */
  boot (clocks, 2 * MINUTE, -56 * YEAR);
  g_assert_cmpint (get_age (clocks, 1), ==, EVBUS_MAX_OFF_US + 3 * MINUTE);
  put (clocks, 2);
  run (clocks, 0, 10 * YEAR);
  boot (clocks, MINUTE, -YEAR);
  g_assert_cmpint (get_age (clocks, 1), ==, EVBUS_MAX_OFF_US + 4 * MINUTE);
  g_assert_cmpint (get_age (clocks, 2), ==, MINUTE);
}

/* Each record is told from those before and after it by the same clock. */
static void
test_order (Clocks        *clocks,
            gconstpointer  data)
{
  gint64 last = G_MAXINT64;
  const guint n = 20;

  for (guint i = 1; i <= n; i++)
    {
      put (clocks, i);
      run (clocks, MINUTE, i % 2 == 0 ? DAY : -DAY);
      if (i % 3 == 0)
        boot (clocks, MINUTE, i % 2 == 0 ? -2 * YEAR : YEAR);
    }
  for (guint i = 1; i <= n; i++)
    {
      gint64 age = get_age (clocks, i);

      g_assert_cmpint (age, <, last);
      g_assert_cmpint (age, >=, (n - i + 1) * MINUTE);
      last = age;
    }
}

/* Where what the clock showed last is lost, events do not become old by it. */
static void
test_damaged (Clocks        *clocks,
              gconstpointer  data)
{
  g_autofree char *path = g_build_filename (clocks->spool.directory, "spool.db", NULL);
  sqlite3 *db = NULL;

  put (clocks, 1);
  run (clocks, 10 * MINUTE, 10 * MINUTE);
  put (clocks, 2);
  evbus_spool_unref (clocks->spool.spool);
  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "UPDATE route SET crc = crc + 1 WHERE route_id = 0", NULL, NULL, NULL), ==,
                   SQLITE_OK);
  sqlite3_close (db);
  clocks->now.boot++;
  clocks->now.boot_time = MINUTE;
  clocks->now.wall_time += 10 * YEAR;
  look (clocks);
  spool_test_open (&clocks->spool);
  g_assert_cmpint (evbus_spool_get_condition (clocks->spool.spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  clocks->route = evbus_spool_adopt_route (clocks->spool.spool, "a");
  g_assert_cmpint (get_age (clocks, 1), >=, 10 * MINUTE);
  g_assert_cmpint (get_age (clocks, 1), <=, EVBUS_MAX_OFF_US + HOUR);
}

/* What waits in memory ages by the same clock, suspension included. */
static void
test_window (Clocks        *clocks,
             gconstpointer  data)
{
  EvbusChunk *chunk = evbus_chunk_new (NULL, 2);
  EvbusEvent *first = spool_test_event ("1", 0);
  EvbusEvent *second = spool_test_event ("2", 0);

  evbus_chunk_append (chunk, first);
  run (clocks, HOUR, -DAY);
  second->since = clocks->now.boot_time - MINUTE;
  evbus_chunk_append (chunk, second);
  chunk->picked_up = clocks->now.boot_time;
  g_assert_cmpint (clocks->now.boot_time - evbus_chunk_since (chunk, first), ==, HOUR);
  g_assert_cmpint (clocks->now.boot_time - evbus_chunk_since (chunk, second), ==, MINUTE);
  evbus_chunk_unref (chunk);

  /* A source waits by the monotonic time. */
  g_assert_cmpint (ABS (evbus_clock_to_monotonic (clocks->now.boot_time + HOUR) - g_get_monotonic_time () - HOUR), <,
                   MINUTE);
  g_assert_cmpint (evbus_clock_to_monotonic (clocks->now.boot_time - 100 * YEAR), ==, 0);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Clocks *, gconstpointer);
  } tests[] = {
    { "/clock/same-boot", test_same_boot },
    { "/clock/other-boot", test_other_boot },
    { "/clock/no-battery", test_no_battery },
    { "/clock/order", test_order },
    { "/clock/damaged", test_damaged },
    { "/clock/window", test_window },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Clocks, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
