/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A spool with the mark of a damage, as a cut of the power leaves it: what was committed comes
 * back, and nothing else does. */

#include <sqlite3.h>
#include <sys/resource.h>

#include "evbus-limits-private.h"
#include "evbus-spool-store-private.h"
#include "spool-test.h"

#define PAGE 4096
#define FRAME (24 + PAGE)
#define N_EVENTS 40
#define A_LEAF 20   /* so many stand in one page */

/* The files of a spool that nobody has closed. */
typedef struct {
  GByteArray *db, *wal;
} Image;

static GByteArray *
load_file (const char *directory,
           const char *name)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);
  g_autoptr(GError) error = NULL;
  char *contents;
  gsize size;

  g_file_get_contents (path, &contents, &size, &error);
  g_assert_no_error (error);
  return g_byte_array_new_take ((guint8 *) contents, size);
}

static void
save_file (const char       *directory,
           const char       *name,
           const GByteArray *contents)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);
  g_autoptr(GError) error = NULL;

  g_file_set_contents (path, (const char *) contents->data, contents->len, &error);
  g_assert_no_error (error);
}

static void
image_load (Image      *image,
            const char *directory)
{
  image->db = load_file (directory, "spool.db");
  image->wal = load_file (directory, "spool.db-wal");
}

static void
image_clear (Image *image)
{
  g_byte_array_unref (image->db);
  g_byte_array_unref (image->wal);
}

/* What a commit of events @first to @last leaves of @before; NULL: of an empty spool. Of them
 * @n_delivered are delivered. */
static void
put_on (const Image *before,
        guint        first,
        guint        last,
        gsize        padding,
        guint        n_delivered,
        Image       *after)
{
  gint64 seqs[2 * N_EVENTS];
  Fixture fixture = { .directory = g_dir_make_tmp ("evbus-recover-XXXXXX", NULL) };
  g_autoptr(GError) error = NULL;
  EvbusSpoolRoute *route;

  if (before != NULL)
    {
      save_file (fixture.directory, "spool.db", before->db);
      save_file (fixture.directory, "spool.db-wal", before->wal);
    }
  spool_test_open (&fixture);
  route = evbus_spool_adopt_route (fixture.spool, "a");
  spool_test_append (fixture.spool, &route, 1, first, last, padding, seqs);
  evbus_spool_commit (fixture.spool, &error);
  g_assert_no_error (error);
  if (n_delivered > 0)
    {
      spool_test_deliver (fixture.spool, route, n_delivered, seqs[n_delivered - 1], NULL, 0);
      evbus_spool_maintain (fixture.spool);
    }
  image_load (after, fixture.directory);
  evbus_spool_unref (fixture.spool);
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);
}

/* A folder with @image and the mark. */
static char *
mark (const Image *image)
{
  g_autoptr(GByteArray) nothing = g_byte_array_new ();
  char *directory = g_dir_make_tmp ("evbus-recover-XXXXXX", NULL);

  save_file (directory, "spool.db", image->db);
  save_file (directory, "spool.db-wal", image->wal);
  save_file (directory, "damaged", nothing);
  return directory;
}

static char *
numbers (guint first,
         guint last,
         guint more)
{
  GString *text = g_string_new (NULL);

  for (guint i = first; i <= last; i++)
    g_string_append_printf (text, "%s%u", i > first ? " " : "", i);
  if (more > 0)
    g_string_append_printf (text, " %u", more);
  return g_string_free (text, FALSE);
}

/* Opens it: it has exactly the @expected events, and none was booked as lost or as new. */
static void
check_recovered (const Image *image,
                 const char  *expected,
                 guint        n)
{
  Fixture fixture = { .directory = mark (image) };
  g_autofree char *ledger = g_strdup_printf ("%u 0 0 0 0 %u", n, n);
  EvbusSpoolRoute *route;

  spool_test_open (&fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  route = evbus_spool_adopt_route (fixture.spool, "a");
  spool_test_assert_backlog (fixture.spool, route, expected);
  spool_test_assert_ledger (route, ledger);
  evbus_spool_unref (fixture.spool);
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);
}

