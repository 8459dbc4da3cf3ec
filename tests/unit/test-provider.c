/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <glib/gstdio.h>
#include <string.h>

#include "evbus-error.h"
#include "evbus-nearest-private.h"
#include "evbus-provider.h"
#include "evbus-units-private.h"

static void
use_folders (const char *first,
             const char *second)
{
  g_autofree char *a = g_test_build_filename (G_TEST_DIST, "unit", "providers", first, NULL);
  g_autofree char *b = g_test_build_filename (G_TEST_DIST, "unit", "providers", second, NULL);
  g_autofree char *path = g_strjoin (":", a, b, NULL);

  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);
}

static EvbusOption *
get_option (EvbusProvider *provider,
            const char    *name)
{
  GListModel *options = evbus_provider_get_options (provider);

  for (guint i = 0; i < g_list_model_get_n_items (options); i++)
    {
      g_autoptr(EvbusOption) option = g_list_model_get_item (options, i);

      /* The provider keeps it alive. */
      if (g_str_equal (evbus_option_get_name (option), name))
        return option;
    }
  g_error ("no option '%s'", name);
}

static void
test_list (void)
{
  static const char * const expected[] = { "kafka", "amqp", "shape" };
  g_autoptr(GListModel) list = NULL;

  use_folders ("good", "known");
  list = evbus_provider_list ();
  /* The installed folder may add more of its own. */
  g_assert_cmpuint (g_list_model_get_n_items (list), >=, G_N_ELEMENTS (expected));
  for (guint i = 0; i < G_N_ELEMENTS (expected); i++)
    {
      g_autoptr(EvbusProvider) provider = g_list_model_get_item (list, i);

      g_assert_cmpstr (evbus_provider_get_name (provider), ==, expected[i]);
    }
}

static void
test_lookup (void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusProvider) provider = NULL;
  g_autoptr(EvbusProvider) alias = NULL;

  use_folders ("good", "known");
  provider = evbus_provider_lookup ("amqp", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_provider_get_description (provider), ==, "A fixture in the shape of an AMQP plugin");
  g_assert_cmpstr (evbus_provider_get_aliases (provider)[0], ==, "pika");
  g_assert_cmpstr (evbus_provider_get_aliases (provider)[1], ==, "rabbitmq");
  g_assert_null (evbus_provider_get_aliases (provider)[2]);
  g_assert_true (g_str_has_suffix (evbus_provider_get_filename (provider), "/good/amqp/amqp.plugin"));
  g_assert_cmpstr (evbus_provider_get_example (provider), ==, "");

  alias = evbus_provider_lookup ("pika", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_provider_get_name (alias), ==, "amqp");
}

static void
test_lookup_errors (void)
{
  static const struct {
    const char *name;
    EvbusError  code;
    const char *begin;
  } cases[] = {
    { "kafak", EVBUS_ERROR_INVALID_CONFIG, "unknown provider 'kafak'; did you mean 'kafka'?" },
    { "rabbit_mq", EVBUS_ERROR_INVALID_CONFIG, "unknown provider 'rabbit_mq'; did you mean 'rabbitmq'?" },
    { "reddis", EVBUS_ERROR_INVALID_CONFIG, "unknown provider 'reddis'; did you mean 'redis'?" },
    { "redis", EVBUS_ERROR_NO_PROVIDER, "the provider 'redis' (Redis streams) is known, but its plugin is not installed; searched in /" },
    { "valkey", EVBUS_ERROR_NO_PROVIDER, "the provider 'redis' (valkey: Redis streams) is known, but its plugin is not installed; searched in /" },
    { "carrier-pigeon", EVBUS_ERROR_NO_PROVIDER, "there is no plugin for the provider 'carrier-pigeon'; searched in /" },
    { "", EVBUS_ERROR_NO_PROVIDER, "there is no plugin for the provider ''; searched in /" },
  };

  use_folders ("good", "known");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_null (evbus_provider_lookup (cases[i].name, &error));
      g_assert_error (error, EVBUS_ERROR, (gint) cases[i].code);
      g_test_message ("%s", error->message);
      g_assert_true (g_str_has_prefix (error->message, cases[i].begin));
    }
}

