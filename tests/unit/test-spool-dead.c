/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters: kept with their reason until they are replayed, dropped or
 * forgotten with their route. */

#include "spool-test.h"

#include "evbus-spool-store-private.h"

/* The events @first to @last are stored, and die. */
static void
kill_events (Fixture         *fixture,
             EvbusSpoolRoute *route,
             guint            first,
             guint            last)
{
  for (guint i = first; i <= last; i++)
    {
      g_autofree char *body = g_strdup_printf ("%u", i);
      g_autofree char *reason = g_strdup_printf ("refused: %u", i);
      g_autoptr(EvbusEvent) event = spool_test_event (body, 10);
      EvbusSpoolDeath death = { event, reason };
      EvbusLedger change = { .dead = 1 };

      evbus_spool_begin (fixture->spool);
      evbus_spool_append (fixture->spool, event, &route, 1, FALSE);
      g_assert_true (evbus_spool_commit (fixture->spool, NULL));
      evbus_spool_settle (fixture->spool, route, event->seq, NULL, 0, &change, event->weight, &death, 1);
    }
  while (evbus_spool_maintain (fixture->spool))
    ;
}

/* "1 2 3": numbers of the events. */
static char *
list (Fixture    *fixture,
      const char *key,
      gint64      after,
      guint       max)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) dead = evbus_spool_list_dead (fixture->spool, key, after, max, &error);
  GString *text = g_string_new (NULL);

  g_assert_no_error (error);
  for (guint i = 0; i < dead->len; i++)
    {
      EvbusSpoolDead *one = dead->pdata[i];
      g_autofree char *reason = g_strdup_printf ("refused: %u", spool_test_number (one->event));

      g_assert_cmpstr (one->reason, ==, reason);
      g_assert_cmpint (one->died, >=, one->event->time);
      g_assert_cmpint (one->died, <=, g_get_real_time ());
      if (key != NULL)
        g_assert_cmpstr (one->route, ==, key);
      g_string_append_printf (text, "%s%u", i > 0 ? " " : "", spool_test_number (one->event));
    }
  return g_string_free (text, FALSE);
}

#define assert_list(fixture, key, after, max, expected) \
  G_STMT_START { \
    g_autofree char *list_ = list (fixture, key, after, max); \
    g_assert_cmpstr (list_, ==, expected); \
  } G_STMT_END

static gint64
number_of (Fixture *fixture,
           guint    index)
{
  g_autoptr(GPtrArray) dead = evbus_spool_list_dead (fixture->spool, NULL, 0, index + 1, NULL);

  g_assert_cmpuint (dead->len, ==, index + 1);
  return ((EvbusSpoolDead *) dead->pdata[index])->number;
}

