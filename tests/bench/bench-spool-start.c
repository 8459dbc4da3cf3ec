/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A backlog of ten million events in a spool, its file not in memory: how long it takes
 * to open it, and how long evbusd needs to be on the bus, where it is once its spool is
 * open.
 *
 * Argument: evbusd.
 */

#include "bench-bus.h"
#include "bench.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "evbus-spool-private.h"

#define N_EVENTS 10000000
#define GROUP 4096
#define LIMIT_MS 500

/* Into nowhere, so that the backlog stays. */
#define CONFIG \
  "evbus: {spool: {directory: '%s', bytes: 100GiB}, stop_timeout: 0}\n" \
  "file:\n" \
  "  '*':\n" \
  "    path: '%s/nowhere/events.jsonl'\n" \
  "    delivery: {name: backlog}\n"

#define ROUTE "name:backlog"

typedef struct
{
  const char *folder;
  const char *evbusd;
  BenchBus   *bus;
} Start;

static EvbusEvent *
new_event (void)
{
  EvbusEventInit init = {
    .routing_key = "k", .routing_key_length = 1,
    .profile = "p", .profile_length = 1,
    .content_type = "t",
    .data = (const guint8 *) "x", .size = 1,
  };

  return evbus_event_new (&init);
}

static gboolean
fill (const char  *folder,
      GError     **error)
{
  g_autoptr (EvbusSpool) spool = evbus_spool_open (folder, error);
  g_autoptr (EvbusEvent) event = new_event ();
  EvbusSpoolRoute *route;
  guint n = bench_scale (N_EVENTS);
  guint i;

  if (spool == NULL)
    return FALSE;
  route = evbus_spool_adopt_route (spool, ROUTE);
  for (i = 0; i < n; i++)
    {
      if (i % GROUP == 0)
        evbus_spool_begin (spool);
      evbus_spool_append (spool, event, &route, 1, FALSE);
      if ((i % GROUP == GROUP - 1 || i == n - 1) && !evbus_spool_commit (spool, error))
        return FALSE;
    }
  return TRUE;
}

/* As after a start of the machine. */
static void
drop_from_memory (const char *folder)
{
  g_autofree char *path = g_build_filename (folder, "spool.db", NULL);
  int fd = g_open (path, O_RDONLY | O_CLOEXEC, 0);

  fdatasync (fd);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  close (fd);
}

static gboolean
check_queued (EvbusSpool  *spool,
              GError     **error)
{
  EvbusLedger ledger;

  evbus_spool_route_get_ledger (evbus_spool_adopt_route (spool, ROUTE), &ledger, NULL);
  if (ledger.queued == bench_scale (N_EVENTS))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%" G_GUINT64_FORMAT " events are queued", ledger.queued);
  return FALSE;
}

static gboolean
run_open (gpointer   data,
          double    *value,
          GError   **error)
{
  Start *start = data;
  g_autoptr (EvbusSpool) spool = NULL;
  gint64 began;

  drop_from_memory (start->folder);
  began = g_get_monotonic_time ();
  spool = evbus_spool_open (start->folder, error);
  *value = (double) (g_get_monotonic_time () - began) / 1000;
  return spool != NULL && check_queued (spool, error);
}

static gboolean
run_evbusd (gpointer   data,
            double    *value,
            GError   **error)
{
  Start *start = data;
  g_autofree char *config = g_strdup_printf (CONFIG, start->folder, start->folder);
  g_autoptr (BenchService) service = NULL;

  drop_from_memory (start->folder);
  service = bench_service_new_evbusd (start->bus, start->evbusd, config, error);
  if (service == NULL)
    return FALSE;
  *value = bench_service_get_start_ms (service);
  return TRUE;
}

static void
bench_start (const char *evbusd)
{
  g_autofree char *here = g_get_current_dir ();
  g_autofree char *folder = g_build_filename (here, "bench-spool-start-XXXXXX", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (BenchBus) bus = bench_bus_new (&error);
  Start start = { folder, evbusd, bus };
  const Bench benches[] = {
    { "spool-start", "ms", 1.0, TRUE, run_open, NULL, LIMIT_MS, &start },
    { "evbusd-start-10000000-events", "ms", 1.0, TRUE, run_evbusd, NULL, LIMIT_MS, &start },
  };

  if (bus == NULL || g_mkdtemp (folder) == NULL || !fill (folder, &error))
    {
      bench_fail ("spool-start", "ours", error != NULL ? error->message : "no folder");
      return;
    }
  for (gsize i = 0; i < G_N_ELEMENTS (benches); i++)
    bench_run (&benches[i]);
  bench_remove_folder (folder);
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
  bench_start (argv[1]);
  return bench_finish ();
}
