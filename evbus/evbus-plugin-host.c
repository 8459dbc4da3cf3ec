/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The only file of the library that knows libpeas. */

#include "evbus-plugin-host-private.h"

#include <girepository.h>
#include <gmodule.h>
#include <libpeas/peas.h>

#include "evbus-error.h"
#include "evbus-provider-private.h"

#define PYTHON_LOADER "python3"
#define PYTHON_HOST   "python-host"
#define C_LOADER      "c"

/* One .plugin file. It has an engine of its own: then what else lies in its
 * folder, or bears its module's name elsewhere, cannot get in its way. */
typedef struct {
  char           *filename;
  char           *folder;
  char           *module;
  char           *loader;
  GMutex          lock;    /* while it loads, the others go on */
  PeasEngine     *engine;  /* NULL: not loaded; written once, under @lock; then only read */
  PeasPluginInfo *info;    /* like @engine */
  gboolean        proven;  /* it has made an ingress; atomic, set by any thread, never unset */
} Plugin;

/* Of the map, and of making engines, which libpeas counts without a lock. */
static GMutex      host_lock;
static GHashTable *plugins;

/* What goes into Python before the first plugin, and makes errors of exceptions. Its
 * lock is taken while that plugin's is held. */
static Plugin python_host = { .module = "evbus_python_host", .loader = PYTHON_LOADER };

static gboolean
set_plugin_error (Plugin      *plugin,
                  GError     **error,
                  const char  *format,
                  ...) G_GNUC_PRINTF (3, 4);

static gboolean
set_plugin_error (Plugin      *plugin,
                  GError     **error,
                  const char  *format,
                  ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "%s: %s", plugin->filename, text);
  return FALSE;
}

/* Entries stay for the life of the process: modules are never unloaded. */
static Plugin *
find_plugin (const char *filename)
{
  Plugin *plugin;

  g_mutex_lock (&host_lock);
  if (plugins == NULL)
    plugins = g_hash_table_new (g_str_hash, g_str_equal);
  plugin = g_hash_table_lookup (plugins, filename);
  if (plugin == NULL)
    {
      plugin = g_new0 (Plugin, 1);
      g_mutex_init (&plugin->lock);
      plugin->filename = g_strdup (filename);
      plugin->folder = g_path_get_dirname (filename);
      g_hash_table_insert (plugins, plugin->filename, plugin);
    }
  g_mutex_unlock (&host_lock);

  return plugin;
}

static gboolean
read_plugin_file (Plugin  *plugin,
                  GError **error)
{
  g_autoptr(GKeyFile) keys = g_key_file_new ();
  g_autoptr(GError) local_error = NULL;

  g_clear_pointer (&plugin->module, g_free);
  g_clear_pointer (&plugin->loader, g_free);

  if (g_key_file_load_from_file (keys, plugin->filename, G_KEY_FILE_NONE, &local_error))
    plugin->module = g_key_file_get_string (keys, "Plugin", "Module", &local_error);
  if (plugin->module == NULL)
    return set_plugin_error (plugin, error, "the plugin file cannot be used: %s",
                             local_error->message);

  plugin->loader = g_key_file_get_string (keys, "Plugin", "Loader", NULL);
  if (plugin->loader == NULL)
    plugin->loader = g_strdup (C_LOADER);

  return TRUE;
}

/* libpeas says only on standard error why a module does not load, and then
 * remembers the failure for ever: so see first whether it will. */
