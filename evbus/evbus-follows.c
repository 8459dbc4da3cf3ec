/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-follows-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

/**
 * EvbusFate:
 * @EVBUS_FATE_DELIVERED: the destination confirmed it
 * @EVBUS_FATE_DEAD: the route gave it up; with a spool it is a dead letter
 * @EVBUS_FATE_EXPIRED: it grew too old, gave way to a budget, or was given up by a
 *   route of a spool that keeps no dead letters
 * @EVBUS_FATE_DROPPED: it gave way to an overflow, was forgotten with its route, or
 *   could not be stored
 * @EVBUS_FATE_SETTLED: no route has it any more, and what became of it is not
 *   remembered: it was settled before anybody followed it
 * @EVBUS_FATE_UNROUTED: it matched no route
 *
 * What became of an event at a route, as the counts of [struct@Ledger] have it; or, for
 * the last two, of the event as a whole.
 *
 * Since: 1.0
 */

void
evbus_news_free (EvbusNews *news)
{
  g_free (news->follower);
  g_free (news->id);
  g_free (news->route);
  g_free (news->reason);
  g_free (news);
}

static void
follow_free (EvbusFollow *follow)
{
  for (guint i = 0; i < follow->n_routes; i++)
    {
      g_free (follow->routes[i].label);
      g_free (follow->routes[i].reason);
    }
  g_queue_clear_full (&follow->puts, (GDestroyNotify) evbus_put_unref);
  g_free (follow->follower);
  g_free (follow->id);
  g_free (follow);
}

void
evbus_follows_init (EvbusFollows  *self,
                    EvbusKnownIds *known_ids)
{
  memset (self, 0, sizeof *self);
  self->known_ids = known_ids;
  self->by_id = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, (GDestroyNotify) follow_free);
}

void
evbus_follows_clear (EvbusFollows *self)
{
  g_clear_pointer (&self->by_id, g_hash_table_unref);
  g_queue_clear_full (&self->news, (GDestroyNotify) evbus_news_free);
}

EvbusFollow *
evbus_follows_find (EvbusFollows *self,
                    const char   *id)
{
  return g_hash_table_lookup (self->by_id, id);
}

static void
set_idle (EvbusFollows *self,
          EvbusFollow  *follow,
          gboolean      idle)
{
  if (follow->idle == idle)
    return;

  follow->idle = idle;
  if (idle)
    g_queue_push_tail_link (&self->idle, &follow->idle_link);
  else
    g_queue_unlink (&self->idle, &follow->idle_link);
}

static void
forget (EvbusFollows *self,
        EvbusFollow  *follow)
{
  set_idle (self, follow, FALSE);
  self->n_used -= 1 + follow->n_routes;
  g_hash_table_remove (self->by_id, follow->id);
}

/* Of how many the follower is still to hear. */
static guint
count_untold (EvbusFollow *follow)
{
  guint n = follow->unsure ? 1 : 0;

  for (guint i = 0; i < follow->n_routes; i++)
    n += !follow->routes[i].told;

  return n;
}

/* What @follow was looked at for is over: whether it stays. */
static void
put_aside (EvbusFollows *self,
           EvbusFollow  *follow)
{
  if (follow->puts.length > 0 || (follow->follower != NULL && follow->n_left > 0 && count_untold (follow) > 0))
    return;
  if (follow->known)
    set_idle (self, follow, TRUE);
  else
    forget (self, follow);
}

gboolean
evbus_follows_make_room (EvbusFollows *self,
                         guint         n)
{
  while (self->n_used + n > EVBUS_MAX_FOLLOWED && self->idle.length > 0)
    forget (self, self->idle.head->data);

  return self->n_used + n <= EVBUS_MAX_FOLLOWED;
}

GError *
evbus_follows_new_full (void)
{
  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL,
                      "too many events are followed already (%u, each counted once a route and once for each put "
                      "that waits for it); the event was not accepted", EVBUS_MAX_FOLLOWED);
}

