/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a route loses of its backlog, where that is too much or too old. */

#include "evbus-spool-store-private.h"

#include "evbus-limits-private.h"

gint64
evbus_spool_get_time (EvbusSpool *self)
{
  return self->ahead + evbus_clock_get_boot_time ();
}

static guint64
get_queued_weight (EvbusSpoolRoute *route)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);

  return route->now.weight;
}

/* How many of @events, the oldest first, are to go. */
static guint
count_excess (EvbusSpoolRoute *route,
              GPtrArray       *events,
              guint64          max_weight,
              gint64           put_before)
{
  guint64 queued = get_queued_weight (route);
  guint n = 0;

  for (; n < events->len; n++)
    {
      const EvbusEvent *event = events->pdata[n];

      if (queued <= max_weight && event->since + route->spool->ahead >= put_before)
        break;
      queued -= MIN (event->weight, queued);
    }
  return n;
}

/* All that was read leaves. */
static void
settle_read (EvbusSpoolReader *reader,
             EvbusSpoolRoute  *route,
             GPtrArray        *events,
             guint             n_damaged)
{
  g_autoptr(GArray) pending = g_array_new (FALSE, FALSE, sizeof (gint64));
  const EvbusLedger change = { .expired = events->len, .dropped = n_damaged };
  guint64 weight = 0;

  for (guint i = 0; i < events->len; i++)
    weight += ((EvbusEvent *) events->pdata[i])->weight;
  evbus_spool_reader_list_pending (reader, pending);
  evbus_spool_settle (route->spool, route, evbus_spool_reader_get_position (reader),
                      (gint64 *) (gpointer) pending->data, pending->len, &change, weight, NULL, 0);
}

guint
evbus_spool_expire_orphan (EvbusSpool      *self,
                           EvbusSpoolRoute *route,
                           guint64          max_weight,
                           gint64           put_before,
                           guint            max_events,
                           GPtrArray       *expired)
{
  for (;;)
    {
      g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (self, route, NULL);
      g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
      guint n_damaged = 0, n;

      if (reader == NULL ||
          !evbus_spool_reader_read (reader, max_events, EVBUS_SPOOL_STEP_BYTES, events, &n_damaged, NULL))
        return 0;
      n = count_excess (route, events, max_weight, put_before);
      if (n == events->len)
        {
          if (n > 0 || n_damaged > 0)
            settle_read (reader, route, events, n_damaged);
          g_ptr_array_extend_and_steal (expired, g_steal_pointer (&events));
          return n;
        }
      if (n == 0)
        return 0;
      /* Where the damaged ones stand is not known: those that go are read alone, with
       * what is damaged between them. */
      max_events = n;
    }
}

static void
book_expired (EvbusSpoolRoute *route,
              gint64           after,
              gint64           to,
              guint            n_events,
              guint64          weight)
{
  g_autoptr(GMutexLocker) locker = g_mutex_locker_new (&route->spool->lock);
  EvbusSpoolCursor *now = &route->now;
  EvbusSpoolRange *last = now->skipped->len > 0
    ? &g_array_index (now->skipped, EvbusSpoolRange, now->skipped->len - 1) : NULL;
  EvbusSpoolRange range = { after, to };

  if (last != NULL && last->to >= after)
    last->to = to;
  else
    g_array_append_val (now->skipped, range);
  now->ledger.expired += n_events;
  now->ledger.queued -= MIN (n_events, now->ledger.queued);
  now->weight -= now->ledger.queued > 0 ? MIN (weight, now->weight) : now->weight;
  route->n_skipped += n_events;
  route->dirty = route->spool->dirty = TRUE;
}

guint
evbus_spool_expire_oldest (EvbusSpool      *self,
                           EvbusSpoolRoute *route,
                           gint64           after,
                           guint64          max_weight,
                           gint64           put_before,
                           guint            max_events,
                           GPtrArray       *expired,
                           guint64         *expired_weight)
{
  EvbusSpoolScan scan;
  const guint8 *record = NULL;
  gint64 to, seq = -1;
  guint64 weight = 0, queued;
  guint n_events = 0, n_damaged = 0;
  gsize size = 0;

  g_mutex_lock (&self->lock);
  queued = route->now.weight;
  /* What is settled may be there still, for other routes. */
  to = after = MAX (after, route->now.position);
  for (guint i = 0; i < route->now.skipped->len; i++)
    to = MAX (to, g_array_index (route->now.skipped, EvbusSpoolRange, i).to);
  g_mutex_unlock (&self->lock);

  evbus_spool_scan_init (&scan, self->sql);
  if (evbus_spool_scan_begin (&scan, route, to, EVBUS_SPOOL_MAX_SEQ, NULL))
    {
      while (n_events + n_damaged < max_events && evbus_spool_scan_next (&scan, &seq, &record, &size, NULL) > 0)
        {
          gboolean over = queued - MIN (weight, queued) > max_weight;
          EvbusRecordInfo info;
          gboolean sound = record != NULL && evbus_record_check (record, size, &info) > 0;

          /* One that is damaged is of no age: it goes with a later one that goes. */
          if (!over && !sound)
            {
              n_damaged++;
              continue;
            }
          if (!over && info.put >= put_before)
            break;
          to = seq;
          n_events += n_damaged + 1;
          n_damaged = 0;
          if (!sound)
            continue;
          weight += info.weight;
          if (expired != NULL)
            g_ptr_array_add (expired, evbus_record_parse (record, size, self->ahead, evbus_clock_get_boot_time (),
                                                          NULL));
        }
    }
  evbus_spool_scan_clear (&scan);

  if (n_events > 0)
    book_expired (route, after, to, n_events, weight);
  if (expired_weight != NULL)
    *expired_weight = weight;
  return n_events;
}
