/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-budget-private.h"

#include "evbus-admission-private.h"
#include "evbus-claim-private.h"
#include "evbus-limits-private.h"
#include "evbus-route-private.h"

/* How long events are expired before others get their turn. */
#define EXPIRE_US (50 * (gint64) 1000)

/* How often ages are looked at: a tenth of what is allowed, between these two. */
#define MIN_LOOK_US (100 * (gint64) 1000)
#define MAX_LOOK_US (60 * (gint64) G_USEC_PER_SEC)

/* Between two messages that dead letters expire. */
#define SAY_US (60 * (gint64) G_USEC_PER_SEC)

/* A part of the spool, and who has it. */
typedef struct {
  EvbusSpoolRoute *spool_route;  /* has a reference */
  EvbusRoute      *route;        /* NULL: nobody */
  gboolean         busy;         /* it is read right now: what it can lose is not known */
  gboolean         shared;       /* one closes, and the next one waits: neither is sure how far it is */
  guint64          queued;       /* bytes */
  guint64          dead;         /* bytes */
} Share;

/* All of them. */
typedef struct {
  gsize   max_bytes;
  guint64 stored;
  guint64 losable;   /* what can be lost of it */
} Whole;

void
evbus_budget_init (EvbusBudget *self,
                   EvbusSpool  *spool,
                   EvbusQueue  *queue)
{
  self->spool = spool;
  self->queue = queue;
  self->max_bytes = EVBUS_DEFAULT_SPOOL_BYTES;
  self->again = G_MAXINT64;
  g_mutex_init (&self->claiming);
}

void
evbus_budget_clear (EvbusBudget *self)
{
  g_mutex_clear (&self->claiming);
}

static void
share_clear (gpointer data)
{
  Share *share = data;

  evbus_spool_route_unref (share->spool_route);
}

static GArray *
list_shares (EvbusBudget *self,
             GPtrArray   *routes)
{
  GArray *shares = g_array_new (FALSE, TRUE, sizeof (Share));
  g_autoptr(GPtrArray) stored = evbus_spool_list_routes (self->spool);
  g_autoptr(GHashTable) index = g_hash_table_new (NULL, NULL);

  evbus_queue_begin_look (self->queue);
  g_array_set_clear_func (shares, share_clear);
  g_array_set_size (shares, stored->len);
  for (guint i = 0; i < stored->len; i++)
    {
      Share *share = &g_array_index (shares, Share, i);
      EvbusLedger ledger;

      share->spool_route = evbus_spool_route_ref (stored->pdata[i]);
      evbus_spool_route_get_ledger (share->spool_route, &ledger, &share->queued);
      share->dead = evbus_spool_route_get_dead_weight (share->spool_route);
      g_hash_table_insert (index, share->spool_route, share);
    }
  for (guint i = 0; i < routes->len; i++)
    {
      EvbusRoute *route = routes->pdata[i];
      Share *share = route->spool_route != NULL ? g_hash_table_lookup (index, route->spool_route) : NULL;

      if (share == NULL)
        continue;
      share->shared = share->route != NULL;
      share->route = route;
    }

  return shares;
}

static void
tell (EvbusBudget *self,
      const Share *share)
{
  gint64 now = g_get_monotonic_time ();
  g_autofree char *key = NULL;
  g_autofree char *name = NULL;

  if (now < self->say_again)
    return;

  self->say_again = now + SAY_US;
  key = evbus_spool_route_dup_key (share->spool_route);
  name = evbus_claim_describe (key);
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "EVBUS_ROUTE", name,
                    "MESSAGE", "route %s has more in the spool than its share: its oldest dead letters expire "
                    "(said once a minute at most)", name);
}

/* What the route itself has not counted as dead yet stays. @n: (out): how many went. FALSE:
 * they cannot be taken away. */
static gboolean
expire_dead (EvbusBudget *self,
             const Share *share,
             guint64      weight,
             gint64       put_before,
             guint       *n)
{
  /* A reload that brings an orphan back would load a ledger from which they are gone. */
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->claiming);
  guint64 n_counted = evbus_queue_count_dead (self->queue, share->spool_route);

  *n = 0;
  if (n_counted == 0)
    return TRUE;
  if (!evbus_spool_lose_dead (self->spool, share->spool_route, G_STRUCT_OFFSET (EvbusLedger, expired),
                              MIN (n_counted, EVBUS_EXPIRE_EVENTS), weight, put_before, n, NULL))
    return FALSE;

  if (*n > 0)
    evbus_queue_lose_dead (self->queue, share->spool_route, *n, G_STRUCT_OFFSET (EvbusLedger, expired));
  return TRUE;
}

