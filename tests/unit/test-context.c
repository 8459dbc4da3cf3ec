/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <glib/gstdio.h>
#include <string.h>

#include "evbus-context-private.h"
#include "evbus-error.h"
#include "evbus-profiles-private.h"

static EvbusContext *
make_context (const char  *provider,
              const char  *data,
              GError     **error)
{
  g_autoptr(GError) local_error = NULL;
  g_autoptr(GVariant) variant = g_variant_parse (G_VARIANT_TYPE_VARDICT, data, NULL, NULL, &local_error);
  g_autoptr(EvbusRouteSpec) spec = NULL;

  g_assert_no_error (local_error);
  spec = evbus_route_spec_new (provider, "orders-*", "glob", variant, &local_error);
  g_assert_no_error (local_error);
  return evbus_context_new (spec, NULL, NULL, error);
}

static void
test_getters (void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusContext) ctx = make_context ("pika", "{'connection': <{'port': <1234>, 'password': <'x'>}>}", &error);
  g_autoptr(GVariant) connection = NULL;

  g_assert_no_error (error);
  g_assert_cmpstr (evbus_context_get_provider (ctx), ==, "amqp");
  g_assert_cmpstr (evbus_context_get_profile (ctx), ==, "orders-*");
  g_assert_cmpstr (evbus_context_get_string (ctx, "connection.host"), ==, "localhost");
  g_assert_cmpstr (evbus_context_get_string (ctx, "connection.password"), ==, "x");
  g_assert_cmpint (evbus_context_get_int (ctx, "connection.port"), ==, 1234);
  g_assert_cmpfloat (evbus_context_get_double (ctx, "connection.port"), ==, 1234.0);
  g_assert_cmpint (evbus_context_get_int (ctx, "connection.heartbeat"), ==, 60000000);
  g_assert_null (evbus_context_get_mailbox (ctx));
  g_assert_true (g_variant_is_of_type (evbus_context_get_data (ctx), G_VARIANT_TYPE_VARDICT));
  connection = evbus_context_get_option (ctx, "connection");
  g_assert_cmpuint (g_variant_n_children (connection), ==, 5);
}

static void
test_types (void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusContext) ctx = make_context ("shape", "{'ratio': <0.75>, 'count': <-3>, 'flag': <false>, 'age': <'1s'>, "
                                                       "'room': <'2KiB'>, 'whatever': <1e300>}", &error);

  g_assert_no_error (error);
  g_assert_cmpfloat (evbus_context_get_double (ctx, "ratio"), ==, 0.75);
  g_assert_cmpint (evbus_context_get_int (ctx, "ratio"), ==, 0);
  g_assert_cmpint (evbus_context_get_int (ctx, "count"), ==, -3);
  g_assert_false (evbus_context_get_boolean (ctx, "flag"));
  g_assert_cmpint (evbus_context_get_int (ctx, "age"), ==, 1000000);
  g_assert_cmpint (evbus_context_get_int (ctx, "room"), ==, 2048);
  g_assert_cmpint (evbus_context_get_int (ctx, "whatever"), ==, (gint64) 9.2e18);

  /* Not set, or of another kind. */
  g_assert_cmpint (evbus_context_get_int (ctx, "text"), ==, 0);
  g_assert_cmpint (evbus_context_get_int (ctx, "nothing"), ==, 0);
  g_assert_cmpfloat (evbus_context_get_double (ctx, "nothing"), ==, 0);
  g_assert_false (evbus_context_get_boolean (ctx, "nothing"));
  g_assert_false (evbus_context_get_boolean (ctx, "count"));
  g_assert_null (evbus_context_get_string (ctx, "count"));
  g_assert_null (evbus_context_get_string (ctx, "text.deeper"));
  g_assert_null (evbus_context_get_string (ctx, ""));
  g_assert_null (evbus_context_get_string (ctx, "."));
  g_assert_null (evbus_context_get_option (ctx, "table"));
}

