/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A configuration that was checked can still be one of which a route cannot be made:
 * its plugin does not load, or makes no ingress, or never returns. That is tried while
 * the old one is in place, so no put goes by a configuration that is refused. What is in
 * place stays: a destination that is not there comes and goes by itself. */

#include "evbusd-swap.h"

#include "evbusd-report.h"

/* How long the plugins are given to be tried, and then the routes for their first try. A
 * caller on the bus waits 25 s. */
#define DEADLINE_MS 5000

struct _EvbusdSwap
{
  EvbusBroker  *broker;

  /* While a swap is under way. */
  GTask        *task;       /* or NULL; its data is the swap, until it is answered */
  GCancellable *trial;      /* while plugins are tried, or NULL */
  GPtrArray    *fresh;      /* then: EvbusRoute that are new or were changed */
  guint         deadline;   /* a source */
};

EvbusdSwap *
evbusd_swap_new (EvbusBroker *broker)
{
  EvbusdSwap *self = g_new0 (EvbusdSwap, 1);

  self->broker = g_object_ref (broker);
  return self;
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
has_tried (EvbusRouteState state)
{
  return state != EVBUS_ROUTE_STATE_STOPPED && state != EVBUS_ROUTE_STATE_OPENING;
}

/* NULL: it runs, or will when it is told to. */
static char *
describe_not_running (EvbusRoute *route)
{
  g_autofree char *reason = NULL;
  EvbusRouteState state = evbus_route_get_status (route, &reason);

  if (state == EVBUS_ROUTE_STATE_RUNNING || state == EVBUS_ROUTE_STATE_PAUSED)
    return NULL;
  if (!has_tried (state))
    return g_strdup_printf ("%s: it has not opened yet", evbus_route_get_name (route));
  return g_strdup_printf ("%s: %s%s%s", evbus_route_get_name (route), evbusd_report_state_name (state),
                          reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

static GPtrArray *
list_not_running (EvbusdSwap *self)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < self->fresh->len; i++)
    {
      char *line = describe_not_running (self->fresh->pdata[i]);

      if (line != NULL)
        g_ptr_array_add (lines, line);
    }
  return lines;
}

/* Lets go of what is there while a swap is under way. Returns its task. */
static GTask *
leave (EvbusdSwap *self)
{
  for (guint i = 0; self->fresh != NULL && i < self->fresh->len; i++)
    g_signal_handlers_disconnect_by_data (self->fresh->pdata[i], self);
  g_clear_pointer (&self->fresh, g_ptr_array_unref);
  g_clear_object (&self->trial);
  g_clear_handle_id (&self->deadline, g_source_remove);
  g_task_set_task_data (self->task, NULL, NULL);
  return g_steal_pointer (&self->task);
}

static void
conclude (EvbusdSwap *self)
{
  GPtrArray *lines = list_not_running (self);
  g_autoptr (GTask) task = leave (self);

  g_task_return_pointer (task, lines, (GDestroyNotify) g_ptr_array_unref);
}

/* Takes @error. */
static void
refuse (EvbusdSwap *self,
        GError     *error)
{
  g_autoptr (GTask) task = leave (self);

  g_task_return_error (task, error);
}

/* Before its end. */
static void
cut_short (EvbusdSwap *self)
{
  if (self->task == NULL)
    return;
  if (self->trial == NULL)
    {
      conclude (self);
      return;
    }
  g_cancellable_cancel (self->trial);
  refuse (self, g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_BUSY,
                                     "another reload, or the end, came before its plugins were tried"));
}

/* In a trial on_tried() hears of it. */
static gboolean
on_deadline (gpointer data)
{
  EvbusdSwap *self = data;

  self->deadline = 0;
  if (self->trial != NULL)
    g_cancellable_cancel (self->trial);
  else
    conclude (self);
  return G_SOURCE_REMOVE;
}

static void
look (EvbusdSwap *self)
{
  for (guint i = 0; i < self->fresh->len; i++)
    {
      if (!has_tried (evbus_route_get_state (self->fresh->pdata[i])))
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

static void
put_in_place (EvbusdSwap    *self,
              EvbusProfiles *profiles)
{
  g_autoptr (GPtrArray) old = list_routes (self);
  GError *error = NULL;

  g_clear_object (&self->trial);
  g_clear_handle_id (&self->deadline, g_source_remove);
  if (!evbus_broker_apply_profiles (self->broker, profiles, &error))
    {
      refuse (self, error);
      return;
    }
  watch_fresh (self, old);
  self->deadline = g_timeout_add (DEADLINE_MS, on_deadline, self);
  look (self);
}

static void
on_tried (GObject      *source,
          GAsyncResult *result,
          gpointer      user_data)
{
  g_autoptr (GTask) task = user_data;
  g_autoptr (GError) error = NULL;
  EvbusdSwap *self = g_task_get_task_data (task);
  EvbusProfiles *profiles = EVBUS_PROFILES (source);
  gboolean tried = evbus_profiles_try_plugins_finish (profiles, result, &error);

  if (self == NULL)
    return;
  if (tried)
    put_in_place (self, profiles);
  else if (g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    refuse (self, g_error_new (EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "a plugin has not returned within %d s: %s",
                               DEADLINE_MS / 1000, error->message));
  else
    refuse (self, g_steal_pointer (&error));
}

void
evbusd_swap_async (EvbusdSwap          *self,
                   EvbusProfiles       *profiles,
                   GAsyncReadyCallback  callback,
                   gpointer             user_data)
{
  cut_short (self);

  self->task = g_task_new (NULL, NULL, callback, user_data);
  g_task_set_name (self->task, "[evbusd] swap");
  g_task_set_task_data (self->task, self, NULL);
  self->trial = g_cancellable_new ();
  self->deadline = g_timeout_add (DEADLINE_MS, on_deadline, self);
  evbus_profiles_try_plugins_async (profiles, self->trial, on_tried, g_object_ref (self->task));
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
  cut_short (self);
  g_object_unref (self->broker);
  g_free (self);
}
