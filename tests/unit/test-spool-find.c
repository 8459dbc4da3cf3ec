/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the spool knows of an event whose put is repeated: its numbers, and its routes. */

#include "spool-test.h"

#include "evbus-known-ids-private.h"
#include "evbus-limits-private.h"
#include "evbus-spool-store-private.h"

static gint64
put (Fixture          *fixture,
     EvbusSpoolRoute **routes,
     guint             n_routes)
{
  g_autoptr(EvbusEvent) event = spool_test_event ("1", 0);

  evbus_spool_begin (fixture->spool);
  evbus_spool_append (fixture->spool, event, routes, n_routes, TRUE);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  return event->seq;
}

/* The newest event of the route dies. */
static void
die (Fixture         *fixture,
     EvbusSpoolRoute *route,
     gint64           seq)
{
  g_autoptr(EvbusEvent) event = spool_test_event ("1", 0);
  EvbusSpoolDeath death = { event, "refused" };
  EvbusLedger change = { .dead = 1 };

  event->seq = seq;
  evbus_spool_settle (fixture->spool, route, seq, NULL, 0, &change, event->weight, &death, 1);
  while (evbus_spool_maintain (fixture->spool))
    ;
}

/* The only letter there is: its number. */
static gint64
get_letter (Fixture *fixture,
            gint64  *seq)
{
  g_autoptr(GPtrArray) dead = evbus_spool_list_dead (fixture->spool, NULL, 0, 2, NULL);
  EvbusSpoolDead *letter;

  g_assert_cmpuint (dead->len, ==, 1);
  letter = dead->pdata[0];
  *seq = letter->event->seq;
  return letter->number;
}

static void
drop_letter (Fixture *fixture)
{
  EvbusSpoolDeadStep step = { .replay = FALSE };
  gint64 seq, number = get_letter (fixture, &seq);

  g_assert_true (evbus_spool_step_dead (fixture->spool, &number, 1, &step, NULL));
  g_assert_cmpuint (step.n_done, ==, 1);
}

static void
recover (Fixture *fixture)
{
  g_autofree char *mark = g_build_filename (fixture->directory, "damaged", NULL);

  g_assert_true (g_file_set_contents (mark, "", 0, NULL));
  spool_test_reopen (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
}

/* Returns its new number. */
static gint64
replay (Fixture *fixture)
{
  gint64 seq, number = get_letter (fixture, &seq);
  g_autoptr(GPtrArray) routes = g_ptr_array_new ();
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(GArray) old_seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  EvbusSpoolDeadStep step = { .replay = TRUE, .routes = routes, .events = events, .old_seqs = old_seqs };

  g_assert_true (evbus_spool_step_dead (fixture->spool, &number, 1, &step, NULL));
  g_assert_cmpuint (step.n_done, ==, 1);
  g_assert_cmpint (g_array_index (old_seqs, gint64, 0), ==, seq);
  return ((EvbusEvent *) events->pdata[0])->seq;
}

/* "1 3r": numbers that ids lead to, with those of dead letters that were replayed. */
static void
assert_known (Fixture    *fixture,
              const char *expected)
{
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr(GPtrArray) ids = evbus_spool_load_known_ids (fixture->spool, seqs, replayed);
  g_autoptr(GString) text = g_string_new (NULL);

  for (guint i = 0; i < ids->len; i++)
    g_string_append_printf (text, "%s%" G_GINT64_FORMAT "%s", i > 0 ? " " : "", g_array_index (seqs, gint64, i),
                            g_array_index (replayed, gboolean, i) ? "r" : "");
  g_assert_cmpstr (text->str, ==, expected);
  g_assert_cmpuint (fixture->spool->n_known, ==, ids->len);
}

/* "a@1 b@2 sure" */
static void
assert_found (Fixture    *fixture,
              gint64      seq,
              const char *expected)
{
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) holders = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolHolder));
  g_autoptr(GString) text = g_string_new (NULL);
  g_autoptr(GError) error = NULL;
  gboolean sure;

  g_array_append_val (seqs, seq);
  evbus_spool_find_routes (fixture->spool, seqs, holders, &sure, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < holders->len; i++)
    {
      const EvbusSpoolHolder *holder = &g_array_index (holders, EvbusSpoolHolder, i);
      g_autofree char *reason = NULL;
      EvbusFate fate;
      gboolean settled = evbus_spool_find_fate (fixture->spool, holder, seqs, &fate, &reason);

      g_assert_cmpint (holder->seq, ==, seq);
      g_string_append_printf (text, "%s%s ", evbus_spool_route_get_key (holder->route),
                              !settled ? "" : fate == EVBUS_FATE_DEAD ? "=dead" : "=?");
    }
  g_string_append (text, sure ? "sure" : "unsure");
  g_assert_cmpstr (text->str, ==, expected);
}

