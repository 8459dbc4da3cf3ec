/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A private message bus, services on it, and calls to them: the same calls from
 * the same connection, whichever service answers.
 */

#include "bench-bus.h"

#include "bench.h"

#include <signal.h>
#include <sys/prctl.h>

#define OBJECT_PATH "/org/evbus1"
#define BROKER_INTERFACE "org.evbus1.Broker"
#define MANAGER_INTERFACE "org.evbus1.Manager"

#define START_TIMEOUT_S 20
#define DELIVERY_TIMEOUT (120 * G_TIME_SPAN_SECOND)
#define POLL_US 1000

struct _BenchBus
{
  GSubprocess     *daemon;
  char            *address;
  GDBusConnection *connection;
};

struct _BenchService
{
  GDBusConnection *connection;
  GSubprocess     *process;
  char            *name;
  char            *folder;
  char            *pid;
  gint64           started;
  gint64           appeared;
  gboolean         timed_out;
};

/* A bench that crashes or is killed takes its bus along, and the bus its
 * services. */
static void
die_with_parent (gpointer user_data)
{
  prctl (PR_SET_PDEATHSIG, SIGTERM);
}

/* The session bus's own configuration, since GTestDBus's allows no more than 128
 * calls in flight. */
static gboolean
start_daemon (BenchBus  *self,
              GError   **error)
{
  g_autoptr (GSubprocessLauncher) launcher = g_subprocess_launcher_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE);
  g_autoptr (GDataInputStream) lines = NULL;

  g_subprocess_launcher_set_child_setup (launcher, die_with_parent, NULL, NULL);
  self->daemon = g_subprocess_launcher_spawn (launcher, error, "dbus-daemon", "--session", "--nofork",
                                              "--nopidfile", "--nosyslog", "--print-address=1", NULL);
  if (self->daemon == NULL)
    return FALSE;

  lines = g_data_input_stream_new (g_subprocess_get_stdout_pipe (self->daemon));
  self->address = g_data_input_stream_read_line (lines, NULL, NULL, error);
  if (self->address == NULL && error != NULL && *error == NULL)
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_FAILED, "dbus-daemon ended without an address");
  return self->address != NULL;
}

BenchBus *
bench_bus_new (GError **error)
{
  g_autoptr (BenchBus) self = g_new0 (BenchBus, 1);

  if (!start_daemon (self, error))
    return NULL;

  self->connection =
    g_dbus_connection_new_for_address_sync (self->address,
                                            G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT |
                                            G_DBUS_CONNECTION_FLAGS_MESSAGE_BUS_CONNECTION,
                                            NULL, NULL, error);
  return self->connection != NULL ? g_steal_pointer (&self) : NULL;
}

void
bench_bus_free (BenchBus *self)
{
  if (self->connection != NULL)
    g_dbus_connection_close_sync (self->connection, NULL, NULL);
  if (self->daemon != NULL)
    {
      g_subprocess_send_signal (self->daemon, SIGTERM);
      g_subprocess_wait (self->daemon, NULL, NULL);
    }
  g_clear_object (&self->connection);
  g_clear_object (&self->daemon);
  g_free (self->address);
  g_free (self);
}

const char *
bench_bus_get_address (BenchBus *self)
{
  return self->address;
}

static void
on_appeared (GDBusConnection *connection,
             const char      *name,
             const char      *owner,
             gpointer         user_data)
{
  BenchService *self = user_data;

  self->appeared = g_get_monotonic_time ();
}

static gboolean
on_start_timeout (gpointer user_data)
{
  BenchService *self = user_data;

  self->timed_out = TRUE;
  return G_SOURCE_CONTINUE;
}

