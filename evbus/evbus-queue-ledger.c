/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The ledgers, which the queue's lock guards: what becomes of dead letters, and what
 * is read. */

#include "evbus-admission-private.h"

#include "evbus-notifier-private.h"
#include "evbus-route-private.h"

static EvbusRoute *
find_locked (EvbusQueue  *self,
             gpointer     spool_route,
             EvbusRoute **newest)
{
  GPtrArray *holders = evbus_queue_get_holders_locked (self, spool_route);

  if (holders == NULL)
    return NULL;
  *newest = holders->pdata[holders->len - 1];
  return holders->pdata[0];
}

EvbusRoute *
evbus_queue_replay (EvbusQueue *self,
                    gpointer    spool_route,
                    gsize       weight)
{
  EvbusRoute *newest = NULL;
  EvbusRoute *route;

  evbus_queue_lock (self);
  route = find_locked (self, spool_route, &newest);
  if (route != NULL)
    {
      route->ledger.dead--;
      route->ledger.queued++;
      route->queued_weight += weight;
      g_object_ref (newest);
    }
  evbus_queue_unlock (self);

  return newest;
}

guint64
evbus_queue_count_dead (EvbusQueue *self,
                        gpointer    spool_route)
{
  guint64 n_dead = G_MAXUINT64;
  EvbusRoute *newest = NULL;
  EvbusRoute *route;

  evbus_queue_lock (self);
  route = find_locked (self, spool_route, &newest);
  if (route != NULL)
    n_dead = route->ledger.dead;
  evbus_queue_unlock (self);

  return n_dead;
}

void
evbus_queue_lose_dead (EvbusQueue *self,
                       gpointer    spool_route,
                       guint64     n_events,
                       gsize       account)
{
  EvbusRoute *newest = NULL;
  EvbusRoute *route;

  evbus_queue_lock (self);
  route = find_locked (self, spool_route, &newest);
  if (route != NULL)
    {
      route->ledger.dead -= n_events;
      G_STRUCT_MEMBER (guint64, &route->ledger, account) += n_events;
      g_object_ref (newest);
    }
  evbus_queue_unlock (self);

  if (newest != NULL)
    {
      evbus_notifier_figures_moved (newest->notifier, newest);
      g_object_unref (newest);
    }
}

void
evbus_queue_get_ledger (EvbusQueue  *self,
                        EvbusRoute  *route,
                        EvbusLedger *ledger)
{
  evbus_queue_lock (self);
  *ledger = route->ledger;
  evbus_queue_unlock (self);
}

gsize
evbus_queue_get_weight (EvbusQueue *self,
                        EvbusRoute *route)
{
  gsize weight;

  evbus_queue_lock (self);
  weight = route->queued_weight;
  evbus_queue_unlock (self);

  return weight;
}

void
evbus_queue_get_totals (EvbusQueue  *self,
                        EvbusSpool  *spool,
                        EvbusLedger *ledger)
{
  g_autoptr(GPtrArray) stored = spool != NULL ? evbus_spool_list_routes (spool) : NULL;
  EvbusLedger other;

  evbus_queue_lock (self);
  *ledger = self->retired;
  if (spool != NULL)
    {
      evbus_spool_get_rest (spool, &other);
      evbus_ledger_add (ledger, &other);
    }
  for (guint i = 0; i < self->routes->len; i++)
    evbus_ledger_add (ledger, &((EvbusRoute *) self->routes->pdata[i])->ledger);
  /* Under the same lock, or one that retires now were counted twice. */
  for (guint i = 0; stored != NULL && i < stored->len; i++)
    {
      if (evbus_queue_get_holders_locked (self, stored->pdata[i]) != NULL)
        continue;
      evbus_spool_route_get_ledger (stored->pdata[i], &other, NULL);
      evbus_ledger_add (ledger, &other);
    }
  ledger->unrouted = self->unrouted;
  ledger->repeated = self->repeated;
  evbus_queue_unlock (self);
}

void
evbus_queue_load_figures (EvbusQueue        *self,
                          const EvbusLedger *stored,
                          GSource           *source)
{
  evbus_queue_lock (self);
  self->unrouted += stored->unrouted;
  self->repeated += stored->repeated;
  self->figures = g_source_ref (source);
  evbus_queue_unlock (self);
}

void
evbus_queue_take_figures (EvbusQueue  *self,
                          EvbusLedger *figures)
{
  evbus_queue_lock (self);
  figures->unrouted = self->unrouted;
  figures->repeated = self->repeated;
  self->figures_moved = self->figures_told = FALSE;
  evbus_queue_unlock (self);
}
