/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The provider `file`: lines, repair, rotation, and files that go away. */

#include "evbus-test.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>

typedef struct {
  char        *folder;
  char        *path;
  EvbusBroker *broker;
  EvbusRoute  *route;
} Fixture;

static void
start (Fixture    *fixture,
       const char *options)
{
  g_autofree char *data = g_strdup_printf ("{'path': <'%s'>, %s"
                                           "'delivery': <{'timeout': <'500ms'>,"
                                           " 'retry': <{'min': <'5ms'>, 'max': <'20ms'>}>}>}",
                                           fixture->path, options != NULL ? options : "");

  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_route (fixture->broker, "file", "*", data);
  evbus_test_start (fixture->broker);
}

static void
stop (Fixture *fixture)
{
  if (fixture->broker != NULL)
    evbus_test_stop (fixture->broker);
  g_clear_object (&fixture->route);
  g_clear_object (&fixture->broker);
}

/* @data: options to start with, or NULL: the test starts the broker. */
static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->folder = g_dir_make_tmp ("evbus-file-XXXXXX", NULL);
  g_assert_nonnull (fixture->folder);
  fixture->path = g_build_filename (fixture->folder, "events.jsonl", NULL);
  if (data != NULL)
    start (fixture, data);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GDir) dir = NULL;
  const char *name;

  stop (fixture);
  dir = g_dir_open (fixture->folder, 0, NULL);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (fixture->folder, name, NULL);
      g_remove (path);
    }
  g_rmdir (fixture->folder);
  g_free (fixture->folder);
  g_free (fixture->path);
}

/* Under the lock that the plugin writes under: a batch that does not fit stands
 * there in part until it is cut off again. */
static char *
read_text (Fixture    *fixture,
           const char *suffix)
{
  g_autofree char *path = g_strconcat (fixture->path, suffix, NULL);
  char *text = NULL;
  int fd = open (path, O_RDONLY | O_CLOEXEC);

  if (fd < 0)
    return NULL;
  g_assert_cmpint (flock (fd, LOCK_SH), ==, 0);
  g_file_get_contents (path, &text, NULL, NULL);
  g_assert_true (g_close (fd, NULL));
  return text;
}

/* The lines of a file, each parsed; NULL if there is no file. Every line of it
 * is a whole one. */
static GPtrArray *
read_lines (Fixture    *fixture,
            const char *suffix)
{
  g_autofree char *text = read_text (fixture, suffix);
  g_auto(GStrv) words = NULL;
  GPtrArray *lines;

  if (text == NULL)
    return NULL;

  g_assert_true (text[0] == '\0' || g_str_has_suffix (text, "\n"));
  lines = g_ptr_array_new_with_free_func ((GDestroyNotify) json_object_unref);
  words = g_strsplit (text, "\n", -1);
  for (guint i = 0; words[i] != NULL && words[i][0] != '\0'; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autoptr(JsonNode) node = json_from_string (words[i], &error);

      g_assert_no_error (error);
      g_assert_true (JSON_NODE_HOLDS_OBJECT (node));
      g_ptr_array_add (lines, json_node_dup_object (node));
    }

  return lines;
}

static void
assert_numbers (Fixture    *fixture,
                const char *suffix,
                guint       first,
                guint       n)
{
  g_autoptr(GPtrArray) lines = read_lines (fixture, suffix);
  guint i;

  g_assert_nonnull (lines);
  g_assert_cmpuint (lines->len, ==, n);
  for (i = 0; i < n; i++)
    g_assert_cmpint (json_object_get_int_member (lines->pdata[i], "body"), ==, first + i);
}

static void
put_json (Fixture *fixture,
          guint    number)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  id = evbus_producer_put_nowait (EVBUS_PRODUCER (fixture->broker), "key",
                                  g_variant_new_uint32 (number), NULL, &error);
  g_assert_no_error (error);
}

static void
put_and_wait (Fixture *fixture,
              guint    number)
{
  guint64 before = evbus_test_figure (fixture->route, "delivered");

  put_json (fixture, number);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "delivered") == before + 1);
}

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
test_torn (Fixture       *fixture,
           gconstpointer  data)
{
  for (guint i = 0; i < G_N_ELEMENTS (torn); i++)
    {
      g_autofree char *text = NULL;

      g_test_message ("%s", torn[i].name);
      g_assert_true (g_file_set_contents (fixture->path, torn[i].before, torn[i].size, NULL));
      start (fixture, NULL);
      put_and_wait (fixture, 1);
      stop (fixture);
      text = read_text (fixture, "");
      g_assert_true (g_str_has_prefix (text, torn[i].after));
      g_assert_true (g_str_has_prefix (text + strlen (torn[i].after), "{\"id\":\"0"));
      g_assert_true (g_str_has_suffix (text, "\"body\":1}\n"));
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
  gint64 begin;

  put_and_wait (fixture, 0);
  begin = g_get_monotonic_time ();
  evbus_test_wait_until (g_get_monotonic_time () > begin + 200000);
  put_and_wait (fixture, 1);
  assert_numbers (fixture, ".1", 0, 1);
  assert_numbers (fixture, "", 1, 1);
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

static void
wait_reason (Fixture         *fixture,
             EvbusRouteState  state,
             const char      *pattern)
{
  g_autofree char *reason = NULL;

  evbus_test_wait_until (evbus_route_get_state (fixture->route) == state);
  reason = evbus_route_dup_reason (fixture->route);
  evbus_test_assert_says (reason, pattern);
  g_assert_nonnull (strstr (reason, fixture->path));
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

#define ADD(name, data, function) \
  g_test_add ("/file/" name, Fixture, data, set_up, function, tear_down)

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
  ADD ("torn", NULL, test_torn);
  ADD ("torn-long", NULL, test_torn_long);
  ADD ("moved", "", test_moved);
  ADD ("moved-synced", "'sync': <'batch'>, ", test_moved);
  ADD ("rotate-size", "'rotate_size': <300>, 'keep': <3>, ", test_rotate_size);
  ADD ("rotate-gap", "'rotate_size': <300>, 'keep': <3>, ", test_rotate_gap);
  ADD ("rotate-age", "'rotate_age': <'100ms'>, ", test_rotate_age);
  ADD ("two-routes", NULL, test_two_routes);
  ADD ("no-space", "", test_no_space);
  ADD ("locked", "", test_locked);
  ADD ("folder-missing", NULL, test_folder_missing);
  ADD ("not-a-file", NULL, test_not_a_file);

  return g_test_run ();
}
