/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-notifier-private.h"

#include <string.h>

#include "evbus-limits-private.h"
#include "evbus-route-private.h"
#include "evbus-source-private.h"

#define FIGURES_INTERVAL_US (G_USEC_PER_SEC / 4)

typedef struct {
  EvbusRoute      *route;
  EvbusEvent      *event;    /* NULL: a change of state */
  EvbusRouteState  state;
  char            *reason;
  guint64          missed;
} News;

struct _EvbusNotifier
{
  gatomicrefcount           ref_count;
  GWeakRef                  object;
  const EvbusNotifierFuncs *funcs;
  GMainContext             *context;         /* the object's */
  GThread                  *thread;          /* on which it was made */
  GSource                  *source;          /* in @context */

  GMutex                    lock;
  GQueue                    news;            /* News; under @lock */
  guint                     n_failures;      /* in @news; under @lock */
  guint                     n_states;        /* the rest of @news; under @lock */
  News                     *latest;          /* the last failure of those for which @news has no place, with
                                              * the number of the others; under @lock */
  guint                     changes;         /* of the object itself; under @lock */
  GPtrArray                *moved;           /* routes whose figures have moved; under @lock */
  int                       totals_moved;    /* atomic; others that are in the totals have; cleared when told */
  gint64                    next_figures;    /* monotonic; under @lock */
  gboolean                  closed;          /* under @lock */
};

static void
news_free (News *news)
{
  g_object_unref (news->route);
  g_clear_pointer (&news->event, evbus_event_unref);
  g_free (news->reason);
  g_free (news);
}

static gboolean dispatch (gpointer data);

EvbusNotifier *
evbus_notifier_new (GObject                  *object,
                    const EvbusNotifierFuncs *funcs)
{
  EvbusNotifier *self = g_new0 (EvbusNotifier, 1);

  g_atomic_ref_count_init (&self->ref_count);
  g_weak_ref_init (&self->object, object);
  self->funcs = funcs;
  self->context = g_main_context_ref_thread_default ();
  self->thread = g_thread_ref (g_thread_self ());
  g_mutex_init (&self->lock);
  g_queue_init (&self->news);
  self->moved = g_ptr_array_new_with_free_func (g_object_unref);
  self->source = evbus_source_new ("[evbus] notifier", dispatch, evbus_notifier_ref (self),
                                   (GDestroyNotify) evbus_notifier_unref);
  g_source_attach (self->source, self->context);

  return self;
}

