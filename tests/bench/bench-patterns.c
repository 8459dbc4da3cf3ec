/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * 1000 profile patterns:
 *
 * - against 10, with 16 names that come again and again, which one pattern of
 *   each matches: the cost of finding the routes of a name seen before.
 * - with names never seen before. The limit does what one would write without a
 *   cache: it asks fnmatch() of every pattern, then puts the event under one
 *   known name, so that the rest of the work is the same.
 * - what 100,000 such names leave in memory, once the caches are full.
 */

#include "bench-broker.h"
#include "bench-process.h"
#include "bench.h"

#include <fnmatch.h>

#define N_FEW 10
#define N_MANY 1000
#define N_NAMES 16
#define N_REPEATED 300000
#define N_FRESH 10000
#define N_FRESH_RSS 100000

/* Of the patterns, the names match the last alone; all begin alike, as those of
 * a configuration do, so that none is ruled out by its first character. */
#define PATTERN "shop-%03u.orders-*"
#define NAME "shop-%03u.orders-%08u"

typedef struct
{
  BenchBroker *few;
  BenchBroker *many;
  GBytes      *body;
  GPtrArray   *patterns;
  guint        fresh;
} Patterns;

static gboolean
put_as (EvbusProducer  *producer,
        Patterns       *patterns,
        const char     *profile,
        GError        **error)
{
  char *id;

  do
    id = evbus_producer_put_bytes_nowait (producer, "order.created", patterns->body,
                                          "application/octet-stream", profile, error);
  while (bench_put_again (id, error));
  return *error == NULL;
}

static gboolean
put_repeated (EvbusProducer  *producer,
              guint           i,
              gpointer        data,
              GError        **error)
{
  static const char * const names[N_NAMES] = {
    "shop-999.orders-0", "shop-999.orders-1", "shop-999.orders-2", "shop-999.orders-3",
    "shop-999.orders-4", "shop-999.orders-5", "shop-999.orders-6", "shop-999.orders-7",
    "shop-999.orders-8", "shop-999.orders-9", "shop-999.orders-a", "shop-999.orders-b",
    "shop-999.orders-c", "shop-999.orders-d", "shop-999.orders-e", "shop-999.orders-f",
  };

  return put_as (producer, data, names[i % N_NAMES], error);
}

/* The number goes on through all rounds, so that no name comes twice. */
static void
fresh_name (Patterns *patterns,
            char     *name,
            gsize     size)
{
  g_snprintf (name, size, NAME, N_MANY - 1, patterns->fresh++);
}

static gboolean
put_fresh (EvbusProducer  *producer,
           guint           i,
           gpointer        data,
           GError        **error)
{
  char name[32];

  fresh_name (data, name, sizeof name);
  return put_as (producer, data, name, error);
}

static gboolean
put_after_loop (EvbusProducer  *producer,
                guint           i,
                gpointer        data,
                GError        **error)
{
  Patterns *patterns = data;
  guint matches = 0;
  char name[32];
  guint p;

  fresh_name (patterns, name, sizeof name);
  for (p = 0; p < patterns->patterns->len; p++)
    matches += fnmatch (g_ptr_array_index (patterns->patterns, p), name, 0) == 0;

  if (matches != 1)
    {
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "'%s' matches %u patterns", name, matches);
      return FALSE;
    }
  return put_as (producer, patterns, "shop-999.orders-0", error);
}

static gboolean
repeated_many (gpointer   data,
               double    *value,
               GError   **error)
{
  Patterns *patterns = data;

  return bench_broker_run (patterns->many, 1, bench_scale (N_REPEATED), put_repeated, data, value, error);
}

static gboolean
repeated_few (gpointer   data,
              double    *value,
              GError   **error)
{
  Patterns *patterns = data;

  return bench_broker_run (patterns->few, 1, bench_scale (N_REPEATED), put_repeated, data, value, error);
}

static gboolean
fresh_ours (gpointer   data,
            double    *value,
            GError   **error)
{
  Patterns *patterns = data;

  return bench_broker_run (patterns->many, 1, bench_scale (N_FRESH), put_fresh, data, value, error);
}

static gboolean
fresh_loop (gpointer   data,
            double    *value,
            GError   **error)
{
  Patterns *patterns = data;

  return bench_broker_run (patterns->many, 1, bench_scale (N_FRESH), put_after_loop, data, value, error);
}

static gboolean
fresh_rss (gpointer   data,
           double    *value,
           GError   **error)
{
  Patterns *patterns = data;
  double per_second;
  double before;
  double after;

  if (!bench_process_rss ("self", &before, error) ||
      !bench_broker_run (patterns->many, 1, bench_scale (N_FRESH_RSS), put_fresh, data, &per_second, error) ||
      !bench_process_rss ("self", &after, error))
    return FALSE;

  *value = MAX (after - before, 0);
  return TRUE;
}

static BenchBroker *
broker_with_patterns (GPtrArray  *patterns,
                      guint       n,
                      GError    **error)
{
  g_autoptr (BenchBroker) broker = bench_broker_new ();
  guint i;

  for (i = patterns->len - n; i < patterns->len; i++)
    if (!bench_broker_add (broker, g_ptr_array_index (patterns, i), i == patterns->len - 1, error))
      return NULL;
  if (!bench_broker_start (broker, error))
    return NULL;
  return g_steal_pointer (&broker);
}

static void
bench_patterns (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (BenchBroker) few = NULL;
  g_autoptr (BenchBroker) many = NULL;
  g_autoptr (GBytes) body = g_bytes_new_take (g_strnfill (200, 'x'), 200);
  g_autoptr (GPtrArray) patterns = g_ptr_array_new_with_free_func (g_free);
  Patterns data = { .body = body, .patterns = patterns };
  const Bench benches[] = {
    { "patterns-1000-repeated", "events/s", 0.9, FALSE, repeated_many, repeated_few, 0, &data },
    { "patterns-1000-distinct", "events/s", 1.0, FALSE, fresh_ours, fresh_loop, 0, &data },
    { "patterns-distinct-growth", "MiB", 1.0, TRUE, fresh_rss, NULL, 1.0, &data },
  };
  guint i;

  for (i = 0; i < N_MANY; i++)
    g_ptr_array_add (patterns, g_strdup_printf (PATTERN, i));

  if ((few = broker_with_patterns (patterns, N_FEW, &error)) == NULL ||
      (many = broker_with_patterns (patterns, N_MANY, &error)) == NULL)
    {
      bench_fail ("patterns", "ours", error->message);
      return;
    }

  data.few = few;
  data.many = many;
  for (i = 0; i < G_N_ELEMENTS (benches); i++)
    bench_run (&benches[i]);
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  bench_patterns ();
  return bench_finish ();
}
