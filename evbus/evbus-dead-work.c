/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-dead-work-private.h"

#include "evbus-claim-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"

GTask *
evbus_dead_task_new (EvbusBroker         *broker,
                     GCancellable        *cancellable,
                     GAsyncReadyCallback  callback,
                     gpointer             user_data,
                     gpointer             tag)
{
  GTask *task = g_task_new (broker, cancellable, callback, user_data);

  /* What was done by then stays done, and is said. */
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_source_tag (task, tag);
  g_task_set_name (task, "[evbus] dead letters");
  return task;
}

gboolean
evbus_dead_task_begin (GTask                  *task,
                       EvbusDeadKind           kind,
                       const char             *route,
                       const gint64           *numbers,
                       gsize                   n_numbers,
                       GFileProgressCallback   progress,
                       gpointer                progress_data,
                       GDestroyNotify          progress_free)
{
  EvbusDeadWork *work = NULL;
  GError *error = NULL;

  if (kind != EVBUS_DEAD_EXPORT && route == NULL && n_numbers == 0)
    g_task_return_boolean (task, TRUE);
  else if ((work = evbus_dead_work_new (g_task_get_source_object (task), kind, route,
                                        numbers, n_numbers, &error)) == NULL)
    g_task_return_error (task, error);

  if (work == NULL)
    {
      if (progress_free != NULL)
        progress_free (progress_data);
      return FALSE;
    }

  work->progress = progress;
  work->progress_data = progress_data;
  work->progress_free = progress_free;
  g_task_set_task_data (task, work, (GDestroyNotify) evbus_dead_work_free);
  return TRUE;
}

gboolean
evbus_dead_task_finish (GAsyncResult  *result,
                        guint64       *n_done,
                        GError       **error)
{
  EvbusDeadWork *work = g_task_get_task_data (G_TASK (result));

  if (n_done != NULL)
    *n_done = work != NULL ? work->n_done : 0;
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* How many all routes have, those that are gone too. */
static guint64
count_dead (EvbusSpool *spool)
{
  g_autoptr(GPtrArray) routes = evbus_spool_list_routes (spool);
  guint64 n_dead = 0;

  for (guint i = 0; i < routes->len; i++)
    {
      EvbusLedger ledger;

      evbus_spool_route_get_ledger (routes->pdata[i], &ledger, NULL);
      n_dead += ledger.dead;
    }
  return n_dead;
}

static EvbusSpoolRoute *
find_route (EvbusDeadWork  *self,
            const char     *route,
            GError        **error)
{
  EvbusLedger ledger;

  self->route = evbus_claim_find (self->spool, route, error);
  if (self->route == NULL)
    return NULL;

  self->key = evbus_spool_route_dup_key (self->route);
  evbus_spool_route_get_ledger (self->route, &ledger, NULL);
  self->total = ledger.dead + (self->kind == EVBUS_DEAD_FORGET ? ledger.queued : 0);
  return self->route;
}

EvbusDeadWork *
evbus_dead_work_new (EvbusBroker    *broker,
                     EvbusDeadKind   kind,
                     const char     *route,
                     const gint64   *numbers,
                     gsize           n_numbers,
                     GError        **error)
{
  g_autoptr(EvbusDeadWork) self = g_new0 (EvbusDeadWork, 1);
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&broker->lock);

  if (broker->spool == NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                           "dead letters and routes that are gone need a spool, and this broker has none");
      return NULL;
    }

  self->kind = kind;
  self->spool = evbus_spool_ref (broker->spool);
  self->spooler = evbus_spooler_ref (broker->spooler);
  if (route != NULL && find_route (self, route, error) == NULL)
    return NULL;
  if (n_numbers > 0)
    {
      self->numbers = g_array_sized_new (FALSE, FALSE, sizeof (gint64), n_numbers);
      g_array_append_vals (self->numbers, numbers, n_numbers);
      self->total = n_numbers;
    }
  else if (kind == EVBUS_DEAD_EXPORT && route == NULL)
    {
      self->total = count_dead (self->spool);
    }

  return g_steal_pointer (&self);
}