EvbusNotifier *
evbus_notifier_ref (EvbusNotifier *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_notifier_unref (EvbusNotifier *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_queue_clear_full (&self->news, (GDestroyNotify) news_free);
  g_clear_pointer (&self->latest, news_free);
  g_ptr_array_unref (self->moved);
  g_mutex_clear (&self->lock);
  g_weak_ref_clear (&self->object);
  g_source_unref (self->source);
  g_thread_unref (self->thread);
  g_main_context_unref (self->context);
  g_free (self);
}

/* All that is to be told, and no more places for it. */
static GQueue
steal_news_locked (EvbusNotifier *self)
{
  GQueue news = self->news;

  g_queue_init (&self->news);
  if (self->latest != NULL)
    g_queue_push_tail (&news, g_steal_pointer (&self->latest));
  self->n_failures = 0;
  self->n_states = 0;

  return news;
}

void
evbus_notifier_close (EvbusNotifier *self)
{
  GQueue news;
  g_autoptr(GPtrArray) moved = NULL;

  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  news = steal_news_locked (self);
  moved = self->moved;
  self->moved = g_ptr_array_new ();
  g_mutex_unlock (&self->lock);

  g_queue_clear_full (&news, (GDestroyNotify) news_free);
  g_source_destroy (self->source);
}

/* The source goes off at once, or when the figures' turn comes. Under the lock,
 * so that the one is not taken for the other. */
static void
arm_locked (EvbusNotifier *self)
{
  if (self->news.length > 0 || self->changes != 0)
    evbus_source_wake (self->source);
  else if (self->moved->len > 0 || g_atomic_int_get (&self->totals_moved))
    g_source_set_ready_time (self->source, MAX (1, self->next_figures));
}

/* A program that does not run its main context must not gather changes for
 * ever; the latest are worth more than the oldest. Returns what gives way. */
static News *
add_state_locked (EvbusNotifier *self,
                  News          *news)
{
  g_queue_push_tail (&self->news, news);
  if (++self->n_states <= EVBUS_MAX_FAILURES_PENDING)
    return NULL;

  self->n_states--;
  for (GList *link = self->news.head; link != NULL; link = link->next)
    {
      News *oldest = link->data;

      if (oldest->event == NULL)
        {
          g_queue_delete_link (&self->news, link);
          return oldest;
        }
    }

  return NULL;
}

/* The last place is for the latest of those that are too many, with the number
 * of the others, so that none goes uncounted when no more comes. */
static News *
add_failure_locked (EvbusNotifier *self,
                    News          *news)
{
  News *previous;

  if (self->n_failures < EVBUS_MAX_FAILURES_PENDING - 1)
    {
      self->n_failures++;
      g_queue_push_tail (&self->news, news);
      return NULL;
    }

  previous = self->latest;
  if (previous != NULL)
    news->missed = previous->missed + 1;
  self->latest = news;
  return previous;
}

static void
post (EvbusNotifier *self,
      News          *news)
{
  News *left_out = news;

  g_mutex_lock (&self->lock);
  if (!self->closed)
    {
      left_out = news->event != NULL ? add_failure_locked (self, news) : add_state_locked (self, news);
      arm_locked (self);
    }
  g_mutex_unlock (&self->lock);

  if (left_out != NULL)
    news_free (left_out);
}

/* In a flood of failures only the event differs from one to the next. */
static gboolean
add_to_latest (EvbusNotifier *self,
               EvbusRoute    *route,
               EvbusEvent    *event,
               const char    *reason)
{
  EvbusEvent *previous = NULL;
  News *latest;

  g_mutex_lock (&self->lock);
  latest = self->latest;
  if (latest != NULL && latest->route == route && strcmp (latest->reason, reason) == 0)
    {
      previous = latest->event;
      latest->event = evbus_event_ref (event);
      latest->missed++;
    }
  g_mutex_unlock (&self->lock);

  if (previous != NULL)
    evbus_event_unref (previous);
  return previous != NULL;
}

void
evbus_notifier_event_failed (EvbusNotifier *self,
                             EvbusRoute    *route,
                             EvbusEvent    *event,
                             const char    *reason)
{
  News *news;

  if (add_to_latest (self, route, event, reason))
    return;

  news = g_new0 (News, 1);
  news->route = g_object_ref (route);
  news->event = evbus_event_ref (event);
  news->reason = g_utf8_make_valid (reason, -1);
  post (self, news);
}

void
evbus_notifier_state_changed (EvbusNotifier   *self,
                              EvbusRoute      *route,
                              EvbusRouteState  state,
                              const char      *reason)
{
  News *news = g_new0 (News, 1);

  news->route = g_object_ref (route);
  news->state = state;
  news->reason = g_strdup (reason);
  post (self, news);
}

void
evbus_notifier_figures_moved (EvbusNotifier *self,
                              EvbusRoute    *route)
{
  if (!g_atomic_int_compare_and_exchange (&route->figures_moved, FALSE, TRUE))
    return;

  g_mutex_lock (&self->lock);
  if (!self->closed)
    {
      g_ptr_array_add (self->moved, g_object_ref (route));
      arm_locked (self);
    }
  g_mutex_unlock (&self->lock);
}

void
evbus_notifier_totals_moved (EvbusNotifier *self)
{
  if (!g_atomic_int_compare_and_exchange (&self->totals_moved, FALSE, TRUE))
    return;

  g_mutex_lock (&self->lock);
  if (!self->closed)
    arm_locked (self);
  g_mutex_unlock (&self->lock);
}

/* Whether the calling thread may run the object's context now; then it does,
 * until g_main_context_release(). */
static gboolean
enter_context (EvbusNotifier *self)
{
  g_autoptr(GMainContext) here = g_main_context_ref_thread_default ();

  /* g_main_context_invoke() would ask for less: the default context is that of
   * every thread that has none of its own. */
  if (!g_main_context_is_owner (self->context) &&
      (g_thread_self () != self->thread || here != self->context))
    return FALSE;

  return g_main_context_acquire (self->context);
}

void
evbus_notifier_changed_later (EvbusNotifier *self,
                              guint          changes)
{
  g_mutex_lock (&self->lock);
  if (!self->closed)
    {
      self->changes |= changes;
      arm_locked (self);
    }
  g_mutex_unlock (&self->lock);
}

void
evbus_notifier_changed (EvbusNotifier *self,
                        guint          changes)
{
  g_autoptr(GObject) object = NULL;

  if (!enter_context (self))
    {
      evbus_notifier_changed_later (self, changes);
      return;
    }

  object = g_weak_ref_get (&self->object);
  if (object != NULL)
    self->funcs->changed (object, changes);
  g_main_context_release (self->context);
}

/* NULL: nothing has moved, or its turn has not come. */
static GPtrArray *
steal_moved (EvbusNotifier *self)
{
  gint64 now = g_get_monotonic_time ();
  GPtrArray *moved = NULL;

  g_mutex_lock (&self->lock);
  if ((self->moved->len > 0 || g_atomic_int_get (&self->totals_moved)) && now >= self->next_figures)
    {
      g_atomic_int_set (&self->totals_moved, FALSE);
      moved = self->moved;
      self->moved = g_ptr_array_new_with_free_func (g_object_unref);
      self->next_figures = now + FIGURES_INTERVAL_US;
    }
  arm_locked (self);
  g_mutex_unlock (&self->lock);

  return moved;
}

static void
tell (EvbusNotifier *self,
      GObject       *object,
      News          *news)
{
  if (news->event != NULL)
    {
      self->funcs->event_failed (object, news->route, news->event, news->reason, news->missed);
      return;
    }

  evbus_route_notify_state (news->route);
  self->funcs->state_changed (object, news->route, news->state, news->reason);
}

static gboolean
dispatch (gpointer data)
{
  EvbusNotifier *self = data;
  g_autoptr(GObject) object = g_weak_ref_get (&self->object);
  g_autoptr(GPtrArray) moved = NULL;
  guint changes;
  GQueue news;

  if (object == NULL)
    return G_SOURCE_REMOVE;

  g_mutex_lock (&self->lock);
  news = steal_news_locked (self);
  changes = self->changes;
  self->changes = 0;
  g_mutex_unlock (&self->lock);

  if (changes != 0)
    self->funcs->changed (object, changes);
  for (GList *link = news.head; link != NULL; link = link->next)
    tell (self, object, link->data);
  g_queue_clear_full (&news, (GDestroyNotify) news_free);

  moved = steal_moved (self);
  for (guint i = 0; moved != NULL && i < moved->len; i++)
    {
      EvbusRoute *route = moved->pdata[i];

      g_atomic_int_set (&route->figures_moved, FALSE);
      evbus_route_notify_figures (route);
    }
  if (moved != NULL)
    self->funcs->figures_moved (object);

  return G_SOURCE_CONTINUE;
}
