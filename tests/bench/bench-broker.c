/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A broker with internal routes, each drained by a thread of its own, and runs
 * through it that are timed from the first put until every consumer has every
 * event and the ledger says so.
 */

#include "bench-broker.h"

#include "bench-flight.h"
#include "bench.h"

/* How long all events of a run may take to arrive after the last put. */
#define ARRIVAL_TIMEOUT (60 * G_TIME_SPAN_SECOND)

#define DRAIN_BATCH 256

/* A producer that finds the queue full waits this long: a little over what the
 * other side needs for a batch. Trying at once takes the processor from those
 * who are to make room. */
#define FULL_WAIT_US 100

/* Nothing may be lost, so a full route refuses. */
#define ROUTE_DATA \
  "{'delivery': <{'overflow': <'reject'>," \
  "               'window': <{'events': <int64 65536>, 'bytes': <'64MiB'>}>}>}"

struct _BenchBroker
{
  EvbusBroker *broker;
  GPtrArray   *drained;
  gint64       last_put;
  guint64      last_n;
  gint64       last_start;
};

/* One run: what its producers and consumers share. */
typedef struct
{
  EvbusProducer *producer;
  BenchPut       put;
  gpointer       data;
  guint          n_events;
  GCancellable  *cancellable;

  GMutex         lock;
  GCond          cond;
  guint          consuming;
  GError        *error;
} Run;

typedef struct
{
  Run          *run;
  EvbusMailbox *mailbox;
  guint         expected;
} Consumer;

BenchBroker *
bench_broker_new (void)
{
  BenchBroker *self = g_new0 (BenchBroker, 1);

  self->broker = evbus_broker_new ();
  self->drained = g_ptr_array_new_with_free_func (g_object_unref);
  return self;
}

void
bench_broker_free (BenchBroker *self)
{
  bench_flight_stop (self->broker);
  g_ptr_array_unref (self->drained);
  g_object_unref (self->broker);
  g_free (self);
}

/* A route that is not @drained is one that no event of the bench reaches. */
gboolean
bench_broker_add (BenchBroker  *self,
                  const char   *profile,
                  gboolean      drained,
                  GError      **error)
{
  g_autoptr (GVariant) data = g_variant_parse (G_VARIANT_TYPE_VARDICT, ROUTE_DATA, NULL, NULL, error);
  g_autoptr (EvbusRoute) route = NULL;

  if (data == NULL)
    return FALSE;

  route = evbus_broker_add_route (self->broker, "internal", profile, data, error);
  if (route == NULL)
    return FALSE;

  if (drained)
    g_ptr_array_add (self->drained, g_steal_pointer (&route));
  return TRUE;
}

gboolean
bench_broker_start (BenchBroker  *self,
                    GError      **error)
{
  return evbus_broker_start (self->broker, error);
}

/*
 * bench_put_again:
 * @id: (transfer full) (nullable): what a put answered
 *
 * Returns: whether to put again, since the queue was full; the error is then
 *   cleared and some time has passed
 */
gboolean
bench_put_again (char    *id,
                 GError **error)
{
  if (id != NULL)
    {
      g_free (id);
      return FALSE;
    }

  if (!g_error_matches (*error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL))
    return FALSE;

  g_clear_error (error);
  g_usleep (FULL_WAIT_US);   /* a producer holds back: that is its way of going on, it waits for nothing else */
  return TRUE;
}

static void
run_take_error (Run    *run,
                GError *error)
{
  g_mutex_lock (&run->lock);
  if (run->error == NULL)
    run->error = g_steal_pointer (&error);
  g_mutex_unlock (&run->lock);
  g_clear_error (&error);
  g_cancellable_cancel (run->cancellable);
}

static gpointer
produce (gpointer user_data)
{
  Run *run = user_data;
  GError *error = NULL;
  guint i;

  for (i = 0; i < run->n_events; i++)
    if (!run->put (run->producer, i, run->data, &error))
      {
        run_take_error (run, error);
        break;
      }
  return NULL;
}

/* Takes what is there in one go, and waits where nothing is. */
static guint
drain_some (Consumer  *consumer,
            GError   **error)
{
  g_autoptr (GPtrArray) events = NULL;
  g_autoptr (EvbusEvent) event = NULL;

  events = evbus_mailbox_try_get_many (consumer->mailbox, NULL, DRAIN_BATCH);
  if (events != NULL && events->len > 0)
    return events->len;

  event = evbus_mailbox_get (consumer->mailbox, NULL, consumer->run->cancellable, error);
  return event != NULL ? 1 : 0;
}

static gpointer
consume (gpointer user_data)
{
  Consumer *consumer = user_data;
  Run *run = consumer->run;
  GError *error = NULL;
  guint got = 0;
  guint n;

  while (got < consumer->expected)
    {
      n = drain_some (consumer, &error);
      if (n == 0)
        {
          g_prefix_error (&error, "%u of %u events arrived: ", got, consumer->expected);
          run_take_error (run, error);
          break;
        }
      got += n;
    }

  g_mutex_lock (&run->lock);
  run->consuming--;
  g_cond_signal (&run->cond);
  g_mutex_unlock (&run->lock);
  return NULL;
}

