/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Plugins are loaded when a route needs them, and only those; one that is
 * broken hurts its own route alone, which says what is wrong. */

#include "evbus-test.h"

#include <dlfcn.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* What libpeas itself says of a broken plugin is no failure of a test. */
static void
tolerate_libpeas (void)
{
  g_log_set_always_fatal (G_LOG_FATAL_MASK);
}

static void
assert_reason (EvbusRoute *route,
               const char *pattern)
{
  g_autofree char *reason = evbus_route_dup_reason (route);

  g_assert_nonnull (reason);
  evbus_test_assert_says (reason, pattern);
}

/* @pattern: of the reason of a route to @provider; a route beside it gets its
 * events as ever. */
static void
check_route (const char      *provider,
             const char      *data,
             EvbusRouteState  state,
             const char      *pattern)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, provider, "*", data);
  g_autoptr(EvbusRoute) good = evbus_test_add_route (broker, "sink", "*", NULL);
  g_autoptr(EvbusEvent) event = NULL;
  g_autofree char *id = NULL;

  evbus_test_start (broker);
  id = evbus_test_put (broker, "key", "1", NULL);
  evbus_test_wait_until ((event = evbus_mailbox_try_get (evbus_route_get_mailbox (good), NULL)) != NULL);
  g_assert_cmpstr (evbus_event_get_id (event), ==, id);

  evbus_test_wait_status (route, state, pattern);
  evbus_test_wait_ledger (good, "accepted=1 delivered=1");
  evbus_test_assert_ledger (route, "accepted=1 queued=1");
  evbus_test_stop_leaving (broker);
  evbus_test_assert_ledger (route, "accepted=1 dropped=1");
}

static const struct {
  const char *provider;
  const char *pattern;
} broken[] = {
  { "broken-symbol", "broken-symbol\\.plugin.*undefined symbol.*evbus_test_function_that_does_not_exist" },
  { "broken-missing", "broken-missing\\.plugin.*libevbus-broken-missing\\.so does not exist" },
  { "broken-empty", "broken-empty\\.plugin.*no function peas_register_types" },
  { "broken-nothing", "broken-nothing\\.plugin.*no EvbusIngress" },
  { "broken-type", "broken-type\\.plugin.*no EvbusIngress" },
  { "broken-loader", "broken-loader\\.plugin.*lua5\\.1.*not found" },
  { "broken-syntax", "broken-syntax\\.plugin.*does not load.*log" },
  { "broken-import", "broken-import\\.plugin.*does not load.*log" },
  { "broken-class", "broken-class\\.plugin.*no EvbusIngress.*derives from" },
  { "broken-init", "^a fault of the plugin: ValueError: an exception in init .line 8 of evbus_broken_init.py.$" },
  { "broken-init-exit", "^a fault of the plugin: SystemExit: an exit in init .line 10 of evbus_broken_init_exit.py.$" },
};

static void
test_broken (gconstpointer data)
{
  guint i = GPOINTER_TO_UINT (data);

  tolerate_libpeas ();
  check_route (broken[i].provider, NULL, EVBUS_ROUTE_STATE_FAILED, broken[i].pattern);
  /* A second attempt says the same. */
  check_route (broken[i].provider, NULL, EVBUS_ROUTE_STATE_FAILED, broken[i].pattern);
}

static const struct {
  const char      *mode;
  EvbusRouteState  state;
  const char      *pattern;
} faulty[] = {
  { "open", EVBUS_ROUTE_STATE_RETRYING,
    "^a fault of the plugin: ValueError: an exception in open .line \\d+ of evbus_broken_python.py.$" },
  { "publish", EVBUS_ROUTE_STATE_RETRYING, "fault of the plugin: ValueError: an exception in publish" },
  { "exit", EVBUS_ROUTE_STATE_RETRYING, "fault of the plugin: SystemExit: an exit in publish" },
  { "none", EVBUS_ROUTE_STATE_RETRYING, "fault of the plugin" },
  { "false", EVBUS_ROUTE_STATE_RETRYING, "fault of the plugin" },
  { "glib", EVBUS_ROUTE_STATE_BROKEN, "the login was refused" },
};

