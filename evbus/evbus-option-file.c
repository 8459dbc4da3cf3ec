/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-error.h"
#include "evbus-nearest-private.h"
#include "evbus-option-private.h"
#include "evbus-yaml-private.h"

/* What a .plugin file says is read by the same parser and checked by the same
 * functions as what a profile says. */
static GVariant *
value_from_text (EvbusOption  *self,
                 const char   *key,
                 const char   *text,
                 GError      **error)
{
  g_autoptr(EvbusReport) report = evbus_report_new ();
  g_autoptr(EvbusNode) node = NULL;
  GVariant *value = NULL;

  if (self->kind == EVBUS_OPTION_STRING)
    node = evbus_node_new_scalar (NULL, text, FALSE);
  else
    node = evbus_yaml_parse (text, strlen (text), key, report);
  if (node != NULL)
    value = evbus_option_check (self, node, report);
  if (!evbus_report_finish (report, error))
    {
      g_prefix_error (error, "[%s%s] ", EVBUS_OPTION_GROUP, self->name);
      g_clear_pointer (&value, g_variant_unref);
    }
  return value;
}

static gboolean
read_bound (EvbusOption  *self,
            GKeyFile     *file,
            const char   *group,
            const char   *key,
            double       *bound,
            GError      **error)
{
  g_autofree char *text = g_key_file_get_string (file, group, key, NULL);
  g_autoptr(GVariant) value = NULL;

  if (text == NULL)
    return TRUE;
  if (!evbus_option_has_range (self))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[%s] %s: a %s has no range",
                   group, key, evbus_option_get_kind (self));
      return FALSE;
    }
  value = value_from_text (self, key, text, error);
  if (value == NULL)
    return FALSE;
  *bound = g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE) ? g_variant_get_double (value)
                                                               : (double) g_variant_get_int64 (value);
  return TRUE;
}

static gboolean
read_flag (GKeyFile    *file,
           const char  *group,
           const char  *key,
           gboolean    *flag,
           GError     **error)
{
  g_autoptr(GError) local_error = NULL;

  *flag = g_key_file_get_boolean (file, group, key, &local_error);
  if (local_error == NULL || g_error_matches (local_error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_KEY_NOT_FOUND))
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[%s] %s must be true or false", group, key);
  return FALSE;
}

static gboolean
read_kind (EvbusOption  *self,
           GKeyFile     *file,
           const char   *group,
           GError      **error)
{
  g_autofree char *type = g_key_file_get_string (file, group, "Type", NULL);

  if (evbus_option_kind_from_name (type, &self->kind))
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN,
               "[%s] Type must be one of string, uri, boolean, integer, number, duration, size, "
               "mapping, list, any, not '%s'", group, type != NULL ? type : "");
  return FALSE;
}

static gboolean
check_key_names (GKeyFile    *file,
                 const char  *group,
                 GError     **error)
{
  static const char * const known[] = {
    "Type", "Default", "Min", "Max", "Choices", "Required", "Secret", "Inline", "Ignored", "Refused",
    "Template", "WithinPublish", "Help", NULL
  };
  g_auto(GStrv) keys = g_key_file_get_keys (file, group, NULL, NULL);

  for (gsize i = 0; keys[i] != NULL; i++)
    if (!g_strv_contains (known, keys[i]))
      {
        g_autofree char *hint = evbus_nearest_hint (keys[i], known);

        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[%s] unknown key '%s'%s", group, keys[i], hint);
        return FALSE;
      }
  return TRUE;
}

static gboolean
check_name (const char  *name,
            GError     **error)
{
  g_auto(GStrv) segments = g_strsplit (name, ".", -1);

  for (gsize i = 0; segments[i] != NULL; i++)
    if (segments[i][0] == '\0')
      {
        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[%s%s]: an option needs a name", EVBUS_OPTION_GROUP, name);
        return FALSE;
      }
  return segments[0] != NULL;
}

static gboolean
read_group (EvbusOption  *self,
            GKeyFile     *file,
            const char   *group,
            GError      **error)
{
  g_autofree char *fallback = NULL;
  gsize n_choices = 0;

  self->name = g_strdup (group + strlen (EVBUS_OPTION_GROUP));
  if (*self->name == '\0' || !check_name (self->name, error) || !check_key_names (file, group, error)
      || !read_kind (self, file, group, error)
      || !read_flag (file, group, "Required", &self->required, error)
      || !read_flag (file, group, "Secret", &self->secret, error)
      || !read_flag (file, group, "Inline", &self->inlined, error)
      || !read_flag (file, group, "Ignored", &self->ignored, error)
      || !read_flag (file, group, "Refused", &self->refused, error)
      || !read_flag (file, group, "Template", &self->template, error)
      || !read_flag (file, group, "WithinPublish", &self->within_publish, error)
      || !read_bound (self, file, group, "Min", &self->min, error)
      || !read_bound (self, file, group, "Max", &self->max, error))
    return FALSE;

  self->help = g_key_file_get_string (file, group, "Help", NULL);
  self->choices = g_key_file_get_string_list (file, group, "Choices", &n_choices, NULL);
  if (n_choices == 0)
    g_clear_pointer (&self->choices, g_strfreev);
  if (self->choices != NULL && self->kind != EVBUS_OPTION_STRING)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[%s] Choices are for strings", group);
      return FALSE;
    }
  if (self->within_publish && self->kind != EVBUS_OPTION_DURATION)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "[%s] WithinPublish is for durations", group);
      return FALSE;
    }

  fallback = g_key_file_get_string (file, group, "Default", NULL);
  if (fallback != NULL)
    {
      g_autoptr(GVariant) value = value_from_text (self, "Default", fallback, error);

      if (value == NULL)
        return FALSE;
      evbus_option_set_fallback (self, value);
    }
  return TRUE;
}

EvbusOption *
evbus_option_new_from_key_file (GKeyFile    *file,
                                const char  *group,
                                GError     **error)
{
  g_autoptr(EvbusOption) self = g_object_new (EVBUS_TYPE_OPTION, NULL);

  if (!read_group (self, file, group, error))
    return NULL;
  if (self->help == NULL)
    self->help = g_strdup ("");
  return g_steal_pointer (&self);
}
