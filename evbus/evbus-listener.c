/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-listener-private.h"

#include "evbus-limits-private.h"
#include "evbus-source-private.h"
#include "evbus-spooler-private.h"
#include "evbus-stops-private.h"
#include "evbus-waits-private.h"

/* After it has taken something the listener lets more come together before it
 * looks again, and meanwhile no put has to wake it. An eager one takes a few
 * events at a time and fights over the queue's lock with the producers: that
 * cost half of the throughput. With the kernel's timer slack this is about
 * 150 µs, which the events that come while the listener is busy may have to
 * wait; one that finds it idle is taken at once. (Each round wakes a thread a
 * route and its consumer. At 70 µs they cost a sixth more processor time in
 * all, at 300 µs a few percent less.) */
#define TAKE_INTERVAL_US 100

/* Takes in a row before other sources of the loop get their turn. */
#define TAKES_IN_A_ROW 64

struct _EvbusListener
{
  gatomicrefcount  ref_count;
  GMainContext    *context;
  GMainLoop       *loop;
  EvbusQueue      *queue;
  GSource         *source;         /* woken by the queue */
  GSource         *watch;          /* goes off at the next deadline */
  int              started;        /* atomic */
  int              pinged;         /* atomic: its thread has not answered yet */
  int              over;           /* atomic: a stop is answered, or nobody is left to ask for one */

  GMutex           lock;
  gint64           watch_at;       /* when @watch goes off, G_MAXINT64: never; under @lock */
  gboolean         ended;          /* nobody hears messages any more; under @lock */

  /* On the listener's thread (or nobody's, before it is started). */
  EvbusTake        take;
  GPtrArray       *routes;         /* with a thread, or about to have one; a reference of each */
  GHashTable      *waits;          /* route that is not started → the one that has to finish first; references of both */
  gboolean         stopping;
  gboolean         aborted;
  EvbusSpooler    *spooler;        /* or NULL; set before the thread is started */
  EvbusStops       stops;          /* what it says does not change once @ended is set */
};

static gboolean on_queue (gpointer data);
static gboolean on_watch (gpointer data);

EvbusListener *
evbus_listener_new (void)
{
  EvbusListener *self = g_new0 (EvbusListener, 1);

  g_atomic_ref_count_init (&self->ref_count);
  g_mutex_init (&self->lock);
  self->watch_at = G_MAXINT64;
  self->context = g_main_context_new ();
  self->loop = g_main_loop_new (self->context, FALSE);
  self->routes = g_ptr_array_new_with_free_func (g_object_unref);
  evbus_stops_init (&self->stops);
  evbus_take_init (&self->take);
  self->waits = g_hash_table_new_full (NULL, NULL, g_object_unref, g_object_unref);
  self->source = evbus_source_new ("[evbus] queue", on_queue, self, NULL);
  self->watch = evbus_source_new ("[evbus] watch", on_watch, self, NULL);
  self->queue = evbus_queue_new (self->source);
  g_source_attach (self->source, self->context);
  g_source_attach (self->watch, self->context);

  return self;
}

