/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A backlog that cannot be read to its end. */

#include "durable-test.h"

#include <sqlite3.h>
#include <string.h>

#define PAGE 4096
#define BODY 9000       /* goes on in two pages more */
#define N_EVENTS 6
#define N_SOUND 3       /* before the one whose record is no record; the next one cannot be read at all */

static char *
make_body (guint number)
{
  GString *body = g_string_new (NULL);

  while (body->len < BODY)
    g_string_append_printf (body, "%04u,", number);
  return g_string_free (body, FALSE);
}

static void
put (Fixture *fixture,
     guint    number)
{
  g_autofree char *body = make_body (number);
  g_autofree char *id = NULL;
  g_autoptr(GError) error = NULL;

  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_bytestring (body), NULL,
                               "{'content-type': <'text/plain'>}", NULL, &error);
  g_assert_no_error (error);
}

static void
spoil_record (const char *path)
{
  sqlite3 *db;

  g_assert_cmpint (sqlite3_open (path, &db), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_exec (db, "UPDATE event SET record = zeroblob (length (record)) WHERE place = "
                                     "(SELECT place FROM event WHERE substr (record, 1, 4) = x'45565231' "
                                     "ORDER BY place LIMIT 1 OFFSET " G_STRINGIFY (N_SOUND) ")",
                                 NULL, NULL, NULL), ==, SQLITE_OK);
  g_assert_cmpint (sqlite3_changes (db), ==, 1);
  sqlite3_close (db);
}

/* A page of that body names a next one that is not there. */
static void
spoil_chain (const char *path,
             guint       number)
{
  g_autofree char *text = g_strdup_printf ("%04u,%04u,", number, number);
  g_autofree char *data = NULL;
  g_autoptr(GError) error = NULL;
  gsize size;
  guint n = 0;

  g_file_get_contents (path, &data, &size, &error);
  g_assert_no_error (error);
  for (gsize at = PAGE; at < size; at += PAGE)
    {
      static const char none[4];
      char *page = data + at;

      if (page[0] == 0 && memcmp (page, none, sizeof none) != 0 && memmem (page + 4, 16, text, 9) != NULL)
        {
          memset (page, 0x7f, sizeof none);
          n++;
        }
    }
  g_assert_cmpuint (n, ==, 1);
  g_file_set_contents (path, data, size, &error);
  g_assert_no_error (error);
}

/* The read that finds a damaged record, and then cannot go on, is not the last one. */
static void
test_unreadable (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);

  evbus_test_hook_hold (fixture->hook);
  for (guint i = 0; i < N_EVENTS; i++)
    put (fixture, i);
  durable_end (fixture);
  spoil_record (path);
  spoil_chain (path, N_SOUND + 1);

  evbus_test_hook_release (fixture->hook);
  durable_begin (fixture, data);
  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_BROKEN);
  g_assert_cmpuint (evbus_test_hook_length (fixture->hook), ==, N_SOUND);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), ==, N_SOUND);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "dropped"), ==, 1);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);
  g_test_add ("/durable-damage/unreadable", Fixture, "{'window': <{'events': <2>}>, 'batch': <{'events': <1>}>}",
              durable_set_up, test_unreadable, durable_tear_down);
  return g_test_run ();
}