static void
test_options (void)
{
  static const struct {
    const char *provider;
    const char *name;
    const char *kind;
    const char *fallback;   /* as GVariant text */
    const char *range;
    gboolean    required;
    gboolean    secret;
  } cases[] = {
    { "amqp", "connection.host", "string", "'localhost'", NULL, FALSE, FALSE },
    { "amqp", "connection.port", "integer", "5672", "between 1 and 65535", FALSE, FALSE },
    { "amqp", "connection.password", "string", NULL, NULL, FALSE, TRUE },
    { "amqp", "connection.heartbeat", "duration", "'1m'", "between 1s and 1h", FALSE, FALSE },
    { "kafka", "topics", "list", NULL, NULL, TRUE, FALSE },
    { "kafka", "acks", "string", "'all'", "one of all, leader, none", FALSE, FALSE },
    { "kafka", "connection.bootstrap_servers", "list", "[<'localhost:9092'>]", NULL, FALSE, FALSE },
    { "shape", "origin", "uri", "'/shop'", NULL, FALSE, FALSE },
    { "shape", "flag", "boolean", "true", NULL, FALSE, FALSE },
    { "shape", "count", "integer", NULL, "at least -5", FALSE, FALSE },
    { "shape", "ratio", "number", "0.5", "between 0 and 1", FALSE, FALSE },
    { "shape", "age", "duration", "'90m'", "at most 7d", FALSE, FALSE },
    { "shape", "room", "size", "'64MiB'", "at least 1KiB", FALSE, FALSE },
    { "shape", "table", "mapping", NULL, NULL, FALSE, FALSE },
    { "shape", "whatever", "any", NULL, NULL, FALSE, FALSE },
    { "shape", "headers", "mapping", NULL, NULL, FALSE, TRUE },
  };

  use_folders ("good", "known");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusProvider) provider = evbus_provider_lookup (cases[i].provider, NULL);
      EvbusOption *option = get_option (provider, cases[i].name);
      g_autofree char *range = evbus_option_describe_range (option);
      GVariant *fallback = evbus_option_get_default (option);
      g_autofree char *text = fallback != NULL ? g_variant_print (fallback, FALSE) : NULL;

      g_assert_cmpstr (evbus_option_get_kind (option), ==, cases[i].kind);
      g_assert_cmpstr (text, ==, cases[i].fallback);
      g_assert_cmpstr (range, ==, cases[i].range);
      g_assert_cmpint (evbus_option_get_required (option), ==, cases[i].required);
      g_assert_cmpint (evbus_option_get_secret (option), ==, cases[i].secret);
      g_assert_cmpuint (strlen (evbus_option_get_help (option)), >, 0);
    }
}

static const struct {
  const char *file;
  const char *reason;
} broken[] = {
  { "a-text", "Key file contains line*which is not*" },
  { "b-group", "Key file contains line*which is not*" },
  { "c-nameless", "[Evbus] Provider is missing" },
  { "d-module", "[Plugin] Module is missing" },
  { "e-type", "[Option x] Type must be one of string, uri, boolean, integer, number, duration, size, mapping, list, any, not 'colour'" },
  { "f-default", "[Option x] Default:1:1: 'x' must be an integer, not the text 'many'" },
  { "g-range", "[Option x] Default:1:1: 'x' must be at most 5, not 7" },
  { "h-bound", "[Option x] Min: a string has no range" },
  { "i-key", "[Option x] unknown key 'Defalt'; did you mean 'Default'?" },
  { "j-flag", "[Option x] Secret must be true or false" },
  { "k-nesting", "[Option x.y] is inside [Option x], which is no mapping" },
  { "l-reserved", "the option 'delivery' is evbus's own" },
  { "m-name", "[Option x..y]: an option needs a name" },
  { "n-choices", "[Option x] Choices are for strings" },
  { "p-binary", "*" },
  { "r-within", "[Option x] WithinPublish is for durations" },
};

