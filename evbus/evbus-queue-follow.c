/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the queue's events are followed: from the put that wants to know what becomes
 * of its event to what the routes have settled. */

#include "evbus-admission-private.h"

#include "evbus-claim-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

static EvbusFollow *
follow_locked (EvbusQueue    *self,
               EvbusEvent    *event,
               EvbusRouteSet *set,
               gboolean       stored)
{
  EvbusFollow *follow = evbus_follows_add (&self->follows, event->id, event->known_id, stored, set->n_routes);

  for (guint i = 0; i < set->n_routes; i++)
    {
      EvbusRoute *route = set->routes[i];

      evbus_follow_set_route (follow, i, route->spool_route != NULL ? (gpointer) route->spool_route : route,
                              event->seq, route->spec->delivery.name != NULL ? route->spec->delivery.name : route->label);
    }
  event->followed = TRUE;
  return follow;
}

/* In memory an event whose id is known is followed for whoever may repeat it: nobody
 * could find it later. */
void
evbus_queue_follow_locked (EvbusQueue *self,
                           EvbusPut   *put,
                           EvbusEvent *event)
{
  gboolean follows = evbus_put_follows (put);
  EvbusFollow *follow;

  if (!follows && (self->durable || !put->has_id || !evbus_follows_make_room (&self->follows, 1 + event->set->n_routes)))
    return;

  follow = follow_locked (self, event, event->set, !self->durable);
  if (follows)
    evbus_follows_join (&self->follows, follow, put);
}

void
evbus_queue_follow_unrouted_locked (EvbusQueue *self,
                                    EvbusPut   *put,
                                    EvbusEvent *event)
{
  if (put->has_id)
    evbus_known_ids_set_delivered (&self->known_ids, event->id);
  if (put->follower != NULL)
    evbus_follows_tell (&self->follows, put->follower, event->id, EVBUS_FATE_UNROUTED);
}

gboolean
evbus_queue_can_follow_locked (EvbusQueue  *self,
                               EvbusPut    *put,
                               GError     **error)
{
  /* Itself, one for each route, and for the put. */
  if (!evbus_put_follows (put) || evbus_follows_make_room (&self->follows, put->events[0]->set->n_routes + 2))
    return TRUE;

  g_propagate_error (error, evbus_follows_new_full ());
  return FALSE;
}

/* It may be settled by all of its routes; or not be there yet, if it is another put
 * that puts it. */
static void
look_up_locked (EvbusQueue         *self,
                EvbusPut           *put,
                const EvbusKnownId *known)
{
  put->has_receipt = TRUE;
  if (!known->settled)
    {
      put->state = EVBUS_PUT_ACCEPTED;
      evbus_known_ids_repeat (&self->known_ids, put->events[0]->id, evbus_put_ref (put));
      return;
    }
  put->state = EVBUS_PUT_FOLLOWS;
  put->seq = known->seq;
  g_queue_push_tail (&self->to_find, evbus_put_ref (put));
}

void
evbus_queue_repeat_locked (EvbusQueue *self,
                           EvbusPut   *put)
{
  const char *id = put->events[0]->id;
  const EvbusKnownId *known = evbus_known_ids_find (&self->known_ids, id);
  EvbusFollow *follow = evbus_follows_find (&self->follows, id);

  if (known->delivered)
    {
      if (put->follower != NULL)
        evbus_follows_tell (&self->follows, put->follower, id, EVBUS_FATE_DELIVERED);
    }
  else if (follow != NULL && (known->settled || put->to_be_delivered))
    {
      evbus_follows_join (&self->follows, follow, put);
    }
  else if (self->durable)
    {
      look_up_locked (self, put, known);
    }
  else
    {
      put->refusal = g_error_new (EVBUS_ERROR, EVBUS_ERROR_UNDELIVERED,
                                  "event '%s' was put before, and too many have been since: "
                                  "what became of it is not known", id);
    }
}

/* The event is being stored, with a repeated put that waits for that. Returns
 * whether it goes on to wait. */
static gboolean
join_stored_locked (EvbusQueue    *self,
                    EvbusPut      *put,
                    EvbusEvent    *event,
                    EvbusRouteSet *set)
{
  EvbusFollow *follow;

  if (!evbus_put_follows (put) || put->refusal != NULL)
    return FALSE;

  follow = evbus_follows_find (&self->follows, event->id);
  if (follow == NULL && !evbus_follows_make_room (&self->follows, set->n_routes + 2))
    {
      put->refusal = evbus_follows_new_full ();
      return FALSE;
    }
  if (follow == NULL)
    follow = follow_locked (self, event, set, TRUE);
  return evbus_follows_join (&self->follows, follow, put);
}

void
evbus_queue_settle_event_locked (EvbusQueue    *self,
                                 EvbusEvent    *event,
                                 EvbusRouteSet *set,
                                 const GError  *refusal,
                                 GQueue        *answers)
{
  EvbusFollow *follow = event->followed ? evbus_follows_find (&self->follows, event->id) : NULL;
  GQueue repeats = G_QUEUE_INIT;
  EvbusPut *put;

  if (follow != NULL && refusal != NULL)
    {
      /* Who is answered with an error need not be told. */
      evbus_follows_refuse (&self->follows, follow, event->has_receipt ? NULL : refusal->message, answers);
    }
  else if (follow != NULL)
    {
      for (guint i = 0; i < follow->n_routes; i++)
        follow->routes[i].key = set->routes[i]->spool_route;
      evbus_follows_stored (&self->follows, follow, event->seq);
    }

  if (event->known_id)
    evbus_known_ids_settle (&self->known_ids, event->id, refusal == NULL, event->seq, &repeats);
  while ((put = g_queue_pop_head (&repeats)) != NULL)
    {
      if (refusal == NULL && join_stored_locked (self, put, event, set))
        {
          evbus_put_unref (put);
          continue;
        }
      put->state = EVBUS_PUT_DONE;
      g_queue_push_tail (answers, put);
    }
}

