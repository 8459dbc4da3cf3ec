/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The ids that a spool brings along. It is opened at the start, and by then puts may
 * be in the queue that repeat one of them. */

#include "evbus-admission-private.h"

#include "evbus-route-private.h"

/* Adds the ids. Returns those, borrowed, that are in the queue already, with their
 * events' numbers, borrowed, or NULL. */
static GHashTable *
add_ids_locked (EvbusQueue *self,
                GPtrArray  *ids,
                GArray     *seqs,
                GArray     *replayed)
{
  GHashTable *repeated = NULL;

  for (guint i = 0; i < ids->len; i++)
    {
      char *id = ids->pdata[i];
      gint64 *seq = &g_array_index (seqs, gint64, i);

      if (g_array_index (replayed, gboolean, i))
        continue;
      if (evbus_known_ids_find (&self->known_ids, id) == NULL)
        {
          evbus_known_ids_add (&self->known_ids, id, TRUE, FALSE, *seq);
          continue;
        }
      if (repeated == NULL)
        repeated = g_hash_table_new (g_str_hash, g_str_equal);
      g_hash_table_insert (repeated, id, seq);
    }

  return repeated;
}

/* Of an event whose own row was trimmed nothing is known any more. */
static void
add_replayed_locked (EvbusQueue *self,
                     GPtrArray  *ids,
                     GArray     *seqs,
                     GArray     *replayed)
{
  for (guint i = 0; i < ids->len; i++)
    {
      if (g_array_index (replayed, gboolean, i))
        evbus_known_ids_replay (&self->known_ids, ids->pdata[i], 0, g_array_index (seqs, gint64, i));
    }
}

/* Takes an event back that was not put again after all. */
static void
take_event_back_locked (EvbusQueue *self,
                        EvbusChunk *chunk,
                        EvbusEvent *event,
                        gint64      seq,
                        GQueue     *answers)
{
  EvbusFollow *follow = evbus_follows_find (&self->follows, event->id);

  for (guint i = 0; i < chunk->set->n_routes; i++)
    {
      EvbusRoute *route = chunk->set->routes[i];

      route->ledger.accepted--;
      route->ledger.queued--;
      route->queued_weight -= event->weight;
    }
  chunk->weight -= event->weight;
  self->weight -= event->weight;
  self->n_events--;
  self->n_taken++;
  self->repeated++;
  self->figures_moved = self->totals_moved = TRUE;
  if (follow != NULL)
    evbus_follows_refuse (&self->follows, follow, NULL, answers);
  evbus_known_ids_settle (&self->known_ids, event->id, TRUE, seq, answers);
  evbus_event_unref (event);
}

static void
drop_repeats_locked (EvbusQueue *self,
                     EvbusChunk *chunk,
                     GHashTable *repeated,
                     GQueue     *answers)
{
  guint n_kept = 0;

  for (guint i = 0; i < chunk->n_events; i++)
    {
      EvbusEvent *event = chunk->events[i];
      const gint64 *seq = event->known_id ? g_hash_table_lookup (repeated, event->id) : NULL;

      if (seq != NULL)
        take_event_back_locked (self, chunk, event, *seq, answers);
      else
        chunk->events[n_kept++] = event;
    }
  chunk->n_events = n_kept;
}

/* An empty chunk is none: nobody will take it out to answer its puts. */
static void
free_chunk_locked (EvbusQueue *self,
                   EvbusChunk *chunk,
                   GQueue     *answers)
{
  for (guint i = 0; chunk->receipts != NULL && i < chunk->receipts->len; i++)
    g_queue_push_tail (answers, evbus_put_ref (chunk->receipts->pdata[i]));
  if (self->open == chunk)
    self->open = NULL;
  evbus_route_set_release (g_steal_pointer (&chunk->set), 1, self->garbage);
  evbus_chunk_unref (chunk);
}

static void
drop_all_repeats_locked (EvbusQueue *self,
                         GHashTable *repeated,
                         GQueue     *answers)
{
  int n = g_async_queue_length_unlocked (self->chunks);

  for (int i = 0; i < n; i++)
    {
      EvbusChunk *chunk = g_async_queue_try_pop_unlocked (self->chunks);

      drop_repeats_locked (self, chunk, repeated, answers);
      if (chunk->n_events > 0)
        g_async_queue_push_unlocked (self->chunks, chunk);
      else
        free_chunk_locked (self, chunk, answers);
    }
}

/* None that the listener would have to answer any more; but it looks up what became of
 * the event of one that wants to know. */
static void
answer_later_locked (EvbusQueue *self,
                     EvbusPut   *put,
                     GQueue     *done)
{
  if (!evbus_put_follows (put) || put->refusal != NULL)
    {
      put->has_receipt = FALSE;
      put->state = EVBUS_PUT_DONE;
      g_queue_push_tail (done, put);
      return;
    }

  put->state = EVBUS_PUT_FOLLOWS;
  put->seq = evbus_known_ids_find (&self->known_ids, put->result)->seq;
  g_queue_push_tail (&self->to_find, put);
}

void
evbus_queue_load_known_ids (EvbusQueue *self,
                            GPtrArray  *ids,
                            GArray     *seqs,
                            GArray     *replayed,
                            GQueue     *done)
{
  g_autoptr(GHashTable) repeated = NULL;
  GQueue answers = G_QUEUE_INIT;

  evbus_queue_lock (self);
  repeated = add_ids_locked (self, ids, seqs, replayed);
  if (repeated != NULL)
    drop_all_repeats_locked (self, repeated, &answers);
  add_replayed_locked (self, ids, seqs, replayed);
  if (repeated != NULL)
    evbus_waiting_ask_again_locked (self, done);
  for (GList *link = answers.head; link != NULL; link = link->next)
    answer_later_locked (self, link->data, done);
  evbus_queue_unlock (self);

  g_queue_clear (&answers);
}
