/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One producer into four internal routes, against the same into one: events put
 * a second, counted once until all are delivered everywhere (four threads of
 * routes and four of consumers more, on the machine's processors), and once
 * until the last put has returned, with no more events than the budgets hold:
 * what the further routes cost the producer.
 */

#include "bench-broker.h"
#include "bench.h"

#define N_ROUTES 4
#define N_EVENTS 300000
#define N_EVENTS_HELD 60000

typedef struct
{
  BenchBroker *one;
  BenchBroker *many;
  GBytes      *body;
} Fanout;

static gboolean
put_bytes (EvbusProducer  *producer,
           guint           i,
           gpointer        data,
           GError        **error)
{
  Fanout *fanout = data;
  char *id;

  do
    id = evbus_producer_put_bytes_nowait (producer, "order.created", fanout->body,
                                          "application/octet-stream", NULL, error);
  while (bench_put_again (id, error));
  return *error == NULL;
}

static gboolean
deliver (Fanout       *fanout,
         BenchBroker  *broker,
         double       *value,
         GError      **error)
{
  return bench_broker_run (broker, 1, bench_scale (N_EVENTS), put_bytes, fanout, value, error);
}

static gboolean
deliver_many (gpointer   data,
              double    *value,
              GError   **error)
{
  Fanout *fanout = data;

  return deliver (fanout, fanout->many, value, error);
}

static gboolean
deliver_one (gpointer   data,
             double    *value,
             GError   **error)
{
  Fanout *fanout = data;

  return deliver (fanout, fanout->one, value, error);
}

static gboolean
put (Fanout       *fanout,
     BenchBroker  *broker,
     double       *value,
     GError      **error)
{
  if (!bench_broker_run (broker, 1, bench_scale (N_EVENTS_HELD), put_bytes, fanout, value, error))
    return FALSE;
  *value = bench_broker_last_put (broker);
  return TRUE;
}

static gboolean
put_many (gpointer   data,
          double    *value,
          GError   **error)
{
  Fanout *fanout = data;

  return put (fanout, fanout->many, value, error);
}

static gboolean
put_one (gpointer   data,
         double    *value,
         GError   **error)
{
  Fanout *fanout = data;

  return put (fanout, fanout->one, value, error);
}

static BenchBroker *
broker_with_routes (guint    n_routes,
                    GError **error)
{
  g_autoptr (BenchBroker) broker = bench_broker_new ();
  guint i;

  for (i = 0; i < n_routes; i++)
    if (!bench_broker_add (broker, "*", TRUE, error))
      return NULL;
  if (!bench_broker_start (broker, error))
    return NULL;
  return g_steal_pointer (&broker);
}

static void
bench_fanout (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BenchBroker) one = NULL;
  g_autoptr (BenchBroker) many = NULL;
  g_autoptr (GBytes) body = g_bytes_new_take (g_strnfill (200, 'x'), 200);
  Fanout fanout = { .body = body };
  const Bench benches[] = {
    { "fanout-4-delivered", "events/s", 0.85, FALSE, deliver_many, deliver_one, 0, &fanout },
    { "fanout-4-put", "events/s", 0.85, FALSE, put_many, put_one, 0, &fanout },
  };
  gsize i;

  if ((one = broker_with_routes (1, &error)) == NULL ||
      (many = broker_with_routes (N_ROUTES, &error)) == NULL)
    {
      bench_fail ("fanout-4", "ours", error->message);
      return;
    }

  fanout.one = one;
  fanout.many = many;
  for (i = 0; i < G_N_ELEMENTS (benches); i++)
    bench_run (&benches[i]);
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  bench_fanout ();
  return bench_finish ();
}