static gboolean
check_module (Plugin  *plugin,
              GError **error)
{
  g_autofree char *name = g_strdup_printf ("%s%s.%s",
                                           g_str_has_prefix (plugin->module, "lib") ? "" : "lib",
                                           plugin->module, G_MODULE_SUFFIX);
  g_autofree char *path = g_build_filename (plugin->folder, name, NULL);
  GModule *module;
  gpointer symbol;
  gboolean found;

  if (!g_file_test (path, G_FILE_TEST_EXISTS))
    return set_plugin_error (plugin, error,
                             "its module %s does not exist; install or build the plugin again", path);

  module = g_module_open (path, G_MODULE_BIND_LOCAL);
  if (module == NULL)
    return set_plugin_error (plugin, error, "its module does not load: %s", g_module_error ());

  found = g_module_symbol (module, "peas_register_types", &symbol);
  g_module_close (module);
  if (!found)
    return set_plugin_error (plugin, error,
                             "its module %s has no function peas_register_types(), "
                             "so it is not a plugin", path);

  return TRUE;
}

/* Python finds our types by the typelib: that of GI_TYPELIB_PATH or of the
 * system if there is one, else that of our own installation. */
static gboolean
check_typelib (Plugin  *plugin,
               GError **error)
{
  g_autoptr(GError) local_error = NULL;

  if (g_irepository_require (NULL, "Evbus", "1", 0, NULL) != NULL)
    return TRUE;

  g_irepository_prepend_search_path (EVBUS_TYPELIBDIR);
  if (g_irepository_require (NULL, "Evbus", "1", 0, &local_error) != NULL)
    return TRUE;

  return set_plugin_error (plugin, error,
                           "a Python plugin needs the typelib of evbus: %s; install it, "
                           "or name its folder in GI_TYPELIB_PATH", local_error->message);
}

/* The first engine of a process becomes libpeas's default one, which belongs
 * to the application. So there is another one while ours is made. */
static PeasEngine *
make_engine_locked (Plugin *plugin)
{
  g_autoptr(PeasEngine) first = peas_engine_new ();
  PeasEngine *engine = peas_engine_new ();

  if (!g_str_equal (plugin->loader, C_LOADER))
    peas_engine_enable_loader (engine, plugin->loader);

  return engine;
}

static gboolean
set_load_error (Plugin  *plugin,
                GError **error)
{
  g_autoptr(GError) reason = NULL;

  if (peas_plugin_info_is_available (plugin->info, &reason))
    return set_plugin_error (plugin, error, "the plugin does not load; the reason stands in the log");

  if (g_error_matches (reason, PEAS_PLUGIN_INFO_ERROR, PEAS_PLUGIN_INFO_ERROR_LOADING_FAILED))
    return set_plugin_error (plugin, error,
                             "the plugin does not load: %s; the exception stands in the log. "
                             "Mend it and start the program again", reason->message);

  return set_plugin_error (plugin, error, "the plugin does not load: %s; install it",
                           reason->message);
}

/* Returns: (transfer full): the engine into which it is loaded */
static PeasEngine *
load_module (Plugin  *plugin,
             GError **error)
{
  g_autoptr(PeasEngine) engine = NULL;

  g_mutex_lock (&host_lock);
  engine = make_engine_locked (plugin);
  g_mutex_unlock (&host_lock);

  peas_engine_add_search_path (engine, plugin->folder, NULL);
  plugin->info = peas_engine_get_plugin_info (engine, plugin->module);
  if (plugin->info == NULL)
    set_plugin_error (plugin, error, "libpeas does not accept the plugin file; "
                      "it needs Module, Name and a known Loader in [Plugin]");
  else if (peas_engine_load_plugin (engine, plugin->info))
    return g_steal_pointer (&engine);
  else
    set_load_error (plugin, error);

  return NULL;
}

static char *
find_python_host (void)
{
  g_auto(GStrv) folders = evbus_provider_search_path ();

  for (gsize i = 0; folders[i] != NULL; i++)
    {
      /* As in the build folder, and as it is installed. */
      g_autofree char *flat = g_build_filename (folders[i], PYTHON_HOST ".plugin", NULL);
      g_autofree char *nested = g_build_filename (folders[i], PYTHON_HOST, PYTHON_HOST ".plugin", NULL);

      if (g_file_test (flat, G_FILE_TEST_EXISTS))
        return g_steal_pointer (&flat);
      if (g_file_test (nested, G_FILE_TEST_EXISTS))
        return g_steal_pointer (&nested);
    }

  return NULL;
}

