/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-batch-private.h"

#include <string.h>

#include "evbus-event-private.h"

/**
 * EvbusBatch:
 *
 * The events of one call of [method@Ingress.publish], in which the plugin
 * marks each as confirmed or failed.
 *
 * To be used on the thread of that call, until it returns. Marks made later
 * are ignored.
 *
 * Since: 1.0
 */

struct _EvbusBatch
{
  GObject      parent_instance;

  EvbusBatchMore more;
  gpointer       more_data;
  EvbusEvent **events;        /* NULL where they are forgotten */
  guint        n_forgotten;
  guint        n_first;       /* so many, from the first on, are confirmed; counted when it is asked for */
  guint        n_events;
  guint        n_allocated;   /* of @events, @marks and @messages */
  guint        n_confirmed;
  guint        n_marked;
  guint8      *marks;
  char       **messages;      /* of the failed ones; allocated at the first */
  char        *nonsense;
  gint64       retry_after;   /* microseconds */
  gboolean     postponed;     /* what is unmarked was not tried */
  gboolean     owned;         /* whether @events are references of our own */
  gboolean     closed;        /* the publish is over */
};

G_DEFINE_FINAL_TYPE (EvbusBatch, evbus_batch, G_TYPE_OBJECT)

static void
clear_messages (EvbusBatch *self)
{
  if (self->messages == NULL)
    return;

  for (guint i = 0; i < self->n_events; i++)
    g_clear_pointer (&self->messages[i], g_free);
}

static void
evbus_batch_finalize (GObject *object)
{
  EvbusBatch *self = EVBUS_BATCH (object);

  clear_messages (self);
  if (self->owned)
    {
      for (guint i = self->n_forgotten; i < self->n_events; i++)
        evbus_event_unref (self->events[i]);
    }
  g_free (self->messages);
  g_free (self->marks);
  g_free (self->events);
  g_free (self->nonsense);

  G_OBJECT_CLASS (evbus_batch_parent_class)->finalize (object);
}

static void
evbus_batch_class_init (EvbusBatchClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_batch_finalize;
}

static void
evbus_batch_init (EvbusBatch *self)
{
}

static void
reserve (EvbusBatch *self,
         guint       n_events)
{
  if (n_events <= self->n_allocated)
    return;

  self->events = g_renew (EvbusEvent *, self->events, n_events);
  self->marks = g_renew (guint8, self->marks, n_events);
  g_clear_pointer (&self->messages, g_free);
  self->n_allocated = n_events;
}

EvbusBatch *
evbus_batch_new (EvbusBatchMore more,
                 gpointer       data)
{
  EvbusBatch *self = g_object_new (EVBUS_TYPE_BATCH, NULL);

  self->more = more;
  self->more_data = data;
  return self;
}

void
evbus_batch_append (EvbusBatch  *self,
                    EvbusEvent **events,
                    guint        n_events)
{
  guint n = self->n_events + n_events;

  if (n > self->n_allocated)
    reserve (self, MAX (n, 2 * self->n_allocated));
  memcpy (self->events + self->n_events, events, n_events * sizeof *events);
  memset (self->marks + self->n_events, EVBUS_MARK_NONE, n_events);
  self->n_events = n;
}

void
evbus_batch_forget (EvbusBatch *self,
                    guint       n)
{
  for (; self->n_forgotten < n; self->n_forgotten++)
    self->events[self->n_forgotten] = NULL;
}

void
evbus_batch_fill (EvbusBatch  *self,
                  EvbusEvent **events,
                  guint        n_events)
{
  clear_messages (self);
  self->n_events = 0;
  evbus_batch_append (self, events, n_events);
  g_clear_pointer (&self->nonsense, g_free);
  self->n_forgotten = 0;
  self->n_first = 0;
  self->n_confirmed = 0;
  self->n_marked = 0;
  self->postponed = FALSE;
  self->retry_after = 0;
  self->closed = FALSE;
}

gboolean
evbus_batch_close (EvbusBatch *self)
{
  self->closed = TRUE;

  if (g_atomic_int_get (&G_OBJECT (self)->ref_count) == 1)
    return FALSE;

  for (guint i = self->n_forgotten; i < self->n_events; i++)
    evbus_event_ref (self->events[i]);
  self->owned = TRUE;
  return TRUE;
}

EvbusEvent **
evbus_batch_peek_events (EvbusBatch *self)
{
  return self->events;
}

