/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-ledger.h"

/**
 * EvbusLedger:
 * @accepted: copies of events that puts have given to the route
 * @delivered: copies that the destination confirmed
 * @dead: copies that the route gave up on, because the destination will never
 *   take them
 * @expired: copies that grew older than `max_age`, gave way to the budget of a spool, or
 *   were given up by a route of a spool that keeps no dead letters
 * @dropped: copies pushed out by the route's overflow policy, or left over
 *   when the route or the broker was stopped
 * @queued: copies still on their way
 * @retried: how often a copy was tried again; beside the balance
 * @unrouted: events that matched no route; beside the balance, and 0 for a
 *   single route
 * @duplicates: how often a copy was tried again although the destination may
 *   have it, because a publish ended without saying what became of it: so many
 *   may have come twice, those of crashes aside, of which nobody knows; beside the
 *   balance, and at most as many as @retried
 * @repeated: puts of an id that was known already, which got the same answer and
 *   made no second event; beside the balance, and 0 for a single route
 *
 * What became of the events of a route, or of all routes.
 *
 * At every moment accepted = delivered + dead + expired + dropped + queued. An
 * event that goes to three routes counts once in each of them, so the totals
 * count copies. With a spool all counts go on from one process to the next, those of
 * routes that are gone in the totals; else they begin with the process.
 *
 * Since: 1.0
 */

G_DEFINE_BOXED_TYPE (EvbusLedger, evbus_ledger, evbus_ledger_copy, evbus_ledger_free)

/**
 * evbus_ledger_copy:
 * @self: a ledger
 *
 * Copies a ledger.
 *
 * Returns: (transfer full): the copy
 *
 * Since: 1.0
 */
EvbusLedger *
evbus_ledger_copy (const EvbusLedger *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return g_memdup2 (self, sizeof *self);
}

/**
 * evbus_ledger_free:
 * @self: (transfer full): a ledger that [method@Ledger.copy] made
 *
 * Frees a ledger.
 *
 * Since: 1.0
 */
void
evbus_ledger_free (EvbusLedger *self)
{
  g_free (self);
}

/**
 * evbus_ledger_balances:
 * @self: a ledger
 *
 * Whether accepted = delivered + dead + expired + dropped + queued.
 *
 * Returns: %TRUE if it does
 *
 * Since: 1.0
 */
gboolean
evbus_ledger_balances (const EvbusLedger *self)
{
  g_return_val_if_fail (self != NULL, FALSE);

  return self->accepted == self->delivered + self->dead + self->expired +
                           self->dropped + self->queued;
}

/**
 * evbus_ledger_add:
 * @self: the ledger to add to
 * @other: what to add
 *
 * Adds each count of @other to that of @self.
 *
 * Since: 1.0
 */
void
evbus_ledger_add (EvbusLedger       *self,
                  const EvbusLedger *other)
{
  g_return_if_fail (self != NULL);
  g_return_if_fail (other != NULL);

  self->accepted += other->accepted;
  self->delivered += other->delivered;
  self->dead += other->dead;
  self->expired += other->expired;
  self->dropped += other->dropped;
  self->queued += other->queued;
  self->retried += other->retried;
  self->unrouted += other->unrouted;
  self->duplicates += other->duplicates;
  self->repeated += other->repeated;
}

/**
 * evbus_ledger_to_variant:
 * @self: a ledger
 *
 * The counts by name.
 *
 * Returns: (transfer floating): a dictionary `a{st}`
 *
 * Since: 1.0
 */
GVariant *
evbus_ledger_to_variant (const EvbusLedger *self)
{
  GVariantBuilder builder;

  g_return_val_if_fail (self != NULL, NULL);

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a{st}"));
  g_variant_builder_add (&builder, "{st}", "accepted", self->accepted);
  g_variant_builder_add (&builder, "{st}", "delivered", self->delivered);
  g_variant_builder_add (&builder, "{st}", "dead", self->dead);
  g_variant_builder_add (&builder, "{st}", "expired", self->expired);
  g_variant_builder_add (&builder, "{st}", "dropped", self->dropped);
  g_variant_builder_add (&builder, "{st}", "queued", self->queued);
  g_variant_builder_add (&builder, "{st}", "retried", self->retried);
  g_variant_builder_add (&builder, "{st}", "unrouted", self->unrouted);
  g_variant_builder_add (&builder, "{st}", "duplicates", self->duplicates);
  g_variant_builder_add (&builder, "{st}", "repeated", self->repeated);
  return g_variant_builder_end (&builder);
}