/* Starts the process and waits until its name is on the bus. */
static gboolean
service_start (BenchService        *self,
               const char * const  *argv,
               GError             **error)
{
  guint watch;
  guint timeout;

  watch = g_bus_watch_name_on_connection (self->connection, self->name, G_BUS_NAME_WATCHER_FLAGS_NONE,
                                          on_appeared, NULL, self, NULL);
  timeout = g_timeout_add_seconds (START_TIMEOUT_S, on_start_timeout, self);

  self->started = g_get_monotonic_time ();
  self->process = g_subprocess_newv (argv, G_SUBPROCESS_FLAGS_NONE, error);
  if (self->process != NULL)
    self->pid = g_strdup (g_subprocess_get_identifier (self->process));
  while (self->process != NULL && self->appeared == 0 && !self->timed_out)
    g_main_context_iteration (NULL, TRUE);

  g_source_remove (timeout);
  g_bus_unwatch_name (watch);

  if (self->process == NULL)
    return FALSE;
  if (self->timed_out)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                   "'%s' did not appear on the bus within %d s", self->name, START_TIMEOUT_S);
      return FALSE;
    }
  return TRUE;
}

BenchService *
bench_service_new (BenchBus            *bus,
                   const char          *name,
                   const char * const  *argv,
                   GError             **error)
{
  g_autoptr (BenchService) self = g_new0 (BenchService, 1);

  self->connection = g_object_ref (bus->connection);
  self->name = g_strdup (name);
  return service_start (self, argv, error) ? g_steal_pointer (&self) : NULL;
}

/*
 * bench_service_new_evbusd:
 * @evbusd: the program
 * @config: its configuration, in which every "@FOLDER@" becomes a folder of
 *   this service alone, removed with it
 */
BenchService *
bench_service_new_evbusd (BenchBus    *bus,
                          const char  *evbusd,
                          const char  *config,
                          GError     **error)
{
  g_autoptr (BenchService) self = g_new0 (BenchService, 1);
  g_autoptr (GString) text = g_string_new (config);
  g_autofree char *here = g_get_current_dir ();
  g_autofree char *path = NULL;

  self->connection = g_object_ref (bus->connection);
  self->name = g_strdup (BENCH_EVBUSD_NAME);
  /* /tmp may be memory, the build folder hardly. */
  self->folder = g_build_filename (here, "bench-service-XXXXXX", NULL);
  if (g_mkdtemp (self->folder) == NULL)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: %s", self->folder, g_strerror (errno));
      return NULL;
    }

  path = g_build_filename (self->folder, "evbus.yaml", NULL);
  g_string_replace (text, "@FOLDER@", self->folder, 0);
  if (!g_file_set_contents (path, text->str, text->len, error) ||
      !service_start (self,
                      (const char *[]) { evbusd, "--address", bus->address, "--config", path, NULL },
                      error))
    return NULL;
  return g_steal_pointer (&self);
}

void
bench_service_free (BenchService *self)
{
  g_autoptr (GError) error = NULL;

  if (self->process != NULL)
    {
      g_subprocess_send_signal (self->process, SIGTERM);
      if (!g_subprocess_wait_check (self->process, NULL, &error))
        bench_fail (self->name, "stop", error->message);
    }

  if (self->folder != NULL)
    bench_remove_folder (self->folder);

  g_clear_object (&self->process);
  g_clear_object (&self->connection);
  g_free (self->folder);
  g_free (self->name);
  g_free (self->pid);
  g_free (self);
}

const char *
bench_service_get_pid (BenchService *self)
{
  return self->pid;
}

double
bench_service_get_start_ms (BenchService *self)
{
  return (double) (self->appeared - self->started) / G_TIME_SPAN_MILLISECOND;
}

typedef struct
{
  BenchService *service;
  const char   *method;
  GVariant     *arguments;
  guint         n;
  guint         sent;
  guint         answered;
  GError       *error;
} Calls;

static void calls_send (Calls *calls);

static void
on_answer (GObject      *source,
           GAsyncResult *result,
           gpointer      user_data)
{
  Calls *calls = user_data;
  g_autoptr (GVariant) answer = NULL;

  answer = g_dbus_connection_call_finish (G_DBUS_CONNECTION (source), result,
                                          calls->error == NULL ? &calls->error : NULL);
  calls->answered++;
  if (calls->sent < calls->n && calls->error == NULL)
    calls_send (calls);
}

