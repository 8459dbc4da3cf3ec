/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The provider `file`: every line of the file is a whole one, whatever a crash, a full
 * disk or another writer has left there. */

#include "file-test.h"

#include <string.h>
#include <sys/resource.h>

static const struct {
  const char *name;
  const char *before;
  gsize       size;
  const char *after;
} torn[] = {
  { "line", "{\"id\":\"x\",\"body\":0}\n{\"id\":\"y\",\"bo", 32, "{\"id\":\"x\",\"body\":0}\n" },
  { "only-line", "{\"id\":\"y\",\"bo", 13, "" },
  { "beginning", "{\"id\":\"x\",\"body\":0}\n{", 21, "{\"id\":\"x\",\"body\":0}\n" },
  { "zeros", "{\"id\":\"x\",\"body\":0}\n\0\0\0\0", 24, "{\"id\":\"x\",\"body\":0}\n" },
  { "foreign", "a line\nof somebody else", 23, "a line\nof somebody else\n" },
  { "whole-but-the-end", "{\"id\":7}", 8, "{\"id\":7}\n" },
  { "whole-after-another", "1\n{\"id\":7,\"a\":{}}", 17, "1\n{\"id\":7,\"a\":{}}\n" },
  { "torn-after-a-brace", "1\n{\"id\":7,\"a\":{}", 16, "1\n" },
  { "whole", "{\"id\":\"x\",\"body\":0}\n", 20, "{\"id\":\"x\",\"body\":0}\n" },
};

static void
assert_repaired (Fixture    *fixture,
                 const char *after,
                 guint       n)
{
  g_autofree char *text = read_text (fixture, "");
  const char *line = text + strlen (after);

  g_assert_true (g_str_has_prefix (text, after));
  for (guint i = 0; i < n; i++)
    {
      g_assert_true (g_str_has_prefix (line, "{\"id\":\"0"));
      line = strchr (line, '\n') + 1;
      g_assert_true (g_str_has_prefix (line - strlen ("\"body\":1}\n"), "\"body\":1}\n"));
    }
  g_assert_cmpstr (line, ==, "");
}

static void
test_torn (Fixture       *fixture,
           gconstpointer  data)
{
  for (guint i = 0; i < G_N_ELEMENTS (torn); i++)
    {
      g_test_message ("%s", torn[i].name);
      g_assert_true (g_file_set_contents (fixture->path, torn[i].before, torn[i].size, NULL));
      start (fixture, NULL);
      put_and_wait (fixture, 1);
      stop (fixture);
      assert_repaired (fixture, torn[i].after, 1);
    }
}

/* Another writer tears its line while the routes have the file open. */
static void
test_torn_open (Fixture       *fixture,
                gconstpointer  data)
{
  g_autofree char *path = g_strdup_printf ("{'path': <'%s'>}", fixture->path);
  g_autoptr(EvbusRoute) second = evbus_test_add_route (fixture->broker, "file", "*", path);

  evbus_test_wait_until (evbus_route_get_state (fixture->route) == EVBUS_ROUTE_STATE_RUNNING &&
                         evbus_route_get_state (second) == EVBUS_ROUTE_STATE_RUNNING);
  for (guint i = 0; i < G_N_ELEMENTS (torn); i++)
    {
      int fd = g_open (fixture->path, O_WRONLY | O_TRUNC | O_APPEND | O_CLOEXEC, 0);

      g_test_message ("%s", torn[i].name);
      g_assert_cmpint (write (fd, torn[i].before, torn[i].size), ==, torn[i].size);
      g_assert_true (g_close (fd, NULL));
      put_and_wait (fixture, 1);
      evbus_test_wait_until (evbus_test_figure (second, "delivered") == i + 1);
      assert_repaired (fixture, torn[i].after, 2);
    }
}

/* Longer than what is read at once. */
static void
test_torn_long (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GString) text = g_string_new ("{\"id\":\"x\",\"body\":0}\n{\"id\":\"");

  for (gsize i = 0; i < 100000; i++)
    g_string_append_c (text, 'y');
  g_assert_true (g_file_set_contents (fixture->path, text->str, text->len, NULL));
  start (fixture, NULL);
  put_and_wait (fixture, 1);
  assert_numbers (fixture, "", 0, 2);
}

/* Two routes, one file, rotating under each other: every line is whole, and
 * each event stands once. */
static void
test_two_routes (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *options = g_strdup_printf ("{'path': <'%s'>, 'rotate_size': <20000>, 'keep': <500>}",
                                              fixture->path);
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) one = evbus_test_add_route (broker, "file", "*", options);
  g_autoptr(EvbusRoute) two = evbus_test_add_route (broker, "file", "*", options);
  guint total = 0;
  guint i;

  evbus_test_start (broker);
  for (i = 0; i < 2000; i++)
    g_free (evbus_test_put (broker, "k", "1", NULL));
  evbus_test_wait_ledger (one, "accepted=2000 delivered=2000");
  evbus_test_wait_ledger (two, "accepted=2000 delivered=2000");
  evbus_test_stop (broker);

  for (i = 0; i <= 500; i++)
    {
      g_autofree char *suffix = i > 0 ? g_strdup_printf (".%u", i) : g_strdup ("");
      g_autoptr(GPtrArray) lines = read_lines (fixture, suffix);

      if (lines == NULL)
        break;
      total += lines->len;
    }
  g_assert_cmpuint (total, ==, 4000);
}

/* As on a full disk: half of the batch can be written. It is cut off again,
 * and once there is room all of it comes, once. */
static void
test_no_space (Fixture       *fixture,
               gconstpointer  data)
{
  struct rlimit before;
  struct rlimit limit;
  guint i;

  put_and_wait (fixture, 0);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  limit = before;
  limit.rlim_cur = 1000;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &limit), ==, 0);
  for (i = 1; i < 20; i++)
    put_json (fixture, i);
  wait_reason (fixture, EVBUS_ROUTE_STATE_RETRYING, "append.*file too large");
  evbus_test_wait_until (evbus_test_figure (fixture->route, "retried") >= 3);
  g_clear_pointer ((GPtrArray **) &(GPtrArray *) { read_lines (fixture, "") }, g_ptr_array_unref);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  evbus_test_wait_ledger (fixture->route, "accepted=20 delivered=20");
  assert_numbers (fixture, "", 0, 20);
}

int
main (int   argc,
      char *argv[])
{
  evbus_test_init (&argc, &argv);

  ADD ("torn", NULL, test_torn);
  ADD ("torn-open", "", test_torn_open);
  ADD ("torn-long", NULL, test_torn_long);
  ADD ("two-routes", NULL, test_two_routes);
  ADD ("no-space", "", test_no_space);

  return g_test_run ();
}
