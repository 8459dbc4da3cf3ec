/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Which routes an event goes to, and what is said of it. */

#include "evbus-test.h"

#include <fnmatch.h>
#include <string.h>

/* Hooks "a" to "c", whatever routes a test makes of them. */
typedef struct {
  EvbusTestHook *hooks[3];
  EvbusBroker *broker;
} Fixture;

#define N_HOOKS 3

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  static const char *const names[N_HOOKS] = { "a", "b", "c" };

  for (guint i = 0; i < N_HOOKS; i++)
    fixture->hooks[i] = evbus_test_hook_new (names[i]);
  fixture->broker = evbus_test_broker_new ();
  evbus_test_clear_logs ();
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  evbus_test_stop (fixture->broker);
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "queued"), ==, 0);
  g_object_unref (fixture->broker);
  for (guint i = 0; i < N_HOOKS; i++)
    evbus_test_hook_free (fixture->hooks[i]);
}

static EvbusRoute *
get_route (Fixture *fixture,
           guint    index)
{
  EvbusRoute *route = g_list_model_get_item (evbus_broker_get_routes (fixture->broker), index);

  g_assert_nonnull (route);
  g_object_unref (route);
  return route;
}

/* Whether an event of @profile reaches the routes, one bit each; explain says
 * the same. */
static guint
ways (Fixture    *fixture,
      const char *profile)
{
  guint n_routes = g_list_model_get_n_items (evbus_broker_get_routes (fixture->broker));
  g_autoptr(GPtrArray) explanations = NULL;
  g_autoptr(GError) error = NULL;
  guint64 before[8];
  g_autofree char *id = NULL;
  guint found = 0, explained = 0;

  for (guint i = 0; i < n_routes; i++)
    before[i] = evbus_test_figure (get_route (fixture, i), "accepted");
  id = evbus_test_put (fixture->broker, "k", "x", profile);
  for (guint i = 0; i < n_routes; i++)
    found |= (evbus_test_figure (get_route (fixture, i), "accepted") - before[i]) << i;

  explanations = evbus_broker_explain (fixture->broker, profile, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (explanations->len, ==, n_routes);
  for (guint i = 0; i < n_routes; i++)
    {
      EvbusExplanation *explanation = g_ptr_array_index (explanations, i);

      g_assert_true (evbus_explanation_get_route (explanation) == get_route (fixture, i));
      explained |= (guint) evbus_explanation_get_matches (explanation) << i;
      evbus_test_assert_says (evbus_explanation_get_reason (explanation), ".");
    }
  g_assert_cmphex (found, ==, explained);
  return found;
}

static void
test_glob (Fixture       *fixture,
           gconstpointer  data)
{
  static const struct { const char *pattern, *name; gboolean matches; } cases[] = {
    { "orders-*", "orders-", TRUE }, { "orders-*", "orders-17", TRUE },
    { "orders-*", "order-17", FALSE }, { "orders-*", "Orders-17", FALSE },
    { "orders-*", "my-orders-17", FALSE }, { "*", "anything at all", TRUE },
    { "*", ".hidden", TRUE }, { "*", "a/b", TRUE }, { "a*c", "a/b/c", TRUE },
    { "?", "x", TRUE }, { "?", "xy", FALSE },
    { "[a-c]1", "b1", TRUE }, { "[a-c]1", "d1", FALSE }, { "[!a-c]1", "d1", TRUE },
    { "[!a-c]1", "a1", FALSE }, { "[abc", "[abc", TRUE }, { "a\\*", "a*", TRUE },
    { "a\\*", "ab", FALSE }, { "default", "default", TRUE }, { "default", "defaults", FALSE },
    { "n*[0-9][0-9]", "n-x-42", TRUE }, { "n*[0-9][0-9]", "n-x-4", FALSE },
  };

  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(EvbusRoute) route = NULL;
      g_autoptr(GError) error = NULL;

      g_test_message ("“%s” and “%s”", cases[i].pattern, cases[i].name);
      route = evbus_test_add_hook (fixture->broker, fixture->hooks[0], cases[i].pattern, NULL);
      g_assert_cmpstr (evbus_route_get_profile (route), ==, cases[i].pattern);
      g_assert_cmpuint (ways (fixture, cases[i].name), ==, cases[i].matches ? 1 : 0);
      evbus_test_wait_ledger (route, "queued=0");
      evbus_test_assert_ledger (route, cases[i].matches ? "accepted=1 delivered=1" : "accepted=0");
      g_assert_true (evbus_broker_remove_route (fixture->broker, route, &error));
      g_assert_no_error (error);
      g_ptr_array_unref (evbus_test_hook_steal (fixture->hooks[0]));
    }
}

