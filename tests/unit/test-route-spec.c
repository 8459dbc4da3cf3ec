/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-error.h"
#include "evbus-profiles-private.h"

static char *
digest_of (const char *yaml)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusProfiles) profiles = evbus_profiles_new_for_data (yaml, -1, "p.yaml", &error);
  GPtrArray *specs;

  g_assert_no_error (error);
  specs = evbus_profiles_get_specs (profiles);
  g_assert_cmpuint (specs->len, ==, 1);
  return g_strdup (((EvbusRouteSpec *) g_ptr_array_index (specs, 0))->digest);
}

static void
test_digest (void)
{
  static const struct {
    const char *yaml;
    gboolean    same;
  } cases[] = {
    { "kafka: {a: {topics: [x], connection: {z: 1, y: {b: 1, a: 2}}}}", TRUE },
    { "# later in the file\n\nkafka:\n- a:\n    connection: {y: {a: 2, b: 1}, z: 1}\n    topics:\n    - x\n", TRUE },
    { "kafka: {a: {topics: [x], connection: {z: 1, y: {b: 1, a: 2}}, acks: all}}", TRUE },
    { "kafka: {a: {topics: [x], connection: {z: 1, y: {b: 1, a: 2}}, delivery: {batch: 256}}}", TRUE },
    { "kafka: {a: {topics: [x], connection: {z: 1, y: {b: 1, a: 2}}, delivery: {batch: 255}}}", FALSE },
    { "kafka: {a: {topics: [x], connection: {z: 1, y: {b: 1, a: 3}}}}", FALSE },
    { "kafka: {a: {topics: [x, x], connection: {z: 1, y: {b: 1, a: 2}}}}", FALSE },
    { "kafka: {b: {topics: [x], connection: {z: 1, y: {b: 1, a: 2}}}}", FALSE },
    { "match_plugin: regex\nkafka: {a: {topics: [x], connection: {z: 1, y: {b: 1, a: 2}}}}", FALSE },
    { "kafka: {a: {topics: [x], connection: {z: '1', y: {b: 1, a: 2}}}}", FALSE },
  };
  static const char * const deliveries[] = {
    "batch: {bytes: 2KiB}", "batch: {linger: 1ms}", "in_flight: 1", "window: {events: 5}", "window: {bytes: 2KiB}",
    "timeout: 29", "retry: {min: 1ms}", "retry: {max: 59s}", "max_age: 1d", "overflow: block",
  };
  g_autofree char *first = digest_of (cases[0].yaml);
  g_autofree char *plain = digest_of ("shape: {a: }");

  g_assert_cmpuint (strlen (first), ==, 64);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *other = digest_of (cases[i].yaml);

      g_assert_cmpint (g_str_equal (first, other), ==, cases[i].same);
    }
  for (guint i = 0; i < G_N_ELEMENTS (deliveries); i++)
    {
      g_autofree char *yaml = g_strdup_printf ("shape: {a: {delivery: {%s}}}", deliveries[i]);
      g_autofree char *other = digest_of (yaml);

      g_assert_cmpstr (plain, !=, other);
    }
}

