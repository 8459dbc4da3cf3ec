/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A route drains a queue in memory that was filled before, into the real server of a
 * provider; against the client library of that provider, used directly with the window that
 * suits it best. Then the same with wide batches, and with batches of one event, what a route
 * takes of memory beyond a connection of the library, and, where syslog-ng has a destination
 * of the same system, how fast that is. run-ingress starts the server, and us.
 */

#include <evbus/evbus.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench-ingress.h"
#include "bench-process.h"
#include "bench-syslog-ng.h"

#define BODY_SIZE 200
#define N_EVENTS 20000
#define N_SINGLE 1000
#define N_MEMORY 2000
#define N_MORE 8            /* routes, and connections */
#define SHARE 0.9           /* of the library's rate */
#define SYSLOG_NG "syslog-ng"
#define SYSLOG_NG_RATIO 1.5
#define ARRIVAL_TIMEOUT (60 * G_TIME_SPAN_SECOND)

static const guint windows[] = { 64, 256, 1024, 4096 };

typedef struct
{
  EvbusBroker   *broker;
  EvbusRoute    *routes[3 + N_MORE];   /* batches of many, of more, of one; the others */
  GBytes        *body;
  double         mib;                  /* what a route takes beyond a connection */
  gpointer       connection;
  guint          window;
  guint          n_second;             /* what the library does in a second */
  BenchSyslogNg *syslog_ng;
} Ingress;

enum { MANY, WIDE, SINGLE };

static guint64
get_delivered (EvbusRoute *route)
{
  EvbusLedger ledger;

  evbus_route_get_ledger (route, &ledger);
  return ledger.delivered;
}

/* Each was delivered, at the first try. */
static gboolean
wait_delivered (EvbusRoute  *route,
                guint64      n,
                GError     **error)
{
  gint64 deadline = g_get_monotonic_time () + ARRIVAL_TIMEOUT;
  g_autofree char *reason = NULL;
  EvbusLedger ledger;

  while (get_delivered (route) < n && g_get_monotonic_time () < deadline)
    g_usleep (200);   /* poll, with the deadline above */

  evbus_route_get_ledger (route, &ledger);
  reason = evbus_route_dup_reason (route);
  if (ledger.delivered == n && ledger.queued == 0 && ledger.retried == 0 && evbus_ledger_balances (&ledger))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "ledger: %" G_GUINT64_FORMAT " events should have been "
               "delivered, not %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " of them again: %s",
               n, ledger.delivered, ledger.retried, reason != NULL ? reason : "no reason given");
  return FALSE;
}

static gboolean
put (Ingress     *self,
     EvbusRoute  *route,
     guint        n,
     GError     **error)
{
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (self->broker), "order.created", self->body,
                                                             "application/octet-stream",
                                                             evbus_route_get_profile (route), error);

      if (id == NULL)
        return FALSE;
    }
  return TRUE;
}

static gboolean
drain (Ingress     *self,
       guint        which,
       guint        n,
       double      *per_second,
       GError     **error)
{
  EvbusRoute *route = self->routes[which];
  guint64 before = get_delivered (route);
  gint64 start;

  evbus_route_pause (route);
  if (!put (self, route, n, error))
    return FALSE;
  start = g_get_monotonic_time ();
  evbus_route_resume (route);
  if (!wait_delivered (route, before + n, error))
    return FALSE;
  *per_second = bench_per_second (n, start, g_get_monotonic_time ());
  return TRUE;
}

static gboolean
run_many (gpointer   data,
          double    *value,
          GError   **error)
{
  return drain (data, MANY, bench_scale (N_EVENTS), value, error);
}

static gboolean
run_wide (gpointer   data,
          double    *value,
          GError   **error)
{
  Ingress *self = data;

  return drain (self, WIDE, self->n_second, value, error);
}

static gboolean
run_single (gpointer   data,
            double    *value,
            GError   **error)
{
  return drain (data, SINGLE, bench_scale (N_SINGLE), value, error);
}

static gboolean
send_directly (Ingress  *self,
               guint     n,
               guint     window,
               double   *per_second,
               GError  **error)
{
  gint64 start = g_get_monotonic_time ();

  if (!bench_library.send (self->connection, n, BODY_SIZE, window, error))
    return FALSE;
  *per_second = bench_per_second (n, start, g_get_monotonic_time ());
  return TRUE;
}

