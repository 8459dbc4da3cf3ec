/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From a producer through the disk to a TCP connection: put_bytes_async() of 200 bytes,
 * 1024 in flight, into a broker with a spool and a route of the tests' plugin `tcp`;
 * against syslog-ng, which gets the same lines through a unix-stream socket, many with
 * one write, keeps them in a reliable disk buffer, which it does not sync, and sends them
 * by its network() destination. Both until the last line has arrived at the other end,
 * a thread that counts lines.
 */

#include "bench-flight.h"
#include "bench-syslog-ng.h"
#include "bench.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#define BODY_SIZE 200
#define N_EVENTS 200000
#define IN_FLIGHT 1024
#define TIMEOUT (60 * G_TIME_SPAN_SECOND)

#define SYSLOG_NG_DATA \
  "network('127.0.0.1' port(%u) template(\"${MESSAGE}\\n\")" \
  " disk-buffer(dir('%s') reliable(yes) disk-buf-size(1073741824) mem-buf-size(67108864)))"

#define ROUTE_DATA "{'port': <int64 %u>}"

/* What lines arrive, from one connection after the other. */
typedef struct
{
  GSocketListener *listener;
  GCancellable    *stopping;
  GThread         *thread;
  guint16          port;
  int              n_lines;   /* atomic */
} Counter;

typedef struct
{
  char          *folder;
  guint          n_events;
  Counter        counters[2];

  EvbusBroker   *broker;
  EvbusRoute    *route;
  GBytes        *body;

  BenchSyslogNg *syslog_ng;
} Relay;

enum { OURS, SYSLOG };

static guint
count_lines (const char *data,
             gsize       size)
{
  const char *end = data + size;
  guint n = 0;

  while ((data = memchr (data, '\n', end - data)) != NULL)
    {
      n++;
      data++;
    }
  return n;
}

static gpointer
run_counter (gpointer data)
{
  Counter *self = data;
  g_autofree char *buffer = g_malloc (256 * 1024);
  g_autoptr (GSocketConnection) connection = NULL;

  while ((connection = g_socket_listener_accept (self->listener, NULL, self->stopping, NULL)) != NULL)
    {
      GInputStream *in = g_io_stream_get_input_stream (G_IO_STREAM (connection));
      gssize n;

      while ((n = g_input_stream_read (in, buffer, 256 * 1024, self->stopping, NULL)) > 0)
        g_atomic_int_add (&self->n_lines, count_lines (buffer, n));
      g_clear_object (&connection);
    }
  return NULL;
}

static gboolean
start_counter (Counter  *self,
               GError  **error)
{
  g_autoptr (GInetAddress) loopback = g_inet_address_new_loopback (G_SOCKET_FAMILY_IPV4);
  g_autoptr (GSocketAddress) any = g_inet_socket_address_new (loopback, 0);
  g_autoptr (GSocketAddress) address = NULL;

  self->listener = g_socket_listener_new ();
  self->stopping = g_cancellable_new ();
  if (!g_socket_listener_add_address (self->listener, any, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, NULL,
                                      &address, error))
    return FALSE;
  self->port = g_inet_socket_address_get_port (G_INET_SOCKET_ADDRESS (address));
  self->thread = g_thread_new ("counter", run_counter, self);
  return TRUE;
}

static void
stop_counter (Counter *self)
{
  g_cancellable_cancel (self->stopping);
  g_clear_pointer (&self->thread, g_thread_join);
  g_clear_object (&self->listener);
  g_clear_object (&self->stopping);
}

static gboolean
wait_arrived (Counter  *self,
              guint     n,
              GError  **error)
{
  gint64 deadline = g_get_monotonic_time () + TIMEOUT;
  guint arrived;

  while ((arrived = g_atomic_int_get (&self->n_lines)) < n && g_get_monotonic_time () < deadline)
    g_usleep (200);   /* poll, with the deadline above */
  if (arrived == n)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%u lines arrived, not %u", arrived, n);
  return FALSE;
}