/* What a program gives in code passes the same checks. */
static void
test_in_code (void)
{
  static const struct {
    const char *provider;
    const char *profile;
    const char *plugin;
    const char *data;
    EvbusError  code;
    const char *message;
  } cases[] = {
    { "kafka", "a", "glob", "{'topics': <['x']>, 'delivery': <{'batch': <5>}>}", 0, NULL },
    { "pika", NULL, NULL, "{'connection': <{'port': <uint16 5>, 'host': <'x'>}>}", 0, NULL },
    { "shape", "", "regex", NULL, 0, NULL },
    { "kafka", "a", "glob", "{'topic': <['x']>}", EVBUS_ERROR_INVALID_CONFIG,
      "kafka profile 'a': unknown key 'topic'; did you mean 'topics'?\n"
      "kafka profile 'a': 'topics' is required: Where each event goes" },
    { "kafka", "a", "glob", "{'topics': <b'bytes'>}", EVBUS_ERROR_INVALID_CONFIG,
      "kafka profile 'a': an option cannot be of the type 'ay'" },
    { "kafka", "a", "glob", "{'topics': <['x']>, 'topics': <['y']>}", EVBUS_ERROR_INVALID_CONFIG,
      "kafka profile 'a': the key 'topics' stands twice" },
    { "shape", "a", "glob", "{'count': <5.5>}", EVBUS_ERROR_INVALID_CONFIG,
      "shape profile 'a': 'count' must be an integer, not the number '5.5'" },
    { "shape", "a", "glob", "{'table': <{1: 2}>}", EVBUS_ERROR_INVALID_CONFIG,
      "shape profile 'a': an option cannot be of the type 'a{ii}'" },
    { "shape", "a", "glob", "{'whatever': <(1, 2)>}", EVBUS_ERROR_INVALID_CONFIG,
      "shape profile 'a': an option cannot be of the type '(ii)'" },
    { "shape", "a", "glob", "{'whatever': <handle 1>}", EVBUS_ERROR_INVALID_CONFIG,
      "shape profile 'a': an option cannot be of the type 'h'" },
    { "kafak", "a", "glob", NULL, EVBUS_ERROR_INVALID_CONFIG,
      "kafak profile 'a': unknown provider 'kafak'; did you mean 'kafka'?" },
    { "shape", "a", "globb", NULL, EVBUS_ERROR_INVALID_CONFIG,
      "shape profile 'a': unknown match_plugin 'globb'; did you mean 'glob'?" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autoptr(GVariant) data = cases[i].data != NULL ? g_variant_parse (G_VARIANT_TYPE_VARDICT, cases[i].data, NULL, NULL, &error) : NULL;
      g_autoptr(EvbusRouteSpec) spec = NULL;

      g_assert_no_error (error);
      spec = evbus_route_spec_new (cases[i].provider, cases[i].profile, cases[i].plugin, data, &error);
      g_assert_cmpstr (error != NULL ? error->message : NULL, ==, cases[i].message);
      g_assert_cmpint (spec != NULL, ==, cases[i].message == NULL);
      if (spec != NULL)
        g_assert_null (spec->where);
      else
        g_assert_error (error, EVBUS_ERROR, (gint) cases[i].code);
    }
}

static void
test_missing (void)
{
  g_autoptr(GError) error = NULL;

  g_assert_null (evbus_route_spec_new ("carrier-pigeon", "a", "glob", NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NO_PROVIDER);
  g_assert_true (g_str_has_prefix (error->message, "there is no plugin for the provider 'carrier-pigeon'; searched in /"));
}

/* Of the durations that the end of a publish cuts short, those which the profile gives. */
static void
test_never_reached (void)
{
  static const char yaml[] =
    "shape:\n"
    "  plain: {}\n"
    "  default: {age: 31s}\n"
    "  equal: {age: 31s, delivery: {timeout: 31s}}\n"
    "  less: {age: 1s, delivery: {timeout: 900ms}}\n"
    "amqp:\n"
    "  nested: {connection: {heartbeat: 1m}}\n"
    "  other: {connection: {host: x}}\n";
  static const char * const expected[] = {
    "p.yaml:3:18: shape profile 'default': 'age' (31s) is never reached, since 'delivery.timeout' (30s) ends it; "
    "raise that as well",
    "p.yaml:5:15: shape profile 'less': 'age' (1s) is never reached, since 'delivery.timeout' (900ms) ends it; "
    "raise that as well",
    "p.yaml:7:36: amqp profile 'nested': 'connection.heartbeat' (1m) is never reached, since 'delivery.timeout' (30s) "
    "ends it; raise that as well",
    NULL
  };
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusProfiles) profiles = evbus_profiles_new_for_data (yaml, -1, "p.yaml", &error);

  g_assert_no_error (error);
  g_assert_cmpstrv (evbus_profiles_get_warnings (profiles), expected);
}

int
main (int   argc,
      char *argv[])
{
  g_autofree char *good = NULL;
  g_autofree char *known = NULL;
  g_autofree char *path = NULL;

  g_test_init (&argc, &argv, NULL);
  good = g_test_build_filename (G_TEST_DIST, "unit", "providers", "good", NULL);
  known = g_test_build_filename (G_TEST_DIST, "unit", "providers", "known", NULL);
  path = g_strjoin (":", good, known, NULL);
  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);

  g_test_add_func ("/route-spec/digest", test_digest);
  g_test_add_func ("/route-spec/in-code", test_in_code);
  g_test_add_func ("/route-spec/missing", test_missing);
  g_test_add_func ("/route-spec/never-reached", test_never_reached);

  return g_test_run ();
}
