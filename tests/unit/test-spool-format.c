/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A spool that an older version wrote stays readable: each format has a file in
 * spool-fixtures, which is never made again. The command that makes the one of the
 * format of today is in doc/spool.md. */

#include "spool-test.h"

#include "evbus-spool-store-private.h"

/* Of the header of SQLite, big-endian: the version of the format. */
#define USER_VERSION 60

typedef struct {
  guint8              version;
  EvbusSpoolCondition condition;      /* of its first start */
} Format;

static const Format formats[] = {
  { 1, EVBUS_SPOOL_CONDITION_MIGRATED },
  { 2, EVBUS_SPOOL_CONDITION_MIGRATED },
  { 3, EVBUS_SPOOL_CONDITION_INTACT },
};

#define N_EVENTS 30
#define LARGE 20          /* it takes several pages */
#define WITH_ALL 7        /* it has all that an event can have */

static EvbusEvent *
make_event (guint number)
{
  g_autofree char *body = g_strdup_printf ("%u %*s", number, number == LARGE ? 10000 : 10, "");
  g_autofree char *id = g_strdup_printf ("id-%u", number);
  g_autoptr(GVariant) attributes = g_variant_ref_sink (g_variant_new_parsed ("{'shop': 'bakery'}"));
  EvbusEventInit init = {
    .id = id,
    .routing_key = "key", .routing_key_length = 3,
    .profile = number == WITH_ALL ? "other" : "default", .profile_length = number == WITH_ALL ? 5 : 7,
    .content_type = "text/plain",
    .data = (const guint8 *) body, .size = strlen (body),
    .attributes = number == WITH_ALL ? attributes : NULL,
    .max_age = number == WITH_ALL ? 90 * G_TIME_SPAN_SECOND : 0,
    .hops = number == WITH_ALL ? 2 : 0,
  };

  return evbus_event_new (&init);
}

/* Of "alpha" 1 to 12 are settled but for 3 and 8, 4 died, 15 and 16 were over the
 * budget; "beta" has all odd ones; "old" has one, and no configuration. */
static void
fill (EvbusSpool *spool)
{
  const gint64 pending[] = { 3, 8 };
  const EvbusLedger change = { .delivered = 9, .dead = 1, .retried = 5 };
  EvbusSpoolRoute *routes[] = { evbus_spool_adopt_route (spool, "alpha"), evbus_spool_adopt_route (spool, "beta") };
  EvbusSpoolRoute *old = evbus_spool_adopt_route (spool, "old");
  g_autoptr(EvbusEvent) dead = NULL;
  g_autoptr(EvbusEvent) last = make_event (N_EVENTS + 1);
  EvbusSpoolDeath death = { NULL, "refused: no such table" };

  evbus_spool_begin (spool);
  for (guint i = 1; i <= N_EVENTS; i++)
    {
      g_autoptr(EvbusEvent) event = make_event (i);

      evbus_spool_append (spool, event, routes, 1 + i % 2, i % 5 == 0);
      if (i == 4)
        dead = evbus_event_ref (event);
    }
  evbus_spool_append (spool, last, &old, 1, FALSE);
  g_assert_true (evbus_spool_commit (spool, NULL));

  evbus_spool_orphan_route (spool, old);
  death.event = dead;
  evbus_spool_settle (spool, routes[0], 12, pending, G_N_ELEMENTS (pending), &change, 0, &death, 1);
  g_assert_cmpuint (evbus_spool_expire_oldest (spool, routes[0], 14, 0, G_MININT64, 2, NULL, NULL), ==, 2);
  while (evbus_spool_maintain (spool))
    ;
}

/* What is seldom there: "gone" was forgotten, and had events that "kept" has too; "doubtful" is an orphan, and
 * nobody knows whose. Of "kept" 1 was delivered at the second try, and 2 died and was replayed. */
