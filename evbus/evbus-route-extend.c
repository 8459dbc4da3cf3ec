/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A publish that is under way gets more events: those that the plugin has confirmed are
 * booked, and others take their place. Otherwise nothing would be under way from the
 * confirmation of a batch's last event until the next batch is sent: with a server on the
 * same machine a quarter of the time, and with a far one a good part of a round trip. */

#include "evbus-route-worker-private.h"

#include "evbus-clock-private.h"
#include "evbus-limits-private.h"

/* Fewer than this are not worth it: they come with the next batch. */
static guint
get_least (EvbusWorker *self)
{
  return MAX (self->max_events / 4, 1);
}

static guint
get_room (EvbusWorker *self)
{
  guint n = self->in_flight - MIN (self->in_flight, self->n_given);

  return MIN (n, EVBUS_EXTEND_EVENTS - MIN (EVBUS_EXTEND_EVENTS, self->n_booked + self->n_given));
}

/* A quarter of what may be under way: to book each event for itself would cost more than
 * it gains. */
static gboolean
has_room (EvbusWorker *self,
          guint        n_done)
{
  guint n_in_flight = self->n_given - n_done;

  return n_in_flight + get_least (self) <= self->in_flight &&
         (self->route->hand.weight <= self->in_flight_bytes / 4 * 3 || n_done >= self->n_given / 4);
}

/* Not while the circuit is open, or a batch of poison is halved; nor for so long that the
 * publish comes near its timeout, or that its sources and the owner's orders wait for it. */
static gboolean
may_extend (EvbusWorker *self,
            guint        n_confirmed)
{
  EvbusRoute *route = self->route;
  gint64 timeout = route->spec->delivery.timeout;

  return has_room (self, n_confirmed - self->n_booked) &&
         !self->halving && self->allowance == self->max_events && self->failures < EVBUS_CIRCUIT_FAILURES &&
         self->n_booked + self->n_given < EVBUS_EXTEND_EVENTS &&
         g_get_monotonic_time () < route->call_deadline - timeout + MIN (EVBUS_EXTEND_US, timeout / 10);
}

/* From here until the end of it the route cannot be given up. */
static gboolean
begin_booking (EvbusWorker *self)
{
  EvbusRoute *route = self->route;
  guint n_more;

  g_mutex_lock (&route->lock);
  n_more = route->hand.events->len - self->n_given + route->window.n_events;
  route->booking = !route->abandoned && route->phase == EVBUS_PHASE_RUN &&
                   route->n_orders == self->n_orders &&
                   (n_more >= get_least (self) ||
                    (route->behind && g_get_monotonic_time () >= self->read_again));
  g_mutex_unlock (&route->lock);

  return route->booking;
}

static void
end_booking (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  g_mutex_lock (&route->lock);
  route->booking = FALSE;
  g_mutex_unlock (&route->lock);
}

static void
book (EvbusWorker *self,
      guint        n)
{
  EvbusRoute *route = self->route;
  const EvbusLedger outcome = { .delivered = n };
  gsize weight = 0;

  if (n == 0)
    return;

  for (guint i = 0; i < n; i++)
    weight += ((EvbusEvent *) route->hand.events->pdata[i])->weight;
  evbus_batch_forget (self->batch, self->n_booked + n);
  evbus_worker_settle (self, n, NULL, &outcome, weight, NULL, 0);
  evbus_worker_let_go_first (self, n);
  self->n_booked += n;
  self->n_given -= n;
}

/* Puts what may go out into the hand. */
static void
take (EvbusWorker *self)
{
  EvbusRoute *route = self->route;

  evbus_worker_take (self, self->in_flight, self->in_flight_bytes);
  if (route->hand.events->len < self->in_flight && evbus_worker_refill (self))
    evbus_worker_take (self, self->in_flight, self->in_flight_bytes);
}

/* What may be too old is looked at between two publishes. */
static guint
give (EvbusWorker *self)
{
  EvbusHand *hand = &self->route->hand;
  guint n = MIN (hand->events->len - self->n_given, get_room (self));

  if (n == 0 || evbus_worker_may_have_expired (self, self->n_given, evbus_clock_get_boot_time ()))
    return 0;

  evbus_batch_append (self->batch, (EvbusEvent **) hand->events->pdata + self->n_given, n);
  self->n_given += n;
  evbus_worker_set_cause (self);
  return n;
}

guint
evbus_worker_extend (guint    n_confirmed,
                     gpointer data)
{
  EvbusWorker *self = data;
  guint n;

  if (!may_extend (self, n_confirmed) || !begin_booking (self))
    return 0;

  book (self, n_confirmed - self->n_booked);
  take (self);
  n = give (self);
  end_booking (self);
  return n;
}