static gboolean
run_library (gpointer   data,
             double    *value,
             GError   **error)
{
  Ingress *self = data;

  return send_directly (self, bench_scale (N_EVENTS), self->window, value, error);
}

static gboolean
run_library_second (gpointer   data,
                    double    *value,
                    GError   **error)
{
  Ingress *self = data;

  return send_directly (self, self->n_second, self->window, value, error);
}

/* From the first put on, as syslog-ng's time begins with the first line; its batches are wide too. */
static gboolean
run_put (gpointer   data,
         double    *value,
         GError   **error)
{
  Ingress *self = data;
  EvbusRoute *route = self->routes[WIDE];
  guint64 before = get_delivered (route);
  gint64 start = g_get_monotonic_time ();

  if (!put (self, route, self->n_second, error) || !wait_delivered (route, before + self->n_second, error))
    return FALSE;
  *value = bench_per_second (self->n_second, start, g_get_monotonic_time ());
  return TRUE;
}

/* Until the server has them all: what syslog-ng takes to be delivered may be on its way. */
static gboolean
run_syslog_ng (gpointer   data,
               double    *value,
               GError   **error)
{
  Ingress *self = data;
  gint64 start, deadline;
  guint64 before, now;

  if (!bench_library.count (self->connection, SYSLOG_NG, &before, error))
    return FALSE;
  start = g_get_monotonic_time ();
  deadline = start + ARRIVAL_TIMEOUT;
  if (!bench_syslog_ng_write (self->syslog_ng, self->n_second, BODY_SIZE, error))
    return FALSE;
  do
    {
      g_usleep (1000);   /* poll, with the deadline above */
      if (!bench_library.count (self->connection, SYSLOG_NG, &now, error))
        return FALSE;
    }
  while (now < before + self->n_second && g_get_monotonic_time () < deadline);

  *value = bench_per_second (self->n_second, start, g_get_monotonic_time ());
  if (now == before + self->n_second)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "the server got %" G_GUINT64_FORMAT " lines, not %u",
               now - before, self->n_second);
  return FALSE;
}

/* Twice, so that the first one does not pay for being the first. */
static gboolean
find_window (Ingress  *self,
             GError  **error)
{
  double best = 0;

  for (guint i = 0; i < 2 * G_N_ELEMENTS (windows); i++)
    {
      guint window = windows[i % G_N_ELEMENTS (windows)];
      double rate;

      if (!send_directly (self, bench_scale (N_EVENTS / 2), window, &rate, error))
        return FALSE;
      if (rate > best)
        {
          best = rate;
          self->window = window;
        }
    }
  self->n_second = bench_scale (CLAMP (best, N_EVENTS / 2, 5 * N_EVENTS));
  g_debug ("the best window of the library is %u", self->window);
  return TRUE;
}

static gboolean
measure (double  *mib,
         GError **error)
{
  malloc_trim (0);
  return bench_process_rss ("self", mib, error);
}

/* MiB that each of some connections of the library takes once it has delivered. */
static gboolean
measure_connections (double  *mib,
                     GError **error)
{
  gpointer connections[N_MORE];
  double before, after;

  if (!measure (&before, error))
    return FALSE;
  for (guint i = 0; i < N_MORE; i++)
    {
      g_autofree char *name = g_strdup_printf ("connection-%u", i);

      connections[i] = bench_library.open (name, error);
      if (connections[i] == NULL || !bench_library.send (connections[i], N_MEMORY, BODY_SIZE, 256, error))
        return FALSE;
    }
  if (!measure (&after, error))
    return FALSE;
  for (guint i = 0; i < N_MORE; i++)
    bench_library.close (connections[i]);

  *mib = (after - before) / N_MORE;
  return TRUE;
}

static gboolean
get_memory (gpointer   data,
            double    *value,
            GError   **error)
{
  *value = ((Ingress *) data)->mib;
  return TRUE;
}

/* The routes are opened, have delivered once, and stay so. What the broker takes by
 * itself, and the plugin's code, are booked on the routes. */
