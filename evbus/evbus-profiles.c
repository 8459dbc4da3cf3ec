/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-delivery-private.h"
#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-nearest-private.h"
#include "evbus-profile-files-private.h"
#include "evbus-profiles-private.h"
#include "evbus-provider-private.h"
#include "evbus-schema-private.h"
#include "evbus-serializer.h"
#include "evbus-yaml-private.h"

/**
 * EvbusProfiles:
 *
 * A configuration, read and checked: which profiles go to which destinations.
 *
 * Making one loads no plugin and connects to nothing, so that it serves to
 * check a file. A broker takes it with [method@Broker.apply_profiles]. The
 * guide to the format is the chapter "Configuration".
 *
 * Objects of this class are immutable, so any thread may use them.
 *
 * Since: 1.0
 */

struct _EvbusProfiles
{
  GObject        parent_instance;

  GPtrArray     *specs;
  EvbusSettings  settings;
  char          *settings_where;   /* the place of the key `evbus:`, or NULL */
  GPtrArray     *missing;          /* NULL-terminated */
  GPtrArray     *warnings;         /* NULL-terminated */
};

G_DEFINE_FINAL_TYPE (EvbusProfiles, evbus_profiles, G_TYPE_OBJECT)

/* What one reading of all files needs. */
typedef struct {
  EvbusProfiles *profiles;
  EvbusReport   *report;
  GPtrArray     *providers;
  const char    *match_plugin;   /* of the present file */
  const EvbusNode *provider;     /* the key under which we are */
  EvbusPlace     root;           /* of the first file that is a mapping */
  GHashTable    *names;          /* `delivery: {name: …}` → the place of the first with it */
  gboolean       too_many;
} Reader;

static void
evbus_profiles_finalize (GObject *object)
{
  EvbusProfiles *self = EVBUS_PROFILES (object);

  g_ptr_array_unref (self->specs);
  g_ptr_array_unref (self->missing);
  g_ptr_array_unref (self->warnings);
  g_free (self->settings.serializer);
  g_free (self->settings.spool_directory);
  g_free (self->settings_where);

  G_OBJECT_CLASS (evbus_profiles_parent_class)->finalize (object);
}

static void
evbus_profiles_class_init (EvbusProfilesClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_profiles_finalize;
}

static void
evbus_profiles_init (EvbusProfiles *self)
{
  self->specs = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_route_spec_unref);
  self->missing = g_ptr_array_new_with_free_func (g_free);
  self->warnings = g_ptr_array_new_with_free_func (g_free);
}

/* ---- the keys of a file ---- */

static const char *
read_match_plugin (Reader          *reader,
                   const EvbusNode *node)
{
  static const char * const known[] = { "glob", "regex", NULL };
  const char *nearest;

  if (node == NULL || node->kind == EVBUS_NODE_NULL)
    return "glob";
  if (node->text != NULL && g_strv_contains (known, node->text))
    return node->text;

  nearest = node->text != NULL ? evbus_nearest (node->text, known) : NULL;
  if (nearest != NULL)
    evbus_report_error (reader->report, &node->place, "unknown match_plugin '%s'; did you mean '%s'?", node->text, nearest);
  else
    evbus_report_error (reader->report, &node->place, "'match_plugin' must be glob or regex");
  return "glob";
}

static void
check_serializer (Reader          *reader,
                  const EvbusNode *data)
{
  const EvbusNode *node = evbus_node_lookup (data, "serializer");
  g_autoptr(EvbusSerializer) serializer = NULL;
  g_autoptr(GError) error = NULL;

  if (node == NULL || node->kind != EVBUS_NODE_STRING)
    return;
  serializer = evbus_serializer_lookup (node->text, &error);
  if (serializer == NULL)
    evbus_report_error (reader->report, &node->place, "%s", error->message);
}

static void
check_spool_directory (Reader          *reader,
                       const EvbusNode *data)
{
  const EvbusNode *node = evbus_node_lookup (evbus_node_lookup (data, "spool"), "directory");

  if (node == NULL || node->kind != EVBUS_NODE_STRING ||
      g_path_is_absolute (node->text) || strcmp (node->text, EVBUS_SPOOL_NONE) == 0)
    return;
  evbus_report_error (reader->report, &node->place,
                      "'spool.directory' must be an absolute path, or none for memory only, not '%s'", node->text);
}