/* Of a route that nobody has: for those who follow its events. */
static void
report_expired (EvbusBudget     *self,
                EvbusSpoolRoute *spool_route,
                GPtrArray       *expired,
                const char      *reason)
{
  const EvbusLeft left = {
    .events = (EvbusEvent **) expired->pdata, .n_events = expired->len,
    .fate = EVBUS_FATE_EXPIRED, .reason = reason,
  };

  evbus_queue_report (self->queue, spool_route, &left);
}

/* Of the oldest; see evbus_spool_expire_oldest(). Returns how many. */
static guint
expire_queued (EvbusBudget *self,
               Share       *share,
               guint64      max_weight,
               gint64       put_before,
               const char  *reason)
{
  g_autoptr(GPtrArray) expired = NULL;
  guint n = 0;

  if (share->route != NULL)
    return evbus_route_expire_backlog (share->route, max_weight, put_before, reason, &share->busy);

  expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_mutex_lock (&self->claiming);
  if (evbus_spool_route_is_orphan (share->spool_route))
    n = evbus_spool_expire_orphan (self->spool, share->spool_route, max_weight, put_before, EVBUS_EXPIRE_EVENTS,
                                   expired);
  g_mutex_unlock (&self->claiming);
  report_expired (self, share->spool_route, expired, reason);
  return n;
}

/* Some of what is too much. Returns how many. */
static guint
expire_share (EvbusBudget *self,
              Share       *share,
              guint64      max_weight)
{
  guint64 weight = share->queued + share->dead;
  guint n;

  if (share->shared || weight <= max_weight)
    return 0;
  if (share->dead == 0 || !expire_dead (self, share, weight - max_weight, G_MAXINT64, &n))
    {
      /* Its owner would rather wait than lose anything. */
      if (share->route != NULL && evbus_admission_couples (share->route))
        return 0;
      return expire_queued (self, share, max_weight - MIN (max_weight, share->dead), G_MININT64,
                            "the route's backlog is over its share of the spool");
    }
  if (n > 0)
    tell (self, share);
  return n;
}

/* What it may be made to lose: a route that would rather hold up its producers has its dead
 * letters for that. */
static guint64
get_losable (const Share *share)
{
  if (share->route != NULL && evbus_admission_couples (share->route))
    return share->dead;
  return share->queued + share->dead;
}

/* Looks at what all together have, and tells those who admit puts. */
static Whole
measure (EvbusBudget *self,
         GArray      *shares)
{
  Whole whole = { .max_bytes = (gsize) g_atomic_pointer_get (&self->max_bytes) };
  guint64 total = 0, largest = 0;

  for (guint i = 0; i < shares->len; i++)
    {
      const Share *share = &g_array_index (shares, Share, i);

      total += share->queued + share->dead;
      whole.losable += get_losable (share);
      largest = MAX (largest, get_losable (share));
    }

  /* What is to be deleted is no reason for more. */
  whole.stored = MIN (evbus_spool_get_weight (self->spool), total);
  evbus_queue_set_room (self->queue, whole.max_bytes, whole.stored, largest);
  return whole;
}

/* Those that can lose the most first. */
static int
compare_losable (gconstpointer a,
                 gconstpointer b)
{
  guint64 left = get_losable (*(const Share *const *) a), right = get_losable (*(const Share *const *) b);

  return (left < right) - (left > right);
}

/* Where all together have too much, the one that can lose the most loses some of it; or where that
 * has all in memory, or is about to be another's, the next one that can: but not because it is read
 * for a moment. An eighth of the whole is left to those that can, should the others have more than is admitted of them:
 * the budget became smaller. Returns how many were lost. */
static guint
expire_largest (EvbusBudget *self,
                const Whole *whole,
                GArray      *shares)
{
  g_autoptr(GPtrArray) sorted = NULL;
  guint64 kept = whole->max_bytes / 8;
  guint64 excess;
  guint n = 0;

  /* Nor is what the routes have settled and the spool has not yet written. */
  if (whole->stored <= whole->max_bytes || whole->losable <= kept || evbus_spool_has_settled (self->spool))
    return 0;

  excess = MIN (whole->stored - whole->max_bytes, whole->losable - kept);
  sorted = g_ptr_array_sized_new (shares->len);
  for (guint i = 0; i < shares->len; i++)
    g_ptr_array_add (sorted, &g_array_index (shares, Share, i));
  g_ptr_array_sort (sorted, compare_losable);
  for (guint i = 0; i < sorted->len && n == 0; i++)
    {
      Share *share = sorted->pdata[i];

      n = expire_share (self, share, share->queued + share->dead - MIN (excess, get_losable (share)));
      if (share->busy)
        break;
    }
  return n;
}

