/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The durable log: what is appended, settled and read back. */

#include <malloc.h>

#include "spool-test.h"

#include "evbus-limits-private.h"

#define N_RENAMES 1000
#define KEY_SIZE 4000

static void
test_new (Fixture       *fixture,
          gconstpointer  data)
{
  char *note = NULL;

  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, &note), ==, EVBUS_SPOOL_CONDITION_INTACT);
  g_assert_null (note);
  g_assert_cmpuint (spool_test_count_routes (fixture->spool), ==, 0);
  spool_test_reopen (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, &note), ==, EVBUS_SPOOL_CONDITION_INTACT);
  g_assert_null (note);
}

static void
test_append_and_read (Fixture       *fixture,
                      gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 seqs[10];

  spool_test_put (fixture->spool, &route, 1, 1, 10, seqs);
  for (guint i = 1; i < 10; i++)
    g_assert_cmpint (seqs[i], >, seqs[i - 1]);
  g_assert_cmpint (evbus_spool_route_get_last (route), ==, seqs[9]);
  spool_test_assert_ledger (route, "10 0 0 0 0 10");
  spool_test_assert_backlog (fixture->spool, route, "1 2 3 4 5 6 7 8 9 10");

  spool_test_reopen (fixture);
  g_assert_cmpuint (spool_test_count_routes (fixture->spool), ==, 1);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  g_assert_cmpint (evbus_spool_route_get_last (route), ==, seqs[9]);
  spool_test_assert_ledger (route, "10 0 0 0 0 10");
  spool_test_assert_backlog (fixture->spool, route, "1 2 3 4 5 6 7 8 9 10");
}

static void
test_positions (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 seqs[10];
  gint64 pending[2];

  spool_test_put (fixture->spool, &route, 1, 1, 10, seqs);
  pending[0] = seqs[1];
  pending[1] = seqs[4];
  spool_test_deliver (fixture->spool, route, 5, seqs[6], pending, 2);
  g_assert_true (evbus_spool_is_dirty (fixture->spool));
  spool_test_assert_ledger (route, "10 5 0 0 0 5");
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_false (evbus_spool_is_dirty (fixture->spool));

  spool_test_reopen (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_assert_backlog (fixture->spool, route, "2 5 8 9 10");
  /* A position before does not take it back. */
  spool_test_deliver (fixture->spool, route, 1, seqs[0], pending + 1, 1);
  spool_test_reopen (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_assert_backlog (fixture->spool, route, "5 8 9 10");
  spool_test_assert_ledger (route, "10 6 0 0 0 4");
}

/* It had read all there is, and settled little of it: what it is read again in parts is not
 * taken for lost. */
static void
test_pending_in_parts (Fixture       *fixture,
                       gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(GError) error = NULL;
  EvbusSpoolReader *reader;
  gint64 seqs[10];
  guint n_damaged;

  spool_test_put (fixture->spool, &route, 1, 1, 10, seqs);
  spool_test_deliver (fixture->spool, route, 1, seqs[9], seqs, 9);
  reader = evbus_spool_reader_new (fixture->spool, route, &error);
  g_assert_no_error (error);
  while (!evbus_spool_reader_is_at_end (reader))
    {
      g_assert_true (evbus_spool_reader_read (reader, 4, G_MAXSIZE, events, &n_damaged, &error));
      g_assert_no_error (error);
      g_assert_cmpuint (n_damaged, ==, 0);
    }
  g_assert_cmpuint (events->len, ==, 9);
  evbus_spool_reader_free (reader);
}

static void
test_sets (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *b = evbus_spool_adopt_route (fixture->spool, "b");
  EvbusSpoolRoute *both[] = { a, b }, *turned[] = { b, a };
  gint64 seq;

  for (guint i = 0; i < 20; i++)
    {
      evbus_spool_begin (fixture->spool);
      evbus_spool_commit (fixture->spool, NULL);
      if (i % 4 == 0)
        spool_test_put (fixture->spool, &a, 1, i, i, &seq);
      else if (i % 4 == 1)
        spool_test_put (fixture->spool, &b, 1, i, i, &seq);
      else
        spool_test_put (fixture->spool, i % 4 == 2 ? both : turned, 2, i, i, &seq);
    }
  spool_test_assert_backlog (fixture->spool, a, "0 2 3 4 6 7 8 10 11 12 14 15 16 18 19");
  spool_test_assert_backlog (fixture->spool, b, "1 2 3 5 6 7 9 10 11 13 14 15 17 18 19");
  spool_test_reopen (fixture);
  a = evbus_spool_adopt_route (fixture->spool, "a");
  b = evbus_spool_adopt_route (fixture->spool, "b");
  spool_test_assert_backlog (fixture->spool, a, "0 2 3 4 6 7 8 10 11 12 14 15 16 18 19");
  spool_test_assert_backlog (fixture->spool, b, "1 2 3 5 6 7 9 10 11 13 14 15 17 18 19");

  /* One of them is done with all: the other one's events stay. */
  spool_test_deliver (fixture->spool, a, 15, seq, NULL, 0);
  while (evbus_spool_maintain (fixture->spool))
    ;
  spool_test_assert_backlog (fixture->spool, a, "");
  spool_test_assert_backlog (fixture->spool, b, "1 2 3 5 6 7 9 10 11 13 14 15 17 18 19");
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), >, 0);
  spool_test_deliver (fixture->spool, b, 15, seq, NULL, 0);
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), ==, 0);
}