static void
fill_rare (EvbusSpool *spool)
{
  const EvbusLedger change = { .delivered = 1, .dead = 1, .retried = 2, .duplicates = 1 };
  EvbusSpoolRoute *routes[] = { evbus_spool_adopt_route (spool, "kept"), evbus_spool_adopt_route (spool, "gone") };
  EvbusSpoolRoute *doubtful = evbus_spool_adopt_route (spool, "doubtful");
  g_autoptr(GPtrArray) of = g_ptr_array_new ();
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr(GArray) old_seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  EvbusSpoolDeadStep step = { .replay = TRUE, .routes = of, .events = events, .old_seqs = old_seqs };
  g_autoptr(EvbusEvent) dead = NULL;
  gint64 number = 1;

  evbus_spool_begin (spool);
  for (guint i = 1; i <= 4; i++)
    {
      g_autoptr(EvbusEvent) event = make_event (i);

      evbus_spool_append (spool, event, i < 4 ? routes : &doubtful, i < 4 ? 2 : 1, i == 2);
      if (i == 2)
        dead = g_steal_pointer (&event);
    }
  g_assert_true (evbus_spool_commit (spool, NULL));

  evbus_spool_settle (spool, routes[0], 2, NULL, 0, &change, 0, &(EvbusSpoolDeath) { dead, "refused" }, 1);
  while (evbus_spool_maintain (spool))
    ;
  g_assert_true (evbus_spool_step_dead (spool, &number, 1, &step, NULL));
  g_assert_cmpuint (step.n_done, ==, 1);
  evbus_spool_orphan_route (spool, routes[1]);
  g_assert_true (evbus_spool_forget_route (spool, routes[1], NULL));
  evbus_spool_orphan_route (spool, doubtful);
  evbus_spool_doubt_route (spool, doubtful);
  while (evbus_spool_maintain (spool))
    ;
}

static void
test_make (void)
{
  const char *to = g_getenv ("EVBUS_MAKE_FIXTURE");
  Fixture fixture = { 0 };
  g_autofree char *path = NULL, *data = NULL;
  gsize size;

  spool_test_set_up (&fixture, NULL);
  if (g_str_has_suffix (to, "-rare.db"))
    fill_rare (fixture.spool);
  else
    fill (fixture.spool);
  evbus_spool_unref (fixture.spool);
  path = g_build_filename (fixture.directory, "spool.db", NULL);
  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  g_assert_true (g_file_set_contents (to, data, size, NULL));
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);
}

/* Copies the file of that format into a new folder. @version: what it says. */
static void
copy_fixture (Fixture    *fixture,
              const char *name,
              guint8      version,
              char      **data,
              gsize      *size)
{
  g_autofree char *from = g_test_build_filename (G_TEST_DIST, "unit", "spool-fixtures", name, NULL);
  g_autofree char *to = NULL;
  g_autoptr(GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("evbus-format-XXXXXX", NULL);
  to = g_build_filename (fixture->directory, "spool.db", NULL);
  g_file_get_contents (from, data, size, &error);
  g_assert_no_error (error);
  (*data)[USER_VERSION + 3] = (char) version;
  g_assert_true (g_file_set_contents (to, *data, *size, NULL));
}

static EvbusSpoolRoute *
find_route (Fixture    *fixture,
            const char *key)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (fixture->spool);

  for (guint i = 0; i < routes->len; i++)
    {
      if (g_str_equal (evbus_spool_route_get_key (routes->pdata[i]), key))
        return routes->pdata[i];
    }
  g_assert_not_reached ();
}

/* Each event as it was. */
static void
check_events (Fixture         *fixture,
              EvbusSpoolRoute *route)
{
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (fixture->spool, route, NULL);
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  guint n_damaged = 0;

  g_assert_true (evbus_spool_reader_read (reader, 100, G_MAXSIZE, events, &n_damaged, NULL));
  g_assert_cmpuint (n_damaged, ==, 0);
  for (guint i = 0; i < events->len; i++)
    {
      EvbusEvent *event = events->pdata[i];
      g_autoptr(EvbusEvent) made = make_event (spool_test_number (event));

      g_assert_cmpmem (event->data, event->size, made->data, made->size);
      g_assert_cmpstr (event->id, ==, made->id);
      g_assert_cmpstr (event->routing_key, ==, made->routing_key);
      g_assert_cmpstr (event->profile, ==, made->profile);
      g_assert_cmpstr (event->content_type, ==, made->content_type);
      g_assert_cmpint (event->max_age, ==, made->max_age);
      g_assert_cmpuint (event->hops, ==, made->hops);
      g_assert_cmpuint (event->weight, ==, made->weight);
      g_assert_cmpint (event->seq, ==, spool_test_number (event));
      g_assert_cmpint (event->time, >, 0);
      g_assert_cmpint (event->time, <=, g_get_real_time ());
      g_assert_true ((event->attributes == NULL) == (made->attributes == NULL));
      if (event->attributes != NULL)
        g_assert_true (g_variant_equal (event->attributes, made->attributes));
    }
}

