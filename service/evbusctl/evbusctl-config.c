/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `check-config` and `providers`: what can be known without a service. */

#include "evbusctl.h"
#include "evbusctl-output.h"

#include <stdio.h>
#include <string.h>

static gboolean want_markdown;

const GOptionEntry evbusctl_providers_entries[] = {
  { "markdown", 0, 0, G_OPTION_ARG_NONE, &want_markdown, "Print the options of NAME as a table in Markdown", NULL },
  { NULL }
};

static const EvbusctlColumn provider_columns[] = {
  { "NAME" }, { "ALIASES" }, { "DESCRIPTION" },
};

static const EvbusctlColumn option_columns[] = {
  { "OPTION" }, { "TYPE" }, { "DEFAULT" }, { "RANGE" }, { "MEANING" },
};

/* What the library takes for one file at most. */
#define MAX_CONFIG (4u * 1024u * 1024u)

static EvbusProfiles *
read_stream (const char  *path,
             const char  *name,
             GError     **error)
{
  g_autoptr(GByteArray) content = evbusctl_read_file (path, MAX_CONFIG, error);
  EvbusProfiles *profiles;

  if (content == NULL)
    return NULL;

  profiles = evbus_profiles_new_for_data ((const char *) content->data, content->len, name, error);
  /* There may be secrets in it. */
  if (content->len > 0)
    explicit_bzero (content->data, content->len);

  return profiles;
}

/* The library reads files and folders alone: whoever reloads has to find them again. */
static EvbusProfiles *
read_profiles (const char  *argument,
               GError     **error)
{
  if (strcmp (argument, "-") == 0)
    return read_stream ("/dev/stdin", "<stdin>", error);
  if (g_file_test (argument, G_FILE_TEST_EXISTS) &&
      !g_file_test (argument, G_FILE_TEST_IS_REGULAR | G_FILE_TEST_IS_DIR))
    return read_stream (argument, argument, error);

  return evbus_profiles_new_for_path (argument, error);
}

int
evbusctl_check_config (char **arguments)
{
  g_autoptr(EvbusProfiles) profiles = NULL;
  g_autoptr(GError) error = NULL;
  const char * const *lines;
  gboolean missing;
  guint i;

  profiles = read_profiles (arguments[0], &error);
  if (profiles == NULL)
    {
      /* Mistakes carry their place, and stand at the start of their lines,
       * where editors look for it. */
      g_autofree char *message = g_strdup (error->message);

      if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG))
        fprintf (stderr, "%s\n", g_strchomp (message));
      else
        evbusctl_error ("%s", message);
      return EVBUSCTL_FAILED;
    }

  lines = evbus_profiles_get_warnings (profiles);
  for (i = 0; lines != NULL && lines[i] != NULL; i++)
    fprintf (stderr, "%s\n", lines[i]);

  lines = evbus_profiles_get_missing (profiles);
  missing = lines != NULL && lines[0] != NULL;
  for (i = 0; missing && lines[i] != NULL; i++)
    fprintf (stderr, "%s\n", lines[i]);
  if (missing)
    return EVBUSCTL_MISSING_PROVIDER;

  i = evbus_profiles_get_n_routes (profiles);
  printf ("%s: %u %s, no mistakes\n", strcmp (arguments[0], "-") == 0 ? "<stdin>" : arguments[0], i, i == 1 ? "route" : "routes");

  return EVBUSCTL_OK;
}

static int
list_providers (void)
{
  g_autoptr(GListModel) providers = evbus_provider_list ();
  g_autoptr(EvbusctlTable) table = evbusctl_table_new (provider_columns, G_N_ELEMENTS (provider_columns));
  guint n = g_list_model_get_n_items (providers);
  guint i;

  for (i = 0; i < n; i++)
    {
      g_autoptr(EvbusProvider) provider = g_list_model_get_item (providers, i);
      const char * const *aliases = evbus_provider_get_aliases (provider);
      const char *description = evbus_provider_get_description (provider);
      g_autofree char *joined = aliases != NULL ? g_strjoinv (", ", (char **) aliases) : g_strdup ("");

      evbusctl_table_cell (table, EVBUSCTL_PLAIN, evbus_provider_get_name (provider));
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, joined);
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, description != NULL ? description : "");
    }

  if (n == 0)
    {
      evbusctl_error ("no plugins are installed; EVBUS_PLUGIN_PATH names folders with others "
                      "(in a build folder, \"meson devenv\" sets it)");
      return EVBUSCTL_FAILED;
    }

  evbusctl_table_print (table);

  return EVBUSCTL_OK;
}

