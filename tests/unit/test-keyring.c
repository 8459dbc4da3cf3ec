/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Secrets out of a keyring: GNOME's daemon on a bus of the test's own, filled as a
 * user would, with secret-tool.
 */

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>

#include "evbus-context-private.h"
#include "evbus-error.h"

#define DEADLINE_SECONDS 60

typedef struct
{
  char        *folder;
  GTestDBus   *bus;
  GSubprocess *daemon;
} Keyring;

static gboolean
give_up (gpointer data)
{
  g_error ("no keyring on the bus after %d s", DEADLINE_SECONDS);
  return G_SOURCE_REMOVE;
}

static void
on_name (GDBusConnection *connection,
         const char      *name,
         const char      *owner,
         gpointer         loop)
{
  g_main_loop_quit (loop);
}

static void
wait_for_daemon (Keyring *self)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GError) error = NULL;
  g_autoptr(GDBusConnection) connection = NULL;
  guint deadline = g_timeout_add_seconds (DEADLINE_SECONDS, give_up, NULL);
  guint watch;

  connection = g_dbus_connection_new_for_address_sync (g_test_dbus_get_bus_address (self->bus),
                                                       G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                                       G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                                       NULL, NULL, &error);
  g_assert_no_error (error);
  watch = g_bus_watch_name_on_connection (connection, "org.freedesktop.secrets", G_BUS_NAME_WATCHER_FLAGS_NONE,
                                          on_name, NULL, loop, NULL);
  g_main_loop_run (loop);
  g_bus_unwatch_name (watch);
  g_source_remove (deadline);
  g_dbus_connection_close_sync (connection, NULL, NULL);
}

static void
run_with_input (const char * const *argv,
                const char         *input)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GSubprocess) process = g_subprocess_newv (argv, G_SUBPROCESS_FLAGS_STDIN_PIPE |
                                                       G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &error);

  g_assert_no_error (error);
  g_subprocess_communicate_utf8 (process, input, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_true (g_subprocess_get_successful (process));
}

static void
keyring_setup (Keyring       *self,
               gconstpointer  data)
{
  static const char * const folders[] = { "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME" };
  g_autoptr(GError) error = NULL;
  GOutputStream *input;

  self->folder = g_dir_make_tmp ("evbus-keyring-XXXXXX", &error);
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (folders); i++)
    g_setenv (folders[i], self->folder, TRUE);
  self->bus = g_test_dbus_new (G_TEST_DBUS_NONE);
  g_test_dbus_up (self->bus);

  self->daemon = g_subprocess_new (G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &error,
                                   "gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets", NULL);
  g_assert_no_error (error);
  input = g_subprocess_get_stdin_pipe (self->daemon);
  g_assert_true (g_output_stream_write_all (input, "of the keyring", strlen ("of the keyring"), NULL, NULL, &error));
  g_assert_true (g_output_stream_close (input, NULL, &error));
  wait_for_daemon (self);
}

static void
remove_tree (const char *path)
{
  g_autoptr(GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *inner = g_build_filename (path, name, NULL);

      remove_tree (inner);
    }
  g_remove (path);
}

static void
keyring_teardown (Keyring       *self,
                  gconstpointer  data)
{
  g_subprocess_send_signal (self->daemon, SIGCONT);
  g_subprocess_force_exit (self->daemon);
  g_subprocess_wait (self->daemon, NULL, NULL);
  g_object_unref (self->daemon);
  g_test_dbus_down (self->bus);
  g_object_unref (self->bus);
  remove_tree (self->folder);
  g_free (self->folder);
}

/* A context of the provider pika, whose password is in the keyring under these. */
static EvbusContext *
make_context (const char    *attributes,
              GCancellable  *cancellable,
              GError       **error)
{
  g_autoptr(GError) local_error = NULL;
  g_autofree char *data = g_strdup_printf ("{'connection': <{'password': <{'keyring': <{%s}>}>}>}", attributes);
  g_autoptr(GVariant) variant = g_variant_parse (G_VARIANT_TYPE_VARDICT, data, NULL, NULL, &local_error);
  g_autoptr(EvbusRouteSpec) spec = NULL;

  g_assert_no_error (local_error);
  spec = evbus_route_spec_new ("pika", "default", "glob", variant, &local_error);
  g_assert_no_error (local_error);
  return evbus_context_new (spec, NULL, cancellable, error);
}

static void
assert_password (const char *attributes,
                 const char *password)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusContext) ctx = make_context (attributes, NULL, &error);

  g_assert_no_error (error);
  g_assert_cmpstr (evbus_context_get_string (ctx, "connection.password"), ==, password);
}

