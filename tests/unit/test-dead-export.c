/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters of a broker, written as lines of JSON. */

#include "dead-test.h"

#include <json-glib/json-glib.h>
#include <string.h>
#include <sys/socket.h>

static gboolean
export_to (Fixture        *fixture,
           const char     *route,
           const gint64   *numbers,
           guint           n_numbers,
           GOutputStream  *stream,
           Progress       *progress,
           guint64        *n_exported,
           GError        **error)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_export_dead_async (fixture->broker, route, numbers, n_numbers, stream,
                                  progress != NULL ? on_progress : NULL, progress, NULL,
                                  NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  return evbus_broker_export_dead_finish (fixture->broker, result, n_exported, error);
}

/* The lines, without their ends; as many as there were counted. */
static char **
export_lines (Fixture       *fixture,
              const char    *route,
              const gint64  *numbers,
              guint          n_numbers,
              Progress      *progress,
              GError       **error)
{
  g_autoptr(GOutputStream) stream = g_memory_output_stream_new_resizable ();
  g_autoptr(GBytes) bytes = NULL;
  g_autofree char *text = NULL;
  guint64 n_exported = 0;
  gsize size;
  char **lines;

  export_to (fixture, route, numbers, n_numbers, stream, progress, &n_exported, error);
  g_assert_false (g_output_stream_is_closed (stream));
  g_output_stream_close (stream, NULL, NULL);
  bytes = g_memory_output_stream_steal_as_bytes (G_MEMORY_OUTPUT_STREAM (stream));
  size = g_bytes_get_size (bytes);
  text = g_strndup (size > 0 ? g_bytes_get_data (bytes, NULL) : "", size);
  g_assert_cmpuint (strlen (text), ==, size);
  g_assert_true (*text == '\0' || g_str_has_suffix (text, "}\n"));
  lines = g_strsplit (text, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, *text == '\0' ? 0 : n_exported + 1);
  return lines;
}

static void
assert_number (const char *line,
               gint64      number)
{
  g_autoptr(JsonNode) node = json_from_string (line, NULL);

  g_assert_nonnull (node);
  g_assert_cmpint (json_object_get_int_member (json_node_get_object (node), "number"), ==, number);
}

static char *
format_time (gint64 when)
{
  g_autoptr(GDateTime) second = g_date_time_new_from_unix_utc (when / G_USEC_PER_SEC);
  g_autofree char *text = g_date_time_format (second, "%Y-%m-%dT%H:%M:%S");

  return g_strdup_printf ("%s.%06dZ", text, (int) (when % G_USEC_PER_SEC));
}

#define BYTES(literal) literal, sizeof literal - 1

static const struct {
  const char *key;
  const char *type;
  const char *bytes;
  gsize       size;
  const char *said;     /* what the line says between profile and number */
} bodies[] = {
  { "json", "application/json", BYTES ("{ \"a\": [1, 2.50, \"\\u00e9\\n\"] }"), "\"body\":{\"a\":[1,2.50,\"\\u00e9\\n\"]}" },
  { "type", "application/vnd.x+json; v=1", BYTES ("[1 ]"), "\"content_type\":\"application/vnd.x+json; v=1\",\"body\":[1]" },
  { "liar", "application/vnd.x+json", BYTES ("[1\n"), "\"content_type\":\"application/vnd.x+json\",\"body_base64\":\"WzEK\"" },
  { "te\"xt\n", "text/plain", BYTES ("a\n"), "\"content_type\":\"text/plain\",\"body_base64\":\"YQo=\"" },
  { "bytes", "application/octet-stream", BYTES ("\0\xff\n\""),
    "\"content_type\":\"application/octet-stream\",\"body_base64\":\"AP8KIg==\"" },
  { "empty", "text/plain", BYTES (""), "\"content_type\":\"text/plain\",\"body_base64\":\"\"" },
};

/* What the line of a letter has to be. */
static char *
expect_line (EvbusDeadLetter *letter,
             const char      *key,
             const char      *said)
{
  EvbusEvent *event = evbus_dead_letter_get_event (letter);
  g_autofree char *put = format_time (evbus_event_get_time (event));
  g_autofree char *died = format_time (evbus_dead_letter_get_time (letter));

  return g_strdup_printf ("{\"id\":\"%s\",\"time\":\"%s\",\"routing_key\":\"%s\",\"profile\":\"sick\",%s,"
                          "\"number\":%" G_GINT64_FORMAT ",\"route\":\"hook 'sick'\","
                          "\"reason\":\"it is not what was asked for\",\"died\":\"%s\"}",
                          evbus_event_get_id (event), put, key, said, evbus_dead_letter_get_number (letter), died);
}