void
evbus_dead_work_free (EvbusDeadWork *self)
{
  if (self->progress_free != NULL)
    self->progress_free (self->progress_data);
  g_clear_object (&self->stream);
  g_clear_pointer (&self->numbers, g_array_unref);
  g_clear_error (&self->orphaned);
  g_free (self->key);
  g_free (self->name);
  g_clear_pointer (&self->spooler, evbus_spooler_unref);
  g_clear_pointer (&self->route, evbus_spool_route_unref);
  g_clear_pointer (&self->spool, evbus_spool_unref);
  g_free (self);
}

/* Its key: a reload can change it meanwhile. */
static GPtrArray *
list_dead (EvbusDeadWork  *self,
           gint64          after,
           guint           max_letters,
           GError        **error)
{
  g_autofree char *key = self->route != NULL ? evbus_spool_route_dup_key (self->route) : NULL;

  return evbus_spool_list_dead (self->spool, key, after, max_letters, error);
}

/* Those of the numbers that are there, and can be replayed if that is what is done. */
static GPtrArray *
read_numbers (EvbusDeadWork  *self,
              GError        **error)
{
  g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_dead_free);
  gsize weight = 0;

  for (guint i = 0; self->next < self->numbers->len && i < EVBUS_SPOOL_STEP_LETTERS &&
                    weight < EVBUS_SPOOL_STEP_BYTES; i++)
    {
      gint64 number = g_array_index (self->numbers, gint64, self->next++);
      g_autoptr(GPtrArray) one = list_dead (self, number - 1, 1, error);
      EvbusSpoolDead *dead;

      if (one == NULL)
        return NULL;
      dead = one->len == 1 ? one->pdata[0] : NULL;
      if (dead != NULL && dead->number == number && (dead->event != NULL || self->kind == EVBUS_DEAD_EXPORT))
        {
          weight += dead->event != NULL ? dead->event->weight : 0;
          g_ptr_array_add (found, g_ptr_array_steal_index (one, 0));
        }
      else if (self->missing == 0)
        self->missing = number;
    }

  return g_steal_pointer (&found);
}

static GPtrArray *
read_after (EvbusDeadWork  *self,
            GError        **error)
{
  g_autoptr(GPtrArray) found = NULL;

  if (self->last == 0 && !evbus_spool_last_dead (self->spool, self->route, &self->last, error))
    return NULL;

  found = list_dead (self, self->after, EVBUS_SPOOL_STEP_LETTERS, error);
  while (found != NULL && found->len > 0 &&
         ((EvbusSpoolDead *) found->pdata[found->len - 1])->number > self->last)
    g_ptr_array_set_size (found, found->len - 1);
  if (found != NULL && found->len > 0)
    self->after = ((EvbusSpoolDead *) found->pdata[found->len - 1])->number;
  return g_steal_pointer (&found);
}

GPtrArray *
evbus_dead_work_read (EvbusDeadWork  *self,
                      GError        **error)
{
  return self->numbers != NULL ? read_numbers (self, error) : read_after (self, error);
}

gboolean
evbus_dead_work_has_read (EvbusDeadWork *self)
{
  return self->numbers == NULL || self->next == self->numbers->len;
}

/* The numbers of the next step. @n: (out): 0 at the end. */
static gboolean
next_numbers (EvbusDeadWork  *self,
              GArray         *found,
              const gint64  **numbers,
              guint          *n,
              GError        **error)
{
  if (self->numbers != NULL)
    {
      *n = MIN (self->numbers->len - self->next, EVBUS_SPOOL_STEP_LETTERS);
      *numbers = (gint64 *) (gpointer) self->numbers->data + self->next;
      return TRUE;
    }

  if (self->last == 0 && !evbus_spool_last_dead (self->spool, self->route, &self->last, error))
    return FALSE;
  if (!evbus_spool_list_dead_numbers (self->spool, self->route, self->after, self->last,
                                      EVBUS_SPOOL_STEP_LETTERS, found, error))
    return FALSE;
  *n = found->len;
  *numbers = (gint64 *) (gpointer) found->data;
  return TRUE;
}

