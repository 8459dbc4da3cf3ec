/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The serializers by name: those of the library, those that a program or a plugin has
 * registered, and those of plugins that are not loaded yet. */

#include "evbus-serializer-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-nearest-private.h"
#include "evbus-plugin-host-private.h"
#include "evbus-provider-private.h"
#include "evbus-put-options-private.h"

#define NAME_CHARACTERS G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "._+-"

/* Of the map, whose entries stay for the life of the process. */
static GMutex      registry_lock;
static GHashTable *registry;         /* name → EvbusSerializer */

static GQuark
content_type_quark (void)
{
  return g_quark_from_static_string ("evbus-content-type");
}

const char *
evbus_serializer_get_registered_type (EvbusSerializer *self)
{
  return g_object_get_qdata (G_OBJECT (self), content_type_quark ());
}

static EvbusSerializer *
find_registered (const char *name)
{
  EvbusSerializer *serializer;

  g_mutex_lock (&registry_lock);
  serializer = registry != NULL ? g_hash_table_lookup (registry, name) : NULL;
  if (serializer != NULL)
    g_object_ref (serializer);
  g_mutex_unlock (&registry_lock);

  return serializer;
}

static EvbusSerializer *
find_known (const char *name)
{
  EvbusSerializer *builtin = evbus_serializer_lookup_builtin (name);

  return builtin != NULL ? builtin : find_registered (name);
}

static gboolean
check_name (const char  *name,
            GError     **error)
{
  gsize length = strlen (name);

  if (length > 0 && length <= EVBUS_MAX_NAME_BYTES && strspn (name, NAME_CHARACTERS) == length)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
               "'%s' cannot be the name of a serializer; it has 1 to %u letters, digits and any of . _ + -",
               name, EVBUS_MAX_NAME_BYTES);
  return FALSE;
}

/* Asked once: what another language returns need not last. */
static gboolean
read_content_type (EvbusSerializer  *serializer,
                   GError          **error)
{
  const char *content_type = EVBUS_SERIALIZER_GET_IFACE (serializer)->get_content_type (serializer);

  if (content_type == NULL)
    content_type = "";
  if (!evbus_put_check_content_type (content_type, error))
    return FALSE;

  g_object_set_qdata (G_OBJECT (serializer), content_type_quark (), (gpointer) g_intern_string (content_type));
  return TRUE;
}

static gboolean
add_locked (const char       *name,
            EvbusSerializer  *serializer,
            GError          **error)
{
  if (registry == NULL)
    registry = g_hash_table_new (g_str_hash, g_str_equal);

  if (g_hash_table_contains (registry, name))
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS, "there is a serializer '%s' already", name);
  else if (g_hash_table_size (registry) >= EVBUS_MAX_SERIALIZERS)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_FAILED,
                 "there are %u serializers already, and there can be no more", EVBUS_MAX_SERIALIZERS);
  else
    return g_hash_table_insert (registry, g_strdup (name), g_object_ref (serializer));
  return FALSE;
}

/**
 * evbus_serializer_register:
 * @name: the name: letters, digits and any of `. _ + -`
 * @serializer: the serializer
 * @error: return location for a #GError
 *
 * Adds a serializer, which a broker can then be told to use by its name, in a program
 * or in a configuration. It is kept for the life of the process. Its content type is
 * asked for now, and once. A plugin that has `Serializer=` in its `.plugin` file calls
 * this when it is loaded: in C in peas_register_types(), in Python when its module is
 * imported.
 *
 * Can be called on any thread; the serializer is called on any as well.
 *
 * Errors: %EVBUS_ERROR_EXISTS if the name is taken, %EVBUS_ERROR_INVALID_ARGUMENT for a
 * name or a content type that cannot be used, %EVBUS_ERROR_FAILED if there are 64.
 *
 * Returns: %TRUE if it was added
 *
 * Since: 1.0
 */