static void
test_empty (void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("evbus-context-XXXXXX", &error);
  g_autofree char *plugin = g_build_filename (folder, "bare.plugin", NULL);
  g_autofree char *old = g_strdup (g_getenv ("EVBUS_PLUGIN_PATH"));
  g_autoptr(EvbusContext) ctx = NULL;

  g_assert_no_error (error);
  g_assert_true (g_file_set_contents (plugin, "[Plugin]\nModule=x\n[Evbus]\nProvider=bare\n", -1, NULL));
  g_setenv ("EVBUS_PLUGIN_PATH", folder, TRUE);
  ctx = make_context ("bare", "{}", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (g_variant_n_children (evbus_context_get_data (ctx)), ==, 0);
  g_assert_null (evbus_context_get_string (ctx, "x"));

  g_setenv ("EVBUS_PLUGIN_PATH", old, TRUE);
  g_remove (plugin);
  g_rmdir (folder);
}

/* From each source, at each depth; what only looks like a reference, where no
 * secret is expected, stays what it is. */
static void
test_secrets (void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("evbus-secret-XXXXXX", &error);
  g_autofree char *file = g_build_filename (folder, "amqp", NULL);
  g_autofree char *pika = g_strdup_printf ("{'connection': <{'password': <{'file': <'%s'>}>}>}", file);
  g_autoptr(EvbusContext) from_file = NULL;
  g_autoptr(EvbusContext) from_env = NULL;
  g_autoptr(EvbusContext) from_credential = NULL;
  g_autoptr(EvbusContext) nested = NULL;
  g_autoptr(GVariant) list = NULL;
  g_autofree char *text = NULL;

  g_assert_no_error (error);
  g_assert_true (g_file_set_contents (file, "from the fïle\n", -1, NULL));
  from_file = make_context ("pika", pika, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_context_get_string (from_file, "connection.password"), ==, "from the fïle");

  g_setenv ("EVBUS_TEST_SECRET", "from the environment", TRUE);
  from_env = make_context ("pika", "{'connection': <{'password': <{'env': <'EVBUS_TEST_SECRET'>}>}>}", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_context_get_string (from_env, "connection.password"), ==, "from the environment");

  g_setenv ("CREDENTIALS_DIRECTORY", folder, TRUE);
  from_credential = make_context ("pika", "{'connection': <{'password': <{'credential': <'amqp'>}>}>}", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_context_get_string (from_credential, "connection.password"), ==, "from the fïle");
  g_unsetenv ("CREDENTIALS_DIRECTORY");

  nested = make_context ("shape", "{'headers': <{'Authorization': <{'env': <'EVBUS_TEST_SECRET'>}>, "
                                  "'list': <[<{'env': <'EVBUS_TEST_SECRET'>}>, <'plain'>]>, 'deep': <{'a': <1>, 'b': <{'env': <'EVBUS_TEST_SECRET'>}>}>}>, "
                                  "'table': <{'file': <'/not/a/secret'>}>}", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_context_get_string (nested, "headers.Authorization"), ==, "from the environment");
  g_assert_cmpstr (evbus_context_get_string (nested, "headers.deep.b"), ==, "from the environment");
  g_assert_cmpstr (evbus_context_get_string (nested, "table.file"), ==, "/not/a/secret");
  list = evbus_context_get_option (nested, "headers.list");
  text = g_variant_print (list, FALSE);
  g_assert_cmpstr (text, ==, "[<'from the environment'>, <'plain'>]");

  g_unsetenv ("EVBUS_TEST_SECRET");
  g_remove (file);
  g_rmdir (folder);
}

static void
test_secret_errors (void)
{
  g_autofree char *folder = g_dir_make_tmp ("evbus-secret-XXXXXX", NULL);
  g_autofree char *empty = g_build_filename (folder, "empty", NULL);
  g_autofree char *binary = g_build_filename (folder, "binary", NULL);
  g_autofree char *zero = g_build_filename (folder, "zero", NULL);
  g_autofree char *large = g_build_filename (folder, "large", NULL);
  g_autofree char *none = g_build_filename (folder, "none", NULL);
  g_autofree char *many = g_strnfill (70000, 'x');
  const struct {
    const char *key;
    const char *name;
    const char *message;   /* after the reference */
  } cases[] = {
    { "file", none, "cannot open '%s': No such file or directory" },
    { "file", folder, "'%s' is not a file" },
    { "file", empty, "the secret is empty" },
    { "file", binary, "the secret is not UTF-8 text" },
    { "file", zero, "the secret is not UTF-8 text" },
    { "file", large, "'%s' is larger than 65536 bytes" },
    { "env", "EVBUS_TEST_NOT_SET", "the environment variable %s is not set" },
    { "credential", "amqp", "there is no credential '%s': CREDENTIALS_DIRECTORY is not set, which systemd does for a service with LoadCredential=" },
  };

  g_unsetenv ("CREDENTIALS_DIRECTORY");
  g_assert_true (g_file_set_contents (empty, "\n", -1, NULL));
  g_assert_true (g_file_set_contents (binary, "hunter2\xff", -1, NULL));
  g_assert_true (g_file_set_contents (zero, "hunter2\0hunter3", 15, NULL));
  g_assert_true (g_file_set_contents (large, many, -1, NULL));

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *data = g_strdup_printf ("{'connection': <{'password': <{'%s': <'%s'>}>}>}", cases[i].key, cases[i].name);
      g_autoptr(GString) reason = g_string_new (cases[i].message);
      g_autofree char *expected = NULL;

      g_string_replace (reason, "%s", cases[i].name, 0);
      expected = g_strdup_printf ("the secret 'connection.password': {%s: %s}: %s", cases[i].key, cases[i].name, reason->str);
      g_assert_null (make_context ("pika", data, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN);
      g_assert_cmpstr (error->message, ==, expected);
      g_assert_null (strstr (error->message, "hunter2"));
    }

  g_remove (empty);
  g_remove (binary);
  g_remove (zero);
  g_remove (large);
  g_rmdir (folder);
}

/* No error or warning about a wrong value of a secret option shows the value. */
static void
test_secrets_are_not_shown (void)
{
  static const char * const yamls[] = {
    "pika: {a: {connection: {password: hunter2, zzz: 1}}}",
    "pika: {a: {connection: {password: [hunter2]}}}",
    "pika: {a: {connection: {password: {a: hunter2, b: hunter2}}}}",
    "pika: {a: {connection: {password: {password: hunter2}}}}",
    "pika: {a: {connection: {password: {hunter2}}}}",
    "pika: {a: {connection: {password: !hunter2 x}}}",
    "pika: {a: {connection: {password: !hunter2}}}",
    "pika: {a: {connection: {password: *hunter2}}}",
    "pika: {a: {connection: {password: %hunter2}}}",
    "pika: {a: {connection: {password: @hunter2}}}",
    "pika: {a: {connection: {password: hunter2: x}}}",
    "pika: {a: {connection: {password: \"hunter2\\q\"}}}",
    "shape: {a: {headers: hunter2}}",
    "shape: {a: {headers: {token: hunter2}, zzz: 1}}",
    "kafka: {a: {connection: hunter2}}",
    "kafka: {a: hunter2}",
  };

  for (guint i = 0; i < G_N_ELEMENTS (yamls); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autoptr(EvbusProfiles) profiles = evbus_profiles_new_for_data (yamls[i], -1, "p.yaml", &error);

      g_assert_null (profiles);
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
      g_assert_null (strstr (error->message, "hunter2"));
    }
}

/* The text that a getter gave stays where it is while the context lives. */
static void
test_lifetime (void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusContext) ctx = make_context ("shape", "{'text': <'here to stay'>, 'table': <{'a': <{'b': <'deep'>}>}>}", &error);
  const char *text;
  const char *deep;

  g_assert_no_error (error);
  text = evbus_context_get_string (ctx, "text");
  deep = evbus_context_get_string (ctx, "table.a.b");
  for (guint i = 0; i < 1000; i++)
    {
      g_autofree char *printed = g_variant_print (evbus_context_get_data (ctx), TRUE);

      g_assert_true (evbus_context_get_string (ctx, "text") == text);
      g_assert_true (evbus_context_get_string (ctx, "table.a.b") == deep);
    }
  g_assert_cmpstr (text, ==, "here to stay");
  g_assert_cmpstr (deep, ==, "deep");
}

