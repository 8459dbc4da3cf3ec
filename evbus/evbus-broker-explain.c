/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-broker-private.h"

#include "evbus-explanation-private.h"

/**
 * evbus_broker_explain:
 * @self: a broker
 * @profile: (nullable): a profile name as a producer gives it
 * @error: return location for a #GError
 *
 * Which routes an event of this profile would go to, and why.
 *
 * Errors, which a put would get as well: %EVBUS_ERROR_MATCH if a pattern gives
 * up on the name, %EVBUS_ERROR_INVALID_ARGUMENT if it is none.
 *
 * Returns: (transfer container) (element-type EvbusExplanation): an answer for each
 *   route, in their order
 *
 * Since: 1.0
 */
GPtrArray *
evbus_broker_explain (EvbusBroker  *self,
                      const char   *profile,
                      GError      **error)
{
  g_autoptr(GPtrArray) routes = NULL;
  g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func (g_object_unref);

  g_return_val_if_fail (EVBUS_IS_BROKER (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  profile = evbus_broker_check_profile (profile, error);
  if (profile == NULL)
    return NULL;

  routes = evbus_broker_dup_routes (self);
  for (guint i = 0; i < routes->len; i++)
    {
      EvbusRoute *route = routes->pdata[i];
      gboolean matches;

      if (!evbus_matcher_match (route->spec->matcher, profile, &matches, error))
        {
          g_prefix_error (error, "route %s: ", route->label);
          return NULL;
        }
      g_ptr_array_add (answers,
                       evbus_explanation_new (route, matches,
                                              g_strdup_printf ("'%s' %s the %s '%s'", profile,
                                                               matches ? "matches" : "does not match",
                                                               evbus_matcher_get_plugin (route->spec->matcher),
                                                               route->spec->profile)));
    }

  return g_steal_pointer (&answers);
}