EvbusMark
evbus_batch_get_mark (EvbusBatch *self,
                      guint       index)
{
  return self->marks[index];
}

const char *
evbus_batch_get_message (EvbusBatch *self,
                         guint       index)
{
  return self->messages != NULL ? self->messages[index] : NULL;
}

guint
evbus_batch_get_n_confirmed (EvbusBatch *self)
{
  return self->n_confirmed;
}

gint64
evbus_batch_get_retry_after (EvbusBatch *self)
{
  return self->retry_after;
}

gboolean
evbus_batch_is_postponed (EvbusBatch *self)
{
  return self->postponed && self->n_marked > 0;
}

const char *
evbus_batch_get_nonsense (EvbusBatch *self)
{
  return self->nonsense;
}

/* Whether the mark can be made. A plugin's nonsense is remembered, once, and
 * told by the route in its state; it must not stop the program. */
static gboolean
may_mark (EvbusBatch *self,
          guint       index)
{
  if (self->closed)
    return FALSE;

  if (index < self->n_events && self->marks[index] == EVBUS_MARK_NONE)
    return TRUE;

  if (self->nonsense != NULL)
    return FALSE;

  if (index >= self->n_events)
    self->nonsense = g_strdup_printf ("it marked event %u of a batch of %u",
                                      index, self->n_events);
  else
    self->nonsense = g_strdup_printf ("it marked event %u of a batch twice", index);
  return FALSE;
}

/**
 * evbus_batch_get_n_events:
 * @self: a batch
 *
 * How many events there are.
 *
 * Returns: at least 1
 *
 * Since: 1.0
 */
guint
evbus_batch_get_n_events (EvbusBatch *self)
{
  g_return_val_if_fail (EVBUS_IS_BATCH (self), 0);

  return self->n_events;
}

/**
 * evbus_batch_get_event:
 * @self: a batch
 * @index: 0 for the oldest event
 *
 * One of the events. Keep a reference to use it after the publish, or once it is
 * confirmed and the batch was extended: [method@Batch.extend].
 *
 * Returns: (transfer none): the event
 *
 * Since: 1.0
 */
EvbusEvent *
evbus_batch_get_event (EvbusBatch *self,
                       guint       index)
{
  g_return_val_if_fail (EVBUS_IS_BATCH (self), NULL);
  g_return_val_if_fail (index >= self->n_forgotten && index < self->n_events, NULL);

  return self->events[index];
}

/**
 * evbus_batch_get_n_bytes:
 * @self: a batch
 *
 * What the events weigh together, as budgets count them: the bytes of their records in a
 * spool, with all that belongs to an event. Those that
 * an extension has let go of do not count.
 *
 * Returns: a number of bytes
 *
 * Since: 1.0
 */
gsize
evbus_batch_get_n_bytes (EvbusBatch *self)
{
  gsize n_bytes = 0;

  g_return_val_if_fail (EVBUS_IS_BATCH (self), 0);

  for (guint i = self->n_forgotten; i < self->n_events; i++)
    n_bytes += self->events[i]->weight;
  return n_bytes;
}

/**
 * evbus_batch_confirm:
 * @self: a batch
 * @index: 0 for the oldest event
 *
 * Says that the destination has confirmed the event: it is delivered.
 *
 * Since: 1.0
 */
void
evbus_batch_confirm (EvbusBatch *self,
                     guint       index)
{
  g_return_if_fail (EVBUS_IS_BATCH (self));

  if (!may_mark (self, index))
    return;

  self->marks[index] = EVBUS_MARK_CONFIRMED;
  self->n_confirmed++;
  self->n_marked++;
}

/**
 * evbus_batch_confirm_all:
 * @self: a batch
 *
 * Says that the destination has confirmed every event that is not marked yet.
 *
 * Since: 1.0
 */
void
evbus_batch_confirm_all (EvbusBatch *self)
{
  g_return_if_fail (EVBUS_IS_BATCH (self));

  if (self->closed)
    return;

  for (guint i = 0; i < self->n_events; i++)
    {
      if (self->marks[i] == EVBUS_MARK_NONE)
        {
          self->marks[i] = EVBUS_MARK_CONFIRMED;
          self->n_confirmed++;
          self->n_marked++;
        }
    }
}

/**
 * evbus_batch_fail:
 * @self: a batch
 * @index: 0 for the oldest event
 * @outcome: what kind of failure it is
 * @message: what went wrong, for a person
 *
 * Says that the destination did not take the event.
 *
 * Since: 1.0
 */
