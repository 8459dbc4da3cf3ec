/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What evbusd with a spool, one internal and one file route takes of the machine: how
 * long it needs to be on the bus, how much of it is resident, how much more
 * after a million events, and how often it wakes up with nothing to do.
 *
 * Argument: evbusd.
 */

#include "bench-bus.h"
#include "bench-process.h"
#include "bench.h"

#define N_EVENTS 1000000
#define N_ROUTES 2
#define IN_FLIGHT 2

/* Idle is looked at for this long, once nothing has moved for a second. */
#define IDLE_WINDOW_US (10 * G_USEC_PER_SEC)
#define STILL_US G_USEC_PER_SEC
#define STILL_TRIES 30

/* Blocks where a route is behind, so that every event goes through both. */
#define CONFIG \
  "evbus: {spool: {directory: '@FOLDER@/spool'}}\n" \
  "internal:\n" \
  "  '*':\n" \
  "    delivery: {overflow: block}\n" \
  "file:\n" \
  "  '*':\n" \
  "    path: '@FOLDER@/events.jsonl'\n" \
  "    rotate_size: 16MiB\n" \
  "    keep: 1\n" \
  "    delivery: {overflow: block}\n"

typedef struct
{
  BenchBus   *bus;
  const char *evbusd;
} Evbusd;

static BenchService *
start (Evbusd  *evbusd,
       GError **error)
{
  return bench_service_new_evbusd (evbusd->bus, evbusd->evbusd, CONFIG, error);
}

/* Until it has done what it does after its start, or after the last event. */
static gboolean
wait_until_still (BenchService  *service,
                  GError       **error)
{
  guint64 before;
  guint64 after;
  int i;

  for (i = 0; i < STILL_TRIES; i++)
    {
      if (!bench_process_wakeups (bench_service_get_pid (service), &before, error))
        return FALSE;
      g_usleep (bench_scale (STILL_US)); /* poll, for as many times as the loop allows */
      if (!bench_process_wakeups (bench_service_get_pid (service), &after, error))
        return FALSE;
      if (after == before)
        break;
    }
  return TRUE;
}

static gboolean
put_events (BenchService  *service,
            guint          n_calls,
            GError       **error)
{
  g_autoptr (GVariant) arguments = bench_put_many_arguments ();
  double per_second;

  return bench_service_calls (service, "PutMany", arguments, n_calls, IN_FLIGHT, &per_second, error) &&
         bench_service_wait_delivered (service, (guint64) n_calls * BENCH_PUT_MANY * N_ROUTES, error) &&
         wait_until_still (service, error);
}

static gboolean
measure_start (gpointer   data,
               double    *value,
               GError   **error)
{
  g_autoptr (BenchService) service = start (data, error);

  if (service == NULL)
    return FALSE;
  *value = bench_service_get_start_ms (service);
  return TRUE;
}

static gboolean
measure_rss (gpointer   data,
             double    *value,
             GError   **error)
{
  g_autoptr (BenchService) service = start (data, error);

  return service != NULL &&
         wait_until_still (service, error) &&
         bench_process_rss (bench_service_get_pid (service), value, error);
}

static gboolean
measure_growth (gpointer   data,
                double    *value,
                GError   **error)
{
  g_autoptr (BenchService) service = start (data, error);
  double before;
  double after;

  if (service == NULL ||
      !wait_until_still (service, error) ||
      !bench_process_rss (bench_service_get_pid (service), &before, error) ||
      !put_events (service, bench_scale (N_EVENTS / BENCH_PUT_MANY), error) ||
      !bench_process_rss (bench_service_get_pid (service), &after, error))
    return FALSE;

  *value = MAX (after - before, 0);
  return TRUE;
}

/* After some events, so that what they started must have stopped. */
static gboolean
measure_wakeups (gpointer   data,
                 double    *value,
                 GError   **error)
{
  g_autoptr (BenchService) service = start (data, error);
  guint64 before;
  guint64 after;

  if (service == NULL ||
      !put_events (service, 10, error) ||
      !bench_process_wakeups (bench_service_get_pid (service), &before, error))
    return FALSE;

  g_usleep (bench_scale (IDLE_WINDOW_US)); /* the time that is looked at */
  if (!bench_process_wakeups (bench_service_get_pid (service), &after, error))
    return FALSE;

  *value = after - before;
  return TRUE;
}

static void
bench_evbusd (const char *program)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BenchBus) bus = bench_bus_new (&error);
  Evbusd evbusd = { bus, program };
  const Bench benches[] = {
    { "evbusd-start", "ms", 1.0, TRUE, measure_start, NULL, 100, &evbusd },
    { "evbusd-resident", "MiB", 1.0, TRUE, measure_rss, NULL, 12, &evbusd },
    { "evbusd-growth-1000000-events", "MiB", 1.0, TRUE, measure_growth, NULL, 2, &evbusd },
    { "evbusd-idle-wakeups-10-s", "wake-ups", 0, TRUE, measure_wakeups, NULL, 0, &evbusd },
  };
  gsize i;

  if (bus == NULL)
    {
      bench_fail ("evbusd", "start", error->message);
      return;
    }
  for (i = 0; i < G_N_ELEMENTS (benches); i++)
    bench_run (&benches[i]);
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  if (argc != 2)
    {
      g_printerr ("Usage: %s [OPTION…] EVBUSD\n", g_get_prgname ());
      return 2;
    }
  bench_evbusd (argv[1]);
  return bench_finish ();
}
