/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Puts that wait for space. They come in by the order of their calls, except
 * that a put is held up only by what it needs: by the queue, or by a route of
 * its own that is full or that an older put waits for.
 *
 * Each route has a list of the puts that need it. A put can come in when it is
 * the first at all of its routes and these have room; then it also waits for
 * its turn at the queue, if that is full. So whatever happens to a route or to
 * the queue concerns one put, and what that one held up if it leaves: nobody
 * looks through those that wait. */

#include "evbus-admission-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

static void
need_route_locked (EvbusQueue *self,
                   EvbusPut   *put,
                   EvbusRoute *route)
{
  EvbusNeed need = { route, NULL, route->tally_events, route->tally_weight };

  if (route->waiting.length > 0)
    put->n_behind++;
  g_queue_push_tail (&route->waiting, put);
  need.link = route->waiting.tail;
  g_array_append_val (put->needs, need);
}

/* Takes the last place at each of the put's routes. */
static void
line_up_locked (EvbusQueue *self,
                EvbusPut   *put)
{
  EvbusRouteSet *set = NULL;

  evbus_admission_tally_locked (self, put);
  put->n_behind = 0;
  put->needs = g_array_new (FALSE, FALSE, sizeof (EvbusNeed));
  for (guint i = 0; i < put->n_events; i++)
    {
      if (put->events[i]->set == set)
        continue;
      set = put->events[i]->set;
      for (guint j = 0; j < set->n_routes; j++)
        {
          if (g_queue_peek_tail (&set->routes[j]->waiting) != put)
            need_route_locked (self, put, set->routes[j]);
        }
    }

  put->waiting_weight = put->weight + put->needs->len * (sizeof (EvbusNeed) + sizeof (GList));
  self->waiting_weight += put->waiting_weight;
}

/* Gives its places up. A put that comes to be the first everywhere by that is
 * appended to @ready. */
static void
step_out_locked (EvbusQueue *self,
                 EvbusPut   *put,
                 GQueue     *ready)
{
  for (guint i = 0; i < put->needs->len; i++)
    {
      EvbusNeed *need = &g_array_index (put->needs, EvbusNeed, i);
      GQueue *waiting = &need->route->waiting;
      gboolean first = waiting->head == need->link;
      EvbusPut *next;

      g_queue_delete_link (waiting, need->link);
      next = first ? g_queue_peek_head (waiting) : NULL;
      if (next != NULL && --next->n_behind == 0)
        g_queue_push_tail (ready, next);
    }

  g_clear_pointer (&put->needs, g_array_unref);
  self->waiting_weight -= put->waiting_weight;
  if (put->space_link != NULL)
    g_queue_delete_link (&self->for_space, g_steal_pointer (&put->space_link));
}

/* The put, which has no places any more, is no longer one that waits. Its
 * reference is the caller's now. */
static void
end_waiting_locked (EvbusQueue *self,
                    EvbusPut   *put)
{
  g_queue_delete_link (&self->waiting, g_steal_pointer (&put->waiting_link));
  /* It may go on to wait for its delivery. */
  if (put->state == EVBUS_PUT_WAITING)
    put->state = EVBUS_PUT_DONE;
}

/* What a large put waits for is known without adding it up again. The other
 * verdicts are for evbus_admission_decide_locked(). */
static gboolean
must_wait (EvbusQueue   *self,
           EvbusPut     *put,
           EvbusVerdict *verdict)
{
  if (put->n_events == 1 || self->closed)
    return FALSE;

  if (!evbus_admission_queue_fits (self, put->n_routed, put->routed_weight))
    {
      *verdict = EVBUS_VERDICT_FULL_QUEUE;
      return put->n_routed <= self->max_events && put->routed_weight <= self->max_weight;
    }

  for (guint i = 0; i < put->needs->len; i++)
    {
      EvbusNeed *need = &g_array_index (put->needs, EvbusNeed, i);

      if (!evbus_admission_fits (need->route, need->n_events, need->weight))
        {
          *verdict = EVBUS_VERDICT_FULL_ROUTE;
          return need->route->spec->delivery.overflow == EVBUS_OVERFLOW_BLOCK &&
                 evbus_admission_ever_fits (need->route, need->n_events, need->weight);
        }
    }

  return FALSE;
}

/* @put is the first at all of its routes: lets it in, or sees what it waits
 * for now. FALSE: for the queue. */
