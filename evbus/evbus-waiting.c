/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Puts that wait for space. They come in by the order of their calls, except
 * that a put is held up only by what it needs: by the queue, or by a route of
 * its own that is full or that an older put waits for. */

#include "evbus-admission-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

static gboolean
waits_behind_another (EvbusQueue *self,
                      EvbusPut   *put)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusRouteSet *set = put->events[i]->set;

      for (guint j = 0; j < set->n_routes; j++)
        {
          if (set->routes[j]->waited_for == self->pass)
            return TRUE;
        }
    }

  return FALSE;
}

static void
hold_up_later_puts (EvbusQueue *self,
                    EvbusPut   *put)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusRouteSet *set = put->events[i]->set;

      for (guint j = 0; j < set->n_routes; j++)
        set->routes[j]->waited_for = self->pass;
    }
}

void
evbus_waiting_count_locked (EvbusPut *put,
                            int       difference)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusRouteSet *set = put->events[i]->set;

      for (guint j = 0; j < set->n_routes; j++)
        set->routes[j]->n_waiting += difference;
    }
}

/* The route for which a put waits that @put would overtake, or NULL. */
static EvbusRoute *
find_overtaking (EvbusPut *put)
{
  for (guint i = 0; i < put->n_events; i++)
    {
      EvbusRouteSet *set = put->events[i]->set;

      for (guint j = 0; j < set->n_routes; j++)
        {
          if (set->routes[j]->n_waiting > 0)
            return set->routes[j];
        }
    }

  return NULL;
}

static void
leave_locked (EvbusQueue *self,
              EvbusPut   *put)
{
  put->state = EVBUS_PUT_DONE;
  self->waiting_weight -= put->weight;
}

void
evbus_waiting_pass_locked (EvbusQueue *self,
                           GQueue     *done)
{
  GList *next;

  self->pass++;

  for (GList *link = self->waiting.head; link != NULL; link = next)
    {
      EvbusPut *put = link->data;
      g_autoptr(GError) error = NULL;
      EvbusVerdict verdict = EVBUS_VERDICT_FULL_ROUTE;

      next = link->next;

      evbus_waiting_count_locked (put, -1);
      if (!waits_behind_another (self, put))
        verdict = evbus_admission_decide_locked (self, put, &error);

      if (verdict == EVBUS_VERDICT_FULL_QUEUE || verdict == EVBUS_VERDICT_FULL_ROUTE)
        evbus_waiting_count_locked (put, 1);
      if (verdict == EVBUS_VERDICT_FULL_QUEUE)
        break;
      if (verdict == EVBUS_VERDICT_FULL_ROUTE)
        {
          hold_up_later_puts (self, put);
          continue;
        }

      if (verdict == EVBUS_VERDICT_REFUSED)
        {
          evbus_admission_release_locked (self, put);
          put->refusal = g_steal_pointer (&error);
        }
      leave_locked (self, put);
      g_queue_unlink (&self->waiting, link);
      g_queue_push_tail_link (done, link);
    }
}

void
evbus_waiting_answer (GQueue *done)
{
  EvbusPut *put;

  while ((put = g_queue_pop_head (done)) != NULL)
    {
      evbus_put_answer (put, g_steal_pointer (&put->refusal));
      evbus_put_unref (put);
    }
}

/* Ends the waiting of one put, unless it has ended already. */
static void
give_up (EvbusPut *put,
         GError   *error)
{
  EvbusQueue *self = put->queue;

  evbus_queue_lock (self);
  if (put->state == EVBUS_PUT_DONE)
    {
      evbus_queue_unlock (self);
      g_error_free (error);
      return;
    }

  if (put->state == EVBUS_PUT_WAITING)
    {
      g_queue_remove (&self->waiting, put);
      evbus_waiting_count_locked (put, -1);
      leave_locked (self, put);
      evbus_put_unref (put);
    }
  put->state = EVBUS_PUT_DONE;
  evbus_admission_release_locked (self, put);
  evbus_queue_unlock (self);

  evbus_put_answer (put, error);
}

static void
on_cancelled (GCancellable *cancellable,
              gpointer      data)
{
  give_up (data, g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CANCELLED,
                                      "the put was cancelled before there was space"));
}

static gboolean
on_timeout (gpointer data)
{
  EvbusPut *put = data;

  give_up (put, g_error_new (EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                             "no space within %u ms; the event was not accepted", put->timeout));
  return G_SOURCE_REMOVE;
}

static void
arm_timeout (EvbusPut *put)
{
  if (put->timeout == G_MAXUINT)
    return;

  put->timeout_source = g_timeout_source_new (put->timeout);
  g_source_set_static_name (put->timeout_source, "[evbus] put timeout");
  g_source_set_callback (put->timeout_source, on_timeout,
                         evbus_put_ref (put), (GDestroyNotify) evbus_put_unref);
  g_source_attach (put->timeout_source, g_task_get_context (put->task));
}