/* Beside the number of the put there is one of each route's last letter; also after a recovery. */
static void
test_replayed (Fixture       *fixture,
               gconstpointer  data)
{
  EvbusSpoolRoute *both[] = {
    evbus_spool_adopt_route (fixture->spool, "a"), evbus_spool_adopt_route (fixture->spool, "b"),
  };
  gint64 seq = put (fixture, both, 2);

  assert_known (fixture, "1");
  die (fixture, both[0], seq);
  seq = replay (fixture);
  assert_known (fixture, "1 2r");
  die (fixture, both[1], 1);
  replay (fixture);
  assert_known (fixture, "1 2r 3r");
  die (fixture, both[0], seq);
  replay (fixture);
  assert_known (fixture, "1 3r 4r");
  spool_test_reopen (fixture);
  assert_known (fixture, "1 3r 4r");
  recover (fixture);
  assert_known (fixture, "1 3r 4r");
}

/* How many ids are known is stored and not counted at a start, but by a recovery. */
static void
test_number_of_ids (Fixture       *fixture,
                    gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");

  put (fixture, &route, 1);
  g_assert_cmpuint (fixture->spool->n_known, ==, 1);
  g_assert_true (evbus_sql_exec (fixture->spool->sql, "DELETE FROM known_id", NULL));
  spool_test_reopen (fixture);
  g_assert_cmpuint (fixture->spool->n_known, ==, 1);
  recover (fixture);
  assert_known (fixture, "");
}

static int
refuse (gpointer data)
{
  return 1;
}

/* A replay that is not committed leaves the id as it was; of one that nobody knows it makes none. */
static void
test_not_replayed (Fixture       *fixture,
                   gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 number = 1, seq = put (fixture, &route, 1);
  g_autoptr(GPtrArray) routes = g_ptr_array_new ();
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(GArray) old_seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  EvbusSpoolDeadStep step = { .replay = TRUE, .routes = routes, .events = events, .old_seqs = old_seqs };
  g_autoptr(GError) error = NULL;

  die (fixture, route, seq);
  sqlite3_commit_hook (fixture->spool->sql->db, refuse, NULL);
  g_assert_false (evbus_spool_step_dead (fixture->spool, &number, 1, &step, &error));
  g_assert_nonnull (error);
  sqlite3_commit_hook (fixture->spool->sql->db, NULL, NULL);
  assert_known (fixture, "1");

  g_assert_true (evbus_sql_exec (fixture->spool->sql, "DELETE FROM known_id", NULL));
  fixture->spool->n_known = 0;
  replay (fixture);
  assert_known (fixture, "");
}

static void
fill_sets (Fixture *fixture)
{
  EvbusSpoolRoute *routes[24], *pair[2];
  guint n = 0;

  for (guint i = 0; i < G_N_ELEMENTS (routes); i++)
    {
      g_autofree char *key = g_strdup_printf ("r%u", i);

      routes[i] = evbus_spool_adopt_route (fixture->spool, key);
    }
  evbus_spool_begin (fixture->spool);
  for (guint i = 0; i < G_N_ELEMENTS (routes); i++)
    {
      for (guint j = i + 1; j < G_N_ELEMENTS (routes); j++, n++)
        {
          g_autoptr(EvbusEvent) event = spool_test_event ("1", 0);

          pair[0] = routes[i];
          pair[1] = routes[j];
          evbus_spool_append (fixture->spool, event, pair, 2, FALSE);
        }
    }
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  g_assert_cmpuint (n, >, EVBUS_SPOOL_SETS);
}