static void
hand_over (EvbusBroker        *broker,
           EvbusSpool         *spool,
           EvbusSpoolDeadStep *step)
{
  for (guint i = 0; i < step->events->len; i++)
    {
      EvbusEvent *event = step->events->pdata[i];
      g_autoptr(EvbusRoute) route = NULL;
      EvbusChunk *chunk;

      evbus_queue_follow_replayed (broker->queue, spool, step->routes->pdata[i], event,
                                   g_array_index (step->old_seqs, gint64, i));
      route = evbus_queue_replay (broker->queue, step->routes->pdata[i], event->weight);
      if (route == NULL)
        continue;
      chunk = evbus_chunk_new (NULL, 1);
      evbus_chunk_append (chunk, evbus_event_ref (event));
      chunk->picked_up = chunk->opened;
      evbus_route_push (route, chunk);
      evbus_chunk_unref (chunk);
      evbus_notifier_figures_moved (route->notifier, route);
    }
}

/* Nothing can go back to it: the others can. */
static GError *
refuse_orphan (EvbusSpoolRoute *orphan)
{
  g_autofree char *key = evbus_spool_route_dup_key (orphan);
  g_autofree char *name = evbus_claim_describe (key);

  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                      "the route \"%s\" is in no configuration any more (it is an orphan); replay its dead letters "
                      "under another profile, or bring it back", name);
}

/* With the broker's lock, so that no reload finds a route between disk and
 * memory. */
static gboolean
move_some_locked (EvbusBroker    *broker,
                  EvbusDeadWork  *self,
                  gboolean       *more,
                  GError        **error)
{
  g_autoptr(GArray) found = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) old_seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GPtrArray) routes = g_ptr_array_new ();
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  EvbusSpoolDeadStep step = {
    .replay = self->kind == EVBUS_DEAD_REPLAY, .only = self->route, .routes = routes, .events = events,
    .old_seqs = old_seqs,
  };
  const gint64 *numbers;
  guint n = 0;

  if (!next_numbers (self, found, &numbers, &n, error))
    return FALSE;
  *more = n > 0;
  if (n == 0)
    return TRUE;
  if (!evbus_spool_step_dead (self->spool, numbers, n, &step, error))
    return FALSE;

  self->next += step.n_seen;
  self->after = numbers[step.n_seen - 1];
  self->n_done += step.n_done;
  if (self->missing == 0)
    self->missing = step.missing;
  if (self->orphaned == NULL && step.orphan != NULL)
    self->orphaned = refuse_orphan (step.orphan);
  hand_over (broker, self->spool, &step);
  for (guint i = 0; !step.replay && i < routes->len; i++)
    evbus_queue_lose_dead (broker->queue, routes->pdata[i], 1, G_STRUCT_OFFSET (EvbusLedger, dropped));
  /* All that are asked for are its. */
  *more &= self->orphaned == NULL || self->numbers != NULL;
  return TRUE;
}

static gboolean
forget_some_locked (EvbusBroker    *broker,
                    EvbusDeadWork  *self,
                    gboolean       *more,
                    GQueue         *answers,
                    GError        **error)
{
  EvbusLedger ledger;
  guint n_dropped;

  if (!evbus_spool_route_is_orphan (self->route))
    {
      g_autofree char *name = evbus_claim_describe (self->key);

      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the route \"%s\" is in use; take it out of the configuration first", name);
      return FALSE;
    }
  if (evbus_queue_has_spool_route (broker->queue, self->route))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BUSY,
                           "the route is still about to end; try again soon");
      return FALSE;
    }
  if (!evbus_spool_lose_dead (self->spool, self->route, G_STRUCT_OFFSET (EvbusLedger, dropped),
                              EVBUS_SPOOL_STEP_LETTERS, G_MAXUINT64, G_MAXINT64, &n_dropped, error))
    return FALSE;
  self->n_done += n_dropped;
  *more = n_dropped > 0;
  if (*more)
    return TRUE;
  evbus_spool_route_get_ledger (self->route, &ledger, NULL);
  if (!evbus_spool_forget_route (self->spool, self->route, error))
    return FALSE;

  self->n_done += ledger.queued + ledger.dead;
  evbus_queue_drop_followed (broker->queue, self->route, G_MAXINT64, NULL, "the route was forgotten", answers);
  return TRUE;
}