static void
read_settings (Reader          *reader,
               const EvbusNode *key,
               const EvbusNode *data,
               gboolean         again)
{
  EvbusProfiles *self = reader->profiles;
  gboolean first = self->settings_where == NULL;
  g_autoptr(GVariant) checked = NULL;

  if (first)
    self->settings_where = evbus_place_to_string (&key->place);
  else if (!again)
    evbus_report_error (reader->report, &key->place, "the key 'evbus' stands in two files; first at %s",
                        self->settings_where);
  if (data->kind != EVBUS_NODE_MAPPING && data->kind != EVBUS_NODE_NULL)
    {
      evbus_report_error (reader->report, &data->place, "'evbus' must be a mapping of settings");
      return;
    }
  evbus_report_set_subject (reader->report, "evbus");
  checked = evbus_schema_check (evbus_settings_get_options (), FALSE, data, &key->place, reader->report);
  check_serializer (reader, data);
  check_spool_directory (reader, data);
  evbus_report_set_subject (reader->report, NULL);
  if (first)
    evbus_settings_read (checked, &self->settings);
}

static void
add_missing (Reader         *reader,
             EvbusRouteSpec *spec)
{
  g_ptr_array_add (reader->profiles->missing,
                   g_strdup_printf ("%s: %s profile '%s': %s", spec->where, spec->provider,
                                    spec->profile, spec->missing));
}

/* Whoever looks for a route by its name finds one. */
static void
check_name (Reader          *reader,
            const EvbusNode *key,
            const EvbusNode *data)
{
  const EvbusNode *name = evbus_node_lookup (evbus_node_lookup (data, "delivery"), "name");
  const char *first;

  if (name == NULL || name->text == NULL || name->kind == EVBUS_NODE_NULL)
    return;
  first = g_hash_table_lookup (reader->names, name->text);
  if (first != NULL)
    evbus_report_error (reader->report, &key->place, "%s profile '%s': another route is named '%s' too, first at %s; "
                        "give each a name of its own", reader->provider->text, key->text, name->text, first);
  else
    g_hash_table_insert (reader->names, g_strdup (name->text), evbus_place_to_string (&key->place));
}

static guint
count_equals (GPtrArray            *specs,
              const EvbusRouteSpec *spec)
{
  guint n = 0;

  for (guint i = 0; i < specs->len; i++)
    {
      const EvbusRouteSpec *other = specs->pdata[i];

      n += strcmp (other->digest, spec->digest) == 0;
    }
  return n;
}

static void
add_profile (Reader          *reader,
             const EvbusNode *key,
             EvbusNode       *data)
{
  EvbusProfiles *self = reader->profiles;
  EvbusRouteSpec *spec;

  if (self->specs->len == EVBUS_MAX_ROUTES)
    {
      if (!reader->too_many)
        evbus_report_error (reader->report, &key->place, "more than %u profiles", EVBUS_MAX_ROUTES);
      reader->too_many = TRUE;
      return;
    }
  check_name (reader, key, data);
  spec = evbus_route_spec_build (reader->providers, reader->provider->text, key->text, reader->match_plugin,
                                 data, &key->place, reader->report);
  if (spec == NULL)
    return;
  spec->ordinal = count_equals (self->specs, spec);
  g_ptr_array_add (self->specs, spec);
  if (spec->missing != NULL)
    add_missing (reader, spec);
}

static void
add_list_item (Reader          *reader,
               const EvbusNode *item)
{
  if (item->kind == EVBUS_NODE_MAPPING && item->keys->len > 0)
    add_profile (reader, g_ptr_array_index (item->keys, 0), g_ptr_array_index (item->values, 0));
  if (item->kind == EVBUS_NODE_MAPPING && item->keys->len > 1)
    {
      const EvbusNode *first = g_ptr_array_index (item->keys, 0);
      const EvbusNode *second = g_ptr_array_index (item->keys, 1);

      evbus_report_error (reader->report, &second->place, "'%s' stands beside the profile '%s' in one list item; "
                          "indent it further if it belongs to the profile, or begin a new item with '-'",
                          second->text, first->text);
    }
  else if (item->text != NULL && item->kind != EVBUS_NODE_NULL)
    evbus_report_error (reader->report, &item->place, "a list item is a profile and its data: '- %s:'", item->text);
  else if (item->kind != EVBUS_NODE_MAPPING || item->keys->len == 0)
    evbus_report_error (reader->report, &item->place, "a list item is a profile and its data, as in '- default:'");
}

