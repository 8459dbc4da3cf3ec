/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An orphan is given a name: it has that, or the one before, whatever happens to the disk. */

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "spool-test.h"

#include "evbus-spool-store-private.h"

#define PAGE 4096
#define FRAME (24 + PAGE)
#define OLD "at:hook * 0123"
#define NEW "name:mine"

/* Two sets: of both routes, and of the orphan alone. */
static EvbusSpoolRoute *
fill (Fixture *fixture)
{
  EvbusSpoolRoute *routes[] = {
    evbus_spool_adopt_route (fixture->spool, OLD), evbus_spool_adopt_route (fixture->spool, "name:other"),
  };

  spool_test_put (fixture->spool, routes, 2, 1, 5, NULL);
  spool_test_put (fixture->spool, routes, 1, 6, 9, NULL);
  evbus_spool_orphan_route (fixture->spool, routes[0]);
  evbus_spool_maintain (fixture->spool);
  return routes[0];
}

static void
name (Fixture         *fixture,
      EvbusSpoolRoute *orphan)
{
  g_autoptr(GError) error = NULL;

  evbus_spool_name_orphan (fixture->spool, orphan, NEW, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_spool_route_get_key (orphan), ==, NEW);
  g_assert_true (evbus_spool_route_is_orphan (orphan));
}

/* There are two routes, the orphan with all that it has; under which key. */
static const char *
check (Fixture *fixture)
{
  EvbusSpoolRoute *orphan = spool_test_get_route (fixture->spool, 0);
  EvbusSpoolRoute *other = spool_test_get_route (fixture->spool, 1);

  g_assert_cmpuint (spool_test_count_routes (fixture->spool), ==, 2);
  g_assert_cmpstr (evbus_spool_route_get_key (other), ==, "name:other");
  spool_test_assert_backlog (fixture->spool, orphan, "1 2 3 4 5 6 7 8 9");
  spool_test_assert_backlog (fixture->spool, other, "1 2 3 4 5");
  spool_test_check_ledgers (fixture->spool);
  return evbus_spool_route_get_key (orphan);
}

static void
test_name (Fixture       *fixture,
           gconstpointer  data)
{
  name (fixture, fill (fixture));
  g_assert_cmpstr (check (fixture), ==, NEW);
  spool_test_reopen (fixture);
  g_assert_cmpstr (check (fixture), ==, NEW);
  g_assert_true (evbus_spool_route_is_orphan (spool_test_get_route (fixture->spool, 0)));
}

static void
load (const char *directory,
      const char *name,
      char      **data,
      gsize      *size)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);
  g_autoptr(GError) error = NULL;

  g_file_get_contents (path, data, size, &error);
  g_assert_no_error (error);
}

static void
save (const char *directory,
      const char *name,
      const char *data,
      gsize       size)
{
  g_autofree char *path = g_build_filename (directory, name, NULL);
  g_autoptr(GError) error = NULL;

  g_file_set_contents (path, data, (gssize) size, &error);
  g_assert_no_error (error);
}

/* A spool of its own with those files, as a start would find them. */
static void
open_files (Fixture    *found,
            const char *db,
            gsize       db_size,
            const char *wal,
            gsize       wal_size)
{
  found->directory = g_dir_make_tmp ("evbus-name-XXXXXX", NULL);
  save (found->directory, "spool.db", db, db_size);
  save (found->directory, "spool.db-wal", wal, wal_size);
  spool_test_open (found);
}

/* What is there if the process is killed now. */
static void
open_now (Fixture *fixture,
          Fixture *found)
{
  g_autofree char *db = NULL;
  g_autofree char *wal = NULL;
  gsize db_size, wal_size;

  load (fixture->directory, "spool.db", &db, &db_size);
  load (fixture->directory, "spool.db-wal", &wal, &wal_size);
  open_files (found, db, db_size, wal, wal_size);
}

static void
drop (Fixture *found)
{
  evbus_spool_unref (found->spool);
  spool_test_remove (found->directory);
  g_free (found->directory);
}

static void
assert_on_disk (Fixture    *fixture,
                const char *key)
{
  Fixture found;

  open_now (fixture, &found);
  g_assert_cmpstr (check (&found), ==, key);
  drop (&found);
}

/* The process is killed, or the power cut, in the midst of it. */
static void
test_cut (Fixture       *fixture,
          gconstpointer  data)
{
  EvbusSpoolRoute *orphan = fill (fixture);
  g_autofree char *db = NULL;
  g_autofree char *before = NULL;
  g_autofree char *after = NULL;
  gsize db_size, size_before, size_after;
  guint n_old = 0, n_new = 0;

  load (fixture->directory, "spool.db-wal", &before, &size_before);
  name (fixture, orphan);
  load (fixture->directory, "spool.db-wal", &after, &size_after);
  load (fixture->directory, "spool.db", &db, &db_size);
  g_assert_cmpuint (size_after, >=, size_before + 2 * FRAME);

  for (gsize size = size_before; size <= size_after; size += FRAME)
    {
      Fixture cut;
      const char *key;

      open_files (&cut, db, db_size, after, size);
      key = check (&cut);
      g_assert_true (g_str_equal (key, OLD) || g_str_equal (key, NEW));
      n_old += g_str_equal (key, OLD);
      n_new += g_str_equal (key, NEW);
      drop (&cut);
    }
  g_assert_cmpuint (n_old, >, 1);
  g_assert_cmpuint (n_new, ==, 1);
}

