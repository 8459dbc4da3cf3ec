/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The provider `file`: lines, rotation, and files that go away. */

#include "file-test.h"

#include <string.h>
#include <sys/stat.h>

static char *
put_bytes (Fixture    *fixture,
           const char *key,
           const char *text,
           const char *content_type,
           const char *profile)
{
  g_autoptr(GBytes) bytes = g_bytes_new (text, strlen (text));
  g_autoptr(GError) error = NULL;
  char *id;

  id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), key, bytes,
                                        content_type, profile, &error);
  g_assert_no_error (error);
  return id;
}

static void
test_line (Fixture       *fixture,
           gconstpointer  data)
{
  g_autofree char *id = NULL;
  g_autofree char *text = NULL;
  g_autofree char *expected = NULL;
  g_autoptr(GPtrArray) lines = NULL;
  g_autoptr(GDateTime) time = NULL;
  GStatBuf st;

  id = put_bytes (fixture, "order.created", "{\"id\": 42}", "application/json", "orders");
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");

  lines = read_lines (fixture, "");
  g_assert_cmpuint (lines->len, ==, 1);
  time = g_date_time_new_from_iso8601 (json_object_get_string_member (lines->pdata[0], "time"), NULL);
  g_assert_nonnull (time);
  g_assert_cmpint (ABS (g_date_time_to_unix (time) - g_get_real_time () / G_USEC_PER_SEC), <, 60);
  text = read_text (fixture, "");
  expected = g_strdup_printf ("{\"id\":\"%s\",\"time\":\"%s\",\"routing_key\":\"order.created\","
                              "\"profile\":\"orders\",\"body\":{\"id\":42}}\n",
                              id, json_object_get_string_member (lines->pdata[0], "time"));
  g_assert_cmpstr (text, ==, expected);
  g_assert_true (g_regex_match_simple ("T\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z", expected, 0, 0));

  g_assert_cmpint (g_stat (fixture->path, &st), ==, 0);
  g_assert_cmpint (st.st_mode & 07777, ==, 0600);
}

static void
test_base64 (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GPtrArray) lines = NULL;
  JsonObject *line;
  gsize i;

  g_free (put_bytes (fixture, "k", "hello", "text/plain; charset=utf-8", NULL));
  g_free (put_bytes (fixture, "k", "", "application/octet-stream", NULL));
  g_free (put_bytes (fixture, "k", "[1]", "application/cloudevents+json", NULL));
  g_free (put_bytes (fixture, "k", "{}", "application/json; charset=utf-8", NULL));
  evbus_test_wait_ledger (fixture->route, "accepted=4 delivered=4");

  lines = read_lines (fixture, "");
  g_assert_cmpuint (lines->len, ==, 4);
  line = lines->pdata[0];
  g_assert_false (json_object_has_member (line, "body"));
  g_assert_cmpstr (json_object_get_string_member (line, "content_type"), ==, "text/plain; charset=utf-8");
  g_assert_cmpstr (json_object_get_string_member (line, "body_base64"), ==, "aGVsbG8=");
  g_assert_cmpstr (json_object_get_string_member (lines->pdata[1], "body_base64"), ==, "");
  for (i = 2; i < 4; i++)
    {
      g_assert_true (json_object_has_member (lines->pdata[i], "body"));
      g_assert_true (json_object_has_member (lines->pdata[i], "content_type"));
    }
}

static void
test_attributes (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *id = NULL;
  g_autoptr(GPtrArray) lines = NULL;
  JsonObject *attributes;
  GError *error = NULL;

  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_string ("x"), NULL,
                               "{'attributes': <{'a\"b': 'c\\nd', 'e': ''}>, 'id': <'my\"id\"'>}",
                               NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
  lines = read_lines (fixture, "");
  g_assert_cmpstr (json_object_get_string_member (lines->pdata[0], "id"), ==, "my\"id\"");
  attributes = json_object_get_object_member (lines->pdata[0], "attributes");
  g_assert_cmpstr (json_object_get_string_member (attributes, "a\"b"), ==, "c\nd");
  g_assert_cmpstr (json_object_get_string_member (attributes, "e"), ==, "");
}

