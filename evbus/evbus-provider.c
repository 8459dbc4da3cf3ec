/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-error.h"
#include "evbus-nearest-private.h"
#include "evbus-option-private.h"
#include "evbus-provider-private.h"

/**
 * EvbusProvider:
 *
 * What is known of a kind of destination without running its plugin.
 *
 * It is read from the plugin's `.plugin` file: names, a description, an
 * example, and the table of options that profiles are checked against. The
 * files are searched in the folders of the environment variable
 * `EVBUS_PLUGIN_PATH` (separated by colons) and then in the installed folder;
 * in each, directly and one folder deeper. A file that cannot be used is
 * logged once and left out.
 *
 * A file `NAME.provider` with the group `[Evbus]` alone makes a provider known
 * whose plugin may be installed separately: errors can then say what it is.
 *
 * Objects of this class are immutable, so any thread may use them. Each call
 * of [func@Provider.list] and [func@Provider.lookup] looks whether something
 * has changed in the folders, and then reads them anew.
 *
 * Since: 1.0
 */

#define MAX_FILE_BYTES (256 * 1024)

struct _EvbusProvider
{
  GObject     parent_instance;

  char       *name;
  char      **aliases;
  char       *description;
  char       *example;
  char       *filename;
  gboolean    installed;   /* FALSE: of a .provider file */
  GPtrArray  *options;
  GListStore *option_list;
};

G_DEFINE_FINAL_TYPE (EvbusProvider, evbus_provider, G_TYPE_OBJECT)

static void
evbus_provider_finalize (GObject *object)
{
  EvbusProvider *self = EVBUS_PROVIDER (object);

  g_free (self->name);
  g_strfreev (self->aliases);
  g_free (self->description);
  g_free (self->example);
  g_free (self->filename);
  g_clear_pointer (&self->options, g_ptr_array_unref);
  g_clear_object (&self->option_list);

  G_OBJECT_CLASS (evbus_provider_parent_class)->finalize (object);
}

static void
evbus_provider_class_init (EvbusProviderClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_provider_finalize;
}

static void
evbus_provider_init (EvbusProvider *self)
{
  self->options = g_ptr_array_new_with_free_func (g_object_unref);
  self->option_list = g_list_store_new (EVBUS_TYPE_OPTION);
}

/* ---- reading one file ---- */

static gboolean
load_key_file (GKeyFile    *file,
               const char  *filename,
               GError     **error)
{
  g_autofree char *data = NULL;
  gsize length;

  /* Opening a pipe would wait for its writer. */
  if (!g_file_test (filename, G_FILE_TEST_IS_REGULAR))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "not a regular file");
      return FALSE;
    }
  if (!g_file_get_contents (filename, &data, &length, error))
    return FALSE;
  if (length > MAX_FILE_BYTES)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "larger than %d bytes", MAX_FILE_BYTES);
      return FALSE;
    }
  return g_key_file_load_from_data (file, data, length, G_KEY_FILE_NONE, error);
}

static gboolean
read_options (EvbusProvider  *self,
              GKeyFile       *file,
              GError        **error)
{
  g_auto(GStrv) groups = g_key_file_get_groups (file, NULL);

  for (gsize i = 0; groups[i] != NULL; i++)
    {
      EvbusOption *option;

      if (!g_str_has_prefix (groups[i], EVBUS_OPTION_GROUP))
        continue;
      option = evbus_option_new_from_key_file (file, groups[i], error);
      if (option == NULL)
        return FALSE;
      g_ptr_array_add (self->options, option);
      g_list_store_append (self->option_list, option);
    }
  return TRUE;
}

/* A mapping may have documented keys beside it; a text may not. */
static gboolean
check_nesting (EvbusProvider  *self,
               GError        **error)
{
  for (guint i = 0; i < self->options->len; i++)
    {
      EvbusOption *outer = g_ptr_array_index (self->options, i);
      g_autofree char *prefix = g_strconcat (outer->name, ".", NULL);

      for (guint j = 0; j < self->options->len; j++)
        {
          EvbusOption *inner = g_ptr_array_index (self->options, j);

          if (outer->kind != EVBUS_OPTION_MAPPING && g_str_has_prefix (inner->name, prefix))
            {
              g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[Option %s] is inside [Option %s], which is no mapping",
                           inner->name, outer->name);
              return FALSE;
            }
        }
      if (strcmp (outer->name, "delivery") == 0 || g_str_has_prefix (outer->name, "delivery."))
        {
          g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "the option 'delivery' is evbus's own");
          return FALSE;
        }
    }
  return TRUE;
}

