/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Whether the plugins of a configuration can do their work at all, found out before
 * anything depends on it. They are code of others, which may never return. */

#include "evbus-profiles-private.h"

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-plugin-host-private.h"

/* Threads that are at it, also for those who do not wait any more; atomic. */
static int n_threads;

/* What a task has; the specs are borrowed from the profiles. */
typedef struct {
  GPtrArray      *specs;     /* one of each plugin that is to be tried */
  EvbusRouteSpec *current;   /* atomic, written by the thread */
} Trial;

/* A plugin that has made an ingress can do so. */
static Trial *
trial_new (EvbusProfiles *profiles)
{
  GPtrArray *specs = evbus_profiles_get_specs (profiles);
  g_autoptr(GHashTable) providers = g_hash_table_new (g_str_hash, g_str_equal);
  Trial *self = g_new0 (Trial, 1);

  self->specs = g_ptr_array_new ();
  for (guint i = 0; i < specs->len; i++)
    {
      EvbusRouteSpec *spec = specs->pdata[i];

      if (spec->info != NULL && g_hash_table_add (providers, spec->provider) &&
          !evbus_plugin_host_is_proven (spec->info))
        g_ptr_array_add (self->specs, spec);
    }
  return self;
}

static void
trial_free (gpointer data)
{
  Trial *self = data;

  g_ptr_array_unref (self->specs);
  g_free (self);
}

static char *
describe (EvbusRouteSpec *spec)
{
  return g_strdup_printf ("%s%s%s '%s'", spec->where != NULL ? spec->where : "", spec->where != NULL ? ": " : "",
                          spec->provider, spec->profile);
}

/* One line for each plugin that fails, however many routes it has. */
static void
try_all (Trial   *trial,
         GString *failures)
{
  for (guint i = 0; i < trial->specs->len; i++)
    {
      EvbusRouteSpec *spec = trial->specs->pdata[i];
      g_autoptr(EvbusIngress) ingress = NULL;
      g_autoptr(GError) error = NULL;
      g_autofree char *name = NULL;

      g_atomic_pointer_set (&trial->current, spec);
      ingress = evbus_plugin_host_create_ingress (spec->info, &error);
      if (ingress != NULL)
        continue;

      name = describe (spec);
      g_string_append_printf (failures, "%s%s: %s", failures->len > 0 ? "\n" : "", name,
                              error != NULL ? error->message : "the plugin made no ingress");
    }
}

static void
run (GTask        *task,
     gpointer      source,
     gpointer      data,
     GCancellable *cancellable)
{
  g_autoptr(GString) failures = g_string_new (NULL);
  g_autoptr(GMainContext) context = g_main_context_new ();

  /* A plugin may attach what it likes; with the context it goes. */
  g_main_context_push_thread_default (context);
  try_all (data, failures);
  g_main_context_pop_thread_default (context);

  if (failures->len == 0)
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "%s", failures->str);
  g_atomic_int_add (&n_threads, -1);
}

/**
 * evbus_profiles_try_plugins_async:
 * @self: a configuration
 * @cancellable: (nullable): ends the wait
 * @callback: (scope async): called when all were tried
 * @user_data: for @callback
 *
 * Loads the plugin of every route of @self that has one, and has it make an ingress, which
 * is let go of again: so a configuration that cannot work is told before
 * [method@Broker.apply_profiles] puts it in the place of one that does. Nothing is opened. A
 * plugin that has made an ingress before is not asked for another one.
 *
 * It runs in a thread. A plugin cannot be made to return: cancelled, the wait is over at
 * once, and the thread stays with the plugin. Eight such threads are borne, no more.
 *
 * Since: 1.0
 */
void
evbus_profiles_try_plugins_async (EvbusProfiles       *self,
                                  GCancellable        *cancellable,
                                  GAsyncReadyCallback  callback,
                                  gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;
  Trial *trial;

  g_return_if_fail (EVBUS_IS_PROFILES (self));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = g_task_new (self, cancellable, callback, user_data);
  g_task_set_source_tag (task, evbus_profiles_try_plugins_async);
  g_task_set_name (task, "[evbus] try the plugins");
  trial = trial_new (self);
  g_task_set_task_data (task, trial, trial_free);
  /* GLib loses the error of a task that is cancelled before its thread has begun. */
  if (g_task_return_error_if_cancelled (task))
    return;
  if (trial->specs->len == 0)
    {
      g_task_return_boolean (task, TRUE);
      return;
    }

  g_task_set_return_on_cancel (task, TRUE);
  if (g_atomic_int_add (&n_threads, 1) < (int) EVBUS_MAX_TRIALS)
    {
      g_task_run_in_thread (task, run);
      return;
    }
  g_atomic_int_add (&n_threads, -1);
  g_task_return_new_error (task, EVBUS_ERROR, EVBUS_ERROR_BUSY,
                           "%u threads are held by plugins that were tried and have not returned; "
                           "mend the plugin, and start the program again", EVBUS_MAX_TRIALS);
}

/**
 * evbus_profiles_try_plugins_finish:
 * @self: a configuration
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Profiles.try_plugins_async].
 *
 * Errors: %EVBUS_ERROR_PLUGIN, with a line for each plugin that does not load or makes no
 * ingress; %EVBUS_ERROR_BUSY if too many have not returned; %G_IO_ERROR_CANCELLED, which says
 * which one was being tried.
 *
 * Returns: %TRUE if there is nothing against putting it in place
 *
 * Since: 1.0
 */
gboolean
evbus_profiles_try_plugins_finish (EvbusProfiles  *self,
                                   GAsyncResult   *result,
                                   GError        **error)
{
  g_autoptr(GError) failure = NULL;
  EvbusRouteSpec *current;

  g_return_val_if_fail (EVBUS_IS_PROFILES (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_profiles_try_plugins_async), FALSE);

  if (g_task_propagate_boolean (G_TASK (result), &failure))
    return TRUE;

  current = g_atomic_pointer_get (&((Trial *) g_task_get_task_data (G_TASK (result)))->current);
  if (current != NULL && g_error_matches (failure, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    {
      g_autofree char *name = describe (current);

      g_clear_error (&failure);
      failure = g_error_new (G_IO_ERROR, G_IO_ERROR_CANCELLED, "cancelled while the plugin was tried of %s", name);
    }
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}
