/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * put_bytes_nowait() of 200 bytes until delivered at an internal route, against
 * a bare GAsyncQueue: one allocation an event, of the size of ours and from the
 * same blocks, into which the body is copied, pushed and popped one by one, and
 * freed by who popped it.
 * Both sides have the same number of producers and one consumer. Ours has a
 * listener and a route's thread between them, makes an id, finds the routes
 * and counts.
 */

#include "bench-broker.h"
#include "bench.h"
#include "../../evbus/evbus-event-memory-private.h"

#include <string.h>

#define N_EVENTS 500000
#define BODY_SIZE 200

/* Of an event with such a body: the body, its id and the fields beside them. */
#define EVENT_SIZE 400

typedef struct
{
  BenchBroker *broker;
  GBytes      *body;
  guint        n_producers;
  guint        n_events;
} Put;

static gboolean
put_bytes (EvbusProducer  *producer,
           guint           i,
           gpointer        data,
           GError        **error)
{
  Put *put = data;
  char *id;

  do
    id = evbus_producer_put_bytes_nowait (producer, "order.created", put->body,
                                          "application/octet-stream", NULL, error);
  while (bench_put_again (id, error));
  return *error == NULL;
}

static gboolean
run_ours (gpointer   data,
          double    *value,
          GError   **error)
{
  Put *put = data;

  return bench_broker_run (put->broker, put->n_producers, put->n_events, put_bytes, put, value, error);
}

typedef struct
{
  Put         *put;
  GAsyncQueue *queue;
} Bare;

typedef struct
{
  EvbusEventBlock *block;
  char             body[BODY_SIZE];
} BareEvent;

static gpointer
push_all (gpointer data)
{
  Bare *bare = data;
  const void *body = g_bytes_get_data (bare->put->body, NULL);
  guint i;

  for (i = 0; i < bare->put->n_events; i++)
    {
      EvbusEventBlock *block;
      BareEvent *event = evbus_event_memory_new (EVENT_SIZE, &block);

      event->block = block;
      memcpy (event->body, body, BODY_SIZE);
      g_async_queue_push (bare->queue, event);
    }
  return NULL;
}

static gpointer
pop_all (gpointer data)
{
  Bare *bare = data;
  guint n = bare->put->n_producers * bare->put->n_events;
  guint i;

  for (i = 0; i < n; i++)
    {
      BareEvent *event = g_async_queue_pop (bare->queue);

      evbus_event_memory_free (event, event->block);
    }
  return NULL;
}

static gboolean
run_bare (gpointer   data,
          double    *value,
          GError   **error)
{
  Put *put = data;
  Bare bare = { put, g_async_queue_new () };
  g_autofree GThread **producers = g_new (GThread *, put->n_producers);
  GThread *consumer = g_thread_new ("consumer", pop_all, &bare);
  gint64 start = g_get_monotonic_time ();
  guint i;

  for (i = 0; i < put->n_producers; i++)
    producers[i] = g_thread_new ("producer", push_all, &bare);
  for (i = 0; i < put->n_producers; i++)
    g_thread_join (producers[i]);
  g_thread_join (consumer);

  *value = bench_per_second ((guint64) put->n_producers * put->n_events, start, g_get_monotonic_time ());
  g_async_queue_unref (bare.queue);
  return TRUE;
}

static void
bench_put (const char *name,
           guint       n_producers)
{
  g_autoptr (BenchBroker) broker = bench_broker_new ();
  g_autoptr (GError) error = NULL;
  char body[BODY_SIZE];
  Put put = {
    .broker = broker,
    .n_producers = n_producers,
    .n_events = bench_scale (N_EVENTS) / n_producers,
  };
  Bench bench = {
    .name = name,
    .unit = "events/s",
    .target = 1.0,
    .ours = run_ours,
    .limit = run_bare,
    .data = &put,
  };

  memset (body, 'x', sizeof body);
  put.body = g_bytes_new (body, sizeof body);

  if (bench_broker_add (broker, "*", TRUE, &error) && bench_broker_start (broker, &error))
    bench_run (&bench);
  else
    bench_fail (name, "ours", error->message);

  g_bytes_unref (put.body);
}

int
main (int    argc,
      char **argv)
{
  bench_init (&argc, &argv);
  bench_put ("put-1-producer", 1);
  bench_put ("put-4-producers", 4);
  return bench_finish ();
}