static void
test_route (void)
{
  static const char *const data[] = {
    "{'topics': <['a']>, 'key': <'k-{routing_key}'>, 'delivery': <{'timeout': <'7s'>}>}",
    "{'topics': <['b']>}",
    "{'topics': <['a']>, 'delivery': <{'name': <'one'>}>}",
    "{'topics': <['b']>, 'delivery': <{'name': <'one'>}>}",
    "{'topics': <['a']>, 'delivery': <{'name': <'two'>}>}",
  };
  EvbusContext *ctx[G_N_ELEMENTS (data)];
  char *ids[G_N_ELEMENTS (data)];
  g_autoptr(EvbusTemplate) template = NULL;
  g_autofree char *again = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (data); i++)
    {
      ctx[i] = make_context ("kafka", data[i], NULL);
      g_assert_nonnull (ctx[i]);
      ids[i] = evbus_context_dup_client_id (ctx[i]);
      g_assert_true (g_regex_match_simple ("^evbus-[0-9a-f]{16}$", ids[i], 0, 0));
      /* What has a name keeps its id whatever else is set. */
      for (guint j = 0; j < i; j++)
        g_assert_cmpint (strcmp (ids[i], ids[j]) == 0, ==, i == 3 && j == 2);
    }
  again = evbus_context_dup_client_id (ctx[0]);
  g_assert_cmpstr (again, ==, ids[0]);

  g_assert_cmpint (evbus_context_get_timeout (ctx[0]), ==, 7 * G_USEC_PER_SEC);
  template = evbus_context_get_template (ctx[0], "key");
  g_assert_nonnull (template);
  g_assert_false (evbus_template_is_fixed (template));
  g_assert_null (evbus_context_get_template (ctx[1], "key"));

  for (guint i = 0; i < G_N_ELEMENTS (data); i++)
    {
      g_object_unref (ctx[i]);
      g_free (ids[i]);
    }
}