static void
test_bodies (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) letters = NULL;
  g_auto(GStrv) lines = NULL;
  g_autofree char *last = NULL;
  g_autofree char *id = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bodies); i++)
    {
      g_autoptr(GBytes) body = g_bytes_new_static (bodies[i].bytes, bodies[i].size);

      g_free (evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), bodies[i].key, body,
                                               bodies[i].type, "sick", &error));
      g_assert_no_error (error);
    }
  id = evbus_test_put_options (fixture->broker, "more", g_variant_new_int32 (7), "sick",
                               "{'attributes': <{'trace\"': 'a\\n'}>}", NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_until (count_letters (fixture) == G_N_ELEMENTS (bodies) + 1);

  letters = list (fixture, NULL, 0, 100, &error);
  lines = export_lines (fixture, NULL, NULL, 0, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_strv_length (lines), ==, letters->len + 1);
  for (guint i = 0; i < G_N_ELEMENTS (bodies); i++)
    {
      g_autofree char *key = g_strescape (bodies[i].key, NULL);
      g_autofree char *expected = expect_line (letters->pdata[i], key, bodies[i].said);

      g_assert_cmpstr (lines[i], ==, expected);
    }
  last = expect_line (letters->pdata[letters->len - 1], "more", "\"attributes\":{\"trace\\\"\":\"a\\n\"},\"body\":7");
  g_assert_cmpstr (lines[letters->len - 1], ==, last);
  evbus_test_assert_ledger (fixture->route, "accepted=7 dead=7");
}

/* More than a page of them, all and some; they stay as they are. */
static void
test_selection (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GPtrArray) letters = NULL;
  g_auto(GStrv) lines = NULL;
  Progress progress = { 0 };
  gint64 some[3];

  die (fixture, 0, 600);
  letters = list (fixture, NULL, 0, 600, &error);
  for (guint i = 0; i < 2; i++)
    {
      progress = (Progress) { 0 };
      g_clear_pointer (&lines, g_strfreev);
      lines = export_lines (fixture, i == 0 ? NULL : ROUTE, NULL, 0, &progress, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (g_strv_length (lines), ==, 601);
      for (guint j = 0; j < 600; j++)
        assert_number (lines[j], evbus_dead_letter_get_number (letters->pdata[j]));
      g_assert_cmpuint (progress.n_calls, >=, 2);
      g_assert_cmpint (progress.done, ==, 600);
      g_assert_cmpint (progress.total, ==, 600);
    }

  some[0] = evbus_dead_letter_get_number (letters->pdata[500]);
  some[1] = evbus_dead_letter_get_number (letters->pdata[599]) + 1;
  some[2] = evbus_dead_letter_get_number (letters->pdata[3]);
  g_clear_pointer (&lines, g_strfreev);
  lines = export_lines (fixture, NULL, some, 3, NULL, &error);
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "no dead letter");
  g_clear_error (&error);
  g_assert_cmpuint (g_strv_length (lines), ==, 3);
  assert_number (lines[0], some[0]);
  assert_number (lines[1], some[2]);

  g_clear_pointer (&lines, g_strfreev);
  lines = export_lines (fixture, "hook 'well'", some, 1, NULL, &error);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
  g_clear_error (&error);
  g_assert_cmpuint (g_strv_length (lines), ==, 0);
  g_clear_pointer (&lines, g_strfreev);
  lines = export_lines (fixture, "hook 'nobody'", NULL, 0, NULL, &error);
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "no route \"hook 'nobody'\"");

  g_assert_cmpuint (count_letters (fixture), ==, 600);
  evbus_test_assert_ledger (fixture->route, "accepted=600 dead=600");
}

/* A stream that can be held up, and has room for so many bytes. */
typedef struct {
  GOutputStream parent_instance;
  GMutex lock;
  GCond changed;
  gboolean held;
  gboolean waits;
  gsize room;
  GString *text;
} Gate;

typedef GOutputStreamClass GateClass;

static GType gate_get_type (void);
G_DEFINE_TYPE (Gate, gate, G_TYPE_OUTPUT_STREAM)

static gssize
gate_write (GOutputStream  *stream,
            const void     *buffer,
            gsize           count,
            GCancellable   *cancellable,
            GError        **error)
{
  Gate *self = (Gate *) stream;
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  while (self->held)
    {
      self->waits = TRUE;
      g_cond_wait (&self->changed, &self->lock);
    }
  if (self->room == 0)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "no room");
      return -1;
    }
  count = MIN (count, self->room);
  self->room -= count;
  g_string_append_len (self->text, buffer, count);
  return count;
}

static void
gate_finalize (GObject *object)
{
  Gate *self = (Gate *) object;

  g_string_free (self->text, TRUE);
  g_cond_clear (&self->changed);
  g_mutex_clear (&self->lock);
  G_OBJECT_CLASS (gate_parent_class)->finalize (object);
}

static void
gate_class_init (GateClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = gate_finalize;
  G_OUTPUT_STREAM_CLASS (klass)->write_fn = gate_write;
}

static void
gate_init (Gate *self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->changed);
  self->room = G_MAXSIZE;
  self->text = g_string_new (NULL);
}

static void
gate_set_held (Gate     *self,
               gboolean  held)
{
  g_mutex_lock (&self->lock);
  self->held = held;
  g_cond_signal (&self->changed);
  g_mutex_unlock (&self->lock);
}