static gboolean
look_locked (EvbusQueue *self,
             EvbusPut   *put,
             GQueue     *ready,
             GQueue     *done)
{
  g_autoptr(GError) error = NULL;
  EvbusVerdict verdict;

  self->n_looks++;
  if (!must_wait (self, put, &verdict))
    verdict = evbus_admission_decide_locked (self, put, &error);

  if (verdict == EVBUS_VERDICT_FULL_QUEUE)
    {
      if (put->space_link == NULL)
        {
          g_queue_push_tail (&self->for_space, put);
          put->space_link = self->for_space.tail;
        }
      return FALSE;
    }
  if (verdict == EVBUS_VERDICT_FULL_ROUTE)
    {
      if (put->space_link != NULL)
        g_queue_delete_link (&self->for_space, g_steal_pointer (&put->space_link));
      return TRUE;
    }

  if (verdict == EVBUS_VERDICT_REFUSED)
    {
      evbus_admission_release_locked (self, put);
      put->refusal = g_steal_pointer (&error);
    }
  step_out_locked (self, put, ready);
  end_waiting_locked (self, put);
  g_queue_push_tail (done, put);
  return TRUE;
}

/* Lets in who can come in of those in @ready, of those that they held up, and
 * of those that wait for the queue. */
static void
let_in_locked (EvbusQueue *self,
               GQueue     *ready,
               GQueue     *done)
{
  for (;;)
    {
      EvbusPut *put = g_queue_pop_head (ready);
      gboolean next_at_queue = put == NULL;

      if (next_at_queue)
        put = g_queue_peek_head (&self->for_space);
      if (put == NULL)
        break;
      if (!look_locked (self, put, ready, done) && next_at_queue)
        break;
    }
}

void
evbus_waiting_route_has_room_locked (EvbusQueue *self,
                                     EvbusRoute *route,
                                     GQueue     *done)
{
  GQueue ready = G_QUEUE_INIT;
  EvbusPut *put = g_queue_peek_head (&route->waiting);

  if (put == NULL || put->n_behind > 0 || put->space_link != NULL)
    return;

  g_queue_push_tail (&ready, put);
  let_in_locked (self, &ready, done);
}

void
evbus_waiting_queue_has_room_locked (EvbusQueue *self,
                                     GQueue     *done)
{
  GQueue ready = G_QUEUE_INIT;

  let_in_locked (self, &ready, done);
}

void
evbus_waiting_ask_again_locked (EvbusQueue *self,
                                GQueue     *done)
{
  GQueue ready = G_QUEUE_INIT;

  for (GList *link = self->waiting.head; link != NULL; link = link->next)
    {
      if (((EvbusPut *) link->data)->n_behind == 0)
        g_queue_push_tail (&ready, link->data);
    }

  let_in_locked (self, &ready, done);
}

/* It is done under the lock, so that none of them is overtaken; there are few,
 * if any. */
void
evbus_waiting_resolve_locked (EvbusQueue *self,
                              GQueue     *done)
{
  GQueue ready = G_QUEUE_INIT;
  GList *next;

  /* All leave the routes before one comes back, so that their order stays. */
  for (GList *link = self->waiting.head; link != NULL; link = link->next)
    step_out_locked (self, link->data, &ready);
  g_queue_clear (&ready);

  for (GList *link = self->waiting.head; link != NULL; link = next)
    {
      EvbusPut *put = link->data;

      next = link->next;
      if (evbus_admission_resolve_locked (self, put, FALSE, &put->refusal))
        {
          line_up_locked (self, put);
          continue;
        }
      evbus_admission_release_locked (self, put);
      end_waiting_locked (self, put);
      g_queue_push_tail (done, put);
    }

  evbus_waiting_ask_again_locked (self, done);
}

void
evbus_waiting_answer (GQueue *done)
{
  EvbusPut *put;

  while ((put = g_queue_pop_head (done)) != NULL)
    {
      if (!put->has_receipt)
        evbus_put_answer (put, NULL);
      evbus_put_unref (put);
    }
}

static GError *
new_no_space (EvbusPut *put,
              gboolean  cancelled)
{
  if (cancelled)
    return g_error_new_literal (G_IO_ERROR, G_IO_ERROR_CANCELLED, "the put was cancelled before there was space");

  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                      "no space within %u ms; the event was not accepted", put->timeout);
}

