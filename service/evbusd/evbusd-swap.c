/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A configuration that was checked can still be one of which a route cannot be made:
 * its plugin does not load, or makes no ingress. Then the old one is put back. A
 * destination that is not there is no such reason: it comes and goes by itself. */

#include "evbusd-swap.h"

#include "evbusd-report.h"

/* How long the routes are given for their first try. A caller on the bus waits 25 s. */
#define DEADLINE_MS 5000

struct _EvbusdSwap
{
  EvbusBroker   *broker;
  EvbusProfiles *profiles;   /* in place */

  /* While a swap is under way. */
  GTask         *task;       /* or NULL */
  EvbusProfiles *before;     /* what was in place */
  GPtrArray     *fresh;      /* EvbusRoute that are new or were changed */
  guint          deadline;   /* a source */
};

EvbusdSwap *
evbusd_swap_new (EvbusBroker *broker)
{
  EvbusdSwap *self = g_new0 (EvbusdSwap, 1);

  self->broker = g_object_ref (broker);
  return self;
}

gboolean
evbusd_swap_begin (EvbusdSwap     *self,
                   EvbusProfiles  *profiles,
                   GError        **error)
{
  if (!evbus_broker_apply_profiles (self->broker, profiles, error))
    return FALSE;

  g_set_object (&self->profiles, profiles);
  return TRUE;
}

static GPtrArray *
list_routes (EvbusdSwap *self)
{
  GListModel *model = evbus_broker_get_routes (self->broker);
  GPtrArray *routes = g_ptr_array_new_with_free_func (g_object_unref);

  for (guint i = 0; i < g_list_model_get_n_items (model); i++)
    g_ptr_array_add (routes, g_list_model_get_item (model, i));
  return routes;
}

/* Not before its first try. A paused route makes none. */
static gboolean
has_tried (EvbusRoute *route)
{
  EvbusRouteState state = evbus_route_get_state (route);

  return state != EVBUS_ROUTE_STATE_STOPPED && state != EVBUS_ROUTE_STATE_OPENING;
}

static char *
describe (EvbusRoute *route)
{
  g_autofree char *reason = evbus_route_dup_reason (route);
  const char *state = evbusd_report_state_name (evbus_route_get_state (route));

  if (!has_tried (route))
    return g_strdup_printf ("%s: it has not opened yet", evbus_route_get_name (route));
  return g_strdup_printf ("%s: %s%s%s", evbus_route_get_name (route), state,
                          reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

static GPtrArray *
list_not_running (EvbusdSwap *self)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < self->fresh->len; i++)
    {
      EvbusRouteState state = evbus_route_get_state (self->fresh->pdata[i]);

      if (state != EVBUS_ROUTE_STATE_RUNNING && state != EVBUS_ROUTE_STATE_PAUSED)
        g_ptr_array_add (lines, describe (self->fresh->pdata[i]));
    }
  return lines;
}

static gboolean
is_installed (EvbusRoute *route)
{
  g_autoptr (EvbusProvider) provider = evbus_provider_lookup (evbus_route_get_provider (route), NULL);

  return provider != NULL;
}

/* One that cannot be made. That a known provider is not installed is no mistake of the
 * configuration: its routes wait for the plugin. */
static EvbusRoute *
find_failed (EvbusdSwap *self)
{
  for (guint i = 0; i < self->fresh->len; i++)
    {
      EvbusRoute *route = self->fresh->pdata[i];

      if (evbus_route_get_state (route) == EVBUS_ROUTE_STATE_FAILED && is_installed (route))
        return route;
    }
  return NULL;
}

/* Lets go of what is there while a swap is under way. Returns its task. */
static GTask *
leave (EvbusdSwap *self)
{
  for (guint i = 0; i < self->fresh->len; i++)
    g_signal_handlers_disconnect_by_data (self->fresh->pdata[i], self);
  g_clear_pointer (&self->fresh, g_ptr_array_unref);
  g_clear_object (&self->before);
  g_clear_handle_id (&self->deadline, g_source_remove);
  return g_steal_pointer (&self->task);
}

static void
roll_back (EvbusdSwap *self,
           EvbusRoute *failed)
{
  g_autofree char *line = describe (failed);
  g_autoptr (GError) error = NULL;
  g_autoptr (EvbusProfiles) before = g_object_ref (self->before);
  g_autoptr (GTask) task = leave (self);

  if (!evbusd_swap_begin (self, before, &error))
    g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_FAILED,
                             "a route of the new configuration cannot be made, and the old one cannot be put back "
                             "(%s):\n%s", error->message, line);
  else
    g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_PLUGIN,
                             "a route of the new configuration cannot be made, so the old one was put back:\n%s", line);
}

static void
conclude (EvbusdSwap *self)
{
  GPtrArray *lines = list_not_running (self);
  g_autoptr (GTask) task = leave (self);

  g_task_return_pointer (task, lines, (GDestroyNotify) g_ptr_array_unref);
}

static gboolean
on_deadline (gpointer data)
{
  EvbusdSwap *self = data;

  self->deadline = 0;
  conclude (self);
  return G_SOURCE_REMOVE;
}

static void
look (EvbusdSwap *self)
{
  EvbusRoute *failed = find_failed (self);

  if (failed != NULL)
    {
      roll_back (self, failed);
      return;
    }
  for (guint i = 0; i < self->fresh->len; i++)
    {
      if (!has_tried (self->fresh->pdata[i]))
        return;
    }
  conclude (self);
}

static void
watch_fresh (EvbusdSwap *self,
             GPtrArray  *old)
{
  g_autoptr (GPtrArray) routes = list_routes (self);

  self->fresh = g_ptr_array_new_with_free_func (g_object_unref);
  for (guint i = 0; i < routes->len; i++)
    {
      EvbusRoute *route = routes->pdata[i];

      if (g_ptr_array_find (old, route, NULL))
        continue;
      g_ptr_array_add (self->fresh, g_object_ref (route));
      g_signal_connect_swapped (route, "notify::state", G_CALLBACK (look), self);
    }
}

void
evbusd_swap_async (EvbusdSwap          *self,
                   EvbusProfiles       *profiles,
                   GAsyncReadyCallback  callback,
                   gpointer             user_data)
{
  GTask *task = g_task_new (NULL, NULL, callback, user_data);
  g_autoptr (GPtrArray) old = NULL;
  GError *error = NULL;

  g_task_set_name (task, "[evbusd] swap");
  if (self->task != NULL)
    conclude (self);

  old = list_routes (self);
  self->before = g_object_ref (self->profiles);
  if (!evbusd_swap_begin (self, profiles, &error))
    {
      g_clear_object (&self->before);
      g_task_return_error (task, error);
      g_object_unref (task);
      return;
    }

  self->task = task;
  watch_fresh (self, old);
  self->deadline = g_timeout_add (DEADLINE_MS, on_deadline, self);
  look (self);
}

GPtrArray *
evbusd_swap_finish (EvbusdSwap    *self,
                    GAsyncResult  *result,
                    GError       **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

void
evbusd_swap_free (EvbusdSwap *self)
{
  if (self->task != NULL)
    conclude (self);
  g_clear_object (&self->profiles);
  g_object_unref (self->broker);
  g_free (self);
}
