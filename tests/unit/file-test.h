/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the tests of the provider `file` share. */

#pragma once

#include "evbus-test.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <sys/file.h>

typedef struct {
  char        *folder;
  char        *path;
  EvbusBroker *broker;
  EvbusRoute  *route;
} Fixture;

static inline void
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

static inline void
stop (Fixture *fixture)
{
  if (fixture->broker != NULL)
    evbus_test_stop (fixture->broker);
  g_clear_object (&fixture->route);
  g_clear_object (&fixture->broker);
}

/* @data: options to start with, or NULL: the test starts the broker. */
static inline void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->folder = g_dir_make_tmp ("evbus-file-XXXXXX", NULL);
  g_assert_nonnull (fixture->folder);
  fixture->path = g_build_filename (fixture->folder, "events.jsonl", NULL);
  if (data != NULL)
    start (fixture, data);
}

static inline void
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
static inline char *
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
static inline GPtrArray *
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

static inline void
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

static inline void
put_json (Fixture *fixture,
          guint    number)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  id = evbus_producer_put_nowait (EVBUS_PRODUCER (fixture->broker), "key",
                                  g_variant_new_uint32 (number), NULL, &error);
  g_assert_no_error (error);
}

static inline void
put_and_wait (Fixture *fixture,
              guint    number)
{
  guint64 before = evbus_test_figure (fixture->route, "delivered");

  put_json (fixture, number);
  evbus_test_wait_until (evbus_test_figure (fixture->route, "delivered") == before + 1);
}

static inline void
wait_reason (Fixture         *fixture,
             EvbusRouteState  state,
             const char      *pattern)
{
  g_autofree char *both = g_strdup_printf ("^(?=.*%s).*\\Q%s\\E", pattern, fixture->path);

  evbus_test_wait_status (fixture->route, state, both);
}

#define ADD(name, data, function) \
  g_test_add ("/file/" name, Fixture, data, set_up, function, tear_down)