static void
calls_send (Calls *calls)
{
  calls->sent++;
  g_dbus_connection_call (calls->service->connection, calls->service->name, OBJECT_PATH,
                          BROKER_INTERFACE, calls->method, calls->arguments, NULL,
                          G_DBUS_CALL_FLAGS_NONE, -1, NULL, on_answer, calls);
}

/*
 * bench_service_calls:
 * @n: how many calls
 * @in_flight: how many of them are sent before the first is answered; from then
 *   on one is sent for each answer
 */
gboolean
bench_service_calls (BenchService  *self,
                     const char    *method,
                     GVariant      *arguments,
                     guint          n,
                     guint          in_flight,
                     double        *per_second,
                     GError       **error)
{
  Calls calls = { .service = self, .method = method, .arguments = arguments, .n = n };
  gint64 start = g_get_monotonic_time ();

  while (calls.sent < MIN (in_flight, n))
    calls_send (&calls);
  while (calls.answered < calls.sent)
    g_main_context_iteration (NULL, TRUE);

  *per_second = bench_per_second (n, start, g_get_monotonic_time ());

  if (calls.error != NULL)
    {
      g_propagate_prefixed_error (error, calls.error, "%s.%s: ", self->name, method);
      return FALSE;
    }
  return TRUE;
}

static GVariant *
service_ledger (BenchService  *self,
                GError       **error)
{
  g_autoptr (GVariant) answer = NULL;

  answer = g_dbus_connection_call_sync (self->connection, self->name, OBJECT_PATH, MANAGER_INTERFACE,
                                        "GetLedger", NULL, G_VARIANT_TYPE ("(a{st})"),
                                        G_DBUS_CALL_FLAGS_NONE, -1, NULL, error);
  return answer != NULL ? g_variant_get_child_value (answer, 0) : NULL;
}

static guint64
figure (GVariant   *ledger,
        const char *name)
{
  guint64 value = 0;

  g_variant_lookup (ledger, name, "t", &value);
  return value;
}

static gboolean
ledger_is (GVariant *ledger,
           guint64   n)
{
  return figure (ledger, "accepted") == n && figure (ledger, "delivered") == n;
}

/* Waits until the ledger says that @n copies, and no others, were accepted and
 * all delivered. */
gboolean
bench_service_wait_delivered (BenchService  *self,
                              guint64        n,
                              GError       **error)
{
  gint64 deadline = g_get_monotonic_time () + DELIVERY_TIMEOUT;

  for (;;)
    {
      g_autoptr (GVariant) ledger = service_ledger (self, error);
      g_autofree char *text = NULL;

      if (ledger == NULL)
        return FALSE;
      if (ledger_is (ledger, n))
        return TRUE;

      if (g_get_monotonic_time () >= deadline)
        {
          text = g_variant_print (ledger, FALSE);
          g_set_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                       "ledger: %" G_GUINT64_FORMAT " events should have been delivered: %s", n, text);
          return FALSE;
        }
      g_usleep (POLL_US); /* poll, with the deadline above */
    }
}

/* Returns: (transfer full): the arguments of a Put */
GVariant *
bench_put_arguments (void)
{
  return g_variant_ref_sink (g_variant_new ("(svs)", "order.created", bench_build_body (42), ""));
}

/* Returns: (transfer full): the arguments of a PutMany */
GVariant *
bench_put_many_arguments (void)
{
  GVariantBuilder events;
  guint i;

  g_variant_builder_init (&events, G_VARIANT_TYPE ("a(svs)"));
  for (i = 0; i < BENCH_PUT_MANY; i++)
    g_variant_builder_add (&events, "(svs)", "order.created", bench_build_body (i), "");
  return g_variant_ref_sink (g_variant_new ("(a(svs))", &events));
}
