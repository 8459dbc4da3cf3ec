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

/* The numbers of its event by now, into @seqs. Returns whether it has one route for certain. */
static gboolean
list_seqs (EvbusQueue *self,
           EvbusPut   *put,
           GArray     *seqs)
{
  const EvbusKnownId *known;
  gboolean alone;

  g_array_append_val (seqs, put->seq);
  evbus_queue_lock (self);
  known = evbus_known_ids_find (&self->known_ids, put->result);
  /* So many may have come since that the id was forgotten, and is another event's. */
  if (known != NULL && known->seq != put->seq)
    known = NULL;
  if (known != NULL && known->replayed != NULL)
    g_array_append_vals (seqs, known->replayed->data, known->replayed->len);
  alone = known != NULL && known->alone;
  evbus_queue_unlock (self);

  return alone;
}

static EvbusFollow *
follow_found_locked (EvbusQueue *self,
                     EvbusPut   *put,
                     GArray     *holders,
                     gboolean    sure)
{
  EvbusFollow *follow = evbus_follows_find (&self->follows, put->result);

  if (follow != NULL || holders->len == 0)
    return follow;
  if (!evbus_follows_make_room (&self->follows, holders->len + 2))
    {
      put->refusal = evbus_follows_new_full ();
      return NULL;
    }

  follow = evbus_follows_add (&self->follows, put->result, TRUE, TRUE, holders->len);
  follow->unsure = !sure;
  for (guint i = 0; i < holders->len; i++)
    {
      const EvbusSpoolHolder *holder = &g_array_index (holders, EvbusSpoolHolder, i);
      g_autofree char *key = evbus_spool_route_dup_key (holder->route);
      g_autofree char *label = evbus_claim_describe (key);

      evbus_follow_set_route (follow, i, holder->route, holder->seq, label);
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
             GArray     *holders,
             gboolean    sure)
{
  EvbusFollow *follow = put->refusal == NULL ? follow_found_locked (self, put, holders, sure) : NULL;

  if (follow != NULL && evbus_follows_join (&self->follows, follow, put))
    {
      evbus_put_unref (put);
      return;
    }
  if (put->refusal == NULL && follow == NULL)
    end_unfollowed_locked (self, put, sure);
  put->state = EVBUS_PUT_DONE;
  g_queue_push_tail (&self->follows.answers, put);
}

static void
join (EvbusQueue *self,
      EvbusPut   *put,
      GArray     *holders,
      gboolean    sure)
{
  GQueue answers;

  evbus_queue_lock (self);
  if (put->state != EVBUS_PUT_DONE)
    join_locked (self, put, holders, sure);
  else
    evbus_put_unref (put);
  answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
}

static void
settle (EvbusQueue             *self,
        const char             *id,
        const EvbusSpoolHolder *holder,
        EvbusFate               fate,
        const char             *reason)
{
  EvbusFollow *follow;
  GQueue answers;

  evbus_queue_lock (self);
  follow = evbus_follows_find (&self->follows, id);
  if (follow != NULL && evbus_follow_get_seq (follow, holder->route, holder->route) == holder->seq)
    evbus_follows_settle (&self->follows, follow, holder->route, holder->route, fate, reason);
  answers = evbus_follows_steal_answers (&self->follows);
  evbus_queue_unlock (self);

  evbus_put_answer_all (&answers);
}

static void
look_at (EvbusQueue             *self,
         EvbusSpool             *spool,
         const char             *id,
         const EvbusSpoolHolder *holder,
         const GArray           *seqs)
{
  g_autofree char *reason = NULL;
  EvbusFate fate;

  if (evbus_spool_find_fate (spool, holder, seqs, &fate, &reason))
    settle (self, id, holder, fate, reason);
}

/* Takes over the reference. */
static void
look_up (EvbusQueue *self,
         EvbusSpool *spool,
         EvbusPut   *put)
{
  g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GArray) holders = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolHolder));
  g_autofree char *id = g_strdup (put->result);
  gboolean alone = list_seqs (self, put, seqs);
  gboolean sure;
  GError *error = NULL;

  if (!evbus_spool_find_routes (spool, seqs, holders, &sure, &error))
    {
      g_array_set_size (holders, 0);
      put->refusal = error;
    }
  join (self, put, holders, sure || (alone && holders->len > 0));

  for (guint i = 0; i < holders->len; i++)
    look_at (self, spool, id, &g_array_index (holders, EvbusSpoolHolder, i), seqs);
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

void
evbus_queue_follow_replayed (EvbusQueue      *self,
                             EvbusSpool      *spool,
                             EvbusSpoolRoute *spool_route,
                             EvbusEvent      *event,
                             gint64           old_seq)
{
  const EvbusSpoolHolder holder = { spool_route, event->seq };
  EvbusFollow *follow = NULL;
  gboolean is_followed;

  evbus_queue_lock (self);
  if (evbus_known_ids_replay (&self->known_ids, event->id, old_seq, event->seq))
    follow = evbus_follows_find (&self->follows, event->id);
  is_followed = follow != NULL && evbus_follows_replay (&self->follows, follow, spool_route, event->seq);
  evbus_queue_unlock (self);

  /* The route may have read it from the spool already. */
  if (is_followed)
    {
      g_autoptr(GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));

      g_array_append_val (seqs, event->seq);
      look_at (self, spool, event->id, &holder, seqs);
    }
}
