/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Takes the events out of the routes' mailboxes and hands them to the fan-out.
 * Which routes fill their mailbox is the plugins' business: every route is
 * looked after, and one that puts nothing there costs nothing. */

#include "evbusd-pump.h"

/* Events taken in one turn of the main loop, so that nothing else starves. */
#define TURN_EVENTS 256

struct _EvbusdPump
{
  GListModel   *routes;
  EvbusdFanout *fanout;
  GPtrArray    *mailboxes;   /* in the order of routes */
  GCancellable *cancellable;
};

/* One waiting get; it ends with its mailbox, so that what a removed route had
 * delivered is still handed out. */
typedef struct {
  EvbusdPump   *pump;
  EvbusMailbox *mailbox;
  GCancellable *cancellable;
} Drain;

static void drain_next (Drain *drain);

static void
drain_free (Drain *drain)
{
  g_object_unref (drain->mailbox);
  g_object_unref (drain->cancellable);
  g_free (drain);
}

static void
hand_over (EvbusdPump   *self,
           EvbusMailbox *mailbox)
{
  g_autoptr (GPtrArray) events = evbus_mailbox_try_get_many (mailbox, NULL, TURN_EVENTS);

  for (guint i = 0; i < events->len; i++)
    evbusd_fanout_deliver (self->fanout, events->pdata[i]);
}

static void
on_event (GObject      *source,
          GAsyncResult *result,
          gpointer      user_data)
{
  g_autoptr (EvbusEvent) event = NULL;
  Drain *drain = user_data;

  event = evbus_mailbox_get_finish (drain->mailbox, result, NULL);
  if (event == NULL || g_cancellable_is_cancelled (drain->cancellable))
    {
      drain_free (drain);
      return;
    }

  evbusd_fanout_deliver (drain->pump->fanout, event);
  hand_over (drain->pump, drain->mailbox);
  drain_next (drain);
}

static void
drain_next (Drain *drain)
{
  evbus_mailbox_get_async (drain->mailbox, NULL, drain->cancellable, on_event, drain);
}

static void
add_route (EvbusdPump *self,
           guint       position)
{
  g_autoptr (EvbusRoute) route = g_list_model_get_item (self->routes, position);
  Drain *drain = g_new (Drain, 1);

  drain->pump = self;
  drain->mailbox = g_object_ref (evbus_route_get_mailbox (route));
  drain->cancellable = g_object_ref (self->cancellable);
  g_ptr_array_insert (self->mailboxes, position, g_object_ref (drain->mailbox));
  drain_next (drain);
}

static void
on_routes_changed (GListModel *routes,
                   guint       position,
                   guint       removed,
                   guint       added,
                   gpointer    user_data)
{
  EvbusdPump *self = user_data;

  if (removed > 0)
    g_ptr_array_remove_range (self->mailboxes, position, removed);

  for (guint i = 0; i < added; i++)
    add_route (self, position + i);
}

EvbusdPump *
evbusd_pump_new (GListModel   *routes,
                 EvbusdFanout *fanout)
{
  EvbusdPump *self = g_new0 (EvbusdPump, 1);

  self->routes = g_object_ref (routes);
  self->fanout = fanout;
  self->mailboxes = g_ptr_array_new_with_free_func (g_object_unref);
  self->cancellable = g_cancellable_new ();
  g_signal_connect (routes, "items-changed", G_CALLBACK (on_routes_changed), self);
  on_routes_changed (routes, 0, 0, g_list_model_get_n_items (routes), self);
  return self;
}

/* Hands out what is there now, without waiting for the main loop. */
void
evbusd_pump_flush (EvbusdPump *self)
{
  for (guint i = 0; i < self->mailboxes->len; i++)
    {
      EvbusMailbox *mailbox = self->mailboxes->pdata[i];

      while (evbus_mailbox_get_length (mailbox) > 0)
        hand_over (self, mailbox);
    }
}

void
evbusd_pump_free (EvbusdPump *self)
{
  g_signal_handlers_disconnect_by_data (self->routes, self);
  g_cancellable_cancel (self->cancellable);
  g_object_unref (self->cancellable);
  g_ptr_array_unref (self->mailboxes);
  g_object_unref (self->routes);
  g_free (self);
}