/* Beyond the bound of sets events are stored for each route alone. */
static void
test_many_sets (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *routes[26];
  g_autofree guint64 *expected = g_new0 (guint64, 26);
  guint n_sets = 0;
  gint64 seq = 0;

  for (guint i = 0; i < 26; i++)
    {
      g_autofree char *key = g_strdup_printf ("route %u", i);

      routes[i] = evbus_spool_adopt_route (fixture->spool, key);
    }
  for (guint i = 0; i < 26; i++)
    {
      for (guint j = i + 1; j < 26; j++, n_sets++)
        {
          EvbusSpoolRoute *pair[] = { routes[i], routes[j] };

          spool_test_put (fixture->spool, pair, 2, n_sets, n_sets, &seq);
          expected[i]++;
          expected[j]++;
        }
    }
  g_assert_cmpuint (n_sets, >, EVBUS_SPOOL_SETS);

  spool_test_reopen (fixture);
  for (guint i = 0; i < 26; i++)
    {
      EvbusSpoolRoute *route = spool_test_get_route (fixture->spool, i);
      g_autofree char *backlog = spool_test_backlog (fixture->spool, route);
      g_auto(GStrv) numbers = g_strsplit (backlog, " ", -1);

      g_assert_cmpuint (g_strv_length (numbers), ==, expected[i]);
      for (guint k = 1; numbers[k] != NULL; k++)
        g_assert_cmpint (atoi (numbers[k]), >, atoi (numbers[k - 1]));
      spool_test_deliver (fixture->spool, route, expected[i], seq, NULL, 0);
    }
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), ==, 0);
}

static void
test_reader_goes_on (Fixture       *fixture,
                     gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (fixture->spool, route, NULL);
  g_autofree char *first = NULL, *second = NULL, *third = NULL;
  gint64 seqs[3];

  spool_test_put (fixture->spool, &route, 1, 1, 3, seqs);
  /* What is not committed is not seen. */
  spool_test_append (fixture->spool, &route, 1, 4, 5, 0, NULL);
  first = spool_test_drain (reader, 2);
  g_assert_cmpstr (first, ==, "1 2 3");
  g_assert_cmpint (evbus_spool_reader_get_position (reader), ==, seqs[2]);
  evbus_spool_commit (fixture->spool, NULL);
  second = spool_test_drain (reader, 2);
  g_assert_cmpstr (second, ==, "4 5");

  /* What is settled before it is read is passed over. */
  spool_test_put (fixture->spool, &route, 1, 6, 8, seqs);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[0] - 1, 0, G_MININT64, 2, NULL, NULL), ==, 2);
  third = spool_test_drain (reader, 2);
  g_assert_cmpstr (third, ==, "8");
}

static void
test_reader_weight (Fixture       *fixture,
                    gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (fixture->spool, route, NULL);
  static const guint expected[] = { 2, 2, 1, 0 };

  spool_test_append (fixture->spool, &route, 1, 1, 5, 1000, NULL);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    {
      g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

      g_assert_true (evbus_spool_reader_read (reader, 100, 2500, events, NULL, NULL));
      g_assert_cmpuint (events->len, ==, expected[i]);
    }
  spool_test_append (fixture->spool, &route, 1, 6, 6, 10000, NULL);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  {
    g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

    /* At least one. */
    g_assert_true (evbus_spool_reader_read (reader, 100, 2500, events, NULL, NULL));
    g_assert_cmpuint (events->len, ==, 1);
  }
}