static gboolean
ledger_is (BenchBroker       *self,
           const EvbusLedger *before,
           guint64            n)
{
  EvbusLedger now;

  evbus_broker_get_ledger (self->broker, &now);
  return evbus_ledger_balances (&now) &&
         now.accepted - before->accepted == n &&
         now.delivered - before->delivered == n &&
         now.unrouted == before->unrouted &&
         now.queued == 0;
}

/* The last confirmation is counted a moment after its events were handed over. */
static gboolean
wait_for_ledger (BenchBroker        *self,
                 const EvbusLedger  *before,
                 guint64             n,
                 GError            **error)
{
  gint64 deadline = g_get_monotonic_time () + ARRIVAL_TIMEOUT;
  EvbusLedger now;

  while (!ledger_is (self, before, n))
    {
      if (g_get_monotonic_time () < deadline)
        {
          g_thread_yield ();
          continue;
        }

      evbus_broker_get_ledger (self->broker, &now);
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_TIMED_OUT,
                   "ledger: %" G_GUINT64_FORMAT " events should have been delivered; since then accepted %"
                   G_GUINT64_FORMAT ", delivered %" G_GUINT64_FORMAT ", queued %" G_GUINT64_FORMAT
                   ", dropped %" G_GUINT64_FORMAT ", unrouted %" G_GUINT64_FORMAT,
                   n, now.accepted - before->accepted, now.delivered - before->delivered,
                   now.queued, now.dropped - before->dropped, now.unrouted - before->unrouted);
      return FALSE;
    }
  return TRUE;
}

static void
wait_for_consumers (Run *run)
{
  gint64 deadline = g_get_monotonic_time () + ARRIVAL_TIMEOUT;

  g_mutex_lock (&run->lock);
  while (run->consuming > 0)
    if (!g_cond_wait_until (&run->cond, &run->lock, deadline))
      break;
  g_mutex_unlock (&run->lock);
  g_cancellable_cancel (run->cancellable);
}

static GThread **
start_consumers (BenchBroker *self,
                 Run         *run,
                 Consumer    *consumers,
                 guint        expected)
{
  GThread **threads = g_new (GThread *, self->drained->len);
  guint i;

  run->consuming = self->drained->len;
  for (i = 0; i < self->drained->len; i++)
    {
      consumers[i].run = run;
      consumers[i].mailbox = evbus_route_get_mailbox (g_ptr_array_index (self->drained, i));
      consumers[i].expected = expected;
      threads[i] = g_thread_new ("consumer", consume, &consumers[i]);
    }
  return threads;
}

static void
join_all (GThread **threads,
          guint     n)
{
  guint i;

  for (i = 0; i < n; i++)
    g_thread_join (threads[i]);
}

static void
run_threads (BenchBroker *self,
             Run         *run,
             guint        n_producers)
{
  g_autofree Consumer *consumers = g_new (Consumer, self->drained->len);
  g_autofree GThread **consuming = NULL;
  g_autofree GThread **producing = g_new (GThread *, n_producers);
  guint i;

  consuming = start_consumers (self, run, consumers, n_producers * run->n_events);

  self->last_start = g_get_monotonic_time ();
  for (i = 0; i < n_producers; i++)
    producing[i] = g_thread_new ("producer", produce, run);
  join_all (producing, n_producers);
  self->last_put = g_get_monotonic_time ();

  wait_for_consumers (run);
  join_all (consuming, self->drained->len);
}

/*
 * bench_broker_run:
 * @n_events: how many each producer puts
 * @put: every one of them must reach every drained route
 *
 * Gives the events put a second, counted until all are delivered.
 */
gboolean
bench_broker_run (BenchBroker  *self,
                  guint         n_producers,
                  guint         n_events,
                  BenchPut      put,
                  gpointer      data,
                  double       *per_second,
                  GError      **error)
{
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();
  guint64 n = (guint64) n_producers * n_events;
  EvbusLedger before;
  gboolean done;
  Run run = {
    .producer = EVBUS_PRODUCER (self->broker),
    .put = put,
    .data = data,
    .n_events = n_events,
    .cancellable = cancellable,
  };

  g_mutex_init (&run.lock);
  g_cond_init (&run.cond);

  evbus_broker_get_ledger (self->broker, &before);
  run_threads (self, &run, n_producers);
  self->last_n = n;

  if (run.error != NULL)
    {
      g_propagate_error (error, g_steal_pointer (&run.error));
      done = FALSE;
    }
  else
    {
      done = wait_for_ledger (self, &before, n * self->drained->len, error);
    }
  *per_second = bench_per_second (n, self->last_start, g_get_monotonic_time ());

  g_cond_clear (&run.cond);
  g_mutex_clear (&run.lock);
  return done;
}

/* Events a second of the last run, counted until the last put had returned. */
double
bench_broker_last_put (BenchBroker *self)
{
  return bench_per_second (self->last_n, self->last_start, self->last_put);
}