static char *
get_text (GKeyFile   *file,
          const char *group,
          const char *key)
{
  char *text = g_key_file_get_string (file, group, key, NULL);

  return text != NULL ? g_strstrip (text) : g_strdup ("");
}

static gboolean
fill_from_file (EvbusProvider  *self,
                GKeyFile       *file,
                GError        **error)
{
  g_autofree char *module = get_text (file, "Plugin", "Module");

  self->name = get_text (file, "Evbus", "Provider");
  self->aliases = g_key_file_get_string_list (file, "Evbus", "Aliases", NULL, NULL);
  if (self->aliases == NULL)
    self->aliases = g_new0 (char *, 1);
  self->example = get_text (file, "Evbus", "Example");
  self->description = get_text (file, self->installed ? "Plugin" : "Evbus", "Description");

  if (*self->name == '\0')
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[Evbus] Provider is missing");
  else if (self->installed && *module == '\0')
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[Plugin] Module is missing");
  else
    return read_options (self, file, error) && check_nesting (self, error);
  return FALSE;
}

EvbusProvider *
evbus_provider_new_from_file (const char  *filename,
                              gboolean     installed,
                              char       **serializer,
                              GError     **error)
{
  g_autoptr(EvbusProvider) self = NULL;
  g_autoptr(GKeyFile) file = g_key_file_new ();

  if (!load_key_file (file, filename, error))
    return NULL;
  if (!g_key_file_has_group (file, "Evbus"))
    return NULL;
  if (installed)
    *serializer = g_key_file_get_string (file, "Evbus", "Serializer", NULL);
  if (*serializer != NULL && !g_key_file_has_key (file, "Evbus", "Provider", NULL))
    return NULL;

  self = g_object_new (EVBUS_TYPE_PROVIDER, NULL);
  self->filename = g_strdup (filename);
  self->installed = installed;
  return fill_from_file (self, file, error) ? g_steal_pointer (&self) : NULL;
}

/* ---- finding one ---- */

EvbusProvider *
evbus_provider_find_by_name (GPtrArray  *providers,
                             const char *name)
{
  for (guint i = 0; i < providers->len; i++)
    {
      EvbusProvider *provider = g_ptr_array_index (providers, i);

      if (strcmp (provider->name, name) == 0)
        return provider;
    }
  return NULL;
}

static EvbusProvider *
find_by_alias (GPtrArray  *providers,
               const char *alias)
{
  for (guint i = 0; i < providers->len; i++)
    {
      EvbusProvider *provider = g_ptr_array_index (providers, i);

      if (g_strv_contains ((const char * const *) provider->aliases, alias))
        return provider;
    }
  return NULL;
}

static const char *
nearest_name (GPtrArray  *providers,
              const char *name)
{
  g_autoptr(GPtrArray) names = g_ptr_array_new ();

  for (guint i = 0; i < providers->len; i++)
    {
      EvbusProvider *provider = g_ptr_array_index (providers, i);

      g_ptr_array_add (names, provider->name);
      for (gsize j = 0; provider->aliases[j] != NULL; j++)
        g_ptr_array_add (names, provider->aliases[j]);
    }
  g_ptr_array_add (names, NULL);
  return evbus_nearest (name, (const char * const *) names->pdata);
}

static void
set_missing (GPtrArray      *providers,
             EvbusProvider  *known,
             const char     *name,
             GError        **error)
{
  const char *nearest = nearest_name (providers, name);
  g_auto(GStrv) folders = evbus_provider_search_path ();
  g_autofree char *searched = g_strjoinv (", ", folders);
  gboolean is_alias = known != NULL && strcmp (name, known->name) != 0;

  if (known != NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NO_PROVIDER,
                 "the provider '%s' (%s%s%s) is known, but its plugin is not installed; searched in %s",
                 known->name, is_alias ? name : "", is_alias ? ": " : "", known->description, searched);
  else if (nearest != NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                 "unknown provider '%s'; did you mean '%s'?", name, nearest);
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_NO_PROVIDER,
                 "there is no plugin for the provider '%s'; searched in %s", name, searched);
}

