/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Building a five-key a{sv}, put_nowait() and delivery at an internal route as
 * JSON, against building it and throwing it away.
 */

#include "bench-broker.h"
#include "bench.h"

#define N_EVENTS 100000

static gboolean
put_variant (EvbusProducer  *producer,
             guint           i,
             gpointer        data,
             GError        **error)
{
  g_autoptr (GVariant) body = g_variant_ref_sink (bench_build_body (i));
  char *id;

  do
    id = evbus_producer_put_nowait (producer, "order.created", body, NULL, error);
  while (bench_put_again (id, error));
  return *error == NULL;
}

static gboolean
run_ours (gpointer   data,
          double    *value,
          GError   **error)
{
  return bench_broker_run (data, 1, bench_scale (N_EVENTS), put_variant, NULL, value, error);
}

static gpointer
build_all (gpointer data)
{
  guint n = bench_scale (N_EVENTS);
  guint i;

  for (i = 0; i < n; i++)
    g_variant_unref (g_variant_ref_sink (bench_build_body (i)));
  return NULL;
}

/* On a thread of its own, as a producer's of ours is. */
static gboolean
run_building (gpointer   data,
              double    *value,
              GError   **error)
{
  gint64 start = g_get_monotonic_time ();

  g_thread_join (g_thread_new ("producer", build_all, NULL));
  *value = bench_per_second (bench_scale (N_EVENTS), start, g_get_monotonic_time ());
  return TRUE;
}

static void
bench_put_variant (void)
{
  g_autoptr (BenchBroker) broker = bench_broker_new ();
  g_autoptr (GError) error = NULL;
  const Bench bench = {
    .name = "put-variant",
    .unit = "events/s",
    .target = 0.6,
    .ours = run_ours,
    .limit = run_building,
    .data = broker,
  };

  if (bench_broker_add (broker, "*", TRUE, &error) && bench_broker_start (broker, &error))
    bench_run (&bench);
  else
    bench_fail (bench.name, "ours", error->message);
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  bench_put_variant ();
  return bench_finish ();
}