static void
check_rest (Fixture *fixture)
{
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr(GPtrArray) ids = evbus_spool_load_known_ids (fixture->spool, seqs, replayed);
  g_autoptr(GPtrArray) dead = evbus_spool_list_dead (fixture->spool, "alpha", 0, 10, NULL);
  EvbusSpoolDead *one;

  g_assert_cmpuint (ids->len, ==, N_EVENTS / 5);
  g_assert_cmpuint (fixture->spool->n_known, ==, N_EVENTS / 5);
  for (guint i = 0; i < ids->len; i++)
    {
      g_autofree char *id = g_strdup_printf ("id-%u", 5 * (i + 1));

      g_assert_cmpstr (ids->pdata[i], ==, id);
    }

  g_assert_nonnull (dead);
  g_assert_cmpuint (dead->len, ==, 1);
  one = dead->pdata[0];
  g_assert_cmpstr (one->reason, ==, "refused: no such table");
  g_assert_cmpstr (one->event->id, ==, "id-4");
  g_assert_cmpint (one->died, >=, one->event->time);
}

/* Formats up to 3 began with bodies, routing keys and profiles alone. */
static void
check_weights (Fixture *fixture)
{
  static const char *const keys[] = { "alpha", "beta", "old" };

  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    spool_test_assert_weight (fixture->spool, find_route (fixture, keys[i]));
}

static void
test_readable (gconstpointer data)
{
  const Format *format = data;
  g_autofree char *name = g_strdup_printf ("format-%u.db", format->version);
  Fixture fixture = { 0 };
  EvbusSpoolRoute *alpha, *beta, *old;
  g_autofree char *file = NULL;
  gsize size;

  copy_fixture (&fixture, name, format->version, &file, &size);
  spool_test_open (&fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, format->condition);

  alpha = find_route (&fixture, "alpha");
  beta = find_route (&fixture, "beta");
  old = find_route (&fixture, "old");
  spool_test_assert_ledger (alpha, "30 9 1 2 0 18");
  spool_test_assert_ledger (beta, "15 0 0 0 0 15");
  spool_test_assert_ledger (old, "1 0 0 0 0 1");
  g_assert_false (evbus_spool_route_is_orphan (alpha));
  g_assert_true (evbus_spool_route_is_orphan (old));
  spool_test_assert_backlog (fixture.spool, alpha, "3 8 13 14 17 18 19 20 21 22 23 24 25 26 27 28 29 30");
  spool_test_assert_backlog (fixture.spool, beta, "1 3 5 7 9 11 13 15 17 19 21 23 25 27 29");
  spool_test_assert_backlog (fixture.spool, old, "31");
  check_events (&fixture, alpha);
  check_events (&fixture, beta);
  check_rest (&fixture);
  check_weights (&fixture);

  /* Weighed when it was migrated; else a budget would not see it. */
  g_assert_cmpuint (evbus_spool_route_get_dead_weight (alpha), >, 64);
  g_assert_cmpuint (evbus_spool_route_get_dead_weight (beta), ==, 0);

  /* And it goes on, and was migrated and weighed once. */
  spool_test_put (fixture.spool, &alpha, 1, 32, 32, NULL);
  spool_test_reopen (&fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_INTACT);
  g_assert_true (fixture.spool->counted);
  check_weights (&fixture);
  check_rest (&fixture);
  spool_test_tear_down (&fixture, NULL);
}

/* One that is damaged too: what can be read is taken over all the same, routes and
 * dead letters included. */
