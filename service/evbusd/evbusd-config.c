/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where the configuration is, and where state belongs. */

#include "evbusd-config.h"

/* What there is without any configuration: every event goes to the
 * subscribers, and nowhere else. */
static const char embedded[] = "internal:\n"
                               "  '*': {}\n";

static gboolean
is_configuration_name (const char *name)
{
  static const char * const suffixes[] = { ".yaml", ".yml", ".json" };

  for (guint i = 0; i < G_N_ELEMENTS (suffixes); i++)
    {
      if (name[0] != '.' && g_str_has_suffix (name, suffixes[i]))
        return TRUE;
    }

  return FALSE;
}

/* A folder that cannot be read holds something, and the load will say what is
 * wrong with it; only an absent or an empty one means the embedded default. */
static gboolean
holds_configuration (const char *folder)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) dir = g_dir_open (folder, 0, &error);
  const char *name;

  if (dir == NULL)
    return !g_error_matches (error, G_FILE_ERROR, G_FILE_ERROR_NOENT);

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      if (is_configuration_name (name))
        return TRUE;
    }

  return FALSE;
}

/* The path to load: what was @given (NULL: nothing), else what EVBUS_CONFIG
 * names, else the user's or the system's folder if it holds anything, else
 * NULL for the embedded default. */
char *
evbusd_config_find (const char *given,
                    gboolean    system)
{
  const char *variable = g_getenv ("EVBUS_CONFIG");
  g_autofree char *folder = NULL;

  if (given != NULL)
    return g_strdup (given);

  if (variable != NULL && variable[0] != '\0')
    return g_strdup (variable);

  folder = g_build_filename (system ? EVBUSD_SYSCONFDIR : g_get_user_config_dir (), "evbus", NULL);
  return holds_configuration (folder) ? g_steal_pointer (&folder) : NULL;
}

/* The folder of the spool unless something else is given. */
char *
evbusd_config_find_spool (gboolean system)
{
  const char *state = g_getenv ("STATE_DIRECTORY");
  g_auto (GStrv) folders = NULL;

  if (!system)
    return g_build_filename (g_get_user_state_dir (), "evbus", NULL);

  /* Set by systemd: a list, of which the unit gives one. */
  if (state == NULL || state[0] != '/')
    return g_build_filename (EVBUSD_STATEDIR, "evbus", NULL);

  folders = g_strsplit (state, ":", 2);
  return g_strdup (folders[0]);
}

EvbusProfiles *
evbusd_config_load (const char  *path,
                    GError     **error)
{
  if (path == NULL)
    return evbus_profiles_new_for_data (embedded, -1, "embedded default", error);

  return evbus_profiles_new_for_path (path, error);
}