/* The power is cut in the midst of a commit: some of its frames are whole. */
static void
test_cut_commit (void)
{
  g_autofree char *expected = numbers (1, N_EVENTS, 0);
  Image base, more;
  guint n_frames;

  put_on (NULL, 1, N_EVENTS, 0, 0, &base);
  put_on (&base, 1001, 1060, 500, 0, &more);
  n_frames = (more.wal->len - base.wal->len) / FRAME;
  g_assert_cmpuint (n_frames, >, 4);

  for (guint i = 1; i < n_frames; i++)
    {
      Image cut = { more.db, g_byte_array_new () };

      g_byte_array_append (cut.wal, more.wal->data, base.wal->len + i * FRAME);
      check_recovered (&cut, expected, N_EVENTS);
      /* The last one is torn. */
      memset (cut.wal->data + cut.wal->len - PAGE / 2, 0, PAGE / 2);
      check_recovered (&cut, expected, N_EVENTS);
      g_byte_array_unref (cut.wal);
    }
  image_clear (&base);
  image_clear (&more);
}

/* A long commit fails, and a shorter one writes over its beginning: with the same numbers. */
static void
test_failed_commit (void)
{
  g_autofree char *expected = numbers (1, N_EVENTS, 2000);
  Image base, failed, good;

  put_on (NULL, 1, N_EVENTS, 0, 0, &base);
  put_on (&base, 1001, 1060, 500, 0, &failed);
  put_on (&base, 2000, 2000, 0, 0, &good);
  g_assert_cmpuint (failed.wal->len, >, good.wal->len + 2 * FRAME);
  g_byte_array_append (good.wal, failed.wal->data + good.wal->len, failed.wal->len - good.wal->len);
  check_recovered (&good, expected, N_EVENTS + 1);
  image_clear (&base);
  image_clear (&failed);
  image_clear (&good);
}

/* A bit of the log is wrong, after all of it went into the database: there what it hides is whole. */
static void
test_log_damaged_after_checkpoint (void)
{
  g_autofree char *expected = numbers (1, A_LEAF, 0);
  Fixture fixture = { 0 };
  EvbusSpoolRoute *route;
  Image image;
  sqlite3 *db;
  g_autofree char *path = NULL;

  spool_test_set_up (&fixture, NULL);
  route = evbus_spool_adopt_route (fixture.spool, "a");
  for (guint i = 1; i <= A_LEAF; i++)
    spool_test_put (fixture.spool, &route, 1, i, i, NULL);
  path = g_build_filename (fixture.directory, "spool.db", NULL);
  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "PRAGMA wal_checkpoint(PASSIVE)", NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close (db);
  image_load (&image, fixture.directory);
  evbus_spool_unref (fixture.spool);
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);

  image.wal->data[image.wal->len / FRAME / 2 * FRAME] ^= 1;
  fixture.directory = mark (&image);
  spool_test_open (&fixture);
  spool_test_assert_backlog (fixture.spool, evbus_spool_adopt_route (fixture.spool, "a"), expected);
  spool_test_check_ledgers (fixture.spool);
  evbus_spool_unref (fixture.spool);
  spool_test_remove (fixture.directory);
  g_free (fixture.directory);
  image_clear (&image);
}

/* Whoever has too few descriptors for it makes no empty spool of it: the next one recovers all. */
static void
test_few_descriptors (void)
{
  g_autofree char *expected = numbers (11, N_EVENTS, 0);
  struct rlimit before, few;
  gboolean done = FALSE;
  guint n_refused = 0;
  Image image;

  put_on (NULL, 1, N_EVENTS, 0, 10, &image);
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &before), ==, 0);
  for (guint n = 3; !done && n < 200; n++)
    {
      g_autofree char *directory = mark (&image);
      g_autoptr(GError) error = NULL;
      g_autoptr(EvbusSpool) spool = NULL;

      few = before;
      few.rlim_cur = n;
      setrlimit (RLIMIT_NOFILE, &few);
      spool = evbus_spool_open (directory, &error);
      setrlimit (RLIMIT_NOFILE, &before);
      done = spool != NULL;
      n_refused += !done;
      if (!done)
        {
          g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
          spool = evbus_spool_open (directory, NULL);
          g_assert_nonnull (spool);
        }
      spool_test_assert_backlog (spool, evbus_spool_adopt_route (spool, "a"), expected);
      spool_test_assert_ledger (evbus_spool_adopt_route (spool, "a"), "40 10 0 0 0 30");
      g_clear_pointer (&spool, evbus_spool_unref);
      spool_test_remove (directory);
    }
  g_assert_true (done);
  g_assert_cmpuint (n_refused, >, 3);
  image_clear (&image);
}