void
evbus_batch_fail (EvbusBatch   *self,
                  guint         index,
                  EvbusOutcome  outcome,
                  const char   *message)
{
  static const EvbusMark marks[] = {
    [EVBUS_OUTCOME_TRANSIENT] = EVBUS_MARK_TRANSIENT,
    [EVBUS_OUTCOME_BROKEN] = EVBUS_MARK_BROKEN,
    [EVBUS_OUTCOME_POISON] = EVBUS_MARK_POISON,
  };

  g_return_if_fail (EVBUS_IS_BATCH (self));

  if (!may_mark (self, index))
    return;
  if (outcome < EVBUS_OUTCOME_TRANSIENT || outcome > EVBUS_OUTCOME_POISON)
    {
      if (self->nonsense == NULL)
        self->nonsense = g_strdup_printf ("it failed event %u with outcome %d, which there is not",
                                          index, (int) outcome);
      return;
    }

  if (self->messages == NULL)
    self->messages = g_new0 (char *, self->n_allocated);
  self->messages[index] = g_strdup (message != NULL ? message : "no reason given");
  self->marks[index] = marks[outcome];
  self->n_marked++;
}

/**
 * evbus_batch_retry_after:
 * @self: a batch
 * @delay: in microseconds; more than a day counts as a day
 *
 * Says when the destination can be tried again, where it has told that itself. What is not
 * delivered of this batch is not tried before, nor is anything else of the route; a pause of the
 * route that is longer stands. If it is called more than once, the longest delay counts.
 *
 * Since: 1.0
 */
void
evbus_batch_retry_after (EvbusBatch *self,
                         gint64      delay)
{
  g_return_if_fail (EVBUS_IS_BATCH (self));

  if (!self->closed)
    self->retry_after = CLAMP (delay, self->retry_after, G_TIME_SPAN_DAY);
}

/**
 * evbus_batch_postpone:
 * @self: a batch
 *
 * Says that what is not marked, when [method@Ingress.publish] returns %TRUE, was not tried for want
 * of time, as where a destination takes one event after another. It stands at the
 * beginning of the next batch, at once, and nothing has failed.
 *
 * At least one event has to be marked; a batch of which nothing came at all is a
 * failure.
 *
 * Since: 1.0
 */
void
evbus_batch_postpone (EvbusBatch *self)
{
  g_return_if_fail (EVBUS_IS_BATCH (self));

  if (!self->closed)
    self->postponed = TRUE;
}

/**
 * evbus_batch_extend:
 * @self: a batch
 *
 * Asks for more events while those of the batch are under way, for a destination that
 * confirms each of them for itself: so there is no pause between two batches, in which
 * nothing is under way. To be called when events were confirmed, and when all
 * are. The new ones stand behind the others, whose numbers stay; the batch then has
 * [method@Batch.get_n_events] events.
 *
 * No more events are without their confirmation at once than the route's `delivery.in_flight`
 * says. There are none while few are waiting, after an event has failed, and when the publish
 * has gone on for so long that the route has to see to other things; then bring it to its end:
 * what was sent is to be confirmed, and what comes next has a publish of its own.
 *
 * The first events, up to the first that is not confirmed, are let go of in this and are not
 * to be asked for any more: they are booked as delivered, also if the publish should fail.
 *
 * Returns: how many events were added; 0 if there is none for now
 *
 * Since: 1.0
 */
guint
evbus_batch_extend (EvbusBatch *self)
{
  g_return_val_if_fail (EVBUS_IS_BATCH (self), 0);

  /* What has failed does not fall further back than it must. */
  if (self->closed || self->more == NULL || self->n_marked > self->n_confirmed ||
      self->nonsense != NULL || self->postponed || self->retry_after > 0)
    return 0;

  while (self->n_first < self->n_events && self->marks[self->n_first] == EVBUS_MARK_CONFIRMED)
    self->n_first++;
  return self->more (self->n_first, self->more_data);
}

/**
 * EvbusOutcome:
 * @EVBUS_OUTCOME_TRANSIENT: try this event again, later
 * @EVBUS_OUTCOME_BROKEN: no event will pass until a person mends something
 * @EVBUS_OUTCOME_POISON: this event will never pass
 *
 * The kinds of failure of an event.
 *
 * Since: 1.0
 */