/* Takes over @error. */
static void
answer (EvbusFollows *self,
        EvbusPut     *put,
        GError       *error)
{
  put->state = EVBUS_PUT_DONE;
  g_clear_error (&put->refusal);
  put->refusal = error;
  g_queue_push_tail (&self->answers, put);
}

static void
answer_all (EvbusFollows *self,
            EvbusFollow  *follow,
            const GError *error)
{
  EvbusPut *put;

  while ((put = g_queue_pop_head (&follow->puts)) != NULL)
    {
      put->follow = NULL;
      self->n_used--;
      answer (self, put, error != NULL ? g_error_copy (error) : NULL);
    }
}

EvbusFollow *
evbus_follows_add (EvbusFollows *self,
                   const char   *id,
                   gboolean      known,
                   gboolean      stored,
                   guint         n_routes)
{
  EvbusFollow *older = evbus_follows_find (self, id);
  EvbusFollow *follow = g_malloc0 (sizeof *follow + n_routes * sizeof (EvbusFollowed));

  if (older != NULL)
    {
      /* So many ids have come since that this one was forgotten. */
      g_autoptr(GError) error = g_error_new (EVBUS_ERROR, EVBUS_ERROR_UNDELIVERED,
                                             "event '%s': a later event has its id", id);

      answer_all (self, older, error);
      forget (self, older);
    }

  follow->id = g_strdup (id);
  follow->known = known;
  follow->stored = stored;
  follow->n_routes = n_routes;
  follow->n_left = n_routes;
  follow->idle_link.data = follow;
  g_hash_table_insert (self->by_id, follow->id, follow);
  self->n_used += 1 + n_routes;
  /* Until somebody joins. */
  set_idle (self, follow, TRUE);
  return follow;
}

void
evbus_follow_set_route (EvbusFollow *follow,
                        guint        index,
                        gpointer     key,
                        gint64       seq,
                        const char  *label)
{
  follow->routes[index].key = key;
  follow->routes[index].seq = seq;
  follow->routes[index].label = g_strdup (label);
}

gint64
evbus_follow_get_seq (EvbusFollow *follow,
                      gpointer     key,
                      gpointer     other_key)
{
  for (guint i = 0; i < follow->n_routes; i++)
    {
      if (follow->routes[i].key == key || follow->routes[i].key == other_key)
        return follow->routes[i].seq;
    }

  return 0;
}

static void
tell (EvbusFollows *self,
      const char   *follower,
      const char   *id,
      const char   *route,
      EvbusFate     fate,
      const char   *reason,
      guint         left)
{
  EvbusNews *news = g_new (EvbusNews, 1);

  news->follower = g_strdup (follower);
  news->id = g_strdup (id);
  news->route = g_strdup (route);
  news->fate = fate;
  news->reason = g_strdup (reason);
  news->left = left;
  g_queue_push_tail (&self->news, news);
  self->n_used++;
}

void
evbus_follows_tell (EvbusFollows *self,
                    const char   *follower,
                    const char   *id,
                    EvbusFate     fate)
{
  tell (self, follower, id, NULL, fate, NULL, 0);
}

static gboolean
is_failure (const EvbusFollowed *route)
{
  return route->settled && route->fate != EVBUS_FATE_DELIVERED;
}

static const EvbusFollowed *
find_failure (EvbusFollow *follow)
{
  for (guint i = 0; i < follow->n_routes; i++)
    {
      if (is_failure (&follow->routes[i]))
        return &follow->routes[i];
    }

  return NULL;
}

static GError *
new_undelivered (EvbusFollow         *follow,
                 const EvbusFollowed *route)
{
  static const char *const what[] = {
    [EVBUS_FATE_DEAD] = "is dead",
    [EVBUS_FATE_EXPIRED] = "expired",
    [EVBUS_FATE_DROPPED] = "was dropped",
    [EVBUS_FATE_SETTLED] = "was settled before anybody waited for it",
  };

  const char *reason = route->fate == EVBUS_FATE_SETTLED ? "whether it was delivered there is not known"
                                                         : "no reason is known";

  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_UNDELIVERED, "event '%s' %s at route %s: %s", follow->id,
                      what[route->fate], route->label, route->reason != NULL ? route->reason : reason);
}

