/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Put and PutMany of evbusd, with one internal route, against empty methods of
 * the same signatures on a skeleton from gdbus-codegen, on the same bus, called
 * by the same code over the same connection. Both answer the same bytes: the
 * limit of PutMany sends a hundred constant ids. PutMany once more with a spool.
 *
 * Arguments: evbusd, the empty service.
 */

#include "bench-bus.h"
#include "bench.h"

#define N_PUT_1 3000
#define N_PUT_256 10000
#define N_PUT_MANY 300

/* A call waits for the disk; those that come meanwhile share its commit. */
#define IN_FLIGHT_SPOOL 16

#define MEMORY "evbus: {spool: {directory: none}}\n" ROUTE
#define SPOOL "evbus: {spool: {directory: '@FOLDER@/spool'}}\n" ROUTE
#define ROUTE \
  "internal:\n" \
  "  '*':\n" \
  "    delivery: {overflow: block}\n"

typedef struct
{
  const char   *method;
  GVariant     *arguments;
  guint         n;
  guint         in_flight;
  guint         events;
  BenchService *evbusd;
  BenchService *empty;
  guint64      *delivered;
} Put;

static gboolean
call_ours (gpointer   data,
           double    *value,
           GError   **error)
{
  Put *put = data;
  guint n = bench_scale (put->n);

  if (!bench_service_calls (put->evbusd, put->method, put->arguments, n, put->in_flight, value, error))
    return FALSE;

  *put->delivered += (guint64) n * put->events;
  return bench_service_wait_delivered (put->evbusd, *put->delivered, error);
}

static gboolean
call_empty (gpointer   data,
            double    *value,
            GError   **error)
{
  Put *put = data;

  return bench_service_calls (put->empty, put->method, put->arguments, bench_scale (put->n),
                              put->in_flight, value, error);
}

static void
bench_memory (BenchService *evbusd,
              BenchService *empty)
{
  g_autoptr (GVariant) one = bench_put_arguments ();
  g_autoptr (GVariant) many = bench_put_many_arguments ();
  guint64 delivered = 0;
  Put put_1 = { "Put", one, N_PUT_1, 1, 1, evbusd, empty, &delivered };
  Put put_256 = { "Put", one, N_PUT_256, 256, 1, evbusd, empty, &delivered };
  Put put_many = { "PutMany", many, N_PUT_MANY, 1, BENCH_PUT_MANY, evbusd, empty, &delivered };
  const Bench benches[] = {
    { "dbus-put-1-in-flight", "calls/s", 0.95, FALSE, call_ours, call_empty, 0, &put_1 },
    { "dbus-put-256-in-flight", "calls/s", 0.95, FALSE, call_ours, call_empty, 0, &put_256 },
    { "dbus-put-many-100", "calls/s", 0.75, FALSE, call_ours, call_empty, 0, &put_many },
  };
  gsize i;

  for (i = 0; i < G_N_ELEMENTS (benches); i++)
    bench_run (&benches[i]);
}

static void
bench_spool (BenchService *evbusd,
             BenchService *empty)
{
  g_autoptr (GVariant) many = bench_put_many_arguments ();
  guint64 delivered = 0;
  Put put_many = { "PutMany", many, N_PUT_MANY, IN_FLIGHT_SPOOL, BENCH_PUT_MANY, evbusd, empty, &delivered };
  const Bench bench = { "dbus-put-many-100-spool", "calls/s", 0.5, FALSE, call_ours, call_empty, 0, &put_many };

  bench_run (&bench);
}

/* Each configuration in an evbusd of its own. */
static void
bench_dbus_put (const char *evbusd_program,
                const char *empty_program)
{
  static const struct {
    const char *config;
    void     (* bench) (BenchService *evbusd,
                        BenchService *empty);
  } parts[] = {
    { MEMORY, bench_memory },
    { SPOOL, bench_spool },
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (BenchBus) bus = NULL;
  g_autoptr (BenchService) empty = NULL;
  gsize i;

  if ((bus = bench_bus_new (&error)) == NULL ||
      (empty = bench_service_new (bus, BENCH_EMPTY_NAME,
                                  (const char *[]) { empty_program, bench_bus_get_address (bus), NULL },
                                  &error)) == NULL)
    {
      bench_fail ("dbus-put", "start", error->message);
      return;
    }
  for (i = 0; i < G_N_ELEMENTS (parts); i++)
    {
      g_autoptr (BenchService) evbusd = bench_service_new_evbusd (bus, evbusd_program, parts[i].config, &error);

      if (evbusd != NULL)
        parts[i].bench (evbusd, empty);
      else
        bench_fail ("dbus-put", "start", error->message);
      g_clear_error (&error);
    }
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  if (argc != 3)
    {
      g_printerr ("Usage: %s [OPTION…] EVBUSD EMPTY-SERVICE\n", g_get_prgname ());
      return 2;
    }
  bench_dbus_put (argv[1], argv[2]);
  return bench_finish ();
}
