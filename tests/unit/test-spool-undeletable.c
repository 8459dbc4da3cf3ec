/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A page of what nobody needs any more is damaged: it cannot be deleted, and nothing else
 * waits for that. */

#include <glib/gstdio.h>
#include <string.h>

#include "spool-test.h"

#include "evbus-spool-store-private.h"

#define N_EVENTS 3000
#define N_PUTS 20
#define PAGE 4096
#define DAMAGED_PAGE 100   /* of some two hundred; the start looks at the first and the last ones */

static void
damage (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, "spool.db", NULL);
  char page[PAGE];
  FILE *file = g_fopen (path, "r+");

  memset (page, 'x', sizeof page);
  g_assert_nonnull (file);
  g_assert_cmpint (fseek (file, DAMAGED_PAGE * PAGE, SEEK_SET), ==, 0);
  g_assert_cmpuint (fwrite (page, PAGE, 1, file), ==, 1);
  g_assert_cmpint (fclose (file), ==, 0);
}

/* @data: "put", where a put is the first to meet it. */
static void
test_undeletable (Fixture       *fixture,
                  gconstpointer  data)
{
  gboolean by_put = g_strcmp0 (data, "put") == 0;
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *other = evbus_spool_adopt_route (fixture->spool, "b");
  g_autofree gint64 *seqs = g_new (gint64, N_EVENTS);
  guint n_refused = 0;
  guint64 weight, weight_of_both;
  EvbusLedger ledger;

  spool_test_append (fixture->spool, &route, 1, 1, N_EVENTS, 200, seqs);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  weight = evbus_spool_get_weight (fixture->spool);
  spool_test_append (fixture->spool, &other, 1, 1, N_EVENTS, 200, seqs);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  weight_of_both = evbus_spool_get_weight (fixture->spool);
  evbus_spool_unref (fixture->spool);
  damage (fixture->directory);
  spool_test_open (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_INTACT);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  other = evbus_spool_adopt_route (fixture->spool, "b");

  spool_test_deliver (fixture->spool, route, N_EVENTS, seqs[0] - 1, NULL, 0);
  spool_test_deliver (fixture->spool, other, N_EVENTS, seqs[N_EVENTS - 1], NULL, 0);
  if (!by_put)
    {
      /* At once, as there may be no second time for long. */
      evbus_spool_maintain (fixture->spool);
      g_assert_cmpint (route->written.position, ==, seqs[0] - 1);
    }
  for (guint i = 0; i < N_PUTS; i++)
    {
      if (!by_put)
        evbus_spool_maintain (fixture->spool);
      spool_test_append (fixture->spool, &route, 1, 1, 10, 0, NULL);
      n_refused += !evbus_spool_commit (fixture->spool, NULL);
    }
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_DAMAGED);
  g_assert_cmpuint (n_refused, <=, by_put ? 1 : 0);
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_false (evbus_spool_is_dirty (fixture->spool));
  g_assert_cmpint (evbus_spool_get_next_try (fixture->spool), <, G_MAXINT64);
  /* The other one's are gone. */
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), <, weight + (weight_of_both - weight) / 2);
  evbus_spool_route_get_ledger (route, &ledger, NULL);
  g_assert_cmpuint (ledger.delivered, ==, N_EVENTS);
  g_assert_cmpuint (ledger.queued, ==, 10 * (N_PUTS - n_refused));

  /* The next start recovers, and nothing is missing. */
  spool_test_reopen (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  evbus_spool_route_get_ledger (route, &ledger, NULL);
  g_assert_cmpuint (ledger.queued, ==, 10 * (N_PUTS - n_refused));
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (spool_test_write_log, NULL, NULL);
  g_test_add ("/spool/undeletable/upkeep", Fixture, NULL, spool_test_set_up, test_undeletable, spool_test_tear_down);
  g_test_add ("/spool/undeletable/put", Fixture, "put", spool_test_set_up, test_undeletable, spool_test_tear_down);
  return g_test_run ();
}