static GError *
new_unsure (EvbusFollow *follow)
{
  return g_error_new (EVBUS_ERROR, EVBUS_ERROR_UNDELIVERED,
                      "event '%s' was put before; it was delivered by the routes that had it still, and whether "
                      "another one gave it up before is not known; see evbusctl dead and the ledgers", follow->id);
}

char *
evbus_follow_describe_left (EvbusFollow *follow)
{
  for (guint i = 0; i < follow->n_routes; i++)
    {
      if (follow->routes[i].settled)
        continue;
      if (follow->n_left == 1)
        return g_strdup_printf ("route %s has it still", follow->routes[i].label);
      return g_strdup_printf ("route %s and %u more have it still", follow->routes[i].label, follow->n_left - 1);
    }

  return g_strdup ("no route has it any more");
}

/* The last one who asks is the one who hears: a producer that comes again under
 * another name. */
static void
set_follower (EvbusFollows *self,
              EvbusFollow  *follow,
              const char   *follower)
{
  guint left = follow->n_routes + (follow->unsure ? 1 : 0);

  g_free (follow->follower);
  follow->follower = g_strdup (follower);
  for (guint i = 0; i < follow->n_routes; i++)
    {
      EvbusFollowed *route = &follow->routes[i];

      route->told = route->settled;
      if (route->settled)
        tell (self, follower, follow->id, route->label, route->fate, route->reason, --left);
    }
  if (follow->unsure && follow->n_left == 0)
    evbus_follows_tell (self, follower, follow->id, EVBUS_FATE_SETTLED);
}

gboolean
evbus_follows_join (EvbusFollows *self,
                    EvbusFollow  *follow,
                    EvbusPut     *put)
{
  const EvbusFollowed *failure = find_failure (follow);
  gboolean waits = FALSE;

  set_idle (self, follow, FALSE);
  if (put->follower != NULL)
    set_follower (self, follow, put->follower);
  if (put->to_be_delivered && failure != NULL)
    {
      put->refusal = new_undelivered (follow, failure);
    }
  else if (put->to_be_delivered && follow->n_left > 0)
    {
      waits = TRUE;
      g_queue_push_tail (&follow->puts, evbus_put_ref (put));
      put->follow = follow;
      put->follow_link = follow->puts.tail;
      put->state = follow->stored ? EVBUS_PUT_FOLLOWS : EVBUS_PUT_ACCEPTED;
      put->has_receipt = TRUE;
      self->n_used++;
    }
  else if (put->to_be_delivered && follow->unsure)
    {
      put->refusal = new_unsure (follow);
    }

  put_aside (self, follow);
  return waits;
}

void
evbus_follows_leave (EvbusFollows *self,
                     EvbusPut     *put)
{
  EvbusFollow *follow = g_steal_pointer (&put->follow);

  if (follow == NULL)
    return;

  g_queue_delete_link (&follow->puts, put->follow_link);
  self->n_used--;
  put_aside (self, follow);
  evbus_put_unref (put);
}

/* What ended the waiting before the event was stored is said now. */
void
evbus_follows_stored (EvbusFollows *self,
                      EvbusFollow  *follow,
                      gint64        seq)
{
  GList *next;

  for (guint i = 0; i < follow->n_routes; i++)
    follow->routes[i].seq = seq;
  follow->stored = TRUE;
  for (GList *link = follow->puts.head; link != NULL; link = next)
    {
      EvbusPut *put = link->data;

      next = link->next;
      put->state = EVBUS_PUT_FOLLOWS;
      if (put->refusal == NULL)
        continue;
      g_queue_delete_link (&follow->puts, link);
      put->follow = NULL;
      self->n_used--;
      answer (self, put, g_steal_pointer (&put->refusal));
    }
  put_aside (self, follow);
}

