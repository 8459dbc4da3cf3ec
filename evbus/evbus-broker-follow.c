/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What becomes of followed events, told to the application. */

#include "evbus-broker-private.h"

#include "evbus-enum-types.h"

static guint settled_signal;

void
evbus_broker_install_follow (EvbusBrokerClass *klass)
{
  /**
   * EvbusBroker::event-settled:
   * @self: the broker
   * @follower: what the put had as its option `follow`
   * @id: the event's id
   * @route: (nullable): the route's name or "PROVIDER 'PATTERN'", or %NULL if this is about
   *   the event as a whole, or (%EVBUS_FATE_SETTLED) about routes that it may have had, too
   * @fate: what became of it there
   * @reason: (nullable): why it was given up, for a person
   * @left: how many of the event's routes are still to be told of
   *
   * A route has settled an event that was put with the option `follow`. It is emitted for
   * each of the event's routes, and once for an event that matches none; the last one has
   * 0 @left. It can come before the put's own answer. If the event's id is put again with
   * that option, who did so last is the one who is told, also of what was settled before,
   * and of a dead letter that was replayed to its route since.
   *
   * Since: 1.0
   */
  settled_signal =
    g_signal_new ("event-settled", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                  G_TYPE_NONE, 6, G_TYPE_STRING, G_TYPE_STRING, G_TYPE_STRING, EVBUS_TYPE_FATE, G_TYPE_STRING,
                  G_TYPE_UINT);
}

void
evbus_broker_tell_followers (EvbusBroker *self)
{
  GQueue all = evbus_queue_steal_news (self->queue);
  EvbusNews *news;

  while ((news = g_queue_pop_head (&all)) != NULL)
    {
      g_signal_emit (self, settled_signal, 0, news->follower, news->id, news->route, news->fate, news->reason,
                     news->left);
      evbus_news_free (news);
    }
}