static void
test_regex (Fixture       *fixture,
            gconstpointer  data)
{
  static const struct { const char *name; guint expected; } cases[] = {
    { "order.created", 3 }, { "order", 2 }, { "an order.created", 0 }, { "orders", 0 },
    { "orderX", 1 }, { "default", 4 }, { "order\n", 0 },
  };

  evbus_test_apply (fixture->broker,
                    "match_plugin: regex\n"
                    "hook:\n"
                    "  'order.+[a-z]|orderX': {name: a}\n"
                    "  'order(\\.[a-z]+)?': {name: b}\n"
                    "  'd.*t': {name: c}\n");
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_test_message ("%s", cases[i].name);
      g_assert_cmphex (ways (fixture, cases[i].name), ==, cases[i].expected);
    }
}

static void
test_default (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusRoute) first = NULL, other = NULL;

  first = evbus_test_add_hook (fixture->broker, fixture->hooks[0], "default", NULL);
  other = evbus_test_add_hook (fixture->broker, fixture->hooks[1], "other", NULL);
  evbus_test_start (fixture->broker);
  g_assert_cmphex (ways (fixture, NULL), ==, 1);
  g_assert_cmphex (ways (fixture, ""), ==, 1);
  g_assert_cmphex (ways (fixture, "default"), ==, 1);
  g_assert_cmphex (ways (fixture, "other"), ==, 2);
  evbus_test_wait_ledger (first, "accepted=3 delivered=3");
  evbus_test_wait_ledger (other, "accepted=1 delivered=1");
}

/* Every provider with a matching profile, and two entries of one name, get it. */
static void
test_every_route (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autofree char *id = NULL;

  evbus_test_apply (fixture->broker,
                    "hook:\n"
                    "  - twin: {name: a}\n"
                    "  - twin: {name: b}\n"
                    "internal:\n"
                    "  twin: {}\n"
                    "  other:\n");
  evbus_test_start (fixture->broker);
  g_assert_cmphex (ways (fixture, "twin"), ==, 7);
  id = evbus_test_put (fixture->broker, "k", "again", "twin");
  for (guint i = 0; i < 2; i++)
    {
      evbus_test_wait_ledger (get_route (fixture, i), "accepted=2 delivered=2");
      g_assert_cmpstr (evbus_event_get_id (evbus_test_hook_peek (fixture->hooks[i], 1)), ==, id);
    }
  evbus_test_wait_ledger (get_route (fixture, 2), "accepted=2 delivered=2");
  evbus_test_assert_ledger (get_route (fixture, 3), "accepted=0");
  g_assert_cmpstr (evbus_route_get_provider (get_route (fixture, 2)), ==, "internal");
}

static void
test_explain (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GPtrArray) explanations = NULL;
  g_autoptr(EvbusRoute) first = NULL, other = NULL;
  g_autoptr(GError) error = NULL;

  first = evbus_test_add_hook (fixture->broker, fixture->hooks[0], "orders-*", NULL);
  other = evbus_test_add_hook (fixture->broker, fixture->hooks[1], "bills-*", NULL);
  explanations = evbus_broker_explain (fixture->broker, "orders-7", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (explanations->len, ==, 2);
  g_assert_true (evbus_explanation_get_route (explanations->pdata[0]) == first);
  g_assert_true (evbus_explanation_get_matches (explanations->pdata[0]));
  evbus_test_assert_says (evbus_explanation_get_reason (explanations->pdata[0]), "orders-7");
  evbus_test_assert_says (evbus_explanation_get_reason (explanations->pdata[0]), "orders-\\*");
  g_assert_true (evbus_explanation_get_route (explanations->pdata[1]) == other);
  g_assert_false (evbus_explanation_get_matches (explanations->pdata[1]));
  evbus_test_assert_says (evbus_explanation_get_reason (explanations->pdata[1]), "bills-\\*");
  evbus_test_assert_says (evbus_explanation_get_reason (explanations->pdata[1]), "not");
  evbus_test_assert_ledger (fixture->broker, "accepted=0 unrouted=0");
}