static gboolean
ensure_python_host_locked (Plugin  *plugin,
                           GError **error)
{
  if (python_host.engine != NULL)
    return TRUE;

  g_clear_pointer (&python_host.folder, g_free);
  g_free (python_host.filename);
  python_host.filename = find_python_host ();
  if (python_host.filename == NULL)
    return set_plugin_error (plugin, error,
                             "a Python plugin needs " PYTHON_HOST ".plugin of evbus, which is in no folder "
                             "of plugins; install it, or name its folder in EVBUS_PLUGIN_PATH");

  python_host.folder = g_path_get_dirname (python_host.filename);
  python_host.engine = load_module (&python_host, error);
  return python_host.engine != NULL;
}

static gboolean
prepare_python (Plugin  *plugin,
                GError **error)
{
  gboolean prepared;

  g_mutex_lock (&python_host.lock);
  prepared = check_typelib (plugin, error) && ensure_python_host_locked (plugin, error);
  g_mutex_unlock (&python_host.lock);

  return prepared;
}

static gboolean
ensure_loaded_locked (Plugin  *plugin,
                      GError **error)
{
  if (plugin->engine != NULL)
    return TRUE;

  if (!read_plugin_file (plugin, error))
    return FALSE;
  if (g_str_equal (plugin->loader, C_LOADER) && !check_module (plugin, error))
    return FALSE;
  if (g_str_equal (plugin->loader, PYTHON_LOADER) && !prepare_python (plugin, error))
    return FALSE;

  plugin->engine = load_module (plugin, error);
  return plugin->engine != NULL;
}

static Plugin *
load (const char  *filename,
      GError     **error)
{
  Plugin *plugin = find_plugin (filename);
  gboolean loaded;

  g_mutex_lock (&plugin->lock);
  loaded = ensure_loaded_locked (plugin, error);
  g_mutex_unlock (&plugin->lock);

  return loaded ? plugin : NULL;
}

gboolean
evbus_plugin_host_load (const char  *filename,
                        GError     **error)
{
  return load (filename, error) != NULL;
}

/* Under no lock: a constructor that never returns holds up no other route. What is
 * loaded stays as it is, and libpeas only reads it here; Python has a lock of its own. */
EvbusIngress *
evbus_plugin_host_create_ingress (EvbusProvider  *provider,
                                  GError        **error)
{
  Plugin *plugin;
  PeasExtension *ingress;

  g_return_val_if_fail (EVBUS_IS_PROVIDER (provider), NULL);

  plugin = load (evbus_provider_get_filename (provider), error);
  if (plugin == NULL)
    return NULL;

  if (!peas_engine_provides_extension (plugin->engine, plugin->info, EVBUS_TYPE_INGRESS))
    {
      set_plugin_error (plugin, error,
                        "the plugin provides no EvbusIngress; it must %s",
                        g_str_equal (plugin->loader, C_LOADER)
                        ? "register its type for EVBUS_TYPE_INGRESS in peas_register_types()"
                        : "define a class that derives from GObject.Object and Evbus.Ingress");
      return NULL;
    }

  ingress = peas_engine_create_extension (plugin->engine, plugin->info, EVBUS_TYPE_INGRESS, NULL);
  if (ingress == NULL)
    {
      set_plugin_error (plugin, error,
                        "the plugin could not make its EvbusIngress; what it registered "
                        "is not of that type, or its constructor failed (see the log)");
      return NULL;
    }

  g_atomic_int_set (&plugin->proven, TRUE);
  return EVBUS_INGRESS (ingress);
}

gboolean
evbus_plugin_host_is_proven (EvbusProvider *provider)
{
  return g_atomic_int_get (&find_plugin (evbus_provider_get_filename (provider))->proven);
}