EvbusProvider *
evbus_provider_find (GPtrArray   *providers,
                     const char  *name,
                     GError     **error)
{
  EvbusProvider *provider = evbus_provider_find_by_name (providers, name);

  if (provider == NULL)
    provider = find_by_alias (providers, name);
  if (provider != NULL && provider->installed)
    return provider;

  set_missing (providers, provider, name, error);
  return NULL;
}

GPtrArray *
evbus_provider_get_option_array (EvbusProvider *self)
{
  return self->options;
}

/**
 * evbus_provider_list:
 *
 * Lists the providers whose plugins are installed, or stand in a folder of
 * `EVBUS_PLUGIN_PATH`.
 *
 * Returns: (transfer full): a list of [class@Provider]
 *
 * Since: 1.0
 */
GListModel *
evbus_provider_list (void)
{
  g_autoptr(GPtrArray) providers = evbus_provider_scan ();
  GListStore *list = g_list_store_new (EVBUS_TYPE_PROVIDER);

  for (guint i = 0; i < providers->len; i++)
    {
      EvbusProvider *provider = g_ptr_array_index (providers, i);

      if (provider->installed)
        g_list_store_append (list, provider);
    }
  return G_LIST_MODEL (list);
}

/**
 * evbus_provider_lookup:
 * @name: the name of a provider, or one of its aliases
 * @error: return location for an error
 *
 * Finds a provider.
 *
 * The error is %EVBUS_ERROR_NO_PROVIDER where there is no plugin for it, with
 * the folders that were searched, and %EVBUS_ERROR_INVALID_CONFIG where @name
 * looks like a mistake for one that is known.
 *
 * Returns: (transfer full): the provider, or %NULL with @error set
 *
 * Since: 1.0
 */
EvbusProvider *
evbus_provider_lookup (const char  *name,
                       GError     **error)
{
  g_autoptr(GPtrArray) providers = NULL;
  EvbusProvider *provider;

  g_return_val_if_fail (name != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  providers = evbus_provider_scan ();
  provider = evbus_provider_find (providers, name, error);
  return provider != NULL ? g_object_ref (provider) : NULL;
}

/**
 * evbus_provider_get_name:
 * @self: a provider
 *
 * Gets the name that configurations use as the top-level key.
 *
 * Returns: the name
 *
 * Since: 1.0
 */
const char *
evbus_provider_get_name (EvbusProvider *self)
{
  g_return_val_if_fail (EVBUS_IS_PROVIDER (self), NULL);

  return self->name;
}

/**
 * evbus_provider_get_aliases:
 * @self: a provider
 *
 * Gets the other names under which configurations may have it.
 *
 * Returns: (transfer none) (array zero-terminated=1): the aliases
 *
 * Since: 1.0
 */
const char * const *
evbus_provider_get_aliases (EvbusProvider *self)
{
  g_return_val_if_fail (EVBUS_IS_PROVIDER (self), NULL);

  return (const char * const *) self->aliases;
}

/**
 * evbus_provider_get_description:
 * @self: a provider
 *
 * Gets the one line that says what it is.
 *
 * Returns: the description, empty if there is none
 *
 * Since: 1.0
 */
const char *
evbus_provider_get_description (EvbusProvider *self)
{
  g_return_val_if_fail (EVBUS_IS_PROVIDER (self), NULL);

  return self->description;
}

/**
 * evbus_provider_get_example:
 * @self: a provider
 *
 * Gets an example configuration, in YAML.
 *
 * Returns: the example, empty if there is none
 *
 * Since: 1.0
 */
const char *
evbus_provider_get_example (EvbusProvider *self)
{
  g_return_val_if_fail (EVBUS_IS_PROVIDER (self), NULL);

  return self->example;
}

/**
 * evbus_provider_get_filename:
 * @self: a provider
 *
 * Gets the path of the `.plugin` file.
 *
 * Returns: (type filename): the path
 *
 * Since: 1.0
 */
const char *
evbus_provider_get_filename (EvbusProvider *self)
{
  g_return_val_if_fail (EVBUS_IS_PROVIDER (self), NULL);

  return self->filename;
}

/**
 * evbus_provider_get_options:
 * @self: a provider
 *
 * Gets the table of options, in the order of the `.plugin` file.
 *
 * Returns: (transfer none): a list of [class@Option]
 *
 * Since: 1.0
 */
GListModel *
evbus_provider_get_options (EvbusProvider *self)
{
  g_return_val_if_fail (EVBUS_IS_PROVIDER (self), NULL);

  return G_LIST_MODEL (self->option_list);
}