static void
test_explain_bad (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autofree char *too_long = g_strnfill (256, 'p');
  const char *const bad[] = { "a\xff", too_long };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_null (evbus_broker_explain (fixture->broker, bad[i], &error));
      evbus_test_assert_error (error, EVBUS_ERROR_INVALID_ARGUMENT, "profile");
    }
}

/* Accepted, counted, and the first of each name is logged. */
static void
test_unrouted (Fixture       *fixture,
               gconstpointer  data)
{
  g_autoptr(EvbusRoute) route = NULL;

  route = evbus_test_add_hook (fixture->broker, fixture->hooks[0], "orders", NULL);
  evbus_test_start (fixture->broker);
  for (guint i = 0; i < 50; i++)
    {
      g_assert_cmphex (ways (fixture, "lost"), ==, 0);
      g_assert_cmphex (ways (fixture, i % 2 == 0 ? "astray" : "lost"), ==, 0);
    }
  g_assert_cmphex (ways (fixture, "orders"), ==, 1);
  evbus_test_wait_ledger (route, "delivered=1");
  evbus_test_assert_ledger (fixture->broker, "accepted=1 delivered=1 unrouted=100");

  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_MASK, NULL, "EVBUS_PROFILE", "lost"), ==, 1);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE, "*lost*",
                                           "EVBUS_PROFILE", "lost"), ==, 1);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_MASK, "*astray*", "EVBUS_PROFILE", "astray"),
                    ==, 1);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_MASK, NULL, "EVBUS_PROFILE", "orders"),
                    ==, 0);
}

static void
test_reject_unrouted (Fixture       *fixture,
                      gconstpointer  data)
{
  g_autoptr(EvbusRoute) route = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;
  gboolean reject = FALSE;

  route = evbus_test_add_hook (fixture->broker, fixture->hooks[0], "orders", NULL);
  g_assert_false (evbus_broker_get_reject_unrouted (fixture->broker));
  g_object_set (fixture->broker, "reject-unrouted", TRUE, NULL);
  g_object_get (fixture->broker, "reject-unrouted", &reject, NULL);
  g_assert_true (reject);
  evbus_test_start (fixture->broker);

  g_assert_null (evbus_producer_put_nowait (EVBUS_PRODUCER (fixture->broker), "k",
                                            g_variant_new_int32 (1), "lost", &error));
  evbus_test_assert_error (error, EVBUS_ERROR_UNROUTED, "lost");
  g_clear_error (&error);
  g_assert_null (evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (1), "lost",
                                         NULL, NULL, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_UNROUTED, "lost");
  g_clear_error (&error);
  g_assert_null (evbus_test_put_many (fixture->broker, g_variant_new_parsed (
                                        "[('k', <1>, 'orders'), ('k', <2>, 'lost')]"), &error));
  evbus_test_assert_error (error, EVBUS_ERROR_UNROUTED, "lost");
  evbus_test_assert_ledger (route, "accepted=0");

  evbus_broker_set_reject_unrouted (fixture->broker, FALSE);
  id = evbus_test_put (fixture->broker, "k", "x", "lost");
  g_assert_cmpuint (evbus_test_figure (fixture->broker, "accepted"), ==, 0);
}

/* A pattern that explodes answers neither yes nor no: the put is refused, soon,
 * and no other route gets its event. */