gboolean
evbus_serializer_register (const char       *name,
                           EvbusSerializer  *serializer,
                           GError          **error)
{
  g_autoptr(EvbusSerializer) builtin = NULL;
  gboolean added;

  g_return_val_if_fail (name != NULL, FALSE);
  g_return_val_if_fail (EVBUS_IS_SERIALIZER (serializer), FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (!check_name (name, error) || !read_content_type (serializer, error))
    return FALSE;

  builtin = evbus_serializer_lookup_builtin (name);
  if (builtin != NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_EXISTS, "'%s' is a serializer of evbus itself", name);
      return FALSE;
    }

  g_mutex_lock (&registry_lock);
  added = add_locked (name, serializer, error);
  g_mutex_unlock (&registry_lock);

  return added;
}

static int
compare_names (gconstpointer a,
               gconstpointer b)
{
  return strcmp (*(const char * const *) a, *(const char * const *) b);
}

static void
add_keys (GHashTable *table,
          GPtrArray  *names)
{
  GHashTableIter iter;
  gpointer name;

  g_hash_table_iter_init (&iter, table);
  while (g_hash_table_iter_next (&iter, &name, NULL))
    g_ptr_array_add (names, name);
}

/* Those of the library, then the others in their alphabetical order, and NULL. */
static GPtrArray *
list_names (GHashTable *of_plugins)
{
  GPtrArray *names = g_ptr_array_new ();
  g_autoptr(GPtrArray) others = g_ptr_array_new ();

  add_keys (of_plugins, others);
  g_mutex_lock (&registry_lock);
  if (registry != NULL)
    add_keys (registry, others);
  g_mutex_unlock (&registry_lock);
  g_ptr_array_sort (others, compare_names);

  evbus_serializer_list_builtin (names);
  for (guint i = 0; i < others->len; i++)
    {
      /* One of a plugin that is loaded stands there twice. */
      if (i == 0 || strcmp (others->pdata[i], others->pdata[i - 1]) != 0)
        g_ptr_array_add (names, others->pdata[i]);
    }
  g_ptr_array_add (names, NULL);
  return names;
}

static void
set_not_found (const char  *name,
               GHashTable  *of_plugins,
               GError     **error)
{
  g_autoptr(GPtrArray) names = list_names (of_plugins);
  const char **known = (const char **) names->pdata;
  g_autofree char *list = g_strjoinv (", ", (char **) known);
  g_autofree char *hint = evbus_nearest_hint (name, known);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
               "no serializer is called '%s'; there are %s%s", name, list, hint);
}

/* Not under the lock, for the plugin registers it while it is loaded. */
static EvbusSerializer *
load_from_plugin (const char  *name,
                  const char  *filename,
                  GError     **error)
{
  EvbusSerializer *serializer;

  if (!evbus_plugin_host_load (filename, error))
    return NULL;

  serializer = find_registered (name);
  if (serializer == NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN,
                 "%s: the plugin was loaded and has not registered its serializer '%s'", filename, name);
  return serializer;
}

/**
 * evbus_serializer_lookup:
 * @name: (nullable): the name of a serializer, %NULL for the default, `json`
 * @error: return location for a #GError
 *
 * Finds a serializer by its name. There is one of each in a process. Where a plugin has
 * it, the plugin is loaded.
 *
 * Returns: (transfer full): the serializer, or %NULL with
 *   %EVBUS_ERROR_NOT_FOUND, which lists the names there are, or %EVBUS_ERROR_PLUGIN
 *
 * Since: 1.0
 */
EvbusSerializer *
evbus_serializer_lookup (const char  *name,
                         GError     **error)
{
  EvbusSerializer *serializer = find_known (name != NULL ? name : "json");
  g_autoptr(GHashTable) of_plugins = NULL;
  const char *filename;

  if (serializer != NULL)
    return serializer;

  of_plugins = evbus_provider_scan_serializers ();
  filename = g_hash_table_lookup (of_plugins, name);
  if (filename != NULL)
    return load_from_plugin (name, filename, error);

  set_not_found (name, of_plugins, error);
  return NULL;
}