/* Each is a route of its own, and a destination must not take one for the other. */
static void
test_client_ids_of_equal_entries (void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusProfiles) profiles = NULL;
  g_autoptr(GHashTable) ids = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  GPtrArray *specs;

  profiles = evbus_profiles_new_for_data ("kafka: [a: {topics: [x]}, b: {topics: [x]}, a: {topics: [x]}, a: {topics: [x]}]",
                                          -1, "test.yaml", &error);
  g_assert_no_error (error);
  specs = evbus_profiles_get_specs (profiles);
  g_assert_cmpuint (specs->len, ==, 4);
  for (guint i = 0; i < specs->len; i++)
    {
      g_autoptr(EvbusContext) ctx = evbus_context_new (specs->pdata[i], NULL, NULL, &error);
      char *id = evbus_context_dup_client_id (ctx);

      g_assert_true (g_regex_match_simple ("^evbus-[0-9a-f]{16}$", id, 0, 0));
      g_assert_true (g_hash_table_add (ids, id));
    }
}

static void
test_tls (void)
{
  static const struct {
    const char *data;
    gboolean    wanted;
  } cases[] = {
    { "{}", FALSE },
    { "{'tls': <{'enabled': <false>}>}", FALSE },
    { "{'tls': <{'verify': <false>, 'key_password': <'x'>}>}", FALSE },
    { "{'tls': <{'enabled': <true>}>}", TRUE },
    { "{'tls': <{'ca_file': <'/a'>}>}", TRUE },
    { "{'tls': <{'enabled': <false>, 'cert_file': <'/a'>}>}", TRUE },
    { "{'tls': <{'key_file': <'/a'>}>}", TRUE },
    { "{'tls': <{'server_name': <'a'>}>}", TRUE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusContext) ctx = make_context ("secure", cases[i].data, NULL);

      g_assert_nonnull (ctx);
      g_assert_cmpint (evbus_context_wants_tls (ctx), ==, cases[i].wanted);
    }
}

/* Whatever it is called; a mapping that looks like a reference is one in a secret option alone. */
static void
test_has_secret (void)
{
  static const struct {
    const char *data;
    const char *name;
    gboolean    secret;
  } cases[] = {
    { "{'headers': <{'a': <'b'>, 'X-Hook': <{'env': <'EVBUS_TEST_HOOK'>}>}>}", "headers", TRUE },
    { "{'headers': <{'a': <'b'>, 'X-Hook': <['x']>}>}", "headers", FALSE },
    { "{'headers': <{'a': <[<{'env': <'EVBUS_TEST_HOOK'>}>]>}>}", "headers", TRUE },
    { "{'whatever': <{'env': <'EVBUS_TEST_HOOK'>}>}", "whatever", FALSE },
    { "{}", "headers", FALSE },
  };

  g_setenv ("EVBUS_TEST_HOOK", "hunter2", TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusContext) ctx = make_context ("shape", cases[i].data, NULL);

      g_assert_nonnull (ctx);
      g_assert_cmpint (evbus_context_has_secret (ctx, cases[i].name), ==, cases[i].secret);
    }
  g_unsetenv ("EVBUS_TEST_HOOK");
}

