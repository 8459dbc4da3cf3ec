/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-explanation-private.h"

/**
 * EvbusExplanation:
 *
 * Whether an event of some profile would go to a route, and why: an answer of
 * [method@Broker.explain]. Immutable.
 *
 * Since: 1.0
 */

struct _EvbusExplanation
{
  GObject     parent_instance;

  EvbusRoute *route;
  gboolean    matches;
  char       *reason;
};

G_DEFINE_FINAL_TYPE (EvbusExplanation, evbus_explanation, G_TYPE_OBJECT)

static void
evbus_explanation_finalize (GObject *object)
{
  EvbusExplanation *self = EVBUS_EXPLANATION (object);

  g_object_unref (self->route);
  g_free (self->reason);

  G_OBJECT_CLASS (evbus_explanation_parent_class)->finalize (object);
}

static void
evbus_explanation_class_init (EvbusExplanationClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_explanation_finalize;
}

static void
evbus_explanation_init (EvbusExplanation *self)
{
}

EvbusExplanation *
evbus_explanation_new (EvbusRoute *route,
                       gboolean    matches,
                       char       *reason)
{
  EvbusExplanation *self = g_object_new (EVBUS_TYPE_EXPLANATION, NULL);

  self->route = g_object_ref (route);
  self->matches = matches;
  self->reason = reason;
  return self;
}

/**
 * evbus_explanation_get_route:
 * @self: an explanation
 *
 * The route that was asked.
 *
 * Returns: (transfer none): the route
 *
 * Since: 1.0
 */
EvbusRoute *
evbus_explanation_get_route (EvbusExplanation *self)
{
  g_return_val_if_fail (EVBUS_IS_EXPLANATION (self), NULL);

  return self->route;
}

/**
 * evbus_explanation_get_matches:
 * @self: an explanation
 *
 * Whether the event would go to the route.
 *
 * Returns: %TRUE if it would
 *
 * Since: 1.0
 */
gboolean
evbus_explanation_get_matches (EvbusExplanation *self)
{
  g_return_val_if_fail (EVBUS_IS_EXPLANATION (self), FALSE);

  return self->matches;
}

/**
 * evbus_explanation_get_reason:
 * @self: an explanation
 *
 * Why, for a person.
 *
 * Returns: (transfer none): a sentence
 *
 * Since: 1.0
 */
const char *
evbus_explanation_get_reason (EvbusExplanation *self)
{
  g_return_val_if_fail (EVBUS_IS_EXPLANATION (self), NULL);

  return self->reason;
}
