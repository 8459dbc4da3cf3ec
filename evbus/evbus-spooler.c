/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-spooler-private.h"

#include "evbus-admission-private.h"
#include "evbus-answers-private.h"
#include "evbus-budget-private.h"
#include "evbus-error.h"
#include "evbus-route-private.h"
#include "evbus-source-private.h"

/* What was settled since may be delivered once more after a crash; to write it
 * down at once would cost a sync for each batch. */
#define UPKEEP_US (50 * (gint64) 1000)

/* Where puts come faster than that, so much of them is what a budget may be
 * exceeded by. */
#define UPKEEP_BYTES ((gsize) 4 * 1024 * 1024)

struct _EvbusSpooler
{
  gatomicrefcount  ref_count;
  EvbusSpool      *spool;
  EvbusQueue      *queue;
  GSource         *upkeep;     /* in the listener's context */
  int              armed;      /* atomic; @upkeep will go off */
  GSource         *work;       /* in the listener's context: woken when there are @jobs */
  GSource         *figures;    /* likewise: when what is counted for no route is to be stored */
  GSource         *look;       /* likewise: when puts found no room, and there may be some by now */

  GMutex           lock;
  GQueue           jobs;       /* Job; under @lock */
  gboolean         closed;     /* no more of them; under @lock */

  gsize            stored;     /* since the last upkeep; on the listener's thread */
  EvbusBudget      budget;     /* the listener's thread's */
};

typedef struct {
  EvbusSpoolerJob  func;
  gpointer         data;
} Job;

/* The routes of a chunk, as the spool knows them. */
static void
append_chunk (EvbusSpool    *spool,
              EvbusChunk    *chunk,
              EvbusRouteSet *set)
{
  g_autofree EvbusSpoolRoute **routes = g_new (EvbusSpoolRoute *, set->n_routes);

  for (guint i = 0; i < set->n_routes; i++)
    routes[i] = set->routes[i]->spool_route;
  for (guint i = 0; i < chunk->n_events; i++)
    {
      EvbusEvent *event = chunk->events[i];

      /* For its record, and for that of its death. */
      event->since = evbus_chunk_since (chunk, event);
      evbus_spool_append (spool, event, routes, set->n_routes, event->known_id);
    }
}

static void
answer_receipts (EvbusTake    *take,
                 GQueue       *repeats,
                 const GError *error)
{
  EvbusAnswers *answers = evbus_answers_new ();
  EvbusPut *put;

  for (guint i = 0; i < take->chunks->len; i++)
    {
      EvbusChunk *chunk = take->chunks->pdata[i];

      for (guint j = 0; chunk->receipts != NULL && j < chunk->receipts->len; j++)
        evbus_answers_add (answers, chunk->receipts->pdata[j]);
      g_clear_pointer (&chunk->receipts, g_ptr_array_unref);
    }
  while ((put = g_queue_pop_head (repeats)) != NULL)
    {
      evbus_answers_add (answers, put);
      evbus_put_unref (put);
    }
  evbus_answers_send (answers, error);
}

/* Nobody waits for an answer about these: a signal says that they are lost. */
static void
tell_of_dropped (EvbusTake    *take,
                 const GError *error)
{
  g_autofree char *reason = g_strdup_printf ("it could not be stored: %s", error->message);

  for (guint i = 0; i < take->chunks->len; i++)
    {
      EvbusChunk *chunk = take->chunks->pdata[i];
      EvbusRouteSet *set = take->sets->pdata[i];

      for (guint j = 0; j < chunk->n_events; j++)
        {
          for (guint k = 0; k < set->n_routes && !chunk->events[j]->has_receipt; k++)
            evbus_notifier_event_failed (set->routes[k]->notifier, set->routes[k],
                                         chunk->events[j], reason);
        }
    }
}

/* The same in the spool's books, which outlive the process and its routes. */
static void
book_dropped (EvbusSpool *spool,
              EvbusTake  *take)
{
  for (guint i = 0; i < take->chunks->len; i++)
    {
      EvbusChunk *chunk = take->chunks->pdata[i];
      EvbusRouteSet *set = take->sets->pdata[i];
      EvbusLedger change = { 0 };

      for (guint j = 0; j < chunk->n_events; j++)
        change.dropped += !chunk->events[j]->has_receipt;
      change.accepted = change.dropped;
      for (guint k = 0; k < set->n_routes && change.dropped > 0; k++)
        evbus_spool_book (spool, set->routes[k]->spool_route, &change);
    }
}

