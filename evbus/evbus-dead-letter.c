/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-dead-letter-private.h"

#include "evbus-claim-private.h"

/**
 * EvbusDeadLetter:
 *
 * An event that a route has given up on, as [method@Broker.list_dead_async] found
 * it in the spool. Immutable.
 *
 * Since: 1.0
 */

struct _EvbusDeadLetter
{
  GObject     parent_instance;

  gint64      number;
  char       *route;
  char       *reason;
  gint64      time;
  EvbusEvent *event;
};

G_DEFINE_FINAL_TYPE (EvbusDeadLetter, evbus_dead_letter, G_TYPE_OBJECT)

static void
evbus_dead_letter_finalize (GObject *object)
{
  EvbusDeadLetter *self = EVBUS_DEAD_LETTER (object);

  g_free (self->route);
  g_free (self->reason);
  g_clear_pointer (&self->event, evbus_event_unref);

  G_OBJECT_CLASS (evbus_dead_letter_parent_class)->finalize (object);
}

static void
evbus_dead_letter_class_init (EvbusDeadLetterClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_dead_letter_finalize;
}

static void
evbus_dead_letter_init (EvbusDeadLetter *self)
{
}

EvbusDeadLetter *
evbus_dead_letter_new (const EvbusSpoolDead *dead)
{
  EvbusDeadLetter *self = g_object_new (EVBUS_TYPE_DEAD_LETTER, NULL);

  self->number = dead->number;
  self->route = evbus_claim_describe (dead->route);
  self->reason = g_strdup (dead->reason);
  self->time = dead->died;
  self->event = dead->event != NULL ? evbus_event_ref (dead->event) : NULL;
  return self;
}

/**
 * evbus_dead_letter_get_number:
 * @self: a dead letter
 *
 * Its number in the spool. One that died later has a greater one, and no number is
 * given twice.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
gint64
evbus_dead_letter_get_number (EvbusDeadLetter *self)
{
  g_return_val_if_fail (EVBUS_IS_DEAD_LETTER (self), 0);

  return self->number;
}

/**
 * evbus_dead_letter_get_route:
 * @self: a dead letter
 *
 * The route that gave the event up: its name, or else "PROVIDER 'PATTERN'".
 *
 * Returns: (transfer none): the route
 *
 * Since: 1.0
 */
const char *
evbus_dead_letter_get_route (EvbusDeadLetter *self)
{
  g_return_val_if_fail (EVBUS_IS_DEAD_LETTER (self), NULL);

  return self->route;
}

/**
 * evbus_dead_letter_get_reason:
 * @self: a dead letter
 *
 * Why, for a person.
 *
 * Returns: (transfer none): a sentence
 *
 * Since: 1.0
 */
const char *
evbus_dead_letter_get_reason (EvbusDeadLetter *self)
{
  g_return_val_if_fail (EVBUS_IS_DEAD_LETTER (self), NULL);

  return self->reason;
}

/**
 * evbus_dead_letter_get_time:
 * @self: a dead letter
 *
 * When the route gave the event up.
 *
 * Returns: microseconds since 1970-01-01 00:00 UTC; 0 where there is no event
 *
 * Since: 1.0
 */
gint64
evbus_dead_letter_get_time (EvbusDeadLetter *self)
{
  g_return_val_if_fail (EVBUS_IS_DEAD_LETTER (self), 0);

  return self->time;
}

/**
 * evbus_dead_letter_get_event:
 * @self: a dead letter
 *
 * The event. A dead letter whose record in the spool is damaged has none, and its
 * reason says so: it counts still, and can only be dropped.
 *
 * Returns: (transfer none) (nullable): the event
 *
 * Since: 1.0
 */
EvbusEvent *
evbus_dead_letter_get_event (EvbusDeadLetter *self)
{
  g_return_val_if_fail (EVBUS_IS_DEAD_LETTER (self), NULL);

  return self->event;
}
