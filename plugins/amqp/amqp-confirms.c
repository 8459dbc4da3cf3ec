/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-confirms.h"

#include <string.h>

#include "amqp-errors.h"

void
amqp_confirms_init (AmqpConfirms      *self,
                    const AmqpOptions *options)
{
  self->options = options;
  self->sent = g_array_new (FALSE, FALSE, sizeof (guint));
  self->settled = g_byte_array_new ();
}

void
amqp_confirms_clear (AmqpConfirms *self)
{
  g_array_unref (self->sent);
  g_byte_array_unref (self->settled);
}

void
amqp_confirms_end (AmqpConfirms *self)
{
  g_array_set_size (self->sent, 0);
  g_byte_array_set_size (self->settled, 0);
  self->batch = NULL;
  self->oldest = 0;
  self->n_open = 0;
}

void
amqp_confirms_begin (AmqpConfirms *self,
                     EvbusBatch   *batch)
{
  amqp_confirms_end (self);
  self->batch = batch;
}

void
amqp_confirms_sent (AmqpConfirms *self,
                    guint64       tag,
                    guint         index)
{
  guint8 settled = FALSE;

  if (self->sent->len == 0)
    self->first = tag;
  g_array_append_val (self->sent, index);
  g_byte_array_append (self->settled, &settled, 1);
  self->n_open++;
}

/* FALSE: it was settled before. */
static gboolean
close_one (AmqpConfirms *self,
           guint         number)
{
  if (self->settled->data[number])
    return FALSE;

  self->settled->data[number] = TRUE;
  self->n_open--;
  while (self->oldest < self->settled->len && self->settled->data[self->oldest])
    self->oldest++;
  return TRUE;
}

static void
settle_one (AmqpConfirms *self,
            guint         number,
            gboolean      taken)
{
  guint index = g_array_index (self->sent, guint, number);
  g_autofree char *message = NULL;

  if (!close_one (self, number))
    return;
  if (taken)
    {
      evbus_batch_confirm (self->batch, index);
      return;
    }

  message = g_strdup_printf ("%s: the server could not keep the message; is the queue full, or without a node?",
                             self->options->name);
  evbus_batch_fail (self->batch, index, EVBUS_OUTCOME_TRANSIENT, message);
}

/* Tags of an earlier batch, which was given up, are of no interest any more. */
void
amqp_confirms_settle (AmqpConfirms *self,
                      guint64       tag,
                      gboolean      multiple,
                      gboolean      taken)
{
  guint number;

  if (self->sent->len == 0 || tag < self->first || tag - self->first >= self->sent->len)
    return;

  number = tag - self->first;
  for (guint i = multiple ? self->oldest : number; i <= number; i++)
    settle_one (self, i, taken);
}

/* A message that no queue takes comes back, in the order in which they were sent,
 * and is acknowledged like the others after that. It is known by its id. */
void
amqp_confirms_return (AmqpConfirms *self,
                      amqp_bytes_t  id,
                      const char   *message)
{
  for (guint i = self->oldest; i < self->sent->len; i++)
    {
      guint index = g_array_index (self->sent, guint, i);
      const char *own = evbus_event_get_id (evbus_batch_get_event (self->batch, index));

      if (self->settled->data[i] || strlen (own) != id.len || memcmp (own, id.bytes, id.len) != 0)
        continue;
      close_one (self, i);
      evbus_batch_fail (self->batch, index, amqp_errors_judge_return (self->options), message);
      return;
    }
}