/* The table of the routes is lost: a recovery knows them from the sets of their events. */
static void
test_recovered (Fixture       *fixture,
                gconstpointer  data)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  g_autofree char *db = NULL;
  sqlite3_stmt *row;
  sqlite3 *sql;
  gsize size, page;

  /* By a person, or (@data) by a configuration. */
  if (data == NULL)
    {
      name (fixture, fill (fixture));
    }
  else
    {
      evbus_spool_rename_route (fixture->spool, fill (fixture), NEW);
      evbus_spool_maintain (fixture->spool);
    }
  evbus_spool_unref (fixture->spool);
  g_assert_cmpint (sqlite3_open (path, &sql), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_prepare_v2 (sql, "SELECT rootpage FROM sqlite_schema WHERE name = 'route'", -1, &row, NULL), ==,
                   SQLITE_OK);
  g_assert_cmpint (sqlite3_step (row), ==, SQLITE_ROW);
  page = (gsize) sqlite3_column_int64 (row, 0);
  sqlite3_finalize (row);
  sqlite3_close (sql);

  load (fixture->directory, "spool.db", &db, &size);
  g_assert_cmpuint (page * PAGE, <=, size);
  memset (db + (page - 1) * PAGE, 0, PAGE);
  save (fixture->directory, "spool.db", db, size);
  spool_test_open (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  g_assert_cmpstr (check (fixture), ==, NEW);
}

static void
limit_files (rlim_t bytes)
{
  struct rlimit limit;

  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &limit), ==, 0);
  limit.rlim_cur = MIN (bytes, limit.rlim_max);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &limit), ==, 0);
}

static void
assert_refused (Fixture         *fixture,
                EvbusSpoolRoute *orphan)
{
  g_autoptr(GError) error = NULL;

  g_assert_false (evbus_spool_name_orphan (fixture->spool, orphan, NEW, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL);
  g_assert_cmpstr (evbus_spool_route_get_key (orphan), ==, OLD);
}

/* Not even what is kept for that is enough: it is refused, and nothing has changed. */
static void
test_full (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusSpoolRoute *orphan = fill (fixture);

  evbus_spool_doubt_route (fixture->spool, orphan);
  evbus_spool_maintain (fixture->spool);
  limit_files (PAGE);
  assert_refused (fixture, orphan);
  limit_files (RLIM_INFINITY);
  assert_on_disk (fixture, OLD);
  spool_test_reopen (fixture);
  orphan = spool_test_get_route (fixture->spool, 0);
  g_assert_cmpstr (check (fixture), ==, OLD);
  g_assert_true (evbus_spool_route_is_doubtful (orphan));
  name (fixture, orphan);
  g_assert_false (evbus_spool_route_is_doubtful (orphan));
}

/* It adds no event, and so it is not refused where there is space for it; and what is answered is
 * what is stored. */
static void
test_reserve (Fixture       *fixture,
              gconstpointer  data)
{
  EvbusSpoolRoute *orphan = fill (fixture);
  gboolean named;

  /* It is full, and is not looked at again. */
  evbus_spool_release_reserve (fixture->directory);
  evbus_spool_set_full (fixture->spool, TRUE);
  fixture->spool->next_try = G_MAXINT64;
  named = evbus_spool_name_orphan (fixture->spool, orphan, NEW, NULL);
  assert_on_disk (fixture, named ? NEW : OLD);
  g_assert_true (named);
}

/* It is too much, and what is settled is not: that is stored, and no name with it. */
static void
test_settled (Fixture       *fixture,
              gconstpointer  data)
{
  EvbusSpoolRoute *routes[2] = { evbus_spool_adopt_route (fixture->spool, OLD) };
  gint64 last;
  Fixture found;

  for (guint i = 0; i < 40; i++)
    {
      g_autofree char *key = g_strdup_printf ("name:%u", i);

      routes[1] = evbus_spool_adopt_route (fixture->spool, key);
      /* So that each set stands in a page of its own. */
      spool_test_append (fixture->spool, routes, 2, i, i, PAGE * 3 / 4, &last);
      g_assert_true (evbus_spool_commit (fixture->spool, NULL));
    }
  evbus_spool_orphan_route (fixture->spool, routes[0]);
  while (evbus_spool_maintain (fixture->spool) || evbus_spool_is_dirty (fixture->spool))
    ;
  evbus_spool_empty_wal (fixture->spool);
  spool_test_deliver (fixture->spool, routes[1], 1, last, NULL, 0);

  limit_files (20 * FRAME);
  assert_refused (fixture, routes[0]);
  limit_files (RLIM_INFINITY);
  open_now (fixture, &found);
  g_assert_cmpstr (evbus_spool_route_get_key (spool_test_get_route (found.spool, 0)), ==, OLD);
  spool_test_assert_ledger (spool_test_get_route (found.spool, 40), "1 1 0 0 0 0");
  drop (&found);
}

/* What is forgotten in the meantime gets none. */
static void
test_forgotten (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *orphan = fill (fixture);
  g_autoptr(GError) error = NULL;

  evbus_spool_route_ref (orphan);
  evbus_spool_forget_route (fixture->spool, orphan, &error);
  g_assert_no_error (error);
  g_assert_false (evbus_spool_name_orphan (fixture->spool, orphan, NEW, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  evbus_spool_route_unref (orphan);
  g_assert_cmpuint (spool_test_count_routes (fixture->spool), ==, 1);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  /* That the disk is full, and what was recovered, is said. */
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
#define ADD(name, data, test) \
  g_test_add ("/spool/name/" name, Fixture, data, spool_test_set_up, test, spool_test_tear_down)
  ADD ("name", NULL, test_name);
  ADD ("cut", NULL, test_cut);
  ADD ("recovered", NULL, test_recovered);
  ADD ("recovered/renamed", "renamed", test_recovered);
  ADD ("full", NULL, test_full);
  ADD ("full/reserve", NULL, test_reserve);
  ADD ("full/settled", NULL, test_settled);
  ADD ("forgotten", NULL, test_forgotten);
  return g_test_run ();
}
