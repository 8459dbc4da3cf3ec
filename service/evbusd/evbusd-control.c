/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* org.evbus1.Manager: what a person tells routes to do. */

#include "evbusd-control.h"

#include <string.h>

static const struct {
  const char  *method;
  const char  *signal;
  void      (* tell) (EvbusRoute *route);
} orders[] = {
  { "Pause", "handle-pause", evbus_route_pause },
  { "Resume", "handle-resume", evbus_route_resume },
  { "Flush", "handle-flush", evbus_route_flush },
};

/* Tells all routes of that name; "": all there are. Returns how many. */
static guint
tell_routes (EvbusBroker *broker,
             const char  *name,
             void       (*tell) (EvbusRoute *route))
{
  GListModel *routes = evbus_broker_get_routes (broker);
  guint n_told = 0;

  for (guint i = 0; i < g_list_model_get_n_items (routes); i++)
    {
      g_autoptr (EvbusRoute) route = g_list_model_get_item (routes, i);

      if (*name != '\0' && strcmp (evbus_route_get_name (route), name) != 0)
        continue;
      tell (route);
      n_told++;
    }

  return n_told;
}

static gboolean
on_order (gpointer               skeleton,
          GDBusMethodInvocation *invocation,
          const char            *route,
          EvbusBroker           *broker)
{
  const char *method = g_dbus_method_invocation_get_method_name (invocation);
  guint n_told = 0;

  for (guint i = 0; i < G_N_ELEMENTS (orders); i++)
    {
      if (strcmp (orders[i].method, method) == 0)
        n_told = tell_routes (broker, route, orders[i].tell);
    }

  if (n_told > 0 || *route == '\0')
    g_dbus_method_invocation_return_value (invocation, g_variant_new ("(u)", n_told));
  else
    g_dbus_method_invocation_return_error (invocation, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                                           "no route is called \"%s\"; a route is called by its name, or else "
                                           "PROVIDER 'PATTERN', and ListRoutes (evbusctl routes) shows them", route);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

void
evbusd_control_connect (gpointer     manager,
                        EvbusBroker *broker)
{
  for (guint i = 0; i < G_N_ELEMENTS (orders); i++)
    g_signal_connect (manager, orders[i].signal, G_CALLBACK (on_order), broker);
}