static const char *forged[] = {
  "1}\n{\"id\":\"forged\"",
  "{\"a\":1}}\n{\"id\":\"forged\",\"body\":{}",
  "\"text\nwith a line break\"",
  "",
  "{\"a\":",
  "\xff\xfe",
  "1 2",
  "NaN",
};

/* Nothing that claims to be JSON can make a line of its own; the events
 * around it are written. What is plain "application/json" the broker refuses. */
static void
test_forged (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GPtrArray) lines = NULL;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (forged); i++)
    {
      g_free (put_bytes (fixture, "k", forged[i], "application/cloudevents+json", NULL));
      g_free (put_bytes (fixture, "k\"}\n{\"id\":\"forged\"}", "[1,\n\t2]", "application/json",
                         "p\"}\n{"));
    }
  evbus_test_wait_ledger (fixture->route, "accepted=16 delivered=8 dead=8");

  lines = read_lines (fixture, "");
  g_assert_cmpuint (lines->len, ==, 8);
  for (i = 0; i < lines->len; i++)
    {
      g_assert_cmpstr (json_object_get_string_member (lines->pdata[i], "routing_key"), ==,
                       "k\"}\n{\"id\":\"forged\"}");
      g_assert_cmpstr (json_object_get_string_member (lines->pdata[i], "profile"), ==, "p\"}\n{");
      g_assert_cmpuint (json_array_get_length (json_object_get_array_member (lines->pdata[i], "body")), ==, 2);
    }
}

static void
test_many (Fixture       *fixture,
           gconstpointer  data)
{
  guint i;

  for (i = 0; i < 2000; i++)
    put_json (fixture, i);
  evbus_test_wait_ledger (fixture->route, "accepted=2000 delivered=2000");
  assert_numbers (fixture, "", 0, 2000);
}

static void
test_appends (Fixture       *fixture,
              gconstpointer  data)
{
  start (fixture, NULL);
  put_and_wait (fixture, 0);
  stop (fixture);
  start (fixture, NULL);
  put_and_wait (fixture, 1);
  stop (fixture);
  assert_numbers (fixture, "", 0, 2);
}

static void
test_moved (Fixture       *fixture,
            gconstpointer  data)
{
  g_autofree char *other = g_strconcat (fixture->path, ".moved", NULL);

  put_and_wait (fixture, 0);
  g_assert_cmpint (g_rename (fixture->path, other), ==, 0);
  put_and_wait (fixture, 1);
  assert_numbers (fixture, ".moved", 0, 1);
  assert_numbers (fixture, "", 1, 1);

  g_assert_cmpint (g_remove (fixture->path), ==, 0);
  put_and_wait (fixture, 2);
  assert_numbers (fixture, "", 2, 1);

  g_assert_cmpint (g_rename (fixture->path, other), ==, 0);
  g_assert_true (g_file_set_contents (fixture->path, "", 0, NULL));
  put_and_wait (fixture, 3);
  assert_numbers (fixture, "", 3, 1);
}

static void
test_rotate_size (Fixture       *fixture,
                  gconstpointer  data)
{
  guint i;

  /* A line has about 130 bytes: two fit. */
  for (i = 0; i < 10; i++)
    put_and_wait (fixture, i);
  assert_numbers (fixture, "", 8, 2);
  assert_numbers (fixture, ".1", 6, 2);
  assert_numbers (fixture, ".2", 4, 2);
  assert_numbers (fixture, ".3", 2, 2);
  g_assert_null (read_lines (fixture, ".4"));
}

/* What a lower `keep` leaves over goes at the next rotation. */
static void
test_rotate_keep_less (Fixture       *fixture,
                       gconstpointer  data)
{
  guint i;

  for (i = 0; i < 10; i++)
    put_and_wait (fixture, i);
  assert_numbers (fixture, ".3", 2, 2);
  assert_numbers (fixture, ".4", 0, 2);
  stop (fixture);

  start (fixture, "'rotate_size': <300>, 'keep': <2>, ");
  put_and_wait (fixture, 10);
  assert_numbers (fixture, "", 10, 1);
  assert_numbers (fixture, ".1", 8, 2);
  assert_numbers (fixture, ".2", 6, 2);
  g_assert_null (read_lines (fixture, ".3"));
  g_assert_null (read_lines (fixture, ".4"));
}