static void
test_list (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *b = evbus_spool_adopt_route (fixture->spool, "b");
  g_autoptr(GError) error = NULL;

  assert_list (fixture, NULL, 0, 10, "");
  kill_events (fixture, a, 1, 3);
  kill_events (fixture, b, 4, 5);
  kill_events (fixture, a, 6, 6);
  for (guint i = 0; i < 2; i++)
    {
      assert_list (fixture, NULL, 0, 10, "1 2 3 4 5 6");
      assert_list (fixture, "a", 0, 10, "1 2 3 6");
      assert_list (fixture, "b", 0, 10, "4 5");
      assert_list (fixture, NULL, 0, 2, "1 2");
      assert_list (fixture, NULL, number_of (fixture, 1), 3, "3 4 5");
      assert_list (fixture, "a", number_of (fixture, 2), 3, "6");
      spool_test_reopen (fixture);
    }
  g_assert_null (evbus_spool_list_dead (fixture->spool, "c", 0, 1, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  spool_test_assert_ledger (evbus_spool_adopt_route (fixture->spool, "a"), "4 0 4 0 0 0");
}

static void
mark_damaged (Fixture *fixture)
{
  g_autofree char *mark = g_build_filename (fixture->directory, "damaged", NULL);

  g_assert_true (g_file_set_contents (mark, "", 0, NULL));
}

/* The list is as long as the count: one whose record is damaged is in it, until a start recovers and books it as dropped. */
static void
test_damaged (Fixture       *fixture,
              gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(GPtrArray) dead = NULL;
  EvbusSpoolDead *damaged;

  kill_events (fixture, route, 1, 3);
  g_assert_true (evbus_sql_exec (fixture->spool->sql, "UPDATE dead SET record = zeroblob(length(record)) WHERE number = 2", NULL));
  dead = evbus_spool_list_dead (fixture->spool, NULL, 0, 10, NULL);
  g_assert_cmpuint (dead->len, ==, 3);
  damaged = dead->pdata[1];
  g_assert_null (damaged->event);
  g_assert_cmpint (damaged->number, ==, 2);
  g_assert_cmpstr (damaged->route, ==, "a");
  g_assert_nonnull (strstr (damaged->reason, "is damaged; it can only be dropped"));
  spool_test_assert_ledger (route, "3 0 3 0 0 0");

  mark_damaged (fixture);
  spool_test_reopen (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  assert_list (fixture, "a", 0, 10, "1 3");
  spool_test_assert_ledger (evbus_spool_adopt_route (fixture->spool, "a"), "3 0 2 0 1 0");
}

/* Returns whether it was there; @event: what was replayed, or NULL. */
static gboolean
take_out (Fixture     *fixture,
          gint64       number,
          EvbusEvent **event)
{
  g_autoptr(GPtrArray) routes = g_ptr_array_new ();
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(GArray) old_seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  EvbusSpoolDeadStep step = { .replay = event != NULL, .routes = routes, .events = events, .old_seqs = old_seqs };
  g_autoptr(GError) error = NULL;

  g_assert_true (evbus_spool_step_dead (fixture->spool, &number, 1, &step, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (step.n_seen, ==, 1);
  g_assert_cmpint (step.missing, ==, step.n_done == 1 ? 0 : number);
  g_assert_cmpuint (events->len, ==, event != NULL ? step.n_done : 0);
  g_assert_cmpuint (old_seqs->len, ==, events->len);
  if (events->len == 1)
    *event = evbus_event_ref (events->pdata[0]);
  return step.n_done == 1;
}

static void
test_replay (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(EvbusEvent) event = NULL;
  g_autoptr(GPtrArray) dead = NULL;
  EvbusSpoolDead *first;
  gint64 newest;

  kill_events (fixture, route, 1, 2);
  spool_test_put (fixture->spool, &route, 1, 3, 3, &newest);
  dead = evbus_spool_list_dead (fixture->spool, NULL, 0, 1, NULL);
  first = dead->pdata[0];

  g_assert_true (take_out (fixture, first->number, &event));
  g_assert_cmpstr (event->id, ==, first->event->id);
  g_assert_cmpint (event->seq, >, newest);
  g_assert_cmpint (evbus_spool_route_get_last (route), ==, event->seq);
  spool_test_assert_ledger (route, "3 0 1 0 0 2");
  assert_list (fixture, NULL, 0, 10, "2");
  spool_test_assert_backlog (fixture->spool, route, "3 1");

  g_clear_pointer (&event, evbus_event_unref);
  g_assert_false (take_out (fixture, first->number, &event));
  spool_test_reopen (fixture);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_assert_ledger (route, "3 0 1 0 0 2");
  spool_test_assert_backlog (fixture->spool, route, "3 1");
}

/* One that died of its age does not do so again at once. */
static void
test_replay_age (Fixture       *fixture,
                 gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autoptr(EvbusEvent) event = spool_test_event ("1", 10);
  g_autoptr(EvbusEvent) again = NULL;
  g_autoptr(EvbusSpoolReader) reader = NULL;
  g_autoptr(GPtrArray) read = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(GPtrArray) dead = NULL;
  EvbusSpoolDeath death = { event, "too old" };
  EvbusLedger change = { .dead = 1 };
  gint64 start = g_get_monotonic_time ();
  guint n_damaged = 0;

  event->since = start - 3600 * (gint64) G_USEC_PER_SEC;
  evbus_spool_begin (fixture->spool);
  evbus_spool_append (fixture->spool, event, &route, 1, FALSE);
  g_assert_true (evbus_spool_commit (fixture->spool, NULL));
  evbus_spool_settle (fixture->spool, route, event->seq, NULL, 0, &change, event->weight, &death, 1);
  while (evbus_spool_maintain (fixture->spool))
    ;
  dead = evbus_spool_list_dead (fixture->spool, NULL, 0, 1, NULL);
  g_assert_cmpint (((EvbusSpoolDead *) dead->pdata[0])->event->since, <, start);

  g_assert_true (take_out (fixture, number_of (fixture, 0), &again));
  g_assert_cmpint (again->since, >=, start);
  reader = evbus_spool_reader_new (fixture->spool, route, NULL);
  g_assert_true (evbus_spool_reader_read (reader, 2, 1000, read, &n_damaged, NULL));
  g_assert_cmpuint (read->len, ==, 1);
  g_assert_cmpint (((EvbusEvent *) read->pdata[0])->since, >=, start - G_USEC_PER_SEC);
  g_assert_cmpint (((EvbusEvent *) read->pdata[0])->time, ==, event->time);
  spool_test_assert_ledger (route, "1 0 0 0 0 1");
}

static void
test_drop (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  gint64 number;

  kill_events (fixture, route, 1, 2);
  number = number_of (fixture, 0);
  g_assert_true (take_out (fixture, number, NULL));
  spool_test_assert_ledger (route, "2 0 1 0 1 0");
  assert_list (fixture, NULL, 0, 10, "2");
  g_assert_false (take_out (fixture, number, NULL));
  g_assert_true (take_out (fixture, number_of (fixture, 0), NULL));
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), ==, 0);
}

static void
test_forget (Fixture       *fixture,
             gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *b = evbus_spool_adopt_route (fixture->spool, "b");
  EvbusSpoolRoute *both[] = { a, b };
  g_autoptr(GError) error = NULL;

  kill_events (fixture, a, 1, 3);
  kill_events (fixture, b, 4, 4);
  spool_test_put (fixture->spool, &a, 1, 5, 6, NULL);
  spool_test_put (fixture->spool, both, 2, 7, 8, NULL);
  g_assert_false (evbus_spool_forget_route (fixture->spool, a, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT);
  g_clear_error (&error);

  evbus_spool_route_ref (a);
  evbus_spool_orphan_route (fixture->spool, a);
  evbus_spool_forget_route (fixture->spool, a, &error);
  g_assert_no_error (error);
  spool_test_assert_ledger (a, "7 0 0 0 7 0");
  g_assert_cmpuint (spool_test_count_routes (fixture->spool), ==, 1);
  /* It may still say something; that is no longer heard. */
  spool_test_deliver (fixture->spool, a, 0, 100, NULL, 0);
  evbus_spool_route_unref (a);
  while (evbus_spool_maintain (fixture->spool))
    ;
  assert_list (fixture, NULL, 0, 10, "4");
  spool_test_assert_backlog (fixture->spool, b, "7 8");

  spool_test_reopen (fixture);
  g_assert_cmpuint (spool_test_count_routes (fixture->spool), ==, 1);
  b = evbus_spool_adopt_route (fixture->spool, "b");
  spool_test_assert_backlog (fixture->spool, b, "7 8");
  /* One of the same name is another one. */
  a = evbus_spool_adopt_route (fixture->spool, "a");
  spool_test_assert_backlog (fixture->spool, a, "");
  spool_test_assert_ledger (a, "0 0 0 0 0 0");
}

/* The rows go, also those whose set is known by name alone. */
static void
test_forget_frees (Fixture       *fixture,
                   gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");

  spool_test_put (fixture->spool, &a, 1, 1, 1000, NULL);
  evbus_spool_orphan_route (fixture->spool, a);
  g_assert_true (evbus_spool_forget_route (fixture->spool, a, NULL));
  spool_test_reopen (fixture);
  while (evbus_spool_maintain (fixture->spool))
    ;
  g_assert_cmpuint (evbus_spool_get_weight (fixture->spool), ==, 0);
}

static void
forget (Fixture         *fixture,
        EvbusSpoolRoute *route)
{
  g_autoptr(GError) error = NULL;

  evbus_spool_orphan_route (fixture->spool, route);
  evbus_spool_forget_route (fixture->spool, route, &error);
  g_assert_no_error (error);
}

static void
maintain (Fixture *fixture)
{
  while (evbus_spool_maintain (fixture->spool))
    ;
}

/* Rows of sets: of their table, and before their events. */
static void
assert_sets (Fixture *fixture,
             gint64   n_sets)
{
  EvbusSql *sql = fixture->spool->sql;
  gint64 n_rows, n_copies;

  g_assert_true (evbus_sql_number (sql, "SELECT count(*) FROM route_set", &n_rows, NULL));
  g_assert_true (evbus_sql_number (sql, "SELECT count(*) FROM event WHERE place & 0x3ffffffffffff = 0", &n_copies, NULL));
  g_assert_cmpint (n_rows, ==, n_sets);
  g_assert_cmpint (n_copies, ==, n_sets);
  g_assert_cmpuint (g_hash_table_size (fixture->spool->sets_by_id), ==, n_sets);
}

/* However many come and go, nothing of them stays: neither in memory nor on the disk. */
static void
test_lets_go (Fixture       *fixture,
              gconstpointer  data)
{
  EvbusSpoolRoute *pair[] = { evbus_spool_adopt_route (fixture->spool, "stays"), NULL };
  gint64 seq;

  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *key = g_strdup_printf ("%u", i);
      g_autoptr(EvbusSpoolRoute) route = evbus_spool_route_ref (evbus_spool_adopt_route (fixture->spool, key));

      pair[1] = route;
      spool_test_put (fixture->spool, &route, 1, 1, 3, NULL);
      spool_test_put (fixture->spool, pair, 2, 4, 4, &seq);
      kill_events (fixture, route, 5, 5);
      if (i % 2 > 0)
        spool_test_deliver (fixture->spool, pair[0], 1, seq, NULL, 0);
      forget (fixture, route);
      maintain (fixture);
      g_assert_true (g_atomic_ref_count_compare (&route->ref_count, 1));
      /* The pair's, while the other one has its event still. */
      assert_sets (fixture, i % 2 > 0 ? 0 : 1);
    }
}

/* A set of which a route was forgotten gets no event of the other's, though that is all there is of it
 * at the next start. It goes with its events. */
static void
test_retired_set (Fixture       *fixture,
                  gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *b = evbus_spool_adopt_route (fixture->spool, "b");
  EvbusSpoolRoute *both[] = { a, b };
  gint64 seqs[2];

  spool_test_put (fixture->spool, both, 2, 1, 2, seqs);
  forget (fixture, a);
  spool_test_reopen (fixture);
  b = evbus_spool_adopt_route (fixture->spool, "b");
  spool_test_put (fixture->spool, &b, 1, 3, 3, NULL);
  assert_sets (fixture, 2);
  spool_test_assert_backlog (fixture->spool, b, "1 2 3");
  spool_test_deliver (fixture->spool, b, 2, seqs[1], NULL, 0);
  maintain (fixture);
  assert_sets (fixture, 1);
  spool_test_assert_backlog (fixture->spool, b, "3");
}

static int
fail (gpointer data)
{
  return 1;
}

/* A set that could not be deleted is there still, and its number is not given to another. */
static void
test_set_not_deleted (Fixture       *fixture,
                      gconstpointer  data)
{
  EvbusSpoolRoute *a = evbus_spool_adopt_route (fixture->spool, "a");
  EvbusSpoolRoute *b = evbus_spool_adopt_route (fixture->spool, "b");

  spool_test_put (fixture->spool, &a, 1, 1, 3, NULL);
  forget (fixture, a);
  sqlite3_commit_hook (fixture->spool->sql->db, fail, NULL);
  evbus_spool_maintain (fixture->spool);
  sqlite3_commit_hook (fixture->spool->sql->db, NULL, NULL);
  spool_test_put (fixture->spool, &b, 1, 4, 6, NULL);
  assert_sets (fixture, 2);
  maintain (fixture);
  assert_sets (fixture, 1);
  spool_test_assert_backlog (fixture->spool, b, "4 5 6");
}

typedef struct {
  EvbusSpool *spool;
  EvbusSpoolRoute *route;
  guint next;
} Dying;

static void
kill_next (Dying *self)
{
  g_autofree char *body = g_strdup_printf ("%u", self->next);
  g_autofree char *reason = g_strdup_printf ("refused: %u", self->next);
  g_autoptr(EvbusEvent) event = spool_test_event (body, 10);
  EvbusSpoolDeath death = { event, reason };
  EvbusLedger change = { .dead = 1, .accepted = 1 };

  self->next++;
  evbus_spool_settle (self->spool, self->route, 0, NULL, 0, &change, 0, &death, 1);
}

/* In the commit, which fails. */
static int
kill_more (gpointer data)
{
  for (guint i = 0; i < 3; i++)
    kill_next (data);
  return 1;
}

/* Letters that could not be written are written with those that came meanwhile: each once, in order. */
static void
test_written_late (Fixture       *fixture,
                   gconstpointer  data)
{
  Dying dying = { fixture->spool, evbus_spool_adopt_route (fixture->spool, "a"), 1 };
  sqlite3 *db = fixture->spool->sql->db;
  g_autoptr(GError) error = NULL;

  for (guint i = 0; i < 3; i++)
    kill_next (&dying);
  sqlite3_commit_hook (db, kill_more, &dying);
  for (guint i = 0; i < 2; i++)
    {
      evbus_spool_begin (fixture->spool);
      g_assert_false (evbus_spool_commit (fixture->spool, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
      g_clear_error (&error);
    }
  sqlite3_commit_hook (db, NULL, NULL);
  assert_list (fixture, NULL, 0, 20, "");

  kill_next (&dying);
  evbus_spool_begin (fixture->spool);
  evbus_spool_commit (fixture->spool, &error);
  g_assert_no_error (error);
  assert_list (fixture, NULL, 0, 20, "1 2 3 4 5 6 7 8 9 10");
  spool_test_assert_ledger (dying.route, "10 0 10 0 0 0");
  g_assert_cmpuint (fixture->spool->deaths_weight, ==, 0);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/spool/dead/list", test_list },
    { "/spool/dead/damaged", test_damaged },
    { "/spool/dead/replay", test_replay },
    { "/spool/dead/replay-age", test_replay_age },
    { "/spool/dead/drop", test_drop },
    { "/spool/dead/written-late", test_written_late },
    { "/spool/forget/route", test_forget },
    { "/spool/forget/frees", test_forget_frees },
    { "/spool/forget/lets-go", test_lets_go },
    { "/spool/forget/retired-set", test_retired_set },
    { "/spool/forget/set-not-deleted", test_set_not_deleted },
  };

  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (spool_test_be_silent, NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, spool_test_set_up, tests[i].run, spool_test_tear_down);
  return g_test_run ();
}