static gboolean
run_ours (gpointer   data,
          double    *value,
          GError   **error)
{
  Relay *self = data;
  Counter *counter = &self->counters[OURS];
  EvbusLedger before;
  gint64 start;

  evbus_broker_get_ledger (self->broker, &before);
  g_atomic_int_set (&counter->n_lines, 0);
  start = g_get_monotonic_time ();
  if (!bench_flight_put (self->broker, self->body, self->n_events, IN_FLIGHT, error) ||
      !wait_arrived (counter, self->n_events, error))
    return FALSE;
  *value = bench_per_second (self->n_events, start, g_get_monotonic_time ());
  return bench_flight_check (self->broker, &before, self->n_events, error);
}

static gboolean
run_limit (gpointer   data,
           double    *value,
           GError   **error)
{
  Relay *self = data;
  Counter *counter = &self->counters[SYSLOG];
  gint64 start = g_get_monotonic_time ();

  g_atomic_int_set (&counter->n_lines, 0);
  if (!bench_syslog_ng_write (self->syslog_ng, self->n_events, BODY_SIZE, error) ||
      !wait_arrived (counter, self->n_events, error))
    return FALSE;
  *value = bench_per_second (self->n_events, start, g_get_monotonic_time ());
  return TRUE;
}

static gboolean
start_broker (Relay   *self,
              GError **error)
{
  g_autofree char *spool = g_build_filename (self->folder, "spool", NULL);
  g_autofree char *text = g_strdup_printf (ROUTE_DATA, self->counters[OURS].port);
  g_autoptr (GVariant) data = g_variant_parse (G_VARIANT_TYPE_VARDICT, text, NULL, NULL, error);

  if (data == NULL)
    return FALSE;
  self->body = g_bytes_new_take (g_strnfill (BODY_SIZE, 'x'), BODY_SIZE);
  self->broker = evbus_broker_new ();
  evbus_broker_set_spool_directory (self->broker, spool);
  self->route = evbus_broker_add_route (self->broker, "tcp", "*", data, error);
  return self->route != NULL && evbus_broker_start (self->broker, error);
}

static gboolean
start_syslog_ng (Relay   *self,
                 GError **error)
{
  g_autofree char *text = g_strdup_printf (SYSLOG_NG_DATA, self->counters[SYSLOG].port, self->folder);

  self->syslog_ng = bench_syslog_ng_start (text, error);
  return self->syslog_ng != NULL;
}

static void
end (Relay *self)
{
  g_clear_pointer (&self->syslog_ng, bench_syslog_ng_stop);
  if (self->broker != NULL)
    bench_flight_stop (self->broker);
  g_clear_object (&self->route);
  g_clear_object (&self->broker);
  g_clear_pointer (&self->body, g_bytes_unref);
  for (guint i = 0; i < G_N_ELEMENTS (self->counters); i++)
    stop_counter (&self->counters[i]);
}

int
main (int    argc,
      char **argv)
{
  char folder[] = "bench-relay-XXXXXX";
  g_autoptr (GError) error = NULL;
  Relay relay = { 0 };
  Bench bench = {
    .name = "relay-to-tcp",
    .unit = "events/s",
    .target = 2,
    .ours = run_ours,
    .limit = run_limit,
    .data = &relay,
  };

  bench_init (&argc, &argv);
  relay.n_events = bench_scale (N_EVENTS);
  if (g_mkdtemp (folder) == NULL)
    g_error ("%s: %s", folder, g_strerror (errno));
  relay.folder = g_canonicalize_filename (folder, NULL);
  if (start_counter (&relay.counters[OURS], &error) && start_counter (&relay.counters[SYSLOG], &error) &&
      start_broker (&relay, &error) && start_syslog_ng (&relay, &error))
    bench_run (&bench);
  else
    bench_fail (bench.name, "start", error->message);
  end (&relay);
  bench_remove_folder (folder);
  g_free (relay.folder);
  return bench_finish ();
}