static gboolean
start (Ingress     *self,
       const char  *config,
       GError     **error)
{
  double before, after, connection;
  double rate;
  GListModel *routes;

  if (!measure (&before, error))
    return FALSE;
  self->body = g_bytes_new_take (g_strnfill (BODY_SIZE, 'x'), BODY_SIZE);
  self->broker = evbus_broker_new ();
  if (!evbus_broker_load_profiles (self->broker, config, error) || !evbus_broker_start (self->broker, error))
    return FALSE;
  routes = evbus_broker_get_routes (self->broker);
  for (guint i = 0; i < G_N_ELEMENTS (self->routes); i++)
    {
      self->routes[i] = g_list_model_get_item (routes, i);
      if (!drain (self, i, i == SINGLE ? 1 : N_MEMORY, &rate, error))
        return FALSE;
    }
  if (!measure (&after, error) || !measure_connections (&connection, error))
    return FALSE;
  self->mib = (after - before) / G_N_ELEMENTS (self->routes) - connection;

  self->connection = bench_library.open ("direct", error);
  return self->connection != NULL && find_window (self, error);
}

static void
on_stopped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  gboolean *stopped = user_data;

  evbus_broker_stop_finish (EVBUS_BROKER (source), result, NULL);
  *stopped = TRUE;
}

/* Of whatever there is, so that leaks are found. */
static void
end (Ingress *self)
{
  gboolean stopped = self->broker == NULL;

  if (!stopped)
    evbus_broker_stop_async (self->broker, NULL, on_stopped, &stopped);
  while (!stopped)
    g_main_context_iteration (NULL, TRUE);

  for (guint i = 0; i < G_N_ELEMENTS (self->routes); i++)
    g_clear_object (&self->routes[i]);
  g_clear_object (&self->broker);
  g_clear_pointer (&self->body, g_bytes_unref);
  g_clear_pointer (&self->connection, bench_library.close);
}

static void
run_beside_syslog_ng (Ingress    *self,
                      const char *provider,
                      const char *destination,
                      const char *suffix)
{
  g_autofree char *name = g_strdup_printf ("ingress-%s-syslog-ng%s", provider, suffix);
  g_autoptr (GError) error = NULL;

  self->syslog_ng = bench_syslog_ng_start (destination, &error);
  if (self->syslog_ng != NULL)
    bench_run (&(Bench) { name, "events/s", SYSLOG_NG_RATIO, FALSE, run_put, run_syslog_ng, 0, self });
  else
    bench_fail (name, "start", error->message);
  g_clear_pointer (&self->syslog_ng, bench_syslog_ng_stop);
}

static void
run (Ingress    *self,
     const char *provider)
{
  static const char * const suffixes[] = { "", "-workers" };
  double share = bench_library.share > 0 ? bench_library.share : SHARE;
  g_autofree char *memory = g_strdup_printf ("ingress-%s-memory", provider);
  g_autofree char *rate = g_strdup_printf ("ingress-%s", provider);
  g_autofree char *wide = g_strdup_printf ("ingress-%s-wide", provider);
  g_autofree char *batching = g_strdup_printf ("ingress-%s-batching", provider);

  bench_run (&(Bench) { memory, "MiB", 1, TRUE, get_memory, NULL, 4, self });
  bench_run (&(Bench) { rate, "events/s", share, FALSE, run_many, run_library, 0, self });
  bench_run (&(Bench) { wide, "events/s", share, FALSE, run_wide, run_library_second, 0, self });
  bench_run (&(Bench) { batching, "events/s", 1, FALSE, run_many, run_single, 0, self });
  for (guint i = 0; i < G_N_ELEMENTS (suffixes); i++)
    if (bench_library.syslog_ng[i] != NULL)
      run_beside_syslog_ng (self, provider, bench_library.syslog_ng[i], suffixes[i]);
}

int
main (int    argc,
      char **argv)
{
  Ingress self = { 0 };
  g_autoptr (GError) error = NULL;

  bench_init (&argc, &argv);
  if (argc != 3)
    {
      g_printerr ("usage: %s PROVIDER CONFIG, as run-ingress gives them\n", g_get_prgname ());
      return 2;
    }

  if (start (&self, argv[2], &error))
    run (&self, argv[1]);
  else
    bench_fail (argv[1], "start", error->message);

  end (&self);
  return bench_finish ();
}
