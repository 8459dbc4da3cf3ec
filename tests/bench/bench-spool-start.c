/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening a spool with a backlog of ten million events, its file not in memory:
 * milliseconds, against what evbusd may take for its whole start.
 */

#include "bench.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "evbus-spool-private.h"

#define N_EVENTS 10000000
#define GROUP 4096
#define LIMIT_MS 500

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
  route = evbus_spool_adopt_route (spool, "route");
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

static gboolean
run_open (gpointer   data,
          double    *value,
          GError   **error)
{
  const char *folder = data;
  g_autofree char *path = g_build_filename (folder, "spool.db", NULL);
  g_autoptr (EvbusSpool) spool = NULL;
  EvbusLedger ledger;
  gint64 start;
  int fd = g_open (path, O_RDONLY | O_CLOEXEC, 0);

  /* As after a start of the machine. */
  fdatasync (fd);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  close (fd);

  start = g_get_monotonic_time ();
  spool = evbus_spool_open (folder, error);
  *value = (double) (g_get_monotonic_time () - start) / 1000;
  if (spool == NULL)
    return FALSE;

  evbus_spool_route_get_ledger (evbus_spool_adopt_route (spool, "route"), &ledger, NULL);
  if (ledger.queued == bench_scale (N_EVENTS))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%" G_GUINT64_FORMAT " events are queued", ledger.queued);
  return FALSE;
}

int
main (int    argc,
      char **argv)
{
  g_autofree char *here = g_get_current_dir ();
  g_autofree char *folder = g_build_filename (here, "bench-spool-start-XXXXXX", NULL);
  g_autoptr (GError) error = NULL;
  Bench bench = {
    .name = "spool-start",
    .unit = "ms",
    .target = 1,
    .lower_is_better = TRUE,
    .ours = run_open,
    .fixed_limit = LIMIT_MS,
    .data = folder,
  };

  bench_init (&argc, &argv);
  if (g_mkdtemp (folder) != NULL && fill (folder, &error))
    bench_run (&bench);
  else
    bench_fail (bench.name, "ours", error != NULL ? error->message : "no folder");
  bench_remove_folder (folder);
  return bench_finish ();
}
