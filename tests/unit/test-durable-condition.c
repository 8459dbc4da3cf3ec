/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The state of a broker says how its spool is, and changes with it. */

#include "durable-test.h"

#include <signal.h>
#include <sys/resource.h>

static void
assert_condition (EvbusBroker         *broker,
                  EvbusSpoolCondition  expected,
                  const char          *note)
{
  EvbusSpoolCondition condition;
  g_autofree char *text = NULL;

  g_object_get (broker, "spool-condition", &condition, "spool-note", &text, NULL);
  g_assert_cmpint (condition, ==, expected);
  if (note == NULL)
    g_assert_null (text);
  else
    evbus_test_assert_says (text, note);
}

static void
on_notify (EvbusBroker *broker,
           GParamSpec  *pspec,
           guint       *n_notified)
{
  (*n_notified)++;
}

static void
test_intact (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(EvbusBroker) none = evbus_test_broker_new ();

  assert_condition (none, EVBUS_SPOOL_CONDITION_NONE, NULL);
  evbus_test_start (none);
  assert_condition (none, EVBUS_SPOOL_CONDITION_NONE, NULL);
  evbus_test_stop (none);
  assert_condition (fixture->broker, EVBUS_SPOOL_CONDITION_INTACT, NULL);
  durable_put (fixture, 3);
  durable_assert_all (fixture);
  durable_end (fixture);
  durable_begin (fixture, data);
  assert_condition (fixture->broker, EVBUS_SPOOL_CONDITION_INTACT, NULL);
}

/* A broker that is stopped before it was started leaves its spool to the next one. */
static void
test_not_started (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(EvbusBroker) broker = durable_new_broker (fixture);
  g_autoptr(EvbusBroker) other = durable_new_broker (fixture);
  g_autoptr(GAsyncResult) opened = NULL;
  g_autoptr(GAsyncResult) while_stopped = NULL;
  g_autoptr(GError) error = NULL;

  durable_end (fixture);
  evbus_broker_open_spool_async (broker, NULL, evbus_test_store_result, &opened);
  evbus_test_wait_until (opened != NULL);
  g_assert_true (evbus_broker_open_spool_finish (broker, opened, &error));
  g_assert_no_error (error);
  evbus_test_stop (broker);

  /* Whichever comes first. */
  evbus_broker_open_spool_async (other, NULL, evbus_test_store_result, &while_stopped);
  evbus_test_stop (other);
  evbus_test_wait_until (while_stopped != NULL);
  if (!evbus_broker_open_spool_finish (other, while_stopped, &error))
    g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_CLOSED);

  durable_begin (fixture, data);
  durable_put (fixture, 3);
  durable_assert_all (fixture);
}

/* Between its opening and the start too. */
static void
test_does_not_move (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autofree char *text = g_strdup_printf ("evbus: {spool: {directory: %s}}\ninternal: {'*': {}}\n", fixture->directory);
  g_autofree char *other = g_strdup_printf ("evbus: {spool: {directory: %s-other}}\ninternal: {'*': {}}\n", fixture->directory);
  g_autoptr(EvbusProfiles) first = evbus_profiles_new_for_data (text, -1, "first", NULL);
  g_autoptr(EvbusProfiles) second = evbus_profiles_new_for_data (other, -1, "second", NULL);
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(GAsyncResult) opened = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *directory = NULL;

  durable_end (fixture);
  g_assert_true (evbus_broker_apply_profiles (broker, first, NULL));
  evbus_broker_open_spool_async (broker, NULL, evbus_test_store_result, &opened);
  evbus_test_wait_until (opened != NULL);
  g_assert_true (evbus_broker_open_spool_finish (broker, opened, NULL));

  g_assert_false (evbus_broker_apply_profiles (broker, second, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, "spool.directory.*does not move");
  g_assert_cmpuint (g_list_model_get_n_items (evbus_broker_get_routes (broker)), ==, 1);
  directory = evbus_broker_dup_spool_directory (broker);
  g_assert_cmpstr (directory, ==, fixture->directory);
  g_assert_true (evbus_broker_apply_profiles (broker, first, NULL));
  evbus_test_stop (broker);
  durable_begin (fixture, data);
}

/* Something else stands where the database should. */
static void
begin_with_file (Fixture    *fixture,
                 const char *contents,
                 gssize      size)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  guint n_notified = 0;

  durable_end (fixture);
  g_assert_true (g_file_set_contents (path, contents, size, NULL));
  fixture->broker = durable_new_broker (fixture);
  g_signal_connect (fixture->broker, "notify::spool-condition", G_CALLBACK (on_notify), &n_notified);
  g_signal_connect (fixture->broker, "notify::spool-note", G_CALLBACK (on_notify), &n_notified);
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", NULL);
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (n_notified >= 2);
  g_signal_handlers_disconnect_by_data (fixture->broker, &n_notified);
}