static GError *
new_given_up (EvbusPut *put,
              gboolean  cancelled)
{
  g_autofree char *left = put->follow != NULL ? evbus_follow_describe_left (put->follow)
                                              : g_strdup ("which routes have it still is not known");

  if (cancelled)
    return g_error_new (G_IO_ERROR, G_IO_ERROR_CANCELLED,
                        "the waiting for the delivery of event '%s' was cancelled; the event stays accepted: %s",
                        (const char *) put->result, left);

  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_TIMED_OUT,
                      "event '%s' was not delivered within %u ms; it stays accepted: %s",
                      (const char *) put->result, put->timeout, left);
}

gboolean
evbus_queue_unfollow_locked (EvbusQueue *self,
                             EvbusPut   *put,
                             gboolean    cancelled)
{
  if (put->state == EVBUS_PUT_DONE || put->refusal != NULL)
    return FALSE;

  put->refusal = new_given_up (put, cancelled);
  if (put->state == EVBUS_PUT_ACCEPTED)
    return FALSE;

  put->state = EVBUS_PUT_DONE;
  evbus_follows_leave (&self->follows, put);
  return TRUE;
}

static void
report_locked (EvbusQueue *self,
               EvbusEvent *event,
               gpointer    key,
               gpointer    other_key,
               EvbusFate   fate,
               const char *reason)
{
  EvbusFollow *follow;

  if (!event->known_id && !event->followed)
    return;

  /* Of the same id there may be one that was dead and is put once more. */
  follow = evbus_follows_find (&self->follows, event->id);
  if (follow != NULL && follow->stored && evbus_follow_get_seq (follow, key, other_key) == event->seq)
    evbus_follows_settle (&self->follows, follow, key, other_key, fate, reason);
}

static void
report_left_locked (EvbusQueue      *self,
                    gpointer         key,
                    gpointer         other_key,
                    const EvbusLeft *left)
{
  if (g_hash_table_size (self->follows.by_id) == 0)
    return;

  /* These may be among the others. */
  for (guint i = 0; i < left->n_lost; i++)
    report_locked (self, left->lost[i].event, key, other_key, left->lost_fate, left->lost[i].reason);
  for (guint i = 0; i < left->n_events; i++)
    {
      if (left->keep == NULL || !left->keep[i])
        report_locked (self, left->events[i], key, other_key, left->fate, left->reason);
    }
}

void
evbus_queue_report_locked (EvbusQueue      *self,
                           EvbusRoute      *route,
                           const EvbusLeft *left)
{
  report_left_locked (self, route, route->spool_route != NULL ? (gpointer) route->spool_route : route, left);
}

void
evbus_queue_report (EvbusQueue      *self,
                    gpointer         spool_route,
                    const EvbusLeft *left)
{
  GQueue answers;

  evbus_queue_lock (self);
  report_left_locked (self, spool_route, spool_route, left);
  answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
}

gboolean
evbus_queue_is_followed (EvbusQueue *self)
{
  gboolean followed;

  evbus_queue_lock (self);
  followed = g_hash_table_size (self->follows.by_id) > 0;
  evbus_queue_unlock (self);

  return followed;
}

/* Those that a route of the spool has not settled up to @until, but for those in
 * @present (gint64; or NULL). */
static void
drop_all_locked (EvbusQueue *self,
                 gpointer    spool_route,
                 gint64      until,
                 GArray     *present,
                 const char *reason)
{
  g_autoptr(GList) follows = g_hash_table_get_values (self->follows.by_id);

  for (GList *link = follows; link != NULL; link = link->next)
    {
      EvbusFollow *follow = link->data;
      gint64 seq = evbus_follow_get_seq (follow, spool_route, spool_route);
      gboolean found = seq == 0 || seq > until;

      for (guint j = 0; present != NULL && j < present->len && !found; j++)
        found = g_array_index (present, gint64, j) == seq;
      if (!found)
        evbus_follows_settle (&self->follows, follow, spool_route, spool_route, EVBUS_FATE_DROPPED, reason);
    }
}

void
evbus_queue_drop_followed (EvbusQueue *self,
                           gpointer    spool_route,
                           gint64      until,
                           GArray     *present,
                           const char *reason,
                           GQueue     *answers)
{
  evbus_queue_lock (self);
  drop_all_locked (self, spool_route, until, present, reason);
  *answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);
}

GQueue
evbus_queue_steal_news (EvbusQueue *self)
{
  GQueue news;

  evbus_queue_lock (self);
  news = evbus_follows_steal_news (&self->follows);
  self->told = FALSE;
  evbus_queue_unlock (self);

  return news;
}

void
evbus_queue_end_follows (EvbusQueue *self)
{
  EvbusPut *put;
  GQueue answers;

  evbus_queue_lock (self);
  evbus_follows_end (&self->follows);
  answers = evbus_follows_steal_answers (&self->follows);
  while ((put = g_queue_pop_head (&self->to_find)) != NULL)
    {
      if (put->state == EVBUS_PUT_DONE)
        {
          evbus_put_unref (put);
          continue;
        }
      put->state = EVBUS_PUT_DONE;
      put->refusal = g_error_new (EVBUS_ERROR, EVBUS_ERROR_CLOSED,
                                  "the broker was stopped; event '%s' was accepted before, and what became of it "
                                  "was not found out", (const char *) put->result);
      g_queue_push_tail (&answers, put);
    }
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
}