/* Returns how many were lost. */
static guint
expire_some (EvbusBudget *self,
             GArray      *shares)
{
  const Whole whole = measure (self, shares);
  guint n = 0;

  for (guint i = 0; i < shares->len; i++)
    {
      Share *share = &g_array_index (shares, Share, i);

      if (share->route != NULL)
        n += expire_share (self, share, share->route->spec->delivery.spool_bytes);
    }
  return n > 0 ? n : expire_largest (self, &whole, shares);
}

/* Of one part of the spool. */
static guint
expire_old_share (EvbusBudget *self,
                  Share       *share,
                  gint64       put_before)
{
  guint n = 0, n_dead = 0;

  if (share->shared)
    return 0;
  if (share->dead > 0)
    expire_dead (self, share, G_MAXUINT64, put_before, &n_dead);
  if (share->queued > 0)
    n = expire_queued (self, share, G_MAXUINT64, put_before, "it grew older than the whole spool's max_age");
  return n + n_dead;
}

/* What is older than anything may be, until @end; the next time it goes on from there. Returns
 * whether there is more to look at now; if not, sets when there will be. */
static gboolean
expire_old (EvbusBudget *self,
            GArray      *shares,
            gint64       end)
{
  guint seconds = g_atomic_int_get (&self->max_age);
  gint64 max_age = seconds * (gint64) G_USEC_PER_SEC;
  gint64 put_before = evbus_spool_get_time (self->spool) - max_age;
  gboolean ages = FALSE;

  if (seconds != self->seen_age)
    self->next_ages = self->next_share = 0;
  self->seen_age = seconds;
  if (seconds == 0 || g_get_monotonic_time () < self->next_ages)
    return FALSE;

  while (self->next_share < shares->len)
    {
      if (expire_old_share (self, &g_array_index (shares, Share, self->next_share), put_before) == 0)
        self->next_share++;
      if (g_get_monotonic_time () >= end)
        return TRUE;
    }
  self->next_share = 0;
  for (guint i = 0; i < shares->len; i++)
    ages |= g_array_index (shares, Share, i).dead > 0 || g_array_index (shares, Share, i).queued > 0;
  self->next_ages = ages ? g_get_monotonic_time () + CLAMP (max_age / 10, MIN_LOOK_US, MAX_LOOK_US) : 0;
  return FALSE;
}

/* An orphan that has nothing goes after a while. Sets when to look again. */
static void
forget_spent (EvbusBudget *self,
              GArray      *shares)
{
  gint64 rest = G_MAXINT64;

  for (guint i = 0; i < shares->len; i++)
    {
      Share *share = &g_array_index (shares, Share, i);
      g_autoptr(GError) error = NULL;
      gint64 of_route;

      if (share->route != NULL)
        continue;
      g_mutex_lock (&self->claiming);
      of_route = evbus_spool_route_get_rest (share->spool_route);
      if (of_route == 0 && !evbus_spool_forget_route (self->spool, share->spool_route, &error))
        of_route = EVBUS_ORPHAN_US;
      g_mutex_unlock (&self->claiming);
      if (of_route > 0)
        rest = MIN (rest, of_route);
    }
  self->again = rest == G_MAXINT64 ? rest : g_get_monotonic_time () + rest;
  if (self->next_ages > 0)
    self->again = MIN (self->again, self->next_ages);
}

/* One list does for all, which costs a little for each route. Returns whether there is more to do. */
static gboolean
keep_once (EvbusBudget *self,
           gint64       end)
{
  g_autoptr(GPtrArray) routes = evbus_queue_dup_routes (self->queue);
  g_autoptr(GArray) shares = list_shares (self, routes);
  gboolean more = expire_some (self, shares) > 0;

  more |= expire_old (self, shares, end);
  forget_spent (self, shares);
  return more;
}

void
evbus_budget_measure (EvbusBudget *self)
{
  g_autoptr(GPtrArray) routes = evbus_queue_dup_routes (self->queue);
  g_autoptr(GArray) shares = list_shares (self, routes);

  measure (self, shares);
}

gboolean
evbus_budget_keep (EvbusBudget *self)
{
  gint64 end = g_get_monotonic_time () + EXPIRE_US;
  gboolean more = evbus_spool_maintain (self->spool);
  gboolean again;

  while ((again = keep_once (self, end)) && g_get_monotonic_time () < end)
    more |= evbus_spool_maintain (self->spool);
  return more || again;
}