static void
test_sequence (Fixture       *fixture,
               gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 first, second;

  spool_test_put (fixture->spool, &route, 1, 1, 1, &first);
  spool_test_deliver (fixture->spool, route, 1, first, NULL, 0);
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), ==, 0);

  /* Nothing is left that would show the number. */
  spool_test_reopen (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_put (fixture->spool, &route, 1, 2, 2, &second);
  g_assert_cmpint (second, >, first);
  spool_test_assert_backlog (fixture->spool, route, "2");
}

static void
test_new_route (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *b;

  spool_test_put (fixture->spool, &a, 1, 1, 2, NULL);
  b = evbus_spool_adopt_route (fixture->spool, "b");
  g_assert_true (b != a);
  g_assert_true (evbus_spool_adopt_route (fixture->spool, "b") == b);
  spool_test_assert_backlog (fixture->spool, b, "");
  spool_test_put (fixture->spool, &b, 1, 3, 3, NULL);
  spool_test_assert_backlog (fixture->spool, b, "3");

  evbus_spool_orphan_route (fixture->spool, a);
  spool_test_reopen (fixture);
  a = spool_test_get_route (fixture->spool, 0);
  g_assert_cmpstr (evbus_spool_route_get_key (a), ==, "a");
  g_assert_true (evbus_spool_route_is_orphan (a));
  spool_test_assert_backlog (fixture->spool, a, "1 2");
  g_assert_true (evbus_spool_adopt_route (fixture->spool, "a") == a);
  g_assert_false (evbus_spool_route_is_orphan (a));
  spool_test_assert_backlog (fixture->spool, a, "1 2");
}

static void
test_known_ids (Fixture       *fixture,
                gconstpointer  data)
{
  const guint n = EVBUS_KNOWN_IDS + 10000;
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr(GPtrArray) ids = NULL;
  g_autofree char *last = g_strdup_printf ("id-%u", n - 1);
  g_autofree char *first = g_strdup_printf ("id-%u", n - EVBUS_KNOWN_IDS);

  for (guint i = 0; i < n; )
    {
      evbus_spool_begin (fixture->spool);
      for (guint j = 0; j < 1000 && i < n; j++, i++)
        {
          g_autofree char *id = g_strdup_printf ("id-%u", i);
          EvbusEventInit init = {
            .id = id, .routing_key = "k", .routing_key_length = 1, .profile = "p", .profile_length = 1,
            .content_type = "text/plain",
          };
          g_autoptr(EvbusEvent) event = evbus_event_new (&init);

          /* An id is known, whether the event goes to a route or not. */
          evbus_spool_append (fixture->spool, event, &route, i % 100 == 0, TRUE);
        }
      g_assert_true (evbus_spool_commit (fixture->spool, NULL));
    }
  spool_test_reopen (fixture);
  ids = evbus_spool_load_known_ids (fixture->spool, seqs, replayed);
  g_assert_cmpuint (ids->len, ==, EVBUS_KNOWN_IDS);
  g_assert_cmpuint (seqs->len, ==, ids->len);
  g_assert_cmpint (g_array_index (seqs, gint64, 0), ==, n - EVBUS_KNOWN_IDS + 1);
  g_assert_cmpint (g_array_index (seqs, gint64, seqs->len - 1), ==, n);
  g_assert_cmpstr (ids->pdata[0], ==, first);
  g_assert_cmpstr (ids->pdata[ids->len - 1], ==, last);
}