static void
assert_broken (const char   *attributes,
               GCancellable *cancellable,
               const char   *pattern)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusContext) ctx = make_context (attributes, cancellable, &error);

  g_assert_null (ctx);
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN);
  if (!g_pattern_match_simple (pattern, error->message))
    g_error ("'%s' is not as '%s'", error->message, pattern);
  g_assert_null (strstr (error->message, "hunter"));
}

static void
test_lookup (Keyring       *self,
             gconstpointer  data)
{
  static const char * const ours[] = { "secret-tool", "store", "--label=evbus", "service", "amqp", "user", "evbus", NULL };
  static const char * const other[] = { "secret-tool", "store", "--label=other", "service", "kafka", NULL };
  static const char * const binary[] = { "secret-tool", "store", "--label=binary", "service", "binary", NULL };

  run_with_input (ours, "hunter2 of the kéyring");
  run_with_input (other, "hunter3\n");
  run_with_input (binary, "\n");

  assert_password ("'service': <'amqp'>, 'user': <'evbus'>", "hunter2 of the kéyring");
  assert_password ("'user': <'evbus'>", "hunter2 of the kéyring");
  assert_password ("'service': <'kafka'>", "hunter3");
  assert_broken ("'service': <'amqp'>, 'user': <'other'>", NULL,
                 "the secret 'connection.password': {keyring: {service: amqp, user: other}}: "
                 "the keyring has nothing with these attributes; *");
  assert_broken ("'service': <'binary'>", NULL, "the secret *: {keyring: {service: binary}}: the secret is empty");
}

/* There is nobody to ask for the password of the keyring. */
static void
test_locked (Keyring       *self,
             gconstpointer  data)
{
  static const char * const store[] = { "secret-tool", "store", "--label=evbus", "service", "amqp", NULL };
  static const char * const lock[] = {
    "gdbus", "call", "--session", "--dest", "org.freedesktop.secrets", "--object-path", "/org/freedesktop/secrets",
    "--method", "org.freedesktop.Secret.Service.Lock", "['/org/freedesktop/secrets/collection/login']", NULL
  };

  run_with_input (store, "hunter2");
  run_with_input (lock, "");
  assert_broken ("'service': <'amqp'>", NULL, "the secret *: {keyring: {service: amqp}}: the keyring of the session "
                 "cannot be asked: it is locked, and nobody unlocked it");
}

static gpointer
look_up_in_thread (gpointer cancellable)
{
  assert_broken ("'service': <'amqp'>", cancellable,
                 "the secret 'connection.password': {keyring: {service: amqp}}: the keyring of the session "
                 "cannot be asked: *cancelled*");
  return NULL;
}

/* A daemon that does not answer: only the cancellation ends it. */
static void
test_cancel (Keyring       *self,
             gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  GThread *thread;

  g_subprocess_send_signal (self->daemon, SIGSTOP);
  thread = g_thread_new ("look-up", look_up_in_thread, cancellable);
  g_cancellable_cancel (cancellable);
  g_thread_join (thread);
}

static void
test_nobody_there (void)
{
  g_autofree char *before = g_strdup (g_getenv ("DBUS_SESSION_BUS_ADDRESS"));

  g_setenv ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/evbus-test", TRUE);
  assert_broken ("'service': <'amqp'>", NULL, "the secret *: {keyring: {service: amqp}}: the keyring of the session "
                 "cannot be asked: *");
  if (before != NULL)
    g_setenv ("DBUS_SESSION_BUS_ADDRESS", before, TRUE);
  else
    g_unsetenv ("DBUS_SESSION_BUS_ADDRESS");
}

int
main (int    argc,
      char **argv)
{
  g_autofree char *plugins = NULL;

  g_test_init (&argc, &argv, NULL);
  plugins = g_test_build_filename (G_TEST_DIST, "unit", "providers", "good", NULL);
  g_setenv ("EVBUS_PLUGIN_PATH", plugins, TRUE);

  g_test_add ("/keyring/lookup", Keyring, NULL, keyring_setup, test_lookup, keyring_teardown);
  g_test_add ("/keyring/locked", Keyring, NULL, keyring_setup, test_locked, keyring_teardown);
  g_test_add ("/keyring/cancel", Keyring, NULL, keyring_setup, test_cancel, keyring_teardown);
  g_test_add_func ("/keyring/nobody-there", test_nobody_there);

  return g_test_run ();
}
