/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Any bytes as a configuration: a mistake has a message that can be shown, a
 * configuration that is accepted can be used, and means the same when it is
 * read again. With libFuzzer, set G_TEST_SRCDIR to the folder tests, for the
 * option tables of the fixtures.
 */

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"
#include "evbus-profiles-private.h"

#include "fuzz.h"

static void
use_fixtures (void)
{
  static gsize once = 0;

  if (g_once_init_enter (&once))
    {
      g_autofree char *path = g_build_filename (g_getenv ("G_TEST_SRCDIR"), "unit", "providers", "good", NULL);

      g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);
      g_once_init_leave (&once, 1);
    }
}

static void
check_lines (const char * const *lines)
{
  for (gsize i = 0; lines[i] != NULL; i++)
    {
      g_assert_true (g_utf8_validate (lines[i], -1, NULL));
      g_assert_true (g_str_has_prefix (lines[i], "fuzz.yaml:"));
    }
}

static void
check_spec (EvbusRouteSpec *spec)
{
  static const char * const names[] = { "default", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" };

  g_assert_cmpuint (strlen (spec->digest), ==, 64);
  g_assert_true ((spec->info == NULL) == (spec->missing != NULL));
  g_assert_true (g_variant_is_of_type (spec->data, G_VARIANT_TYPE_VARDICT));
  g_assert_true (g_variant_is_normal_form (spec->data));
  g_assert_cmpuint (spec->delivery.batch_events, >, 0);
  g_assert_cmpint (spec->delivery.retry_min, <=, spec->delivery.retry_max);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      g_autoptr(GError) error = NULL;
      gboolean matches;

      if (!evbus_matcher_match (spec->matcher, names[i], &matches, &error))
        g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_MATCH);
    }
}

static void
check_profiles (EvbusProfiles *profiles,
                EvbusProfiles *again)
{
  GPtrArray *specs = evbus_profiles_get_specs (profiles);

  g_assert_cmpuint (specs->len, <=, EVBUS_MAX_ROUTES);
  check_lines (evbus_profiles_get_missing (profiles));
  check_lines (evbus_profiles_get_warnings (profiles));
  for (guint i = 0; i < specs->len; i++)
    {
      EvbusRouteSpec *other = g_ptr_array_index (evbus_profiles_get_specs (again), i);

      check_spec (g_ptr_array_index (specs, i));
      g_assert_cmpstr (((EvbusRouteSpec *) g_ptr_array_index (specs, i))->digest, ==, other->digest);
    }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data,
                        size_t         size)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusProfiles) profiles = NULL;
  g_autoptr(EvbusProfiles) again = NULL;

  use_fixtures ();
  profiles = evbus_profiles_new_for_data ((const char *) data, size, "fuzz.yaml", &error);
  if (profiles == NULL)
    {
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
      g_assert_true (g_utf8_validate (error->message, -1, NULL));
      g_assert_true (g_str_has_prefix (error->message, "fuzz.yaml:"));
      return 0;
    }
  again = evbus_profiles_new_for_data ((const char *) data, size, "fuzz.yaml", &error);
  g_assert_no_error (error);
  check_profiles (profiles, again);
  return 0;
}
