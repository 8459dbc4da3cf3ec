/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The ids that a spool brings along. It is opened at the start, and by then puts may
 * be in the queue that repeat one of them. */

#include "evbus-admission-private.h"

#include "evbus-route-private.h"

/* Adds the ids. Returns those, borrowed, that are in the queue already, or NULL. */
static GHashTable *
add_ids_locked (EvbusQueue *self,
                GPtrArray  *ids)
{
  GHashTable *repeated = NULL;

  for (guint i = 0; i < ids->len; i++)
    {
      char *id = ids->pdata[i];

      if (!evbus_known_ids_contains (&self->known_ids, id))
        {
          evbus_known_ids_add (&self->known_ids, id, TRUE);
          continue;
        }
      if (repeated == NULL)
        repeated = g_hash_table_new (g_str_hash, g_str_equal);
      g_hash_table_add (repeated, id);
    }

  return repeated;
}

/* Takes an event back that was not put again after all. */
static void
take_event_back_locked (EvbusQueue *self,
                        EvbusChunk *chunk,
                        EvbusEvent *event,
                        GQueue     *answers)
{
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
  evbus_known_ids_settle (&self->known_ids, event->id, TRUE, answers);
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

      if (event->known_id && g_hash_table_contains (repeated, event->id))
        take_event_back_locked (self, chunk, event, answers);
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

void
evbus_queue_load_known_ids (EvbusQueue *self,
                            GPtrArray  *ids,
                            GQueue     *done)
{
  g_autoptr(GHashTable) repeated = NULL;
  GQueue answers = G_QUEUE_INIT;

  evbus_queue_lock (self);
  repeated = add_ids_locked (self, ids);
  if (repeated != NULL)
    {
      drop_all_repeats_locked (self, repeated, &answers);
      evbus_waiting_ask_again_locked (self, done);
    }
  /* None that the listener would have to answer any more. */
  for (GList *link = answers.head; link != NULL; link = link->next)
    {
      ((EvbusPut *) link->data)->has_receipt = FALSE;
      g_queue_push_tail (done, link->data);
    }
  evbus_queue_unlock (self);

  g_queue_clear (&answers);
}