static void
test_faulty_python (gconstpointer data)
{
  guint i = GPOINTER_TO_UINT (data);
  g_autofree char *options = g_strdup_printf ("{'mode': <'%s'>}", faulty[i].mode);

  tolerate_libpeas ();
  check_route ("broken-python", options, faulty[i].state, faulty[i].pattern);
}

/* The sink of the tests does what it is told. */
static const struct {
  const char      *options;
  EvbusRouteState  state;
  const char      *ledger;
} sinks[] = {
  { "{'mode': <'confirm'>, 'delay_ms': <20>}", EVBUS_ROUTE_STATE_RUNNING, "accepted=2 delivered=2" },
  { "{'mode': <'transient'>}", EVBUS_ROUTE_STATE_RETRYING, "accepted=2 queued=2" },
  { "{'mode': <'broken'>}", EVBUS_ROUTE_STATE_BROKEN, "accepted=2 queued=2" },
  { "{'mode': <'poison'>}", EVBUS_ROUTE_STATE_RUNNING, "accepted=2 dead=2" },
  { "{'mode': <'block'>, 'delivery': <{'timeout': <'50ms'>}>}", EVBUS_ROUTE_STATE_RETRYING, "accepted=2 queued=2" },
  { "{'mode': <'unmarked'>}", EVBUS_ROUTE_STATE_RETRYING, "accepted=2 queued=2" },
  { "{'mode': <'fail-first'>, 'count': <2>}", EVBUS_ROUTE_STATE_RUNNING, "accepted=2 delivered=2" },
  { "{'poison_key': <'bad'>}", EVBUS_ROUTE_STATE_RUNNING, "accepted=2 delivered=1 dead=1" },
};

static void
test_sink (gconstpointer data)
{
  guint i = GPOINTER_TO_UINT (data);
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "sink", "*", sinks[i].options);

  g_free (evbus_test_put (broker, "good", "1", NULL));
  g_free (evbus_test_put (broker, "bad", "2", NULL));
  evbus_test_start (broker);
  evbus_test_wait_until (evbus_route_get_state (route) == sinks[i].state &&
                         evbus_test_ledger_is (route, sinks[i].ledger));
  evbus_test_stop_leaving (broker);
}

/* However often it is tried, and however much of an event the exception quotes. */
static void
test_exception_told_once (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = NULL;

  tolerate_libpeas ();
  route = evbus_test_add_route (broker, "broken-python", "*",
                                "{'mode': <'key'>, 'delivery': <{'retry': <{'min': <'1ms'>, 'max': <'2ms'>}>}>}");
  evbus_test_start (broker);
  g_free (evbus_test_put (broker, "k\n\033[2J\xc2\x85", "1", NULL));
  evbus_test_wait_until (evbus_test_figure (route, "retried") >= 10);
  assert_reason (route, "a fault of the plugin: ValueError: k\\\\n\\\\x1b\\[2J\\\\x85 .line");
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*exception in do_publish()*in do_publish*ValueError: k?n?x1b*",
                                           "EVBUS_ROUTE", "broken-python '*'"), ==, 1);
  evbus_test_stop_leaving (broker);
}

/* In a source it is nobody's call that could fail: it is logged, and the route goes on. */
static void
test_exit_in_source (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = NULL;

  tolerate_libpeas ();
  route = evbus_test_add_route (broker, "broken-python", "*", "{'mode': <'idle-exit'>}");
  evbus_test_start (broker);
  g_free (evbus_test_put (broker, "key", "1", NULL));
  evbus_test_wait_until (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*an exception of a plugin*SystemExit: an exit in a source*",
                                                NULL, NULL) == 1);
  g_free (evbus_test_put (broker, "key", "2", NULL));
  evbus_test_wait_ledger (route, "accepted=2 delivered=2");
  evbus_test_stop (broker);
}

static void
test_python (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "broken-python", "*", NULL);
  guint i;

  evbus_test_start (broker);
  evbus_test_put_numbers (broker, NULL, 0, 100);
  for (i = 0; i < 100; i++)
    {
      g_autoptr(EvbusEvent) event = evbus_mailbox_get (evbus_route_get_mailbox (route),
                                                       NULL, NULL, NULL);

      g_assert_cmpuint (evbus_test_event_number (event), ==, i);
    }
  evbus_test_wait_ledger (route, "accepted=100 delivered=100");
  evbus_test_stop (broker);
}