/* Ends the waiting of one put, unless it has ended already. */
static void
give_up (EvbusPut *put,
         gboolean  cancelled)
{
  EvbusQueue *self = put->queue;
  GQueue ready = G_QUEUE_INIT;
  GQueue done = G_QUEUE_INIT;

  evbus_queue_lock (self);
  if (put->state == EVBUS_PUT_DONE || put->state == EVBUS_PUT_ACCEPTED || put->state == EVBUS_PUT_FOLLOWS)
    {
      gboolean over = evbus_queue_unfollow_locked (self, put, cancelled);

      evbus_queue_unlock (self);
      if (over)
        evbus_put_answer (put, NULL);
      return;
    }

  if (put->state == EVBUS_PUT_WAITING)
    {
      step_out_locked (self, put, &ready);
      end_waiting_locked (self, put);
      let_in_locked (self, &ready, &done);
      evbus_put_unref (put);   /* the caller has one */
    }
  put->state = EVBUS_PUT_DONE;
  evbus_admission_release_locked (self, put);
  evbus_queue_unlock (self);

  evbus_put_answer (put, new_no_space (put, cancelled));
  evbus_waiting_answer (&done);
}

static void
on_cancelled (GCancellable *cancellable,
              gpointer      data)
{
  give_up (data, TRUE);
}

static gboolean
on_timeout (gpointer data)
{
  give_up (data, FALSE);
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

/* The put may be cancelled, and answered, as soon as this begins. */
static void
watch (EvbusQueue *self,
       EvbusPut   *put)
{
  put->queue = evbus_queue_ref (self);
  arm_timeout (put);
  connect_cancellable (self, put);
}

static EvbusVerdict
decide_at_once_locked (EvbusQueue  *self,
                       EvbusPut    *put,
                       GError     **error)
{
  EvbusVerdict verdict = EVBUS_VERDICT_REFUSED;

  /* The first gives the lock up now and then. */
  if (evbus_admission_resolve_locked (self, put, TRUE, error) && put->state != EVBUS_PUT_DONE)
    verdict = evbus_admission_decide_locked (self, put, error);
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
  GQueue ready = G_QUEUE_INIT;

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
  g_queue_push_tail (&self->waiting, evbus_put_ref (put));
  put->waiting_link = self->waiting.tail;
  line_up_locked (self, put);
  if (put->n_behind == 0)
    look_locked (self, put, &ready, done);
  let_in_locked (self, &ready, done);
  return TRUE;
}

/* FALSE: it has to wait for space. */
static gboolean
try_at_once (EvbusQueue *self,
             EvbusPut   *put)
{
  GError *error = NULL;
  EvbusVerdict verdict;
  gboolean mine;

  evbus_queue_lock (self);
  verdict = decide_at_once_locked (self, put, &error);
  mine = put->state != EVBUS_PUT_DONE && !put->has_receipt;
  if (mine && (verdict == EVBUS_VERDICT_FULL_QUEUE || verdict == EVBUS_VERDICT_FULL_ROUTE) && put->timeout > 0)
    {
      evbus_queue_unlock (self);
      g_error_free (error);
      return FALSE;
    }
  if (mine)
    put->state = EVBUS_PUT_DONE;
  evbus_queue_unlock (self);

  if (mine)
    evbus_put_answer (put, error);
  else
    g_clear_error (&error);
  return TRUE;
}

gboolean
evbus_queue_put (EvbusQueue *self,
                 EvbusPut   *put)
{
  GQueue done = G_QUEUE_INIT;
  GError *error = NULL;
  gboolean waits = FALSE;

  if (put->to_be_delivered)
    watch (self, put);
  if (try_at_once (self, put))
    return TRUE;
  if (!put->to_be_delivered)
    watch (self, put);

  evbus_queue_lock (self);
  if (put->state == EVBUS_PUT_DONE || join_locked (self, put, &done, &error))
    {
      waits = put->state == EVBUS_PUT_WAITING;
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
  return !waits;
}

gboolean
evbus_queue_try_put (EvbusQueue  *self,
                     EvbusPut    *put,
                     GError     **error)
{
  EvbusVerdict verdict;

  evbus_queue_lock (self);
  verdict = decide_at_once_locked (self, put, error);
  evbus_queue_unlock (self);

  return verdict == EVBUS_VERDICT_ACCEPTED;
}