static gboolean
do_some (EvbusBroker    *broker,
         EvbusDeadWork  *self,
         gboolean       *more,
         GQueue         *answers,
         GError        **error)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&broker->lock);

  if (self->kind == EVBUS_DEAD_FORGET)
    return forget_some_locked (broker, self, more, answers, error);
  if (self->kind == EVBUS_DEAD_NAME)
    return evbus_claim_name_orphan (self->spool, self->route, self->name, error);
  return move_some_locked (broker, self, more, error);
}

static void
return_closed (GTask *task)
{
  g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_CLOSED, "the broker was stopped");
}

static void
on_step (gboolean open,
         gpointer data)
{
  g_autoptr(GTask) task = data;
  EvbusDeadWork *self = g_task_get_task_data (task);
  GQueue answers = G_QUEUE_INIT;
  GError *error = NULL;
  gboolean more = FALSE;

  if (!open)
    {
      return_closed (task);
      return;
    }
  if (g_cancellable_set_error_if_cancelled (g_task_get_cancellable (task), &error) ||
      !do_some (g_task_get_source_object (task), self, &more, &answers, &error))
    {
      g_task_return_error (task, error);
      return;
    }
  evbus_put_answer_all (&answers);

  /* The space of what is gone is given back. */
  evbus_spooler_tend (self->spooler);
  evbus_notifier_totals_moved (((EvbusBroker *) g_task_get_source_object (task))->notifier);
  evbus_dead_work_report (task);
  if (more)
    evbus_dead_work_start (task);
  else
    evbus_dead_work_return (task);
}

void
evbus_dead_work_start (GTask *task)
{
  EvbusDeadWork *self = g_task_get_task_data (task);

  if (evbus_spooler_do (self->spooler, on_step, g_object_ref (task)))
    return;
  return_closed (task);
  g_object_unref (task);
}

void
evbus_dead_work_return (GTask *task)
{
  EvbusDeadWork *self = g_task_get_task_data (task);
  GError *error = NULL;

  if (self->orphaned != NULL)
    {
      g_task_return_error (task, g_steal_pointer (&self->orphaned));
      return;
    }
  if (self->missing == 0 || self->numbers == NULL)
    {
      g_task_return_boolean (task, TRUE);
      return;
    }
  evbus_spool_set_missing (self->spool, self->missing, &error);
  g_task_return_error (task, error);
}

typedef struct {
  GTask   *task;
  guint64  n_done;
} Progress;

static gboolean
on_progress (gpointer data)
{
  Progress *progress = data;
  EvbusDeadWork *self = g_task_get_task_data (progress->task);

  self->progress (progress->n_done, self->total, self->progress_data);
  return G_SOURCE_REMOVE;
}

static void
progress_free (gpointer data)
{
  Progress *progress = data;

  g_object_unref (progress->task);
  g_free (progress);
}

/* Not g_main_context_invoke(), which could call it here and now. */
void
evbus_dead_work_report (GTask *task)
{
  EvbusDeadWork *self = g_task_get_task_data (task);
  g_autoptr(GSource) source = NULL;
  Progress *progress;

  if (self->progress == NULL)
    return;

  progress = g_new (Progress, 1);
  progress->task = g_object_ref (task);
  progress->n_done = self->n_done;
  source = g_idle_source_new ();
  g_source_set_static_name (source, "[evbus] progress");
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_callback (source, on_progress, progress, progress_free);
  g_source_attach (source, g_task_get_context (task));
}