static void
refuse (EvbusQueue   *queue,
        EvbusTake    *take,
        const GError *error)
{
  GQueue repeats = G_QUEUE_INIT;

  evbus_queue_take_back (queue, take, error, &repeats);
  answer_receipts (take, &repeats, error);
  tell_of_dropped (take, error);
  for (guint i = 0; i < take->chunks->len; i++)
    evbus_chunk_unref (take->chunks->pdata[i]);
}

void
evbus_spooler_refuse (EvbusQueue *queue,
                      EvbusTake  *take)
{
  g_autoptr(GError) closed = g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_CLOSED,
                                                  "the broker was stopped before the event was stored");

  refuse (queue, take, closed);
}

static void
tend_in (EvbusSpooler *self,
         gint64        delay)
{
  if (g_atomic_int_compare_and_exchange (&self->armed, FALSE, TRUE))
    g_source_set_ready_time (self->upkeep, g_get_monotonic_time () + delay);
}

/* Unless that is to be sooner. */
static void
wake_up_at (EvbusSpooler *self,
            gint64        time)
{
  g_source_set_ready_time (self->upkeep, time);
  if (g_atomic_int_get (&self->armed))
    g_source_set_ready_time (self->upkeep, g_get_monotonic_time () + UPKEEP_US);
}

/* Each time a few milliseconds; in a row while nothing comes and there is something to
 * delete, so that the space of a backlog is back soon after that is gone. */
static void
keep_up (EvbusSpooler *self)
{
  gboolean idle = self->stored == 0;
  gboolean more;
  gint64 again;

  self->stored = 0;
  more = evbus_budget_keep (&self->budget);
  again = MIN (self->budget.again, evbus_spool_get_next_try (self->spool));
  if (evbus_spool_is_full (self->spool))
    evbus_spooler_tend (self);
  else if (more)
    tend_in (self, idle && evbus_spool_has_settled (self->spool) ? 0 : UPKEEP_US);
  else if (again != G_MAXINT64)
    wake_up_at (self, again);
}

static gboolean
on_upkeep (gpointer data)
{
  EvbusSpooler *self = data;

  g_atomic_int_set (&self->armed, FALSE);
  keep_up (self);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_look (gpointer data)
{
  keep_up (data);
  return G_SOURCE_CONTINUE;
}

static void
store_figures (EvbusSpooler *self)
{
  EvbusLedger figures = { 0 };

  evbus_queue_take_figures (self->queue, &figures);
  evbus_spool_set_figures (self->spool, &figures);
}

static gboolean
on_figures (gpointer data)
{
  EvbusSpooler *self = data;

  store_figures (self);
  evbus_spooler_tend (self);
  return G_SOURCE_CONTINUE;
}

static GError *
tell_what_to_do (const GError *failure)
{
  if (!g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED))
    return g_error_copy (failure);
  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED,
                      "%s; put it again with the same id (give it one, if it has none), and it is stored once",
                      failure->message);
}

gboolean
evbus_spooler_store (EvbusSpooler *self,
                     EvbusTake    *take)
{
  GQueue repeats = G_QUEUE_INIT;
  g_autoptr(GError) failure = NULL;

  if (take->weight > EVBUS_SPOOL_COMMIT_BYTES)
    evbus_spool_make_way (self->spool);
  evbus_spool_begin (self->spool);
  for (guint i = 0; i < take->chunks->len; i++)
    append_chunk (self->spool, take->chunks->pdata[i], take->sets->pdata[i]);

  /* Old events are expired, and the space of those that are settled is given
   * back, also where no route moves. */
  evbus_spooler_tend (self);
  if (!evbus_spool_commit (self->spool, &failure))
    {
      g_autoptr(GError) error = tell_what_to_do (failure);

      book_dropped (self->spool, take);
      refuse (self->queue, take, error);
      return FALSE;
    }

  evbus_queue_stored (self->queue, take, &repeats);
  answer_receipts (take, &repeats, NULL);
  self->stored += take->weight;
  if (self->stored >= MIN (UPKEEP_BYTES, (gsize) g_atomic_pointer_get (&self->budget.max_bytes) / 8))
    keep_up (self);
  return TRUE;
}

gboolean
evbus_spooler_look_up (EvbusSpooler *self)
{
  return evbus_queue_look_up (self->queue, self->spool);
}

/* NULL: there is none. */
static Job *
next_job (EvbusSpooler *self)
{
  Job *job;

  g_mutex_lock (&self->lock);
  job = g_queue_pop_head (&self->jobs);
  g_mutex_unlock (&self->lock);

  return job;
}

