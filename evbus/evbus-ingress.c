/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-ingress.h"

#include "evbus-error.h"

/**
 * EvbusIngress:
 *
 * What a plugin implements: it publishes events to one kind of destination.
 *
 * Each route has an object of its own. All of its functions are called on that
 * route's own thread, so a plugin needs no locks, and it may block: it holds
 * up nothing but its own route. A call that lasts longer than the route's
 * timeout finds its cancellable cancelled; if it has not returned five seconds
 * later the route counts as stuck.
 *
 * Between calls the route iterates its thread-default main context, where a
 * plugin can attach sources of its own, such as a heartbeat.
 *
 * Since: 1.0
 */

/**
 * EvbusIngressInterface:
 * @open: connects; called once before the first publish, and again with
 *   growing pauses while it fails. Optional.
 * @publish: hands a batch to the destination and marks each of its events,
 *   see [method@Ingress.publish].
 * @close: disconnects; called once, after the last publish, if open succeeded.
 *   Optional.
 *
 * The functions of [iface@Ingress].
 *
 * Since: 1.0
 */

G_DEFINE_INTERFACE (EvbusIngress, evbus_ingress, G_TYPE_OBJECT)

static void
evbus_ingress_default_init (EvbusIngressInterface *iface)
{
}

/**
 * evbus_ingress_open:
 * @self: an ingress
 * @ctx: the route's settings
 * @cancellable: (nullable): cancelled when the route's timeout has passed
 * @error: return location for a #GError
 *
 * Connects to the destination. A destination that is not there yet is
 * %EVBUS_ERROR_TRANSIENT; what only a person can mend, such as a wrong
 * password, is %EVBUS_ERROR_BROKEN. After %EVBUS_ERROR_PLUGIN the route has
 * failed: it is not tried again.
 *
 * Returns: %TRUE if events can be published now
 *
 * Since: 1.0
 */
gboolean
evbus_ingress_open (EvbusIngress  *self,
                    EvbusContext  *ctx,
                    GCancellable  *cancellable,
                    GError       **error)
{
  EvbusIngressInterface *iface;

  g_return_val_if_fail (EVBUS_IS_INGRESS (self), FALSE);

  iface = EVBUS_INGRESS_GET_IFACE (self);
  return iface->open == NULL || iface->open (self, ctx, cancellable, error);
}

/**
 * evbus_ingress_publish:
 * @self: an ingress
 * @ctx: the route's settings
 * @batch: the events, oldest first
 * @cancellable: (nullable): cancelled when the route's timeout has passed
 * @error: return location for a #GError
 *
 * Publishes a batch, and marks each event that the destination confirmed or
 * refused, in any order: [method@Batch.confirm], [method@Batch.confirm_all],
 * [method@Batch.fail].
 *
 * What is not marked when this returns %FALSE has the outcome of @error:
 * %EVBUS_ERROR_BROKEN and %EVBUS_ERROR_POISON for themselves, every other error
 * is transient. What is not marked when it returns %TRUE is a fault of the
 * plugin, and transient. Only events that are not confirmed are sent again.
 *
 * Returns: %TRUE if every event is marked
 *
 * Since: 1.0
 */
gboolean
evbus_ingress_publish (EvbusIngress  *self,
                       EvbusContext  *ctx,
                       EvbusBatch    *batch,
                       GCancellable  *cancellable,
                       GError       **error)
{
  EvbusIngressInterface *iface;

  g_return_val_if_fail (EVBUS_IS_INGRESS (self), FALSE);

  iface = EVBUS_INGRESS_GET_IFACE (self);
  if (iface->publish == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "%s implements no publish()", G_OBJECT_TYPE_NAME (self));
      return FALSE;
    }

  return iface->publish (self, ctx, batch, cancellable, error);
}

/**
 * evbus_ingress_close:
 * @self: an ingress
 * @ctx: the route's settings
 * @error: return location for a #GError
 *
 * Disconnects from the destination.
 *
 * Returns: %TRUE if nothing went wrong; an error is only logged
 *
 * Since: 1.0
 */
gboolean
evbus_ingress_close (EvbusIngress  *self,
                     EvbusContext  *ctx,
                     GError       **error)
{
  EvbusIngressInterface *iface;

  g_return_val_if_fail (EVBUS_IS_INGRESS (self), FALSE);

  iface = EVBUS_INGRESS_GET_IFACE (self);
  return iface->close == NULL || iface->close (self, ctx, error);
}