static void
test_python_example (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autofree char *folder = g_dir_make_tmp ("evbus-example-XXXXXX", NULL);
  g_autofree char *path = g_build_filename (folder, "lines", NULL);
  g_autofree char *moved = g_build_filename (folder, "moved", NULL);
  g_autofree char *data = g_strdup_printf ("{'prefix': <'an event: '>, 'path': <'%s'>}", path);
  g_autoptr(EvbusRoute) route = NULL;
  g_autofree char *text = NULL;

  route = evbus_test_add_route (broker, "example", "*", data);
  evbus_test_start (broker);
  g_free (evbus_test_put (broker, "order.created", "42", NULL));
  evbus_test_wait_ledger (route, "accepted=1 delivered=1");
  /* What it has opened stays open. */
  g_assert_cmpint (g_rename (path, moved), ==, 0);
  g_free (evbus_test_put (broker, "order.sent", "43", NULL));
  evbus_test_wait_ledger (route, "accepted=2 delivered=2");
  g_assert_true (g_file_get_contents (moved, &text, NULL, NULL));
  g_assert_cmpstr (text, ==, "an event: order.created 42\nan event: order.sent 43\n");
  evbus_test_stop (broker);
  g_remove (moved);
  g_rmdir (folder);
}

static gboolean
is_mapped (const char *library)
{
  g_autofree char *maps = NULL;

  g_assert_true (g_file_get_contents ("/proc/self/maps", &maps, NULL, NULL));
  return strstr (maps, library) != NULL;
}

static void
test_only_wanted (void)
{
  g_autoptr(EvbusBroker) broker = NULL;
  g_autoptr(EvbusRoute) route = NULL;
  g_autoptr(GListModel) providers = NULL;

  if (!g_test_subprocess ())
    {
      g_test_trap_subprocess (NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
      g_test_trap_assert_passed ();
      return;
    }

  providers = evbus_provider_list ();
  g_assert_cmpuint (g_list_model_get_n_items (providers), >=, 12);
  broker = evbus_test_broker_new ();
  g_assert_false (is_mapped ("libevbus-sink.so"));
  route = evbus_test_add_route (broker, "sink", "*", NULL);
  evbus_test_start (broker);
  evbus_test_wait_until (evbus_route_get_state (route) == EVBUS_ROUTE_STATE_RUNNING);
  g_assert_true (is_mapped ("libevbus-sink.so"));
  g_assert_false (is_mapped ("libevbus-internal.so"));
  g_assert_false (is_mapped ("libevbus-broken"));
  g_assert_false (is_mapped ("libpython"));
  evbus_test_stop (broker);
}

/* An application that uses libpeas gets an engine of its own. */
static void
test_default_engine (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "sink", "*", NULL);
  gpointer (* get_default) (void);
  GList *(* get_plugin_list) (gpointer engine);
  gpointer engine;

  evbus_test_start (broker);
  evbus_test_wait_until (evbus_route_get_state (route) == EVBUS_ROUTE_STATE_RUNNING);
  /* This program is not linked to libpeas, the library is. */
  get_default = (gpointer (*) (void)) dlsym (RTLD_DEFAULT, "peas_engine_get_default");
  get_plugin_list = (GList *(*) (gpointer)) dlsym (RTLD_DEFAULT, "peas_engine_get_plugin_list");
  g_assert_true (get_default != NULL && get_plugin_list != NULL);
  engine = get_default ();
  g_assert_null (get_plugin_list (engine));
  g_object_unref (engine);
  evbus_test_stop (broker);
}

static void
test_many_at_once (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  const char *providers[] = { "sink", "internal", "broken-python", "broken-symbol" };
  EvbusRoute *routes[32];
  guint i;

  for (i = 0; i < G_N_ELEMENTS (routes); i++)
    routes[i] = evbus_test_add_route (broker, providers[i % 4], "*", NULL);
  evbus_test_start (broker);
  g_free (evbus_test_put (broker, "key", "7", NULL));
  for (i = 0; i < G_N_ELEMENTS (routes); i++)
    {
      if (i % 4 != 3)
        evbus_test_wait_ledger (routes[i], "accepted=1 delivered=1");
      else
        evbus_test_wait_until (evbus_route_get_state (routes[i]) == EVBUS_ROUTE_STATE_FAILED);
    }
  evbus_test_stop_leaving (broker);
  for (i = 0; i < G_N_ELEMENTS (routes); i++)
    g_object_unref (routes[i]);
}

