/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An orphan is given a name: it has that, or the one before, whatever happens to the disk. */

#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include "spool-test.h"

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
      Fixture cut = { .directory = g_dir_make_tmp ("evbus-name-XXXXXX", NULL) };
      const char *key;

      save (cut.directory, "spool.db", db, db_size);
      save (cut.directory, "spool.db-wal", after, size);
      spool_test_open (&cut);
      key = check (&cut);
      g_assert_true (g_str_equal (key, OLD) || g_str_equal (key, NEW));
      n_old += g_str_equal (key, OLD);
      n_new += g_str_equal (key, NEW);
      evbus_spool_unref (cut.spool);
      spool_test_remove (cut.directory);
      g_free (cut.directory);
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

/* Then it is refused, and nothing has changed. */
static void
test_full (Fixture       *fixture,
           gconstpointer  data)
{
  EvbusSpoolRoute *orphan = fill (fixture);
  g_autoptr(GError) error = NULL;
  struct rlimit old, none;

  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &old), ==, 0);
  none = old;
  none.rlim_cur = PAGE;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &none), ==, 0);
  g_assert_false (evbus_spool_name_orphan (fixture->spool, orphan, NEW, &error));
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &old), ==, 0);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL);
  g_assert_cmpstr (check (fixture), ==, OLD);
  spool_test_reopen (fixture);
  g_assert_cmpstr (check (fixture), ==, OLD);
  name (fixture, spool_test_get_route (fixture->spool, 0));
}

/* What is forgotten in the meantime gets none. */
static void
test_forgotten (Fixture       *fixture,
                gconstpointer  data)
{
  EvbusSpoolRoute *orphan = fill (fixture);
  g_autoptr(GError) error = NULL;

  evbus_spool_forget_route (fixture->spool, orphan, &error);
  g_assert_no_error (error);
  g_assert_false (evbus_spool_name_orphan (fixture->spool, orphan, NEW, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
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
  ADD ("forgotten", NULL, test_forgotten);
  return g_test_run ();
}