static void
test_foreign (Fixture       *fixture,
              gconstpointer  data)
{
  g_autofree char *contents = g_strnfill (100000, 'x');

  begin_with_file (fixture, contents, -1);
  assert_condition (fixture->broker, EVBUS_SPOOL_CONDITION_RECOVERED, "set aside as .*spool.db.damaged-.*0 events");
}

/* What is in it is nobody's here. */
static void
forget_orphans (Fixture *fixture)
{
  g_autoptr(GPtrArray) orphans = evbus_broker_list_orphans (fixture->broker);

  for (guint i = 0; i < orphans->len; i++)
    {
      g_autoptr(GAsyncResult) result = NULL;
      g_autoptr(GError) error = NULL;

      evbus_broker_forget_route_async (fixture->broker, evbus_orphan_get_key (orphans->pdata[i]), NULL, NULL, NULL, NULL,
                                       evbus_test_store_result, &result);
      evbus_test_wait_until (result != NULL);
      evbus_broker_forget_route_finish (fixture->broker, result, NULL, &error);
      g_assert_no_error (error);
    }
}

static void
test_migrated (Fixture       *fixture,
               gconstpointer  data)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "unit", "spool-fixtures", "format-1.db", NULL);
  g_autofree char *contents = NULL;
  g_autoptr(GError) error = NULL;
  gsize size;

  g_file_get_contents (path, &contents, &size, &error);
  g_assert_no_error (error);
  begin_with_file (fixture, contents, (gssize) size);
  assert_condition (fixture->broker, EVBUS_SPOOL_CONDITION_MIGRATED, "older version");
  forget_orphans (fixture);
}

/* Puts fail, and the state says why, until there is space again. */
static void
test_full (Fixture       *fixture,
           gconstpointer  data)
{
  struct rlimit old, none;
  guint n_notified = 0;
  g_autofree char *id = NULL;
  g_autofree char *body = g_strnfill (64 * 1024, 'x');
  g_autoptr(GError) error = NULL;

  signal (SIGXFSZ, SIG_IGN);
  g_signal_connect (fixture->broker, "notify::spool-condition", G_CALLBACK (on_notify), &n_notified);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &old), ==, 0);
  none = old;
  none.rlim_cur = 4096;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &none), ==, 0);
  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_string (body), NULL, "{}", NULL, &error);
  evbus_test_assert_error (error, EVBUS_ERROR_SPOOL_FULL, "disk is full");
  evbus_test_wait_until (n_notified >= 1);
  assert_condition (fixture->broker, EVBUS_SPOOL_CONDITION_FULL, "disk is full");

  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &old), ==, 0);
  g_assert_null (id);
  evbus_test_wait_until (evbus_broker_get_spool_condition (fixture->broker) == EVBUS_SPOOL_CONDITION_INTACT);
  evbus_test_wait_until (n_notified >= 2);
  durable_put (fixture, 3);
  durable_assert_all (fixture);
  evbus_test_wait_ledger (fixture->route, "accepted=3 delivered=3");
  g_signal_handlers_disconnect_by_data (fixture->broker, &n_notified);
}

static void
test_not_opened (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(EvbusBroker) second = durable_new_broker (fixture);
  g_autoptr(GError) error = NULL;

  g_assert_false (evbus_broker_start (second, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_BUSY, "has this spool");
  assert_condition (second, EVBUS_SPOOL_CONDITION_FAILED, "has this spool");
  durable_end (fixture);
  evbus_test_start (second);
  assert_condition (second, EVBUS_SPOOL_CONDITION_INTACT, NULL);
  evbus_test_stop (second);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, data, test) \
  g_test_add ("/durable-condition/" name, Fixture, data, durable_set_up, test, durable_tear_down)
  ADD ("intact", NULL, test_intact);
  ADD ("not-started", NULL, test_not_started);
  ADD ("does-not-move", NULL, test_does_not_move);
  ADD ("foreign", NULL, test_foreign);
  ADD ("migrated", NULL, test_migrated);
  ADD ("full", NULL, test_full);
  ADD ("not-opened", NULL, test_not_opened);

  return g_test_run ();
}
