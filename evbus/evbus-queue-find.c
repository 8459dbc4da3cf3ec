/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A put that repeats an event which is in the spool, and that nobody followed so far:
 * what became of it is looked up there, and from then on it is followed. */

#include "evbus-admission-private.h"

#include "evbus-claim-private.h"
#include "evbus-error.h"

/* How long events are looked up before others get their turn. */
#define LOOK_UP_US (10 * (gint64) 1000)

static EvbusPut *
next_put (EvbusQueue *self)
{
  EvbusPut *put;

  evbus_queue_lock (self);
  put = g_queue_pop_head (&self->to_find);
  evbus_queue_unlock (self);

  return put;
}

static EvbusFollow *
follow_found_locked (EvbusQueue *self,
                     EvbusPut   *put,
                     GPtrArray  *routes)
{
  EvbusFollow *follow = evbus_follows_find (&self->follows, put->result);

  if (follow != NULL || routes->len == 0)
    return follow;
  if (!evbus_follows_make_room (&self->follows, routes->len + 2))
    {
      put->refusal = evbus_follows_new_full ();
      return NULL;
    }

  follow = evbus_follows_add (&self->follows, put->result, TRUE, TRUE, routes->len);
  follow->seq = put->seq;
  for (guint i = 0; i < routes->len; i++)
    {
      g_autofree char *key = evbus_spool_route_dup_key (routes->pdata[i]);
      g_autofree char *label = evbus_claim_describe (key);

      evbus_follow_set_route (follow, i, routes->pdata[i], label);
    }
  return follow;
}

/* No route is left to ask. */
static void
end_unfollowed_locked (EvbusQueue *self,
                       EvbusPut   *put,
                       gboolean    delivered)
{
  if (put->follower != NULL)
    evbus_follows_tell (&self->follows, put->follower, put->result,
                        delivered ? EVBUS_FATE_DELIVERED : EVBUS_FATE_SETTLED);
  if (put->to_be_delivered && !delivered)
    put->refusal = g_error_new (EVBUS_ERROR, EVBUS_ERROR_UNDELIVERED,
                                "event '%s' was put before, and no route has it any more: some events were lost or are "
                                "dead, and whether it is one of them is not known; see evbusctl dead and the ledgers",
                                (const char *) put->result);
}

/* Joins as if all routes had it still: what they settle from now on is heard of. */
static void
join_locked (EvbusQueue *self,
             EvbusPut   *put,
             GPtrArray  *routes,
             gboolean    delivered)
{
  EvbusFollow *follow = put->refusal == NULL ? follow_found_locked (self, put, routes) : NULL;

  if (follow != NULL && evbus_follows_join (&self->follows, follow, put))
    {
      evbus_put_unref (put);
      return;
    }
  if (put->refusal == NULL && follow == NULL)
    end_unfollowed_locked (self, put, delivered);
  put->state = EVBUS_PUT_DONE;
  g_queue_push_tail (&self->follows.answers, put);
}

static void
join (EvbusQueue *self,
      EvbusPut   *put,
      GPtrArray  *routes,
      gboolean    delivered)
{
  GQueue answers;

  evbus_queue_lock (self);
  if (put->state != EVBUS_PUT_DONE)
    join_locked (self, put, routes, delivered);
  else
    evbus_put_unref (put);
  answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
}

static void
settle (EvbusQueue      *self,
        const char      *id,
        gint64           seq,
        EvbusSpoolRoute *route,
        EvbusFate        fate,
        const char      *reason)
{
  EvbusFollow *follow;
  GQueue answers;

  evbus_queue_lock (self);
  follow = evbus_follows_find (&self->follows, id);
  if (follow != NULL && follow->seq == seq)
    evbus_follows_settle (&self->follows, follow, route, route, fate, reason);
  answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
}

/* Takes over the reference. */
static void
look_up (EvbusQueue *self,
         EvbusSpool *spool,
         EvbusPut   *put)
{
  g_autoptr(GPtrArray) routes = g_ptr_array_new ();
  g_autofree char *id = g_strdup (put->result);
  gint64 seq = put->seq;
  gboolean delivered;
  GError *error = NULL;

  if (!evbus_spool_find_routes (spool, seq, routes, &delivered, &error))
    {
      g_ptr_array_set_size (routes, 0);
      put->refusal = error;
    }
  join (self, put, routes, delivered);

  for (guint i = 0; i < routes->len; i++)
    {
      g_autofree char *reason = NULL;
      EvbusFate fate;

      if (evbus_spool_find_fate (spool, routes->pdata[i], seq, &fate, &reason))
        settle (self, id, seq, routes->pdata[i], fate, reason);
    }
}

gboolean
evbus_queue_look_up (EvbusQueue *self,
                     EvbusSpool *spool)
{
  gint64 end = g_get_monotonic_time () + LOOK_UP_US;
  EvbusPut *put;

  while ((put = next_put (self)) != NULL)
    {
      look_up (self, spool, put);
      if (g_get_monotonic_time () >= end)
        return TRUE;
    }
  return FALSE;
}