EvbusListener *
evbus_listener_ref (EvbusListener *self)
{
  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_listener_unref (EvbusListener *self)
{
  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;

  g_source_destroy (self->source);
  g_source_destroy (self->watch);
  g_source_unref (self->source);
  g_source_unref (self->watch);
  evbus_queue_unref (self->queue);
  g_ptr_array_unref (self->routes);
  evbus_stops_clear (&self->stops);
  evbus_take_clear (&self->take);
  g_clear_pointer (&self->spooler, evbus_spooler_unref);
  g_hash_table_unref (self->waits);
  g_main_loop_unref (self->loop);
  g_main_context_unref (self->context);
  g_mutex_clear (&self->lock);
  g_free (self);
}

EvbusQueue *
evbus_listener_get_queue (EvbusListener *self)
{
  return self->queue;
}

static void
hand_on (EvbusTake *take)
{
  for (guint i = 0; i < take->chunks->len; i++)
    {
      EvbusChunk *chunk = take->chunks->pdata[i];
      EvbusRouteSet *set = take->sets->pdata[i];

      for (guint j = 0; j < set->n_routes; j++)
        evbus_route_push (set->routes[j], chunk);
      evbus_chunk_unref (chunk);
    }
}

static gboolean
take_and_hand_on (EvbusListener *self)
{
  if (!evbus_queue_take (self->queue, &self->take))
    return FALSE;

  if (self->spooler == NULL || evbus_spooler_store (self->spooler, &self->take))
    hand_on (&self->take);
  return TRUE;
}

static gboolean
on_queue (gpointer data)
{
  EvbusListener *self = data;
  gboolean more = TRUE;

  for (guint i = 0; i < TAKES_IN_A_ROW && more; i++)
    {
      guint64 before = self->queue->n_taken;

      more = take_and_hand_on (self);
      /* One event is no flow; to wait and look again would cost more than the
       * next wake-up. */
      if (self->queue->n_taken - before > 1)
        g_usleep (TAKE_INTERVAL_US);
    }

  if (self->spooler != NULL)
    more |= evbus_spooler_look_up (self->spooler);
  if (more)
    evbus_source_wake (self->source);
  return G_SOURCE_CONTINUE;
}

/* What the listener is told, carried to its thread. */
typedef struct {
  EvbusListener *listener;
  EvbusRoute    *route;
  EvbusRoute    *after;
  guint64        n_pushed;
  guint          timeout;
  GTask         *task;
} Message;

static void
message_free (Message *message)
{
  evbus_listener_unref (message->listener);
  g_clear_object (&message->route);
  g_clear_object (&message->after);
  g_clear_object (&message->task);
  g_free (message);
}

/* Takes what @message refers to. FALSE: the listener has ended. Not
 * g_main_context_invoke(), which could call @func here and now. */
static gboolean
tell (EvbusListener *self,
      GSourceFunc    func,
      Message        message)
{
  g_autoptr(GSource) source = g_idle_source_new ();
  gboolean heard;

  message.listener = evbus_listener_ref (self);
  g_source_set_priority (source, G_PRIORITY_DEFAULT);
  g_source_set_static_name (source, "[evbus] message to the listener");
  g_source_set_callback (source, func, g_memdup2 (&message, sizeof message), (GDestroyNotify) message_free);

  /* A message nobody hears would keep its listener alive for ever. */
  g_mutex_lock (&self->lock);
  heard = !self->ended;
  if (heard)
    g_source_attach (source, self->context);
  g_mutex_unlock (&self->lock);

  return heard;
}

void
evbus_listener_watch (EvbusListener *self,
                      gint64         deadline)
{
  g_mutex_lock (&self->lock);
  if (deadline < self->watch_at)
    {
      self->watch_at = deadline;
      g_source_set_ready_time (self->watch, deadline);
    }
  g_mutex_unlock (&self->lock);
}

static gboolean
has_finished (EvbusListener *self,
              EvbusRoute    *route)
{
  return !g_ptr_array_find (self->routes, route, NULL);
}

static void
start_successors (EvbusListener *self,
                  EvbusRoute    *route)
{
  g_autoptr(GPtrArray) ready = evbus_waits_end (self->waits, route);

  for (guint i = 0; i < ready->len; i++)
    evbus_route_start (ready->pdata[i], self);
}

static void
end_thread_if_done (EvbusListener *self)
{
  if ((!self->stopping && !self->aborted) || self->routes->len > 0)
    return;

  if (self->spooler != NULL)
    evbus_spooler_close (self->spooler);
  evbus_queue_end_follows (self->queue);
  g_atomic_int_set (&self->over, TRUE);
  evbus_stops_answer_all (&self->stops);
  g_main_loop_quit (self->loop);
}

static void
forget_route (EvbusListener *self,
              EvbusRoute    *route)
{
  evbus_queue_retire (self->queue, route);
  start_successors (self, route);
  if (self->stopping)
    evbus_stops_end (&self->stops, route);
  g_ptr_array_remove (self->routes, route);
  if (self->spooler != NULL)
    evbus_spooler_tend (self->spooler);   /* an orphan may be left that has nothing */
  end_thread_if_done (self);
}

static gboolean
on_finished (gpointer data)
{
  Message *message = data;

  if (!has_finished (message->listener, message->route))
    forget_route (message->listener, message->route);
  return G_SOURCE_REMOVE;
}

void
evbus_listener_finished (EvbusListener *self,
                         EvbusRoute    *route)
{
  tell (self, on_finished, (Message) { .route = g_object_ref (route) });
}

static gboolean
on_add (gpointer data)
{
  Message *message = data;
  EvbusListener *self = message->listener;
  EvbusRoute *awaited = evbus_waits_find (self->routes, message->route, message->after);

  if (self->aborted)
    {
      evbus_route_drop_window (message->route, "the broker was stopped");
      return G_SOURCE_REMOVE;
    }

  g_ptr_array_add (self->routes, g_object_ref (message->route));
  if (awaited != NULL)
    g_hash_table_insert (self->waits, g_object_ref (message->route), g_object_ref (awaited));
  else
    evbus_route_start (message->route, self);
  return G_SOURCE_REMOVE;
}

void
evbus_listener_add (EvbusListener *self,
                    EvbusRoute    *route,
                    EvbusRoute    *after)
{
  tell (self, on_add, (Message) { .route = g_object_ref (route), .after = after != NULL ? g_object_ref (after) : NULL });
}

static gboolean
on_retire (gpointer data)
{
  Message *message = data;
  EvbusListener *self = message->listener;
  EvbusRoute *route = message->route;
  gint64 until = g_get_monotonic_time () + message->timeout * (gint64) 1000;

  /* The events that were put while the route was in the table. */
  while (self->queue->n_taken < message->n_pushed && take_and_hand_on (self))
    ;

  evbus_route_drain_by (route, until, TRUE);
  evbus_listener_watch (self, 0);
  return G_SOURCE_REMOVE;
}

void
evbus_listener_retire (EvbusListener *self,
                       EvbusRoute    *route,
                       guint64        n_pushed,
                       guint          timeout)
{
  tell (self, on_retire, (Message) { .route = g_object_ref (route), .n_pushed = n_pushed, .timeout = timeout });
}

/* Past its grace: ends the route whether its thread has come back or not. One
 * without a thread has nothing but its window. */
static void
give_route_up (EvbusListener *self,
               EvbusRoute    *route)
{
  g_autoptr(EvbusRoute) keep = g_object_ref (route);

  if (!route->started)
    evbus_route_drop_window (route, "the route was stopped before it could start");
  else if (!evbus_route_abandon (route))
    return;

  forget_route (self, route);
}

static gint64
look_at_route (EvbusListener *self,
               EvbusRoute    *route,
               gint64         now)
{
  EvbusLook look = evbus_route_look (route, now);

  if (look.cancel != NULL)
    {
      g_cancellable_cancel (look.cancel);
      g_object_unref (look.cancel);
    }
  if (look.start)
    evbus_route_start (route, self);
  if (look.abort)
    evbus_route_set_phase (route, EVBUS_PHASE_ABORT);
  if (look.give_up)
    give_route_up (self, route);

  return look.next;
}

static gboolean
on_watch (gpointer data)
{
  EvbusListener *self = data;
  g_autoptr(GPtrArray) routes = evbus_route_array_copy (self->routes);
  gint64 now = g_get_monotonic_time ();
  gint64 next = G_MAXINT64;

  g_mutex_lock (&self->lock);
  self->watch_at = G_MAXINT64;
  g_mutex_unlock (&self->lock);

  for (guint i = 0; i < routes->len; i++)
    {
      /* Not inside of MIN(), which would look twice. */
      gint64 route_next = look_at_route (self, routes->pdata[i], now);

      next = MIN (next, route_next);
    }

  if (next != G_MAXINT64)
    evbus_listener_watch (self, next);
  return G_SOURCE_CONTINUE;
}

static void
end_routes_by (EvbusListener *self,
               gint64         deadline)
{
  for (guint i = 0; i < self->routes->len; i++)
    evbus_route_drain_by (self->routes->pdata[i], deadline, FALSE);

  evbus_listener_watch (self, 0);
}

static gboolean
on_hurry (gpointer data)
{
  Message *message = data;

  end_routes_by (message->listener, g_get_monotonic_time ());
  return G_SOURCE_REMOVE;
}

static void
on_stop_cancelled (GCancellable *cancellable,
                   gpointer      data)
{
  tell (data, on_hurry, (Message) { NULL });
}

static gboolean
on_stop (gpointer data)
{
  Message *message = data;
  EvbusListener *self = message->listener;

  if (self->aborted)
    {
      /* It has ended before it heard of this. */
      evbus_stops_answer (&self->stops, message->task);
      return G_SOURCE_REMOVE;
    }

  while (take_and_hand_on (self))
    ;

  evbus_stops_add (&self->stops, message->task, G_CALLBACK (on_stop_cancelled),
                   evbus_listener_ref (self), (GDestroyNotify) evbus_listener_unref);
  if (!self->stopping)
    {
      self->stopping = TRUE;
      for (guint i = 0; i < self->routes->len; i++)
        evbus_stops_begin (&self->stops, self->routes->pdata[i]);
      end_routes_by (self, g_get_monotonic_time () + message->timeout * (gint64) 1000);
    }
  end_thread_if_done (self);
  return G_SOURCE_REMOVE;
}

void
evbus_listener_stop (EvbusListener *self,
                     GTask         *task,
                     guint          timeout)
{
  if (!tell (self, on_stop, (Message) { .task = g_object_ref (task), .timeout = timeout }))
    evbus_stops_answer (&self->stops, task);
}

static gboolean
on_ping (gpointer data)
{
  g_atomic_int_set (&((Message *) data)->listener->pinged, FALSE);
  return G_SOURCE_REMOVE;
}

gboolean
evbus_listener_ping (EvbusListener *self)
{
  if (g_atomic_int_get (&self->over))
    return TRUE;
  if (!g_atomic_int_compare_and_exchange (&self->pinged, FALSE, TRUE))
    return FALSE;

  tell (self, on_ping, (Message) { NULL });
  return TRUE;
}

static gboolean
on_abort (gpointer data)
{
  Message *message = data;
  EvbusListener *self = message->listener;

  /* What is in a spool is delivered another time. */
  while (self->spooler != NULL && take_and_hand_on (self))
    ;

  self->aborted = TRUE;
  end_routes_by (self, g_get_monotonic_time () + EVBUS_STUCK_GRACE_US);   /* at leisure: nobody waits for it */
  for (guint i = 0; i < self->routes->len; i++)
    evbus_route_set_phase (self->routes->pdata[i], EVBUS_PHASE_ABORT);
  /* The last of them, or the watch, ends this thread: what a plugin that does
   * not return has kept is dropped. */
  end_thread_if_done (self);
  return G_SOURCE_REMOVE;
}

static void
discard_take (EvbusListener *self)
{
  EvbusTake *take = &self->take;

  for (guint i = 0; i < take->sets->len; i++)
    {
      EvbusRouteSet *set = take->sets->pdata[i];

      for (guint j = 0; j < set->n_routes; j++)
        {
          evbus_route_drop_window (set->routes[j], "the broker was stopped");
          evbus_stops_count (&self->stops, set->routes[j], ((EvbusChunk *) take->chunks->pdata[i])->n_events);
        }
    }

  if (self->queue->durable)
    evbus_spooler_refuse (self->queue, take);
  else
    hand_on (take);
}

/* Nobody will deliver anything any more: what is in the queue is dropped, and
 * messages that were not heard are forgotten. */
void
evbus_listener_discard (EvbusListener *self)
{
  self->aborted = TRUE;
  g_atomic_int_set (&self->over, TRUE);

  while (evbus_queue_take (self->queue, &self->take))
    discard_take (self);
  evbus_queue_end_follows (self->queue);

  /* The routes have references of the queue, and it has of them. */
  evbus_queue_clear_table (self->queue);

  g_mutex_lock (&self->lock);
  self->ended = TRUE;
  g_mutex_unlock (&self->lock);
  g_source_destroy (self->source);
  g_source_destroy (self->watch);
  while (g_main_context_iteration (self->context, FALSE))
    ;
}

void
evbus_listener_abort (EvbusListener *self)
{
  if (g_atomic_int_get (&self->started))
    tell (self, on_abort, (Message) { NULL });
  else
    evbus_listener_discard (self);
}

static gpointer
run (gpointer data)
{
  EvbusListener *self = data;

  g_main_context_push_thread_default (self->context);
  g_main_loop_run (self->loop);
  g_main_context_pop_thread_default (self->context);
  evbus_listener_discard (self);
  evbus_listener_unref (self);
  return NULL;
}

void
evbus_listener_set_spooler (EvbusListener *self,
                            EvbusSpooler  *spooler)
{
  self->spooler = evbus_spooler_ref (spooler);
}

gboolean
evbus_listener_start (EvbusListener  *self,
                      GError        **error)
{
  GThread *thread;

  g_atomic_int_set (&self->started, TRUE);   /* before, as the thread may be the one that drops the broker */
  thread = g_thread_try_new ("evbus-listener", run, evbus_listener_ref (self), error);
  if (thread == NULL)
    {
      g_atomic_int_set (&self->started, FALSE);
      evbus_listener_unref (self);
      g_prefix_error (error, "no thread for the broker, which is not started: ");
      return FALSE;
    }

  g_thread_unref (thread);
  return TRUE;
}