static char *
default_text (EvbusOption *option)
{
  GVariant *value = evbus_option_get_default (option);

  if (evbus_option_get_required (option))
    return g_strdup ("required");
  if (value == NULL)
    return g_strdup ("");
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
    return g_variant_dup_string (value, NULL);

  return g_variant_print (value, FALSE);
}

static void
print_options (GListModel *options)
{
  g_autoptr(EvbusctlTable) table = evbusctl_table_new (option_columns, G_N_ELEMENTS (option_columns));
  guint n = g_list_model_get_n_items (options);
  guint i;

  for (i = 0; i < n; i++)
    {
      g_autoptr(EvbusOption) option = g_list_model_get_item (options, i);
      g_autofree char *value = default_text (option);
      g_autofree char *range = evbus_option_describe_range (option);
      const char *help = evbus_option_get_help (option);
      g_autofree char *meaning = g_strconcat (help != NULL ? help : "",
                                              evbus_option_get_secret (option) ? " (secret)" : "", NULL);

      evbusctl_table_cell (table, EVBUSCTL_BOLD, evbus_option_get_name (option));
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, evbus_option_get_kind (option));
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, value);
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, range != NULL ? range : "");
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, meaning);
    }

  if (n > 0)
    evbusctl_table_print (table);
  else
    printf ("It has no options of its own.\n");
}

/* For the page of a provider, whose table is tested to be this one. */
static void
print_markdown (GListModel *options)
{
  guint n = g_list_model_get_n_items (options);

  printf ("| option | type | default | range | meaning |\n| --- | --- | --- | --- | --- |\n");
  for (guint i = 0; i < n; i++)
    {
      g_autoptr(EvbusOption) option = g_list_model_get_item (options, i);
      g_autofree char *value = default_text (option);
      g_autofree char *range = evbus_option_describe_range (option);
      const char *help = evbus_option_get_help (option);

      printf ("| `%s` | %s | %s | %s | %s%s |\n", evbus_option_get_name (option), evbus_option_get_kind (option),
              value, range != NULL ? range : "", help != NULL ? help : "",
              evbus_option_get_secret (option) ? " (secret)" : "");
    }
}

int
evbusctl_providers (char **arguments)
{
  g_autoptr(EvbusProvider) provider = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *aliases = NULL;
  const char *text;

  if (arguments[0] == NULL && want_markdown)
    {
      evbusctl_error ("--markdown is of one provider: give its name");
      return EVBUSCTL_USAGE;
    }
  if (arguments[0] == NULL)
    return list_providers ();

  provider = evbus_provider_lookup (arguments[0], &error);
  if (provider == NULL)
    {
      evbusctl_error ("%s", error->message);
      return EVBUSCTL_FAILED;
    }

  if (want_markdown)
    {
      print_markdown (evbus_provider_get_options (provider));
      return EVBUSCTL_OK;
    }

  evbusctl_print (EVBUSCTL_BOLD, "%s", evbus_provider_get_name (provider));
  aliases = g_strjoinv (", ", (char **) evbus_provider_get_aliases (provider));
  if (*aliases != '\0')
    printf (" (also: %s)", aliases);
  text = evbus_provider_get_description (provider);
  printf (": %s\n\n", text != NULL ? text : "");

  print_options (evbus_provider_get_options (provider));

  text = evbus_provider_get_example (provider);
  if (text != NULL && *text != '\0')
    {
      printf ("\n");
      evbusctl_print (EVBUSCTL_BOLD, "Example:");
      printf ("\n");
      evbusctl_print_text (2, text);
    }

  return EVBUSCTL_OK;
}
