/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What routes say of their progress: in memory until the next commit. */

#include "evbus-spool-store-private.h"

#include <string.h>

#include "evbus-limits-private.h"

void
evbus_spool_dying_free (EvbusSpoolDying *dying)
{
  evbus_spool_route_unref (dying->route);
  g_byte_array_unref (dying->record);
  g_free (dying);
}

static GPtrArray *
encode_deaths (EvbusSpoolRoute       *route,
               const EvbusSpoolDeath *deaths,
               guint                  n_deaths,
               guint64               *weight)
{
  GPtrArray *encoded = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_spool_dying_free);

  for (guint i = 0; i < n_deaths; i++)
    {
      EvbusSpoolDying *dying = g_new (EvbusSpoolDying, 1);
      EvbusRecordInfo info = {
        .kind = EVBUS_RECORD_DEAD,
        .place = route->id,
        .seq = deaths[i].event->seq,
        .ahead = route->spool->ahead,
        .died = g_get_real_time (),
        .reason = deaths[i].reason,
        .reason_length = strlen (deaths[i].reason),
      };

      dying->route = evbus_spool_route_ref (route);
      dying->record = g_byte_array_new ();
      evbus_record_append (dying->record, deaths[i].event, &info);
      g_ptr_array_add (encoded, dying);
      *weight += dying->record->len;
    }
  return encoded;
}

/* What the position has passed. */
static void
merge_skipped (EvbusSpoolCursor *cursor)
{
  while (cursor->skipped->len > 0)
    {
      EvbusSpoolRange *first = &g_array_index (cursor->skipped, EvbusSpoolRange, 0);

      if (first->after > cursor->position)
        break;
      cursor->position = MAX (cursor->position, first->to);
      g_array_remove_index (cursor->skipped, 0);
    }
}

static void
settle_locked (EvbusSpoolRoute   *route,
               gint64             position,
               const gint64      *pending,
               guint              n_pending,
               const EvbusLedger *change,
               guint64            weight,
               guint64            dead_weight)
{
  EvbusSpoolCursor *now = &route->now;

  now->position = MAX (now->position, position);
  g_array_set_size (now->pending, 0);
  if (n_pending > 0)
    g_array_append_vals (now->pending, pending, n_pending);
  merge_skipped (now);

  if (change != NULL)
    evbus_ledger_add (&now->ledger, change);
  now->ledger.queued = now->ledger.accepted - now->ledger.delivered - now->ledger.dead -
                       now->ledger.expired - now->ledger.dropped;
  /* One that is damaged leaves without its weight, since nobody knows it. */
  now->weight -= now->ledger.queued > 0 ? MIN (weight, now->weight) : now->weight;
  now->dead_weight += dead_weight;
  route->dirty = route->spool->dirty = TRUE;
}

void
evbus_spool_settle (EvbusSpool            *self,
                    EvbusSpoolRoute       *route,
                    gint64                 position,
                    const gint64          *pending,
                    guint                  n_pending,
                    const EvbusLedger     *change,
                    guint64                weight,
                    const EvbusSpoolDeath *deaths,
                    guint                  n_deaths)
{
  /* Outside the lock: it copies the events. */
  guint64 added = 0;
  g_autoptr(GPtrArray) dying = encode_deaths (route, deaths, n_deaths, &added);

  g_mutex_lock (&self->lock);
  if (!self->closed)
    {
      settle_locked (route, position, pending, n_pending, change, weight, added);
      g_ptr_array_extend_and_steal (self->deaths, g_steal_pointer (&dying));
      self->deaths_weight += added;
    }
  g_mutex_unlock (&self->lock);
}

void
evbus_spool_book (EvbusSpool        *self,
                  EvbusSpoolRoute   *route,
                  const EvbusLedger *change)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  if (self->closed)
    return;
  evbus_ledger_add (&route->now.ledger, change);
  route->dirty = self->dirty = TRUE;
}

gboolean
evbus_spool_has_many_deaths (EvbusSpool *self)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&self->lock);

  return self->deaths_weight >= EVBUS_SPOOL_DEATHS_BYTES;
}