typedef struct {
  GPtrArray *lines;
} Log;

static GLogWriterOutput
collect_log (GLogLevelFlags   level,
             const GLogField *fields,
             gsize            n_fields,
             gpointer         user_data)
{
  Log *log = user_data;

  for (gsize i = 0; i < n_fields; i++)
    if ((level & G_LOG_LEVEL_WARNING) && g_str_equal (fields[i].key, "MESSAGE"))
      g_ptr_array_add (log->lines, g_strdup (fields[i].value));
  return G_LOG_WRITER_HANDLED;
}

/* A folder full of broken plugins: each hurts itself alone, and is named once,
 * however often the folder is read. */
static void
test_broken (void)
{
  if (g_test_subprocess ())
    {
      Log log = { g_ptr_array_new_with_free_func (g_free) };
      g_autoptr(EvbusProvider) sound = NULL;
      g_autoptr(EvbusProvider) amqp = NULL;

      g_log_set_writer_func (collect_log, &log, NULL);
      use_folders ("broken", "good");
      sound = evbus_provider_lookup ("sound", NULL);
      amqp = evbus_provider_lookup ("amqp", NULL);
      g_assert_nonnull (sound);
      g_assert_nonnull (amqp);
      g_assert_null (evbus_provider_lookup ("badtype", NULL));

      g_assert_cmpuint (log.lines->len, ==, G_N_ELEMENTS (broken));
      for (guint i = 0; i < G_N_ELEMENTS (broken); i++)
        {
          g_autofree char *pattern = g_strdup_printf ("*/broken/%s.plugin: %s; the plugin is left out",
                                                      broken[i].file, broken[i].reason);

          g_test_message ("%s", (char *) log.lines->pdata[i]);
          g_assert_true (g_pattern_match_simple (pattern, log.lines->pdata[i]));
        }
      g_ptr_array_unref (log.lines);
      return;
    }
  g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
  g_test_trap_assert_passed ();
}

static void
test_odd_folders (void)
{
  static const char * const paths[] = { "", ":", "/nonexistent", "/dev/null", "/proc/self/mem:::/nonexistent:" };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      g_autoptr(GListModel) list = NULL;
      g_autoptr(GError) error = NULL;

      g_setenv ("EVBUS_PLUGIN_PATH", paths[i], TRUE);
      list = evbus_provider_list ();
      g_assert_nonnull (list);
      g_assert_null (evbus_provider_lookup ("no-such-provider", &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NO_PROVIDER);
    }
}

/* The first folder wins, and a plugin that is there wins over a word about it. */
static void
test_precedence (void)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *folder = g_dir_make_tmp ("evbus-provider-XXXXXX", &error);
  g_autofree char *word = g_build_filename (folder, "kafka.provider", NULL);
  g_autofree char *plugin = g_build_filename (folder, "amqp.plugin", NULL);
  g_autofree char *good = g_test_build_filename (G_TEST_DIST, "unit", "providers", "good", NULL);
  g_autofree char *path = g_strjoin (":", folder, good, NULL);
  g_autoptr(EvbusProvider) kafka = NULL;
  g_autoptr(EvbusProvider) amqp = NULL;
  g_autoptr(GListModel) list = NULL;
  guint n_amqp = 0;

  g_assert_no_error (error);
  g_assert_true (g_file_set_contents (word, "[Evbus]\nProvider=kafka\nDescription=a word\n", -1, NULL));
  g_assert_true (g_file_set_contents (plugin, "[Plugin]\nModule=x\n[Evbus]\nProvider=amqp\n", -1, NULL));
  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);

  kafka = evbus_provider_lookup ("kafka", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_provider_get_description (kafka), ==, "A fixture in the shape of a Kafka plugin");
  amqp = evbus_provider_lookup ("amqp", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (evbus_provider_get_filename (amqp), ==, plugin);
  list = evbus_provider_list ();
  for (guint i = 0; i < g_list_model_get_n_items (list); i++)
    {
      g_autoptr(EvbusProvider) provider = g_list_model_get_item (list, i);

      n_amqp += g_str_equal (evbus_provider_get_name (provider), "amqp");
    }
  g_assert_cmpuint (n_amqp, ==, 1);

  g_remove (word);
  g_remove (plugin);
  g_rmdir (folder);
}