/* The put may be cancelled, and answered, as soon as this connects. */
static void
connect_cancellable (EvbusQueue *self,
                     EvbusPut   *put)
{
  GCancellable *cancellable = g_task_get_cancellable (put->task);
  gulong id;

  if (cancellable == NULL)
    return;

  put->cancellable = g_object_ref (cancellable);
  id = g_cancellable_connect (put->cancellable, G_CALLBACK (on_cancelled),
                              evbus_put_ref (put), (GDestroyNotify) evbus_put_unref);
  if (id == 0)
    return;

  evbus_queue_lock (self);
  if (put->state != EVBUS_PUT_DONE)
    {
      put->cancelled_id = id;
      id = 0;
    }
  evbus_queue_unlock (self);

  if (id != 0)
    g_signal_handler_disconnect (put->cancellable, id);
}

/* Accepts or refuses at once what need not wait behind others. */
static EvbusVerdict
decide_at_once_locked (EvbusQueue  *self,
                       EvbusPut    *put,
                       GError     **error)
{
  EvbusVerdict verdict;

  if (!evbus_admission_resolve_locked (self, put, TRUE, error))
    {
      verdict = EVBUS_VERDICT_REFUSED;
    }
  else if (self->waiting.length > 0)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                           "other puts are waiting for space");
      verdict = EVBUS_VERDICT_FULL_QUEUE;
    }
  else
    {
      verdict = evbus_admission_decide_locked (self, put, error);
    }

  if (verdict != EVBUS_VERDICT_ACCEPTED)
    evbus_admission_release_locked (self, put);
  return verdict;
}

static gboolean
join_locked (EvbusQueue  *self,
             EvbusPut    *put,
             GQueue      *done,
             GError     **error)
{
  if (!evbus_admission_resolve_locked (self, put, TRUE, error))
    {
      evbus_admission_release_locked (self, put);
      return FALSE;
    }

  if (put->state == EVBUS_PUT_DONE)
    {
      /* Cancelled while the lock was given up. */
      evbus_admission_release_locked (self, put);
      return TRUE;
    }

  if (self->waiting.length >= EVBUS_MAX_WAITING ||
      (self->waiting.length > 0 && self->waiting_weight + put->weight > self->max_weight))
    {
      evbus_admission_release_locked (self, put);
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                   "the queue is full, and %u puts wait for space already", self->waiting.length);
      return FALSE;
    }

  put->state = EVBUS_PUT_WAITING;
  self->waiting_weight += put->weight;
  g_queue_push_tail (&self->waiting, evbus_put_ref (put));
  evbus_waiting_count_locked (put, 1);
  evbus_waiting_pass_locked (self, done);
  return TRUE;
}

void
evbus_queue_put (EvbusQueue *self,
                 EvbusPut   *put)
{
  GQueue done = G_QUEUE_INIT;
  GError *error = NULL;
  EvbusVerdict verdict;

  evbus_queue_lock (self);
  verdict = decide_at_once_locked (self, put, &error);
  evbus_queue_unlock (self);

  if (verdict == EVBUS_VERDICT_ACCEPTED || verdict == EVBUS_VERDICT_REFUSED ||
      put->timeout == 0)
    {
      evbus_put_answer (put, error);
      return;
    }
  g_clear_error (&error);

  put->queue = evbus_queue_ref (self);
  arm_timeout (put);
  connect_cancellable (self, put);

  evbus_queue_lock (self);
  if (put->state == EVBUS_PUT_DONE || join_locked (self, put, &done, &error))
    {
      evbus_queue_unlock (self);
    }
  else
    {
      gboolean answered = put->state == EVBUS_PUT_DONE;

      put->state = EVBUS_PUT_DONE;
      evbus_queue_unlock (self);
      if (answered)
        g_error_free (error);
      else
        evbus_put_answer (put, error);
    }
  evbus_waiting_answer (&done);
}

gboolean
evbus_queue_try_put (EvbusQueue  *self,
                     EvbusPut    *put,
                     GError     **error)
{
  EvbusVerdict verdict;
  EvbusRoute *route;

  evbus_queue_lock (self);
  if (!evbus_admission_resolve_locked (self, put, TRUE, error))
    {
      verdict = EVBUS_VERDICT_REFUSED;
    }
  else if (self->waiting.length > 0 && (route = find_overtaking (put)) != NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                   "older puts wait for space on route %s", route->label);
      verdict = EVBUS_VERDICT_FULL_ROUTE;
    }
  else
    {
      verdict = evbus_admission_decide_locked (self, put, error);
    }
  if (verdict != EVBUS_VERDICT_ACCEPTED)
    evbus_admission_release_locked (self, put);
  evbus_queue_unlock (self);

  return verdict == EVBUS_VERDICT_ACCEPTED;
}