/* Beyond the bound of sets a row names one route alone: another one may have given the event up. */
static void
test_partial (Fixture       *fixture,
              gconstpointer  data)
{
  EvbusSpoolRoute *both[2];
  gint64 seq, single;

  fill_sets (fixture);
  both[0] = evbus_spool_adopt_route (fixture->spool, "x");
  both[1] = evbus_spool_adopt_route (fixture->spool, "y");
  seq = put (fixture, both, 2);
  single = put (fixture, both + 1, 1);
  die (fixture, both[0], seq);
  for (guint i = 0; i < 2; i++)
    {
      assert_found (fixture, seq, "y x=dead sure");
      assert_found (fixture, single, "y sure");
      spool_test_reopen (fixture);
    }
  drop_letter (fixture);
  for (guint i = 0; i < 3; i++)
    {
      assert_found (fixture, seq, "y unsure");
      assert_found (fixture, single, "y sure");
      if (i == 1)
        recover (fixture);
      else
        spool_test_reopen (fixture);
    }
}

/* A set from which a route was forgotten; also as its row says it. */
static void
test_forgotten (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *both[] = {
    evbus_spool_adopt_route (fixture->spool, "a"), evbus_spool_adopt_route (fixture->spool, "b"),
  };
  gint64 seq = put (fixture, both, 2), later;

  assert_found (fixture, seq, "a b sure");
  evbus_spool_orphan_route (fixture->spool, both[0]);
  g_assert_true (evbus_spool_forget_route (fixture->spool, both[0], NULL));
  assert_found (fixture, seq, "b unsure");
  spool_test_reopen (fixture);
  assert_found (fixture, seq, "b unsure");
  both[1] = evbus_spool_adopt_route (fixture->spool, "b");
  later = put (fixture, both + 1, 1);
  /* The rows of its sets are written anew. */
  evbus_spool_rename_route (fixture->spool, both[1], "c");
  while (evbus_spool_maintain (fixture->spool))
    ;
  spool_test_reopen (fixture);
  assert_found (fixture, seq, "c unsure");
  assert_found (fixture, later, "c sure");
}

static gint64 *
get_numbers (GArray *numbers)
{
  return (gint64 *) (gpointer) numbers->data;
}

/* As many as there may be: a replayed letter counts, and the oldest id goes with all of its own. */
static void
test_known_ids (void)
{
  EvbusKnownIds ids = { 0 };

  evbus_known_ids_init (&ids, 4, g_free);
  evbus_known_ids_add (&ids, "one", TRUE, FALSE, 1);
  evbus_known_ids_add (&ids, "two", TRUE, FALSE, 2);
  g_assert_false (evbus_known_ids_replay (&ids, "none", 1, 5));
  g_assert_false (evbus_known_ids_replay (&ids, "two", 1, 5));
  g_assert_true (evbus_known_ids_replay (&ids, "two", 2, 5));
  g_assert_true (evbus_known_ids_replay (&ids, "two", 5, 6));
  g_assert_true (evbus_known_ids_replay (&ids, "two", 2, 7));
  g_assert_cmpuint (evbus_known_ids_find (&ids, "two")->replayed->len, ==, 2);
  g_assert_cmpint (get_numbers (evbus_known_ids_find (&ids, "two")->replayed)[0], ==, 6);
  g_assert_cmpint (get_numbers (evbus_known_ids_find (&ids, "two")->replayed)[1], ==, 7);
  g_assert_nonnull (evbus_known_ids_find (&ids, "one"));

  evbus_known_ids_add (&ids, "three", TRUE, FALSE, 8);
  g_assert_null (evbus_known_ids_find (&ids, "one"));
  /* No room but what it has itself. */
  g_assert_false (evbus_known_ids_replay (&ids, "two", 2, 9));
  g_assert_null (evbus_known_ids_find (&ids, "two"));
  g_assert_cmpuint (ids.n_replayed, ==, 0);
  g_assert_nonnull (evbus_known_ids_find (&ids, "three"));
  evbus_known_ids_clear (&ids);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/spool/find/replayed", test_replayed },
    { "/spool/find/number-of-ids", test_number_of_ids },
    { "/spool/find/not-replayed", test_not_replayed },
    { "/spool/find/partial", test_partial },
    { "/spool/find/forgotten", test_forgotten },
  };

  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (spool_test_be_silent, NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, spool_test_set_up, tests[i].run, spool_test_tear_down);
  g_test_add_func ("/spool/find/known-ids", test_known_ids);
  return g_test_run ();
}