static void
test_nearest (void)
{
  static const char * const names[] = { "topics", "connection", "key", "acks", "drop_oldest", "drop_newest", NULL };
  static const struct {
    const char *word;
    const char *nearest;
  } cases[] = {
    { "topic_", "topics" },
    { "topic", "topics" },
    { "tpoics", "topics" },
    { "TOPICS", "topics" },
    { "conection", "connection" },
    { "kye", "key" },
    { "yes", NULL },
    { "drop_old", "drop_oldest" },
    { "Conn", "connection" },
    { "drop_", NULL },
    { "co", NULL },
    { "k", NULL },
    { "", NULL },
    { "zzzzzzzz", NULL },
  };
  g_autofree char *endless = g_strnfill (100000, 'a');

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    g_assert_cmpstr (evbus_nearest (cases[i].word, names), ==, cases[i].nearest);
  g_assert_null (evbus_nearest (endless, names));
}

static void
test_units (void)
{
  static const struct {
    const char *text;
    gint64      duration;   /* -1: refused */
    gint64      size;
  } cases[] = {
    { "0", 0, 0 },
    { "5", 5000000, 5 },
    { "1.5", 1500000, 2 },
    { "250us", 250, -1 },
    { "500ms", 500000, -1 },
    { "30s", 30000000, -1 },
    { "30 s", 30000000, -1 },
    { "5m", 300000000, -1 },
    { "12h", 43200000000, -1 },
    { "7d", 604800000000, -1 },
    { "1.5h", 5400000000, -1 },
    { "64KiB", -1, 65536 },
    { "16MiB", -1, 16777216 },
    { "1GiB", -1, 1073741824 },
    { "0.5KiB", -1, 512 },
    { "", -1, -1 },
    { "s", -1, -1 },
    { "-1", -1, -1 },
    { "+1", -1, -1 },
    { "1e3", -1, -1 },
    { "0x10", -1, -1 },
    { "inf", -1, -1 },
    { "nan", -1, -1 },
    { "1..5", -1, -1 },
    { "5 minutes", -1, -1 },
    { "64kb", -1, -1 },
    { "99999999999999999999", -1, -1 },
    { "1s 2s", -1, -1 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      gint64 value = -1;

      g_assert_cmpint (evbus_parse_duration (cases[i].text, &value), ==, cases[i].duration >= 0);
      g_assert_cmpint (value, ==, cases[i].duration);
      value = -1;
      g_assert_cmpint (evbus_parse_size (cases[i].text, &value), ==, cases[i].size >= 0);
      g_assert_cmpint (value, ==, cases[i].size);
    }
}

static void
test_units_round_trip (void)
{
  for (guint i = 0; i < 10000; i++)
    {
      gint64 value = ((gint64) g_test_rand_int_range (0, G_MAXINT32) << g_test_rand_int_range (0, 21)) + (i % 2);
      g_autofree char *duration = evbus_format_duration (value);
      g_autofree char *size = evbus_format_size (value);
      gint64 back;

      g_assert_true (evbus_parse_duration (duration, &back));
      g_assert_cmpint (back, ==, value);
      g_assert_true (evbus_parse_size (size, &back));
      g_assert_cmpint (back, ==, value);
    }
}

static void
write_plugin (const char *folder,
              const char *file,
              const char *provider)
{
  g_autofree char *path = g_build_filename (folder, file, NULL);
  g_autofree char *text = g_strdup_printf ("[Plugin]\nModule=x\nName=x\n[Evbus]\nProvider=%s\n", provider);
  g_autoptr(GError) error = NULL;

  g_mkdir (folder, 0700);
  /* In place, so that neither the folder nor the inode changes. */
  g_file_set_contents_full (path, text, -1, G_FILE_SET_CONTENTS_NONE, 0600, &error);
  g_assert_no_error (error);
}

static gboolean
is_there (const char *name)
{
  g_autoptr(EvbusProvider) provider = evbus_provider_lookup (name, NULL);

  return provider != NULL;
}

/* What was read is used again only while nothing has changed. */
static void
test_changes (void)
{
  g_autofree char *folder = g_dir_make_tmp ("evbus-provider-XXXXXX", NULL);
  g_autofree char *inner = g_build_filename (folder, "inner", NULL);
  g_autofree char *flat = g_build_filename (folder, "a.plugin", NULL);
  g_autofree char *deep = g_build_filename (inner, "b.plugin", NULL);
  const char *later = "evbus-none";

  g_setenv ("EVBUS_PLUGIN_PATH", folder, TRUE);
  g_assert_false (is_there ("first-one"));
  write_plugin (folder, "a.plugin", "first-one");
  g_assert_true (is_there ("first-one"));
  /* Of the same length, and faster than the clock of the file system ticks. */
  for (guint i = 0; i < 100; i++)
    {
      write_plugin (folder, "a.plugin", i % 2 == 0 ? "third-two" : "first-one");
      g_assert_true (is_there (i % 2 == 0 ? "third-two" : "first-one"));
      g_assert_false (is_there (i % 2 == 0 ? "first-one" : "third-two"));
    }
  write_plugin (inner, "b.plugin", "within");
  g_assert_true (is_there ("within"));
  g_remove (deep);
  g_assert_false (is_there ("within"));
  g_setenv ("EVBUS_PLUGIN_PATH", later, TRUE);
  g_assert_false (is_there ("first-one"));

  g_remove (flat);
  g_rmdir (inner);
  g_rmdir (folder);
}

static gboolean
is_settled (const char *path)
{
  GStatBuf info;

  return g_stat (path, &info) < 0 || info.st_ctime + 2 < g_get_real_time () / G_USEC_PER_SEC;
}

/* Files that have lain there for a while are read once. */
static void
test_read_once (void)
{
  g_autofree char *folder = g_dir_make_tmp ("evbus-provider-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "a.plugin", NULL);
  g_autoptr(EvbusProvider) first = NULL;
  g_autoptr(EvbusProvider) second = NULL;
  g_autoptr(EvbusProvider) third = NULL;

  write_plugin (folder, "a.plugin", "once");
  g_setenv ("EVBUS_PLUGIN_PATH", folder, TRUE);
  while (!is_settled (folder) || !is_settled (path))
    g_thread_yield ();

  first = evbus_provider_lookup ("once", NULL);
  second = evbus_provider_lookup ("once", NULL);
  g_assert_true (first != NULL && first == second);
  write_plugin (folder, "a.plugin", "once");
  third = evbus_provider_lookup ("once", NULL);
  g_assert_true (third != NULL && third != first);

  g_remove (path);
  g_rmdir (folder);
}

int
main (int   argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/provider/list", test_list);
  g_test_add_func ("/provider/lookup", test_lookup);
  g_test_add_func ("/provider/lookup-errors", test_lookup_errors);
  g_test_add_func ("/provider/options", test_options);
  g_test_add_func ("/provider/broken", test_broken);
  g_test_add_func ("/provider/odd-folders", test_odd_folders);
  g_test_add_func ("/provider/precedence", test_precedence);
  g_test_add_func ("/provider/nearest", test_nearest);
  g_test_add_func ("/provider/units", test_units);
  g_test_add_func ("/provider/units-round-trip", test_units_round_trip);
  g_test_add_func ("/provider/changes", test_changes);
  g_test_add_func ("/provider/read-once", test_read_once);

  return g_test_run ();
}
