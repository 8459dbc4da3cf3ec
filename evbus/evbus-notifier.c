/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-notifier-private.h"

#include "evbus-limits-private.h"
#include "evbus-route-private.h"
#include "evbus-source-private.h"

#define FIGURES_INTERVAL_US (G_USEC_PER_SEC / 4)

struct _EvbusNotifier
{
  gatomicrefcount           ref_count;
  GWeakRef                  object;
  const EvbusNotifierFuncs *funcs;
  GSource                  *source;          /* in the object's context */

  GMutex                    lock;
  GQueue                    news;            /* News; under @lock */
  guint                     n_failures;      /* in @news; under @lock */
  guint                     n_states;        /* the rest of @news; under @lock */
  guint64                   missed;          /* failures left out since the last; under @lock */
  GPtrArray                *moved;           /* routes whose figures have moved; under @lock */
  gint64                    next_figures;    /* monotonic; under @lock */
  gboolean                  closed;          /* under @lock */
};

typedef struct {
  EvbusRoute      *route;
  EvbusEvent      *event;    /* NULL: a change of state */
  EvbusRouteState  state;
  char            *reason;
  guint64          missed;
} News;

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
  g_mutex_init (&self->lock);
  g_queue_init (&self->news);
  self->moved = g_ptr_array_new_with_free_func (g_object_unref);
  self->source = evbus_source_new ("[evbus] notifier", dispatch, evbus_notifier_ref (self),
                                   (GDestroyNotify) evbus_notifier_unref);
  g_source_attach (self->source, g_main_context_get_thread_default ());

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
  g_ptr_array_unref (self->moved);
  g_mutex_clear (&self->lock);
  g_weak_ref_clear (&self->object);
  g_source_unref (self->source);
  g_free (self);
}

void
evbus_notifier_close (EvbusNotifier *self)
{
  GQueue news;
  g_autoptr(GPtrArray) moved = NULL;

  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  news = self->news;
  g_queue_init (&self->news);
  moved = self->moved;
  self->moved = g_ptr_array_new ();
  g_mutex_unlock (&self->lock);

  g_queue_clear_full (&news, (GDestroyNotify) news_free);
  g_source_destroy (self->source);
}

/* A program that does not run its main context must not gather changes for
 * ever; the latest are worth more than the oldest. */
static void
drop_oldest_state_locked (EvbusNotifier *self)
{
  for (GList *link = self->news.head; link != NULL; link = link->next)
    {
      News *news = link->data;

      if (news->event == NULL)
        {
          news_free (news);
          g_queue_delete_link (&self->news, link);
          self->n_states--;
          return;
        }
    }
}

static void
post (EvbusNotifier *self,
      News          *news)
{
  gboolean closed;

  g_mutex_lock (&self->lock);
  closed = self->closed;
  if (!closed)
    {
      g_queue_push_tail (&self->news, news);
      if (news->event == NULL && ++self->n_states > EVBUS_MAX_FAILURES_PENDING)
        drop_oldest_state_locked (self);
    }
  g_mutex_unlock (&self->lock);

  if (closed)
    news_free (news);
  else
    evbus_source_wake (self->source);
}

void
evbus_notifier_event_failed (EvbusNotifier *self,
                             EvbusRoute    *route,
                             EvbusEvent    *event,
                             const char    *reason)
{
  gboolean full;
  guint64 missed = 0;
  News *news;

  g_mutex_lock (&self->lock);
  full = self->n_failures >= EVBUS_MAX_FAILURES_PENDING;
  if (full)
    {
      self->missed++;
    }
  else
    {
      self->n_failures++;
      missed = self->missed;
      self->missed = 0;
    }
  g_mutex_unlock (&self->lock);

  if (full)
    return;

  news = g_new0 (News, 1);
  news->route = g_object_ref (route);
  news->event = evbus_event_ref (event);
  news->reason = g_utf8_make_valid (reason, -1);
  news->missed = missed;
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
  gint64 when = 0;

  if (!g_atomic_int_compare_and_exchange (&route->figures_moved, FALSE, TRUE))
    return;

  g_mutex_lock (&self->lock);
  if (!self->closed)
    {
      g_ptr_array_add (self->moved, g_object_ref (route));
      when = MAX (1, self->next_figures);
    }
  if (when > 0 && self->news.length == 0)
    g_source_set_ready_time (self->source, when);
  g_mutex_unlock (&self->lock);
}

static GPtrArray *
steal_moved (EvbusNotifier *self)
{
  gint64 now = g_get_monotonic_time ();
  GPtrArray *moved = NULL;

  g_mutex_lock (&self->lock);
  if (self->moved->len > 0 && now >= self->next_figures)
    {
      moved = self->moved;
      self->moved = g_ptr_array_new_with_free_func (g_object_unref);
      self->next_figures = now + FIGURES_INTERVAL_US;
    }
  else if (self->moved->len > 0)
    {
      g_source_set_ready_time (self->source, self->next_figures);
    }
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
  GQueue news;

  if (object == NULL)
    return G_SOURCE_REMOVE;

  g_mutex_lock (&self->lock);
  news = self->news;
  g_queue_init (&self->news);
  self->n_failures = 0;
  self->n_states = 0;
  g_mutex_unlock (&self->lock);

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

  return G_SOURCE_CONTINUE;
}