static GString *last_warning;

static GLogWriterOutput
keep_warning (GLogLevelFlags   level,
              const GLogField *fields,
              gsize            n_fields,
              gpointer         data)
{
  for (gsize i = 0; level == G_LOG_LEVEL_WARNING && i < n_fields; i++)
    if (strcmp (fields[i].key, "MESSAGE") == 0)
      g_string_assign (last_warning, fields[i].value);
  return G_LOG_WRITER_HANDLED;
}

static void
test_unencrypted (void)
{
  static const char *const here[] = { "localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "::1", "/run/x.sock", "" };
  static const char *const elsewhere[] = { "10.0.0.1", "broker.example", "::2", "localhost.example" };
  g_autoptr(EvbusContext) ctx = make_context ("pika", "{'connection': <{'password': <'hunter2'>}>}", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (here); i++)
    evbus_context_warn_unencrypted (ctx, here[i]);
  g_assert_cmpstr (last_warning->str, ==, "");
  for (guint i = 0; i < G_N_ELEMENTS (elsewhere); i++)
    {
      g_autoptr(EvbusContext) other = make_context ("pika", "{'connection': <{'password': <'hunter2'>}>}", NULL);
      g_autofree char *pattern = g_strdup_printf ("amqp profile 'orders-*': the password goes to %s unencrypted*", elsewhere[i]);

      evbus_context_warn_unencrypted (other, elsewhere[i]);
      g_assert_true (g_pattern_match_simple (pattern, last_warning->str));
      g_string_truncate (last_warning, 0);
      evbus_context_warn_unencrypted (other, elsewhere[i]);
      g_assert_cmpstr (last_warning->str, ==, "");   /* it has been said */
    }
}

/* Each of the two warnings is said once. */
static void
test_unverified (void)
{
  g_autoptr(EvbusContext) ctx = make_context ("pika", "{'connection': <{'password': <'hunter2'>}>}", NULL);

  evbus_context_warn_unverified (ctx, "127.0.0.1");
  g_assert_cmpstr (last_warning->str, ==, "");
  evbus_context_warn_unencrypted (ctx, "10.0.0.1");
  evbus_context_warn_unverified (ctx, "10.0.0.1");
  g_assert_cmpstr (last_warning->str, ==, "amqp profile 'orders-*': nothing proves that it is 10.0.0.1 at the other end of "
                                          "TLS: its certificate is not verified");
  g_string_truncate (last_warning, 0);
  evbus_context_warn_unverified (ctx, "10.0.0.2");
  g_assert_cmpstr (last_warning->str, ==, "");
}

int
main (int   argc,
      char *argv[])
{
  g_autofree char *good = NULL;
  g_autofree char *tls = NULL;
  g_autofree char *path = NULL;
  int status;

  g_test_init (&argc, &argv, NULL);
  good = g_test_build_filename (G_TEST_DIST, "unit", "providers", "good", NULL);
  tls = g_test_build_filename (G_TEST_DIST, "unit", "providers", "tls", NULL);
  path = g_strjoin (":", good, tls, NULL);
  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);
  last_warning = g_string_new (NULL);
  g_log_set_writer_func (keep_warning, NULL, NULL);

  g_test_add_func ("/context/getters", test_getters);
  g_test_add_func ("/context/types", test_types);
  g_test_add_func ("/context/empty", test_empty);
  g_test_add_func ("/context/secrets", test_secrets);
  g_test_add_func ("/context/secret-errors", test_secret_errors);
  g_test_add_func ("/context/secrets-are-not-shown", test_secrets_are_not_shown);
  g_test_add_func ("/context/lifetime", test_lifetime);

  g_test_add_func ("/context/route", test_route);
  g_test_add_func ("/context/client-ids-of-equal-entries", test_client_ids_of_equal_entries);
  g_test_add_func ("/context/tls", test_tls);
  g_test_add_func ("/context/has-secret", test_has_secret);
  g_test_add_func ("/context/unencrypted", test_unencrypted);
  g_test_add_func ("/context/unverified", test_unverified);

  status = g_test_run ();
  g_string_free (last_warning, TRUE);
  return status;
}