/* Said once, for all profiles under it. @missing: no mistake, but there is no such plugin */
static gboolean
is_mistake (Reader          *reader,
            const EvbusNode *key,
            GError         **missing)
{
  static const char * const own_keys[] = { "evbus", "match_plugin", NULL };
  g_autoptr(GError) error = NULL;
  const char *nearest;

  if (evbus_provider_find (reader->providers, key->text, &error) != NULL)
    return FALSE;
  nearest = evbus_nearest (key->text, own_keys);
  if (nearest != NULL)
    evbus_report_error (reader->report, &key->place, "unknown key '%s'; did you mean '%s'?", key->text, nearest);
  else if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG))
    evbus_report_error (reader->report, &key->place, "%s", error->message);
  else
    {
      g_propagate_error (missing, g_steal_pointer (&error));
      return FALSE;
    }
  return TRUE;
}

static void
read_profiles (Reader          *reader,
               const EvbusNode *key,
               const EvbusNode *value)
{
  if (value->kind == EVBUS_NODE_NULL)
    evbus_report_warning (reader->report, &key->place, "no profile under '%s', so it gets no events", key->text);
  else if (value->kind == EVBUS_NODE_MAPPING)
    for (guint i = 0; i < value->keys->len; i++)
      add_profile (reader, g_ptr_array_index (value->keys, i), g_ptr_array_index (value->values, i));
  else if (value->kind == EVBUS_NODE_SEQUENCE)
    for (guint i = 0; i < value->values->len; i++)
      add_list_item (reader, g_ptr_array_index (value->values, i));
  else
    evbus_report_error (reader->report, &value->place, "'%s' must hold profiles (a mapping, or a list), as in "
                        "'%s: {default: }'", key->text, key->text);
}

static void
read_provider (Reader          *reader,
               const EvbusNode *key,
               const EvbusNode *value)
{
  guint n_missing = reader->profiles->missing->len;
  guint n_errors = reader->report->errors->len;
  g_autoptr(GError) missing = NULL;

  if (is_mistake (reader, key, &missing))
    return;
  reader->provider = key;
  read_profiles (reader, key, value);
  /* None of its profiles was so right that it could say so. */
  if (missing != NULL && reader->report->errors->len > n_errors && reader->profiles->missing->len == n_missing)
    evbus_report_error (reader->report, &key->place, "%s", missing->message);
}

static void
read_root (Reader          *reader,
           const EvbusNode *root)
{
  if (root->kind != EVBUS_NODE_MAPPING)
    {
      evbus_report_error (reader->report, &root->place, "a configuration is a mapping of providers, "
                          "as in 'internal: {default: }'");
      return;
    }
  if (reader->root.file == NULL)
    {
      reader->root = root->place;
      g_ref_string_acquire (reader->root.file);
    }
  reader->match_plugin = read_match_plugin (reader, evbus_node_lookup (root, "match_plugin"));
  for (guint i = 0; i < root->keys->len; i++)
    {
      const EvbusNode *key = g_ptr_array_index (root->keys, i);
      const EvbusNode *value = g_ptr_array_index (root->values, i);

      gboolean again = evbus_node_lookup (root, key->text) != value;

      if (strcmp (key->text, "evbus") == 0)
        read_settings (reader, key, value, again);
      else if (strcmp (key->text, "match_plugin") != 0)
        read_provider (reader, key, value);
      else if (again)
        read_match_plugin (reader, value);
    }
}

static void
read_data (gpointer    user_data,
           const char *data,
           gsize       length,
           const char *name)
{
  Reader *reader = user_data;
  g_autoptr(EvbusNode) root = evbus_yaml_parse (data, length, name, reader->report);

  if (root != NULL)
    read_root (reader, root);
}

static Reader
reader_begin (void)
{
  Reader reader = { .match_plugin = "glob" };
  g_autoptr(GVariant) nothing = NULL;

  reader.profiles = g_object_new (EVBUS_TYPE_PROFILES, NULL);
  reader.report = evbus_report_new ();
  reader.providers = evbus_provider_scan ();
  reader.names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);

  /* The defaults stand in the same table as the checks. */
  nothing = evbus_schema_check (evbus_settings_get_options (), FALSE, NULL, NULL, reader.report);
  evbus_settings_read (nothing, &reader.profiles->settings);
  return reader;
}

/* One file of a folder may have settings alone, or a provider without profiles. */
static void
check_any_route (Reader *reader)
{
  if (reader->profiles->specs->len > 0 || reader->report->errors->len > 0)
    return;
  evbus_report_error (reader->report, reader->root.file != NULL ? &reader->root : NULL,
                      "names no route; a configuration has at least one profile under a provider, "
                      "as in 'internal: {default: }'");
}