static gboolean
gate_waits (Gate *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return self->waits;
}

static guint
count_lines (const char *text)
{
  guint n = 0;

  for (; (text = strchr (text, '\n')) != NULL; text++)
    n++;
  return n;
}

/* Some that do not fit into a pipe together. */
static void
die_large (Fixture *fixture,
           guint    n)
{
  g_autofree char *body = g_strnfill (30000, 'x');

  for (guint i = 0; i < n; i++)
    g_free (evbus_test_put (fixture->broker, "k", body, "sick"));
  evbus_test_wait_until (count_letters (fixture) == n);
}

/* A stream that takes nothing holds up nothing: no delivery, no letter that dies, which is not exported
 * then, and no work on others, as on one that is not read yet. Then it goes on. */
static void
test_blocked (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GOutputStream) stream = g_object_new (gate_get_type (), NULL);
  Gate *gate = (Gate *) stream;
  guint64 n_exported;
  gint64 number;

  die (fixture, 0, 300);
  number = number_of (fixture, 299);
  gate_set_held (gate, TRUE);
  evbus_broker_export_dead_async (fixture->broker, NULL, NULL, 0, stream, NULL, NULL, NULL,
                                  NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (gate_waits (gate));

  evbus_test_put_numbers (fixture->broker, "well", 0, 10);
  assert_taken (fixture->well, 0, 10);
  die (fixture, 300, 1);
  g_assert_cmpuint (drop (fixture, NULL, &number, 1, &error), ==, 1);
  g_assert_no_error (error);
  g_assert_null (result);

  gate_set_held (gate, FALSE);
  evbus_test_wait_until (result != NULL);
  g_assert_true (evbus_broker_export_dead_finish (fixture->broker, result, &n_exported, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (n_exported, ==, 299);
  g_assert_cmpuint (count_lines (gate->text->str), ==, 299);
  evbus_test_assert_ledger (fixture->broker, "accepted=311 delivered=10 dead=300 dropped=1");
}

static void
test_no_room (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GOutputStream) stream = g_object_new (gate_get_type (), NULL);
  Gate *gate = (Gate *) stream;
  guint64 n_exported;

  die_large (fixture, 20);
  gate->room = 200000;
  g_assert_false (export_to (fixture, NULL, NULL, 0, stream, NULL, &n_exported, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
  g_assert_cmpuint (gate->text->len, ==, 200000);
  g_assert_cmpuint (n_exported, ==, 4);
  g_assert_cmpuint (count_lines (gate->text->str), ==, 4);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dead=20");
}

/* While it waits for a peer that does not read, and before it began. */
static void
test_cancelled (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GSocket) socket = NULL;
  g_autoptr(GSocket) peer = NULL;
  g_autoptr(GSocketConnection) connection = NULL;
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GString) text = g_string_new (NULL);
  char chunk[4096];
  guint64 n_exported;
  gssize size;
  int ends[2];

  die_large (fixture, 20);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  socket = g_socket_new_from_fd (ends[0], NULL);
  peer = g_socket_new_from_fd (ends[1], NULL);
  connection = g_socket_connection_factory_create_connection (socket);
  for (guint i = 0; i < 2; i++)
    {
      g_autoptr(GAsyncResult) result = NULL;
      g_autoptr(GError) error = NULL;

      evbus_broker_export_dead_async (fixture->broker, ROUTE, NULL, 0,
                                      g_io_stream_get_output_stream (G_IO_STREAM (connection)), NULL, NULL, NULL,
                                      cancellable, evbus_test_store_result, &result);
      if (i == 0)
        evbus_test_wait_until (g_socket_condition_check (socket, G_IO_OUT) == 0);
      g_assert_null (result);
      g_cancellable_cancel (cancellable);
      evbus_test_wait_until (result != NULL);
      g_assert_false (evbus_broker_export_dead_finish (fixture->broker, result, &n_exported, &error));
      g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);

      g_socket_set_blocking (peer, FALSE);
      g_string_truncate (text, 0);
      while ((size = g_socket_receive (peer, chunk, sizeof chunk, NULL, NULL)) > 0)
        g_string_append_len (text, chunk, size);
      g_assert_cmpuint (n_exported, ==, count_lines (text->str));
      g_assert_true (i == 0 ? n_exported > 0 && n_exported < 20 : text->len == 0);
    }
  evbus_test_assert_ledger (fixture->route, "accepted=20 dead=20");
}

int
main (int    argc,
      char **argv)
{
  const struct {
    const char *path;
    void (* test) (Fixture *fixture, gconstpointer data);
  } tests[] = {
    { "/dead-export/bodies", test_bodies },
    { "/dead-export/selection", test_selection },
    { "/dead-export/blocked", test_blocked },
    { "/dead-export/no-room", test_no_room },
    { "/dead-export/cancelled", test_cancelled },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].test, tear_down);
  return g_test_run ();
}
