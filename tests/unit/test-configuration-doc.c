/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * doc/configuration.md says what the library does: its tables are those of the
 * code, and its examples are good configurations.
 */

#include <string.h>

#include "evbus-delivery-private.h"
#include "evbus-profiles.h"

static char *
read_guide (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "..", "doc", "configuration.md", NULL);
  g_autoptr(GError) error = NULL;
  char *text;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return text;
}

static char *
make_row (EvbusOption *option)
{
  g_autofree char *range = evbus_option_describe_range (option);
  g_autofree char *shown = NULL;
  GVariant *fallback = evbus_option_get_default (option);

  if (fallback != NULL && g_variant_is_of_type (fallback, G_VARIANT_TYPE_STRING))
    shown = g_variant_dup_string (fallback, NULL);
  else if (fallback != NULL)
    shown = g_variant_print (fallback, FALSE);
  return g_strdup_printf ("| `%s` | %s | %s%s| %s%s| %s |", evbus_option_get_name (option), evbus_option_get_kind (option),
                          shown != NULL ? shown : "", shown != NULL ? " " : "",
                          range != NULL ? range : "", range != NULL ? " " : "", evbus_option_get_help (option));
}

static void
assert_table (const char *guide,
              const char *heading,
              GPtrArray  *options)
{
  const char *begin = strstr (guide, heading);
  const char *end;
  g_autofree char *section = NULL;
  g_auto(GStrv) lines = NULL;
  guint n_rows = 0;

  g_assert_nonnull (begin);
  end = strstr (begin + strlen (heading), "\n## ");
  section = g_strndup (begin, end - begin);
  lines = g_strsplit (section, "\n", -1);

  for (gsize i = 0; lines[i] != NULL; i++)
    n_rows += g_str_has_prefix (lines[i], "| `");
  for (guint i = 0; i < options->len; i++)
    {
      g_autofree char *row = make_row (g_ptr_array_index (options, i));

      if (!g_strv_contains ((const char * const *) lines, row))
        {
          g_test_message ("not in the section '%s': %s", heading + 4, row);
          g_test_fail ();
        }
    }
  g_assert_cmpuint (n_rows, ==, options->len);
}

static void
test_tables (void)
{
  g_autofree char *guide = read_guide ();

  assert_table (guide, "\n## Settings of the broker", evbus_settings_get_options ());
  assert_table (guide, "\n## Delivery", evbus_delivery_get_options ());
}

static void
test_examples (void)
{
  static const char open[] = "```yaml\n";
  g_autofree char *guide = read_guide ();
  const char *at = guide;
  guint n_examples = 0;

  while ((at = strstr (at, open)) != NULL)
    {
      const char *begin = at + strlen (open);
      g_autoptr(EvbusProfiles) profiles = NULL;
      g_autoptr(GError) error = NULL;

      at = strstr (begin, "```");
      profiles = evbus_profiles_new_for_data (begin, at - begin, "configuration.md", &error);
      g_assert_no_error (error);
      g_assert_cmpuint (evbus_profiles_get_n_routes (profiles), >, 0);
      n_examples++;
    }
  g_assert_cmpuint (n_examples, ==, 4);
}

int
main (int   argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/configuration-doc/tables", test_tables);
  g_test_add_func ("/configuration-doc/examples", test_examples);

  return g_test_run ();
}