static void
test_expire (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(EvbusSpoolReader) reader = NULL;
  g_autofree char *rest = NULL;
  EvbusLedger ledger;
  guint64 queued = 0;
  gint64 seqs[20];

  spool_test_put (fixture->spool, &route, 1, 1, 20, seqs);
  evbus_spool_route_get_ledger (route, &ledger, &queued);
  g_assert_cmpuint (queued, >, 0);

  /* Four are in memory; of the others, the six oldest go. */
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[3], 0, G_MININT64, 6, expired, NULL), ==, 6);
  g_assert_cmpuint (expired->len, ==, 6);
  g_assert_cmpuint (spool_test_number (expired->pdata[0]), ==, 5);
  spool_test_assert_ledger (route, "20 0 0 6 0 14");
  evbus_spool_route_get_ledger (route, &ledger, &queued);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[3], queued, G_MININT64, 6, NULL, NULL), ==, 0);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[3], queued - 1, G_MININT64, 6, NULL, NULL), ==, 1);
  spool_test_assert_backlog (fixture->spool, route, "1 2 3 4 12 13 14 15 16 17 18 19 20");

  spool_test_reopen (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_assert_ledger (route, "20 0 0 7 0 13");
  reader = evbus_spool_reader_new (fixture->spool, route, NULL);
  rest = spool_test_drain (reader, 3);
  g_assert_cmpstr (rest, ==, "1 2 3 4 12 13 14 15 16 17 18 19 20");
  g_clear_pointer (&reader, evbus_spool_reader_free);

  spool_test_deliver (fixture->spool, route, 4, seqs[3], NULL, 0);
  spool_test_reopen (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_assert_ledger (route, "20 4 0 7 0 9");
  spool_test_assert_backlog (fixture->spool, route, "12 13 14 15 16 17 18 19 20");
}

/* A reader that stands before what expires never hands it out, also once the route has
 * settled all before it, and before it is deleted. */
static void
test_expire_before_reader (Fixture       *fixture,
                           gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(EvbusSpoolReader) reader = NULL;
  g_autofree char *rest = NULL;
  gint64 seqs[20];

  spool_test_put (fixture->spool, &route, 1, 1, 20, seqs);
  reader = evbus_spool_reader_new_after (fixture->spool, route, seqs[2], NULL);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[2], 0, G_MININT64, 10, NULL, NULL), ==, 10);
  spool_test_deliver (fixture->spool, route, 3, seqs[2], NULL, 0);
  rest = spool_test_drain (reader, 3);
  g_assert_cmpstr (rest, ==, "14 15 16 17 18 19 20");
}

/* What is skipped is deleted, though what comes before is still wanted. */
static void
test_expire_frees (Fixture       *fixture,
                   gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  guint64 before;
  gint64 seqs[100];

  spool_test_append (fixture->spool, &route, 1, 0, 99, 1000, seqs);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  before = evbus_spool_get_weight (fixture->spool);
  g_assert_cmpuint (evbus_spool_expire_oldest (fixture->spool, route, seqs[0], 10 * 1020, G_MININT64, 1000, NULL, NULL), >=, 89);
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), <, before / 8);
}

static void
test_roll_back (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");

  evbus_spool_begin (fixture->spool);
  spool_test_assert_ledger (route, "0 0 0 0 0 0");
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  spool_test_append (fixture->spool, &route, 1, 1, 3, 0, NULL);
  spool_test_assert_ledger (route, "0 0 0 0 0 0");
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  spool_test_assert_ledger (route, "3 0 0 0 0 3");
}

/* A route whose settings change with each reload has another key each time: the old ones go. */
static void
test_renamed_often (Fixture       *fixture,
                    gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autofree char *padding = g_strnfill (KEY_SIZE, 'k');
  g_autofree char *last = NULL;
  gsize heap = 0;

  for (guint i = 0; i <= N_RENAMES; i++)
    {
      g_free (last);
      last = g_strdup_printf ("%u %s", i, padding);
      evbus_spool_rename_route (fixture->spool, route, last);
      spool_test_put (fixture->spool, &route, 1, i + 1, i + 1, NULL);
      if (i == N_RENAMES / 10)
        heap = mallinfo2 ().uordblks;
    }
  /* Under a sanitizer there are no such figures: it finds what is freed too early. */
  g_test_message ("%" G_GSIZE_FORMAT " bytes of the heap, then %" G_GSIZE_FORMAT, heap, mallinfo2 ().uordblks);
  g_assert_cmpuint (mallinfo2 ().uordblks, <, heap + N_RENAMES * KEY_SIZE / 4);

  spool_test_reopen (fixture);
  route = spool_test_get_route (fixture->spool, 0);
  g_assert_cmpstr (evbus_spool_route_get_key (route), ==, last);
  spool_test_assert_ledger (route, "1001 0 0 0 0 1001");
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/spool/new", test_new },
    { "/spool/append-and-read", test_append_and_read },
    { "/spool/positions", test_positions },
    { "/spool/pending-in-parts", test_pending_in_parts },
    { "/spool/sets", test_sets },
    { "/spool/many-sets", test_many_sets },
    { "/spool/reader/goes-on", test_reader_goes_on },
    { "/spool/reader/weight", test_reader_weight },
    { "/spool/sequence", test_sequence },
    { "/spool/new-route", test_new_route },
    { "/spool/renamed-often", test_renamed_often },
    { "/spool/known-ids", test_known_ids },
    { "/spool/expire/ledger", test_expire },
    { "/spool/expire/before-reader", test_expire_before_reader },
    { "/spool/expire/frees", test_expire_frees },
    { "/spool/uncommitted", test_roll_back },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, spool_test_set_up, tests[i].run, spool_test_tear_down);
  return g_test_run ();
}