/* As it is found after a cut of the power, with the mark. */
static void
cut_and_recover (Fixture *fixture)
{
  Image image;

  image_load (&image, fixture->directory);
  spool_test_tear_down (fixture, NULL);
  fixture->directory = mark (&image);
  image_clear (&image);
  spool_test_open (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
}

/* A set's number goes to another one when its events are gone. What is left of these in the log
 * is not for the routes of the new one. */
static void
test_number_used_again (void)
{
  Fixture fixture = { .directory = g_dir_make_tmp ("evbus-recover-XXXXXX", NULL) };
  EvbusSpoolRoute *routes[25], *pair[2], *late;
  guint n = 0;
  gint64 seq;

  spool_test_open (&fixture);
  for (guint i = 0; i < G_N_ELEMENTS (routes); i++)
    {
      g_autofree char *key = g_strdup_printf ("route %u", i);

      routes[i] = evbus_spool_adopt_route (fixture.spool, key);
    }
  late = evbus_spool_adopt_route (fixture.spool, "late");

  spool_test_put (fixture.spool, routes, 2, 1000, 1000, &seq);
  spool_test_deliver (fixture.spool, routes[0], 1, seq, NULL, 0);
  spool_test_deliver (fixture.spool, routes[1], 1, seq, NULL, 0);
  evbus_spool_maintain (fixture.spool);
  /* As many sets as there may be, and one more. */
  for (guint i = 0; i < G_N_ELEMENTS (routes); i++)
    {
      for (guint j = i + 1; j < G_N_ELEMENTS (routes) && n < EVBUS_SPOOL_SETS; j++, n++)
        {
          pair[0] = routes[i];
          pair[1] = routes[j];
          if (n > 0)
            spool_test_put (fixture.spool, pair, 2, n, n, &seq);
        }
    }
  pair[0] = late;
  spool_test_put (fixture.spool, pair, 2, 2000, 2000, &seq);
  cut_and_recover (&fixture);
  late = evbus_spool_adopt_route (fixture.spool, "late");
  spool_test_assert_backlog (fixture.spool, late, "2000");
  spool_test_assert_ledger (late, "1 0 0 0 0 1");
  spool_test_tear_down (&fixture, NULL);
}

/* The kind of a table's first page, so that SQLite cannot read the table; what is in the page stays. */
static void
break_table (const char *directory,
            const char *table)
{
  g_autofree char *path = g_build_filename (directory, "spool.db", NULL);
  g_autofree char *query = g_strdup_printf ("SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
  g_autoptr(EvbusSql) sql = evbus_sql_open (path, SQLITE_OPEN_READONLY, NULL, NULL);
  g_autoptr(GByteArray) contents = load_file (directory, "spool.db");
  gint64 page;

  g_assert_true (evbus_sql_number (sql, query, &page, NULL));
  contents->data[(page - 1) * PAGE] = 0;
  save_file (directory, "spool.db", contents);
}

/* Whatever is in the pages still of a route that was forgotten: it does not come back where neither
 * the table of routes nor that of sets can be read. */
static void
test_forgotten (void)
{
  Fixture fixture = { .directory = g_dir_make_tmp ("evbus-recover-XXXXXX", NULL) };
  EvbusSpoolRoute *a, *b;

  spool_test_open (&fixture);
  a = evbus_spool_adopt_route (fixture.spool, "a");
  b = evbus_spool_adopt_route (fixture.spool, "b");
  spool_test_put (fixture.spool, &b, 1, 1, 3, NULL);
  spool_test_put (fixture.spool, &a, 1, 4, 9, NULL);
  evbus_spool_orphan_route (fixture.spool, a);
  g_assert_true (evbus_spool_forget_route (fixture.spool, a, NULL));
  while (evbus_spool_maintain (fixture.spool))
    ;
  evbus_spool_unref (fixture.spool);
  break_table (fixture.directory, "route");
  break_table (fixture.directory, "route_set");

  spool_test_open (&fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  g_assert_cmpuint (spool_test_count_routes (fixture.spool), ==, 1);
  spool_test_assert_backlog (fixture.spool, evbus_spool_adopt_route (fixture.spool, "b"), "1 2 3");
  spool_test_tear_down (&fixture, NULL);
}

/* A route that was forgotten, and whose key another one has by now, is in no row of a set that other
 * routes still need: so a recovery without the table of routes gives each what is its own. */
static void
test_key_given_again (void)
{
  Fixture fixture = { .directory = g_dir_make_tmp ("evbus-recover-XXXXXX", NULL) };
  EvbusSpoolRoute *routes[2], *a;

  spool_test_open (&fixture);
  a = evbus_spool_adopt_route (fixture.spool, "a");
  routes[0] = a;
  routes[1] = evbus_spool_adopt_route (fixture.spool, "b");
  spool_test_put (fixture.spool, routes, 2, 1, 3, NULL);
  evbus_spool_orphan_route (fixture.spool, a);
  g_assert_true (evbus_spool_forget_route (fixture.spool, a, NULL));
  routes[0] = evbus_spool_adopt_route (fixture.spool, "a");
  spool_test_put (fixture.spool, routes, 2, 4, 6, NULL);
  evbus_spool_unref (fixture.spool);
  break_table (fixture.directory, "route");

  spool_test_open (&fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  spool_test_assert_backlog (fixture.spool, evbus_spool_adopt_route (fixture.spool, "b"), "1 2 3 4 5 6");
  spool_test_assert_backlog (fixture.spool, evbus_spool_adopt_route (fixture.spool, "a"), "4 5 6");
  spool_test_tear_down (&fixture, NULL);
}

/* A commit fails that had the first event of a set; the next one gives the numbers again. Nothing of
 * what was committed then comes from before the set. */
static void
test_set_of_a_failed_commit (void)
{
  Fixture fixture = { .directory = g_dir_make_tmp ("evbus-recover-XXXXXX", NULL) };
  g_autofree char *expected = numbers (1, 30, 0);
  EvbusSpoolRoute *a, *b;

  spool_test_open (&fixture);
  a = evbus_spool_adopt_route (fixture.spool, "a");
  b = evbus_spool_adopt_route (fixture.spool, "b");
  spool_test_append (fixture.spool, &a, 1, 1, 50, 0, NULL);
  {
    g_autoptr(EvbusEvent) event = spool_test_event ("51", 0);
    g_autoptr(GError) error = NULL;

    evbus_spool_append (fixture.spool, event, &b, 1, FALSE);
    g_set_error_literal (&fixture.spool->failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "as if the disk were broken");
    g_assert_false (evbus_spool_commit (fixture.spool, &error));
    g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
  }
  spool_test_put (fixture.spool, &b, 1, 1, 30, NULL);
  cut_and_recover (&fixture);
  b = evbus_spool_adopt_route (fixture.spool, "b");
  spool_test_assert_backlog (fixture.spool, b, expected);
  spool_test_assert_ledger (b, "30 0 0 0 0 30");
  spool_test_tear_down (&fixture, NULL);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  /* That a commit failed is said. */
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  g_test_add_func ("/spool/recover/cut-commit", test_cut_commit);
  g_test_add_func ("/spool/recover/failed-commit", test_failed_commit);
  g_test_add_func ("/spool/recover/log-damaged-after-checkpoint", test_log_damaged_after_checkpoint);
  g_test_add_func ("/spool/recover/number-used-again", test_number_used_again);
  g_test_add_func ("/spool/recover/forgotten", test_forgotten);
  g_test_add_func ("/spool/recover/key-given-again", test_key_given_again);
  g_test_add_func ("/spool/recover/set-of-a-failed-commit", test_set_of_a_failed_commit);
  g_test_add_func ("/spool/recover/few-descriptors", test_few_descriptors);
  return g_test_run ();
}