/* One, so that the queue gets its turn between any two. */
static gboolean
on_work (gpointer data)
{
  EvbusSpooler *self = data;
  Job *job = next_job (self);

  if (job != NULL)
    {
      evbus_source_wake (self->work);
      job->func (TRUE, job->data);
      g_free (job);
    }
  return G_SOURCE_CONTINUE;
}

gboolean
evbus_spooler_do (EvbusSpooler    *self,
                  EvbusSpoolerJob  func,
                  gpointer         data)
{
  const Job job = { func, data };
  gboolean open;

  g_mutex_lock (&self->lock);
  open = !self->closed;
  if (open)
    g_queue_push_tail (&self->jobs, g_memdup2 (&job, sizeof job));
  g_mutex_unlock (&self->lock);

  if (open)
    evbus_source_wake (self->work);
  return open;
}

EvbusSpooler *
evbus_spooler_new (EvbusSpool *spool,
                   EvbusQueue *queue)
{
  EvbusSpooler *self = g_new0 (EvbusSpooler, 1);

  g_atomic_ref_count_init (&self->ref_count);
  self->spool = evbus_spool_ref (spool);
  self->queue = evbus_queue_ref (queue);
  evbus_budget_init (&self->budget, self->spool, self->queue);
  g_mutex_init (&self->lock);
  self->upkeep = evbus_source_new ("[evbus] spool", on_upkeep, self, NULL);
  self->work = evbus_source_new ("[evbus] work on the spool", on_work, self, NULL);
  self->figures = evbus_source_new ("[evbus] figures of no route", on_figures, self, NULL);
  self->look = evbus_source_new ("[evbus] room in the spool", on_look, self, NULL);
  g_source_attach (self->look, g_source_get_context (queue->source));
  g_source_attach (self->figures, g_source_get_context (queue->source));
  g_source_attach (self->work, g_source_get_context (queue->source));
  g_source_attach (self->upkeep, g_source_get_context (queue->source));   /* the listener's */
  evbus_spooler_tend (self);

  return self;
}

EvbusSpooler *
evbus_spooler_ref (EvbusSpooler *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_spooler_unref (EvbusSpooler *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_source_destroy (self->upkeep);
  g_source_unref (self->upkeep);
  g_source_destroy (self->work);
  g_source_unref (self->work);
  g_source_destroy (self->figures);
  g_source_unref (self->figures);
  g_source_destroy (self->look);
  g_source_unref (self->look);
  g_mutex_clear (&self->lock);
  evbus_budget_clear (&self->budget);
  evbus_queue_unref (self->queue);
  evbus_spool_unref (self->spool);
  g_free (self);
}

void
evbus_spooler_load_figures (EvbusSpooler *self)
{
  EvbusLedger stored;

  evbus_spool_get_rest (self->spool, &stored);
  evbus_queue_load_figures (self->queue, &stored, self->figures);
  evbus_queue_watch_room (self->queue, self->look);
  evbus_budget_measure (&self->budget);
}

void
evbus_spooler_lock_routes (EvbusSpooler *self)
{
  g_mutex_lock (&self->budget.claiming);
}

void
evbus_spooler_unlock_routes (EvbusSpooler *self)
{
  g_mutex_unlock (&self->budget.claiming);
}

void
evbus_spooler_tend (EvbusSpooler *self)
{
  tend_in (self, UPKEEP_US);
}

void
evbus_spooler_set_budget (EvbusSpooler *self,
                          gsize         max_bytes,
                          gint64        max_age)
{
  guint seconds = (guint) ((max_age + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC);

  g_atomic_pointer_set (&self->budget.max_bytes, max_bytes);
  g_atomic_int_set (&self->budget.max_age, seconds);
  g_atomic_int_set (&self->queue->spool_max_age, seconds);
  evbus_queue_set_room_max (self->queue, max_bytes);
  evbus_spooler_tend (self);
}

void
evbus_spooler_close (EvbusSpooler *self)
{
  Job *job;

  g_source_destroy (self->upkeep);
  g_source_destroy (self->work);
  g_source_destroy (self->figures);
  g_source_destroy (self->look);
  /* Not of a start that was refused before they were read: they would be none. */
  if (self->queue->figures != NULL)
    store_figures (self);
  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  g_mutex_unlock (&self->lock);
  while ((job = next_job (self)) != NULL)
    {
      job->func (FALSE, job->data);
      g_free (job);
    }
  evbus_spool_close (self->spool);
}
