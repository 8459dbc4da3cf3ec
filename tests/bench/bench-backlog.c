/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Catching up: a file route that was paused while a million events of 200 bytes
 * were put, until all are delivered; its backlog in the spool, against the same
 * in memory.
 */

#include "bench-broker.h"
#include "bench.h"

#include <evbus/evbus.h>
#include <unistd.h>

#define N_EVENTS 1000000
#define BODY_SIZE 200
#define ARRIVAL_TIMEOUT (120 * G_TIME_SPAN_SECOND)

#define FROM_SPOOL "{'path': <'@PATH@'>}"

/* Nothing may be lost, so a full window refuses. */
#define FROM_MEMORY \
  "{'path': <'@PATH@'>," \
  " 'delivery': <{'overflow': <'reject'>," \
  "               'window': <{'events': <int64 2000000>, 'bytes': <'4GiB'>}>}>}"

typedef struct
{
  EvbusBroker *broker;
  EvbusRoute  *route;
  GBytes      *body;
  char        *path;
} Side;

typedef struct
{
  Side spool;
  Side memory;
} Backlog;

static gboolean
put_one (Side    *side,
         GError **error)
{
  char *id;

  do
    id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (side->broker), "order.created", side->body,
                                          NULL, NULL, error);
  while (bench_put_again (id, error));
  return *error == NULL;
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  *(GAsyncResult **) user_data = g_object_ref (result);
}

/* The last one is answered when all are where they are to be. */
static gboolean
put_all (Side     *side,
         guint     n,
         GError  **error)
{
  g_autoptr (GAsyncResult) result = NULL;
  g_autofree char *id = NULL;
  guint i;

  for (i = 1; i < n; i++)
    if (!put_one (side, error))
      return FALSE;

  evbus_producer_put_bytes_async (EVBUS_PRODUCER (side->broker), "order.created", side->body, NULL, NULL, NULL,
                                  on_put, &result);
  while (result == NULL)
    g_main_context_iteration (NULL, TRUE);
  id = evbus_producer_put_bytes_finish (EVBUS_PRODUCER (side->broker), result, error);
  return id != NULL;
}

/* Each was delivered, at the first try. */
static gboolean
wait_delivered (Side     *side,
                guint64   n,
                GError  **error)
{
  gint64 deadline = g_get_monotonic_time () + ARRIVAL_TIMEOUT;
  EvbusLedger ledger;

  while (evbus_route_get_ledger (side->route, &ledger), ledger.queued > 0 && g_get_monotonic_time () < deadline)
    g_usleep (1000);   /* poll, with the deadline above */

  if (ledger.delivered == n && ledger.retried == 0 && evbus_ledger_balances (&ledger))
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "ledger: %" G_GUINT64_FORMAT " events should have been "
               "delivered, not %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " of them again",
               n, ledger.delivered, ledger.retried);
  return FALSE;
}

static gboolean
catch_up (Side    *side,
          double  *per_second,
          GError **error)
{
  guint n = bench_scale (N_EVENTS);
  EvbusLedger before;
  gint64 start;

  evbus_route_get_ledger (side->route, &before);
  evbus_route_pause (side->route);
  if (!put_all (side, n, error))
    return FALSE;
  start = g_get_monotonic_time ();
  evbus_route_resume (side->route);
  if (!wait_delivered (side, before.delivered + n, error))
    return FALSE;
  *per_second = bench_per_second (n, start, g_get_monotonic_time ());

  if (truncate (side->path, 0) == 0)
    return TRUE;
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s: %s", side->path, g_strerror (errno));
  return FALSE;
}

static gboolean
run_spool (gpointer   data,
           double    *value,
           GError   **error)
{
  return catch_up (&((Backlog *) data)->spool, value, error);
}

static gboolean
run_memory (gpointer   data,
            double    *value,
            GError   **error)
{
  return catch_up (&((Backlog *) data)->memory, value, error);
}

static gboolean
begin (Side        *side,
       const char  *folder,
       const char  *name,
       const char  *options,
       const char  *spool,
       GError     **error)
{
  g_autoptr (GVariant) data = NULL;
  g_autoptr (GString) text = g_string_new (options);

  side->path = g_build_filename (folder, name, NULL);
  g_string_replace (text, "@PATH@", side->path, 0);
  data = g_variant_parse (G_VARIANT_TYPE_VARDICT, text->str, NULL, NULL, error);
  if (data == NULL)
    return FALSE;

  side->body = g_bytes_new_take (g_strnfill (BODY_SIZE, 'x'), BODY_SIZE);
  side->broker = evbus_broker_new ();
  if (spool != NULL)
    evbus_broker_set_spool_directory (side->broker, spool);
  side->route = evbus_broker_add_route (side->broker, "file", "*", data, error);
  return side->route != NULL && evbus_broker_start (side->broker, error);
}

static void
end (Side *side)
{
  g_autoptr (GAsyncResult) result = NULL;
  g_autoptr (GError) error = NULL;

  if (side->broker != NULL)
    {
      evbus_broker_stop_async (side->broker, NULL, on_put, &result);
      while (result == NULL)
        g_main_context_iteration (NULL, TRUE);
      if (!evbus_broker_stop_finish (side->broker, result, &error))
        bench_fail ("backlog", "stop", error->message);
    }
  g_clear_object (&side->route);
  g_clear_object (&side->broker);
  g_clear_pointer (&side->body, g_bytes_unref);
  g_clear_pointer (&side->path, g_free);
}

int
main (int    argc,
      char **argv)
{
  g_autofree char *here = g_get_current_dir ();
  g_autofree char *folder = g_build_filename (here, "bench-backlog-XXXXXX", NULL);
  g_autofree char *spool = NULL;
  g_autoptr (GError) error = NULL;
  Backlog backlog = { 0 };
  Bench bench = {
    .name = "backlog-1000000-events",
    .unit = "events/s",
    .target = 0.5,
    .ours = run_spool,
    .limit = run_memory,
    .data = &backlog,
  };

  bench_init (&argc, &argv);
  if (g_mkdtemp (folder) == NULL)
    g_error ("%s: %s", folder, g_strerror (errno));
  spool = g_build_filename (folder, "spool", NULL);
  if (begin (&backlog.spool, folder, "from-spool", FROM_SPOOL, spool, &error) &&
      begin (&backlog.memory, folder, "from-memory", FROM_MEMORY, NULL, &error))
    bench_run (&bench);
  else
    bench_fail (bench.name, "start", error->message);
  end (&backlog.spool);
  end (&backlog.memory);
  bench_remove_folder (folder);
  return bench_finish ();
}