static void
test_damaged (gconstpointer data)
{
  const Format *format = data;
  g_autofree char *name = g_strdup_printf ("format-%u.db", format->version);
  Fixture fixture = { 0 };
  g_autofree char *file = NULL, *mark = NULL;
  EvbusSpoolRoute *alpha;
  gsize size;

  copy_fixture (&fixture, name, format->version, &file, &size);
  mark = g_build_filename (fixture.directory, "damaged", NULL);
  g_assert_true (g_file_set_contents (mark, "", 0, NULL));
  spool_test_open (&fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);

  alpha = find_route (&fixture, "alpha");
  spool_test_assert_ledger (alpha, "30 9 1 2 0 18");
  spool_test_assert_backlog (fixture.spool, alpha, "3 8 13 14 17 18 19 20 21 22 23 24 25 26 27 28 29 30");
  g_assert_cmpuint (evbus_spool_route_get_dead_weight (alpha), >, 64);
  check_rest (&fixture);
  check_weights (&fixture);
  spool_test_tear_down (&fixture, NULL);
}

/* @data: "damaged", where it is recovered. */
static void
test_rare (gconstpointer data)
{
  Fixture fixture = { 0 };
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr(GPtrArray) ids = NULL;
  g_autofree char *file = NULL, *mark = NULL;
  EvbusSpoolRoute *kept, *doubtful;
  EvbusLedger ledger;
  gsize size;

  copy_fixture (&fixture, "format-3-rare.db", 3, &file, &size);
  mark = g_build_filename (fixture.directory, data != NULL ? data : "intact", NULL);
  g_assert_true (g_file_set_contents (mark, "", 0, NULL));
  spool_test_open (&fixture);
  g_unlink (mark);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==,
                   data != NULL ? EVBUS_SPOOL_CONDITION_RECOVERED : EVBUS_SPOOL_CONDITION_INTACT);

  g_assert_cmpuint (spool_test_count_routes (fixture.spool), ==, 2);
  kept = find_route (&fixture, "kept");
  doubtful = find_route (&fixture, "doubtful");
  spool_test_assert_ledger (kept, "3 1 0 0 0 2");
  spool_test_assert_ledger (doubtful, "1 0 0 0 0 1");
  evbus_spool_route_get_ledger (kept, &ledger, NULL);
  g_assert_cmpuint (ledger.retried, ==, 2);
  g_assert_cmpuint (ledger.duplicates, ==, 1);
  spool_test_assert_backlog (fixture.spool, kept, "3 2");
  spool_test_assert_backlog (fixture.spool, doubtful, "4");
  g_assert_true (evbus_spool_route_is_doubtful (doubtful));
  /* What was forgotten counts in the totals. */
  evbus_spool_get_rest (fixture.spool, &ledger);
  g_assert_cmpuint (ledger.accepted, ==, 3);
  g_assert_cmpuint (ledger.dropped, ==, 3);

  ids = evbus_spool_load_known_ids (fixture.spool, seqs, replayed);
  g_assert_cmpuint (ids->len, ==, 2);
  for (guint i = 0; i < 2; i++)
    {
      g_assert_cmpstr (ids->pdata[i], ==, "id-2");
      g_assert_cmpint (g_array_index (seqs, gint64, i), ==, i == 0 ? 2 : 5);
      g_assert_cmpint (g_array_index (replayed, gboolean, i), ==, i == 1);
    }
  spool_test_tear_down (&fixture, NULL);
}

static void
test_newer (void)
{
  Fixture fixture = { 0 };
  g_autofree char *before = NULL, *after = NULL, *path = NULL;
  g_autoptr(GError) error = NULL;
  gsize size_before, size_after;

  copy_fixture (&fixture, "format-1.db", 4, &before, &size_before);
  g_assert_null (evbus_spool_open (fixture.directory, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
  g_assert_nonnull (strstr (error->message, "format 4"));

  path = g_build_filename (fixture.directory, "spool.db", NULL);
  g_assert_true (g_file_get_contents (path, &after, &size_after, NULL));
  g_assert_cmpmem (after, size_after, before, size_before);
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  if (g_getenv ("EVBUS_MAKE_FIXTURE") != NULL)
    g_test_add_func ("/spool/format/make", test_make);
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    {
      g_autofree char *path = g_strdup_printf ("/spool/format/%u", formats[i].version);
      g_autofree char *damaged = g_strconcat (path, "/damaged", NULL);

      g_test_add_data_func (path, &formats[i], test_readable);
      g_test_add_data_func (damaged, &formats[i], test_damaged);
    }
  g_test_add_data_func ("/spool/format/rare", NULL, test_rare);
  g_test_add_data_func ("/spool/format/rare/damaged", "damaged", test_rare);
  g_test_add_func ("/spool/format/newer", test_newer);
  return g_test_run ();
}