static void
test_explosion (Fixture       *fixture,
                gconstpointer  data)
{
  g_autofree char *bait = g_strnfill (60, 'a');
  g_autofree char *profile = g_strconcat (bait, "!", NULL);
  g_autoptr(GError) error = NULL;
  gint64 start;

  evbus_test_apply (fixture->broker,
                    "match_plugin: regex\n"
                    "hook:\n"
                    "  '.*': {name: a}\n"
                    "  '^(a+)+$': {name: b}\n");
  evbus_test_start (fixture->broker);
  start = g_get_monotonic_time ();
  for (guint i = 0; i < 3; i++)
    {
      g_assert_null (evbus_producer_put_nowait (EVBUS_PRODUCER (fixture->broker), "k",
                                                g_variant_new_int32 (1), profile, &error));
      evbus_test_assert_error (error, EVBUS_ERROR_MATCH, "\\^\\(a\\+\\)\\+\\$");
      g_clear_error (&error);
      g_assert_null (evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (1), profile,
                                             NULL, NULL, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_MATCH);
      g_clear_error (&error);
      g_assert_null (evbus_broker_explain (fixture->broker, profile, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_MATCH);
      g_clear_error (&error);
    }
  g_assert_cmpint (g_get_monotonic_time () - start, <, 20 * G_USEC_PER_SEC);
  evbus_test_assert_ledger (fixture->broker, "accepted=0 unrouted=0");
  g_assert_cmphex (ways (fixture, "aaa"), ==, 3);
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* More names than any cache holds, each twice: what they match stays right. */
static void
test_many_names (Fixture       *fixture,
                 gconstpointer  data)
{
  static const char *const patterns[N_HOOKS] = { "n*7", "n[0-4]*", "n9999?" };
  EvbusRoute *routes[N_HOOKS];
  guint64 expected[N_HOOKS] = { 0, };
  g_autoptr(GBytes) body = g_bytes_new_static ("1", 1);

  for (guint i = 0; i < N_HOOKS; i++)
    routes[i] = evbus_test_add_hook (fixture->broker, fixture->hooks[i], patterns[i],
                                     "{'window': <{'events': <300000>, 'bytes': <'1GiB'>}>}");
  evbus_test_start (fixture->broker);
  for (guint n = 0; n < 200000; n++)
    {
      char name[16];
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      g_snprintf (name, sizeof name, "n%u", n / 2);
      for (guint i = 0; i < N_HOOKS; i++)
        expected[i] += fnmatch (patterns[i], name, 0) == 0;
      /* The queue may be full: this thread is faster than two can deliver. */
      while ((id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (fixture->broker), "k", body,
                                                    "text/plain", name, &error)) == NULL)
        {
          g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_QUEUE_FULL);
          g_clear_error (&error);
          g_thread_yield ();
        }
    }
  for (guint i = 0; i < N_HOOKS; i++)
    {
      g_assert_cmpuint (evbus_test_figure (routes[i], "accepted"), ==, expected[i]);
      evbus_test_wait_until (evbus_test_hook_length (fixture->hooks[i]) == expected[i]);
      g_object_unref (routes[i]);
    }
}

/* What is remembered of a name holds for one set of routes only. */
static void
test_routes_change (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(EvbusRoute) first = NULL, second = NULL;
  g_autoptr(GError) error = NULL;

  evbus_test_start (fixture->broker);
  g_assert_cmphex (ways (fixture, "x"), ==, 0);
  first = evbus_test_add_hook (fixture->broker, fixture->hooks[0], "x", NULL);
  g_assert_cmphex (ways (fixture, "x"), ==, 1);
  second = evbus_test_add_hook (fixture->broker, fixture->hooks[1], "*", NULL);
  g_assert_cmphex (ways (fixture, "x"), ==, 3);
  g_assert_cmphex (ways (fixture, "y"), ==, 2);
  evbus_test_wait_ledger (first, "accepted=2 delivered=2");
  g_assert_true (evbus_broker_remove_route (fixture->broker, first, &error));
  g_assert_no_error (error);
  g_assert_cmphex (ways (fixture, "x"), ==, 1);
  evbus_test_wait_ledger (second, "accepted=3 delivered=3");

  g_assert_false (evbus_broker_remove_route (fixture->broker, first, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/routing/glob", test_glob },
    { "/routing/regex", test_regex },
    { "/routing/default", test_default },
    { "/routing/every-route", test_every_route },
    { "/routing/explain/reasons", test_explain },
    { "/routing/explain/bad", test_explain_bad },
    { "/routing/unrouted/counted", test_unrouted },
    { "/routing/unrouted/reject", test_reject_unrouted },
    { "/routing/explosion", test_explosion },
    { "/routing/many-names", test_many_names },
    { "/routing/routes-change", test_routes_change },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