static const struct {
  const char *name;
  const char *contents;
  gssize      length;
} garbage[] = {
  { "text.plugin", "this is not a key file\n", -1 },
  { "torn.plugin", "[Plugin\nModule=x\n", -1 },
  { "empty.plugin", "", 0 },
  { "binary.plugin", "\177ELF\002\001\001\000\377\376\000\000", 12 },
  { "no-module.plugin", "[Plugin]\nName=x\n[Evbus]\nProvider=no-module\n", -1 },
  { "utf8.plugin", "[Plugin]\nModule=\377\nName=x\n[Evbus]\nProvider=\376\n", -1 },
  { "good.plugin", "[Plugin]\nModule=evbus-sink\nName=good\n[Evbus]\nProvider=good\n"
                   "[Option mode]\nType=string\nDefault=confirm\n", -1 },
};

static void
deliver_to_good (void)
{
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_route (broker, "good", "*", NULL);

  evbus_test_start (broker);
  g_free (evbus_test_put (broker, "key", "7", NULL));
  evbus_test_wait_ledger (route, "accepted=1 delivered=1");
  evbus_test_stop (broker);
}

/* A working plugin among files that are none. */
static void
test_garbage (void)
{
  g_autofree char *folder = g_dir_make_tmp ("evbus-garbage-XXXXXX", NULL);
  g_autofree char *module = g_test_build_filename (G_TEST_BUILT, "support", "plugins",
                                                   "libevbus-sink.so", NULL);
  g_autofree char *link = g_build_filename (folder, "libevbus-sink.so", NULL);
  g_autofree char *before = g_strdup (g_getenv ("EVBUS_PLUGIN_PATH"));
  g_autofree char *path = g_strjoin (":", folder, before, NULL);
  guint i;

  tolerate_libpeas ();
  g_assert_cmpint (symlink (module, link), ==, 0);
  for (i = 0; i < G_N_ELEMENTS (garbage); i++)
    {
      g_autofree char *name = g_build_filename (folder, garbage[i].name, NULL);

      g_assert_true (g_file_set_contents (name, garbage[i].contents, garbage[i].length, NULL));
    }

  g_setenv ("EVBUS_PLUGIN_PATH", path, TRUE);
  deliver_to_good ();
  g_setenv ("EVBUS_PLUGIN_PATH", before, TRUE);

  for (i = 0; i < G_N_ELEMENTS (garbage); i++)
    {
      g_autofree char *name = g_build_filename (folder, garbage[i].name, NULL);

      g_remove (name);
    }
  g_remove (link);
  g_rmdir (folder);
}

int
main (int   argc,
      char *argv[])
{
  guint i;

  evbus_test_init (&argc, &argv);

  g_test_add_func ("/plugin-host/only-wanted", test_only_wanted);
  g_test_add_func ("/plugin-host/default-engine", test_default_engine);
  for (i = 0; i < G_N_ELEMENTS (broken); i++)
    {
      g_autofree char *name = g_strconcat ("/plugin-host/", broken[i].provider, NULL);

      g_test_add_data_func (name, GUINT_TO_POINTER (i), test_broken);
    }
  for (i = 0; i < G_N_ELEMENTS (faulty); i++)
    {
      g_autofree char *name = g_strconcat ("/plugin-host/faulty-python/", faulty[i].mode, NULL);

      g_test_add_data_func (name, GUINT_TO_POINTER (i), test_faulty_python);
    }
  for (i = 0; i < G_N_ELEMENTS (sinks); i++)
    {
      g_autofree char *name = g_strdup_printf ("/plugin-host/sink/%u", i);

      g_test_add_data_func (name, GUINT_TO_POINTER (i), test_sink);
    }
  g_test_add_func ("/plugin-host/exception-told-once", test_exception_told_once);
  g_test_add_func ("/plugin-host/exit-in-source", test_exit_in_source);
  g_test_add_func ("/plugin-host/python", test_python);
  g_test_add_func ("/plugin-host/python-example", test_python_example);
  g_test_add_func ("/plugin-host/many-at-once", test_many_at_once);
  g_test_add_func ("/plugin-host/garbage", test_garbage);

  return g_test_run ();
}