void
evbus_follows_refuse (EvbusFollows *self,
                      EvbusFollow  *follow,
                      const char   *reason,
                      GQueue       *puts)
{
  EvbusPut *put;

  while ((put = g_queue_pop_head (&follow->puts)) != NULL)
    {
      put->follow = NULL;
      put->state = EVBUS_PUT_DONE;
      self->n_used--;
      g_queue_push_tail (puts, put);
    }
  for (guint i = 0; reason != NULL && follow->follower != NULL && i < follow->n_routes; i++)
    tell (self, follow->follower, follow->id, follow->routes[i].label, EVBUS_FATE_DROPPED, reason,
          follow->n_routes - 1 - i);
  forget (self, follow);
}

static void
finish (EvbusFollows *self,
        EvbusFollow  *follow)
{
  gboolean delivered = find_failure (follow) == NULL && !follow->unsure;
  g_autoptr(GError) error = follow->unsure ? new_unsure (follow) : NULL;

  answer_all (self, follow, error);
  if (follow->unsure && follow->follower != NULL)
    evbus_follows_tell (self, follow->follower, follow->id, EVBUS_FATE_SETTLED);
  if (delivered && follow->known)
    evbus_known_ids_set_delivered (self->known_ids, follow->id);
  if (delivered)
    forget (self, follow);
  else
    put_aside (self, follow);
}

void
evbus_follows_settle (EvbusFollows *self,
                      EvbusFollow  *follow,
                      gpointer      key,
                      gpointer      other_key,
                      EvbusFate     fate,
                      const char   *reason)
{
  EvbusFollowed *route = NULL;

  for (guint i = 0; i < follow->n_routes && route == NULL; i++)
    {
      if (!follow->routes[i].settled && (follow->routes[i].key == key || follow->routes[i].key == other_key))
        route = &follow->routes[i];
    }
  if (route == NULL)
    return;

  route->settled = TRUE;
  route->fate = fate;
  route->reason = reason != NULL ? g_utf8_make_valid (reason, -1) : NULL;
  follow->n_left--;
  if (follow->follower != NULL && !route->told)
    {
      route->told = TRUE;
      tell (self, follow->follower, follow->id, route->label, fate, route->reason, count_untold (follow));
    }
  if (is_failure (route))
    {
      g_autoptr(GError) error = new_undelivered (follow, route);

      answer_all (self, follow, error);
    }
  if (follow->n_left == 0)
    finish (self, follow);
  else
    put_aside (self, follow);
}

gboolean
evbus_follows_replay (EvbusFollows *self,
                      EvbusFollow  *follow,
                      gpointer      key,
                      gint64        seq)
{
  for (guint i = 0; i < follow->n_routes; i++)
    {
      EvbusFollowed *route = &follow->routes[i];

      if (route->key != key)
        continue;
      route->seq = seq;
      if (route->settled)
        {
          route->settled = FALSE;
          g_clear_pointer (&route->reason, g_free);
          follow->n_left++;
        }
      return TRUE;
    }

  return FALSE;
}

void
evbus_follows_end (EvbusFollows *self)
{
  GHashTableIter iter;
  EvbusFollow *follow;

  g_hash_table_iter_init (&iter, self->by_id);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *) &follow))
    {
      g_autofree char *left = evbus_follow_describe_left (follow);
      g_autoptr(GError) error = g_error_new (EVBUS_ERROR, EVBUS_ERROR_CLOSED,
                                             "the broker was stopped; event '%s' stays in the spool: %s",
                                             follow->id, left);

      answer_all (self, follow, error);
    }
}

GQueue
evbus_follows_steal_news (EvbusFollows *self)
{
  GQueue news = self->news;

  g_queue_init (&self->news);
  self->n_used -= news.length;
  return news;
}

GQueue
evbus_follows_steal_answers (EvbusFollows *self)
{
  GQueue answers = self->answers;

  g_queue_init (&self->answers);
  return answers;
}