/* The shift stops at a gap: what somebody took away is not made up for. */
static void
test_rotate_gap (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *first = g_strconcat (fixture->path, ".1", NULL);
  guint i;

  for (i = 0; i < 6; i++)
    put_and_wait (fixture, i);
  assert_numbers (fixture, ".2", 0, 2);
  g_assert_cmpint (g_remove (first), ==, 0);
  put_and_wait (fixture, 6);
  assert_numbers (fixture, ".1", 4, 2);
  assert_numbers (fixture, ".2", 0, 2);
}

static void
test_rotate_age (Fixture       *fixture,
                 gconstpointer  data)
{
  put_and_wait (fixture, 0);
  evbus_test_grow_older (200000);
  put_and_wait (fixture, 1);
  assert_numbers (fixture, ".1", 0, 1);
  assert_numbers (fixture, "", 1, 1);
}

/* Somebody keeps it locked: the route waits for that long, and no other. */
static void
test_locked (Fixture       *fixture,
             gconstpointer  data)
{
  int fd;

  put_and_wait (fixture, 0);
  fd = g_open (fixture->path, O_RDONLY, 0);
  g_assert_cmpint (flock (fd, LOCK_EX), ==, 0);
  put_json (fixture, 1);
  wait_reason (fixture, EVBUS_ROUTE_STATE_RETRYING, "locked");
  close (fd);
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
  assert_numbers (fixture, "", 0, 2);
}

static void
test_folder_missing (Fixture       *fixture,
                     gconstpointer  data)
{
  g_free (fixture->path);
  fixture->path = g_build_filename (fixture->folder, "sub", "events.jsonl", NULL);
  start (fixture, NULL);
  put_json (fixture, 1);
  wait_reason (fixture, EVBUS_ROUTE_STATE_BROKEN, "folder must exist");
  evbus_test_assert_ledger (fixture->route, "accepted=1 queued=1");
  evbus_test_stop_leaving (fixture->broker);
  g_clear_object (&fixture->broker);
}

static void
test_not_a_file (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *target = g_build_filename (fixture->folder, "target", NULL);
  guint i;

  for (i = 0; i < 3; i++)
    {
      static const char *patterns[] = { "name a file in that folder", "regular file", "symbolic link" };

      if (i == 0)
        g_assert_cmpint (g_mkdir (fixture->path, 0700), ==, 0);
      else if (i == 1)
        g_assert_cmpint (mkfifo (fixture->path, 0600), ==, 0);
      else
        g_assert_cmpint (symlink (target, fixture->path), ==, 0);
      start (fixture, NULL);
      wait_reason (fixture, EVBUS_ROUTE_STATE_BROKEN, patterns[i]);
      stop (fixture);
      g_assert_false (g_file_test (target, G_FILE_TEST_EXISTS));
      g_assert_cmpint (g_remove (fixture->path), ==, 0);
    }
}

int
main (int   argc,
      char *argv[])
{
  evbus_test_init (&argc, &argv);

  ADD ("line", "", test_line);
  ADD ("base64", "", test_base64);
  ADD ("attributes", "", test_attributes);
  ADD ("forged", "", test_forged);
  ADD ("many", "", test_many);
  ADD ("many-synced", "'sync': <'batch'>, ", test_many);
  ADD ("appends", NULL, test_appends);
  ADD ("moved", "", test_moved);
  ADD ("moved-synced", "'sync': <'batch'>, ", test_moved);
  ADD ("rotate-size", "'rotate_size': <300>, 'keep': <3>, ", test_rotate_size);
  ADD ("rotate-keep-less", "'rotate_size': <300>, 'keep': <4>, ", test_rotate_keep_less);
  ADD ("rotate-gap", "'rotate_size': <300>, 'keep': <3>, ", test_rotate_gap);
  ADD ("rotate-age", "'rotate_age': <'100ms'>, ", test_rotate_age);
  ADD ("locked", "", test_locked);
  ADD ("folder-missing", NULL, test_folder_missing);
  ADD ("not-a-file", NULL, test_not_a_file);

  return g_test_run ();
}
