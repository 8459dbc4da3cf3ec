/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A start that has much to read before it can go on says so, and can be ended: all that
 * was stored is there as before. */

#include <sqlite3.h>

#include "spool-test.h"

typedef struct {
  GCancellable *cancellable;
  guint         n_said;
} Waiting;

static void
on_progress (const char *what,
             gpointer    data)
{
  Waiting *waiting = data;

  g_assert_nonnull (strstr (what, "log"));
  waiting->n_said++;
  if (waiting->cancellable != NULL)
    g_cancellable_cancel (waiting->cancellable);
}

static void
assert_same (const char *path,
             const char *other)
{
  g_autofree char *data = NULL, *other_data = NULL;
  gsize size, other_size;

  g_assert_true (g_file_get_contents (path, &data, &size, NULL));
  g_assert_true (g_file_get_contents (other, &other_data, &other_size, NULL));
  g_assert_cmpmem (data, size, other_data, other_size);
}

static void
copy (const char *from,
      const char *to)
{
  g_autofree char *data = NULL;
  g_autoptr(GError) error = NULL;
  gsize size;

  g_file_get_contents (from, &data, &size, &error);
  g_assert_no_error (error);
  g_assert_true (g_file_set_contents (to, data, size, NULL));
}

/* The spool of @directory cannot be opened by one who does not want to wait, and then by
 * one who does. */
static EvbusSpool *
check (const char *directory)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  Waiting hasty = { cancellable }, patient = { NULL };
  const EvbusSpoolOpening hastily = { cancellable, on_progress, &hasty };
  const EvbusSpoolOpening patiently = { NULL, on_progress, &patient };
  g_autofree char *path = g_build_filename (directory, "spool.db", NULL);
  g_autofree char *before = g_strconcat (directory, ".before", NULL);
  g_autoptr(GError) error = NULL;
  EvbusSpool *spool;

  copy (path, before);
  g_assert_null (evbus_spool_open_with (directory, &hastily, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_assert_cmpuint (hasty.n_said, ==, 1);
  assert_same (path, before);
  g_clear_error (&error);
  g_assert_cmpint (g_unlink (before), ==, 0);

  spool = evbus_spool_open_with (directory, &patiently, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (patient.n_said, >, 0);
  return spool;
}

static void
test_log (void)
{
  Fixture fixture = { 0 }, crashed = { 0 };
  EvbusSpoolRoute *route;
  EvbusLedger ledger;
  static const char *const endings[] = { "", "-wal" };

  spool_test_set_up (&fixture, NULL);
  crashed.directory = g_dir_make_tmp ("evbus-crashed-XXXXXX", NULL);
  route = evbus_spool_adopt_route (fixture.spool, "route");
  spool_test_append (fixture.spool, &route, 1, 1, 100, 100000, NULL);
  g_assert_true (evbus_spool_commit (fixture.spool, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (endings); i++)
    {
      g_autofree char *from = g_strconcat (fixture.directory, "/spool.db", endings[i], NULL);
      g_autofree char *to = g_strconcat (crashed.directory, "/spool.db", endings[i], NULL);

      copy (from, to);
    }

  crashed.spool = check (crashed.directory);
  g_assert_cmpint (evbus_spool_get_condition (crashed.spool, NULL), ==, EVBUS_SPOOL_CONDITION_INTACT);
  evbus_spool_route_get_ledger (spool_test_get_route (crashed.spool, 0), &ledger, NULL);
  g_assert_cmpuint (ledger.queued, ==, 100);
  spool_test_tear_down (&crashed, NULL);
  spool_test_tear_down (&fixture, NULL);
}

/* Of format 1, with many dead letters, which are weighed. */
static void
make_old (const char *path)
{
  static const char more[] =
    "INSERT INTO dead (route_id, record) SELECT route_id, record FROM dead, "
    "(WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n)";
  g_autofree char *fixture = g_test_build_filename (G_TEST_DIST, "unit", "spool-fixtures", "format-1.db", NULL);
  sqlite3 *db = NULL;

  copy (fixture, path);
  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, more, NULL, NULL, NULL), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_close (db), ==, SQLITE_OK);
}

static void
test_migration (void)
{
  Fixture fixture = { 0 };
  g_autofree char *path = NULL;

  fixture.directory = g_dir_make_tmp ("evbus-old-XXXXXX", NULL);
  path = g_build_filename (fixture.directory, "spool.db", NULL);
  make_old (path);
  fixture.spool = check (fixture.directory);
  g_assert_cmpint (evbus_spool_get_condition (fixture.spool, NULL), ==, EVBUS_SPOOL_CONDITION_MIGRATED);
  spool_test_tear_down (&fixture, NULL);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/spool/patience/log", test_log);
  g_test_add_func ("/spool/patience/migration", test_migration);
  return g_test_run ();
}