static EvbusProfiles *
reader_end (Reader  *reader,
            GError **error)
{
  EvbusProfiles *self = reader->profiles;

  check_any_route (reader);
  /* Whoever mends the mistakes wants to know of these too. */
  for (guint i = 0; reader->report->errors->len > 0 && i < self->missing->len; i++)
    evbus_report_error (reader->report, NULL, "%s", (char *) g_ptr_array_index (self->missing, i));
  for (guint i = 0; i < reader->report->warnings->len; i++)
    g_ptr_array_add (self->warnings, g_strdup (g_ptr_array_index (reader->report->warnings, i)));
  g_ptr_array_add (self->warnings, NULL);
  g_ptr_array_add (self->missing, NULL);

  if (!evbus_report_finish (reader->report, error))
    g_clear_object (&self);
  evbus_report_free (reader->report);
  g_ptr_array_unref (reader->providers);
  g_hash_table_unref (reader->names);
  g_clear_pointer (&reader->root.file, g_ref_string_release);
  return self;
}

/**
 * evbus_profiles_new_for_path:
 * @path: (type filename): a file, or a folder of `*.yaml`, `*.yml` and `*.json`
 *   files, which are read in the order of their names
 * @error: return location for an error
 *
 * Reads and checks a configuration.
 *
 * All that is wrong is in the message of the error, one problem a line, each
 * with file, line and column. A provider whose plugin is not installed is no
 * error: see [method@Profiles.get_missing].
 *
 * This reads files, so it blocks. The error is %EVBUS_ERROR_INVALID_CONFIG.
 *
 * Returns: (transfer full): the configuration, or %NULL with @error set
 *
 * Since: 1.0
 */
EvbusProfiles *
evbus_profiles_new_for_path (const char  *path,
                             GError     **error)
{
  Reader reader;

  g_return_val_if_fail (path != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  reader = reader_begin ();
  evbus_profile_files_read (path, reader.report, read_data, &reader);
  return reader_end (&reader, error);
}

/**
 * evbus_profiles_new_for_data:
 * @data: (array length=length) (element-type guint8) (nullable): YAML or JSON
 * @length: the length of @data in bytes, or -1 if it ends with a NUL byte
 * @name: the name for it in messages
 * @error: return location for an error
 *
 * Reads and checks a configuration that is in memory, as
 * [ctor@Profiles.new_for_path] does with a file.
 *
 * Returns: (transfer full): the configuration, or %NULL with @error set
 *
 * Since: 1.0
 */
EvbusProfiles *
evbus_profiles_new_for_data (const char  *data,
                             gssize       length,
                             const char  *name,
                             GError     **error)
{
  Reader reader;

  g_return_val_if_fail (data != NULL || length == 0, NULL);
  g_return_val_if_fail (name != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  reader = reader_begin ();
  if (data == NULL)
    data = "";
  read_data (&reader, data, length < 0 ? strlen (data) : (gsize) length, name);
  return reader_end (&reader, error);
}

/**
 * evbus_profiles_get_n_routes:
 * @self: a configuration
 *
 * Counts the routes that it makes, those of missing plugins included.
 *
 * Returns: the number
 *
 * Since: 1.0
 */
guint
evbus_profiles_get_n_routes (EvbusProfiles *self)
{
  g_return_val_if_fail (EVBUS_IS_PROFILES (self), 0);

  return self->specs->len;
}

/**
 * evbus_profiles_get_missing:
 * @self: a configuration
 *
 * Gets a line for each route whose plugin is not installed, with its place,
 * and the folders that were searched.
 *
 * Returns: (transfer none) (array zero-terminated=1): the lines, empty if none
 *
 * Since: 1.0
 */
const char * const *
evbus_profiles_get_missing (EvbusProfiles *self)
{
  g_return_val_if_fail (EVBUS_IS_PROFILES (self), NULL);

  return (const char * const *) self->missing->pdata;
}

/**
 * evbus_profiles_get_warnings:
 * @self: a configuration
 *
 * Gets a line, with its place, for each thing that is allowed and yet better
 * done otherwise, such as a password that stands in the file.
 *
 * Returns: (transfer none) (array zero-terminated=1): the lines, empty if none
 *
 * Since: 1.0
 */
const char * const *
evbus_profiles_get_warnings (EvbusProfiles *self)
{
  g_return_val_if_fail (EVBUS_IS_PROFILES (self), NULL);

  return (const char * const *) self->warnings->pdata;
}

GPtrArray *
evbus_profiles_get_specs (EvbusProfiles *self)
{
  g_return_val_if_fail (EVBUS_IS_PROFILES (self), NULL);

  return self->specs;
}

const EvbusSettings *
evbus_profiles_get_settings (EvbusProfiles *self)
{
  g_return_val_if_fail (EVBUS_IS_PROFILES (self), NULL);

  return &self->settings;
}
