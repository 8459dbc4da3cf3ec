/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <fnmatch.h>

#include "evbus-error.h"
#include "evbus-matcher-private.h"

static gboolean
match (const char *plugin,
       const char *pattern,
       const char *name)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EvbusMatcher) matcher = evbus_matcher_new (plugin, pattern, &error);
  gboolean matches = FALSE;

  g_assert_no_error (error);
  g_assert_nonnull (matcher);
  g_assert_cmpstr (evbus_matcher_get_plugin (matcher), ==, plugin);
  g_assert_true (evbus_matcher_match (matcher, name, &matches, &error));
  g_assert_no_error (error);
  return matches;
}

/* Each glob answers as fnmatch(3) does, whatever short cut it takes. */
static void
test_glob_is_fnmatch (void)
{
  static const char * const patterns[] = {
    "default", "*", "**", "orders-*", "*-eu", "o*-*u", "order?", "[a-c]x", "[!a-c]x", "[a-", "\\*", "a\\",
    "orders-\\*", "or[d]ers-eu", "ordérs", "*[0-9]", "a*b*c", ".*", "*/*", "a\\*",
  };
  static const char * const names[] = {
    "default", "orders-", "orders-eu", "orders", "order1", "ax", "dx", "[a-", "*", "a\\", "a*", "orders-*",
    "ordérs", "x9", "abc", "aXbXc", ".hidden", "a/b", "DEFAULT", "a", "\\*",
  };

  for (guint i = 0; i < G_N_ELEMENTS (patterns); i++)
    for (guint j = 0; j < G_N_ELEMENTS (names); j++)
      {
        gboolean expected = fnmatch (patterns[i], names[j], 0) == 0;

        if (match ("glob", patterns[i], names[j]) != expected)
          {
            g_test_message ("%s ~ %s", patterns[i], names[j]);
            g_test_fail ();
          }
      }
}

static void
test_regex_matches_whole (void)
{
  static const struct {
    const char *pattern;
    const char *name;
    gboolean    matches;
  } cases[] = {
    { "orders", "orders", TRUE },
    { "orders", "orders-eu", FALSE },
    { "orders", "my-orders", FALSE },
    { "orders|bills", "bills", TRUE },
    { "orders|bills", "orders-bills", FALSE },
    { "a|ab", "ab", TRUE },
    { "orders-.*", "orders-eu", TRUE },
    { "^orders$", "orders", TRUE },
    { "orders", "orders\n", FALSE },
    { "(?i)ORDERS", "orders", TRUE },
    { "ord.rs", "ordérs", TRUE },
    { "x*", "", TRUE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      if (match ("regex", cases[i].pattern, cases[i].name) != cases[i].matches)
        {
          g_test_message ("%s ~ %s", cases[i].pattern, cases[i].name);
          g_test_fail ();
        }
    }
}

static void
test_bad_patterns (void)
{
  g_autofree char *long_pattern = g_strnfill (256, 'a');
  const struct {
    const char *plugin;
    const char *pattern;
    const char *message;   /* the reason in it is PCRE2's, so a pattern */
  } cases[] = {
    { "regex", "a(b", "the pattern 'a(b' is not a regular expression: *?(at character 3)" },
    { "regex", "a)|(b", "the pattern 'a)|(b' is not a regular expression: *?(at character 1)" },
    { "regex", "[z-a]", "the pattern '[z-a]' is not a regular expression: *?(at character 3)" },
    { "regex", "(*UTF)a", "the pattern '(*UTF)a' cannot be made to match a whole name: leave out verbs such as (*UTF) and comments that reach its end" },
    { "regex", "(?x)a#", "the pattern '(?x)a#' cannot be made to match a whole name: leave out verbs such as (*UTF) and comments that reach its end" },
    { "glob", "", "a profile pattern must not be empty" },
    { "regex", "", "a profile pattern must not be empty" },
    { "glob", long_pattern, "a profile pattern has at most 255 bytes, this one has 256" },
    { "glob", "\xff", "a profile pattern must be UTF-8" },
    { "globb", "a", "unknown match_plugin 'globb'; did you mean 'glob'?" },
    { "sql", "a", "unknown match_plugin 'sql'; it is glob or regex" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;

      g_assert_null (evbus_matcher_new (cases[i].plugin, cases[i].pattern, &error));
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG);
      g_test_message ("%s", error->message);
      g_assert_true (g_pattern_match_simple (cases[i].message, error->message));
    }
}

static gint64
time_without_limit (const char *pattern,
                    const char *name)
{
  g_autoptr(GRegex) regex = g_regex_new (pattern, G_REGEX_OPTIMIZE, 0, NULL);
  gint64 begin;

  g_regex_match (regex, "", 0, NULL);
  begin = g_get_monotonic_time ();
  g_assert_false (g_regex_match (regex, name, 0, NULL));
  return g_get_monotonic_time () - begin;
}

static gint64
time_to_fail (EvbusMatcher *matcher,
              const char   *name)
{
  g_autoptr(GError) error = NULL;
  gboolean matches = TRUE;
  gint64 begin = g_get_monotonic_time ();

  g_assert_false (evbus_matcher_match (matcher, name, &matches, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_MATCH);
  g_test_message ("%s", error->message);
  return g_get_monotonic_time () - begin;
}

/* A pattern that explodes ends soon, and with an error: never as "no match". */
static void
test_explosion (void)
{
  static const char * const patterns[] = { "^(a+)+$", "(a|aa)+", "(a*)*[bc]", "(.*a){20}" };
  g_autofree char *name = g_strnfill (200, 'a');
  g_autofree char *bang = g_strconcat (name, "!", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (patterns); i++)
    {
      g_autoptr(EvbusMatcher) matcher = evbus_matcher_new ("regex", patterns[i], NULL);
      gint64 taken = time_to_fail (matcher, bang);

      /* The shortest: others have the processor in between. */
      for (guint j = 0; j < 20; j++)
        taken = MIN (taken, time_to_fail (matcher, bang));
      /* About 0.1 ms; PCRE2's own limit is reached after 500 times as many steps. */
      if (i == 0)
        g_assert_cmpint (taken * 10, <, time_without_limit (patterns[i], bang));
    }
}

typedef struct {
  EvbusMatcher *matcher;
  gint          wrong;
} Shared;

static gpointer
match_many (gpointer user_data)
{
  Shared *shared = user_data;

  for (guint i = 0; i < 2000; i++)
    {
      gboolean matches = FALSE;

      if (!evbus_matcher_match (shared->matcher, i % 2 ? "orders-eu" : "bills", &matches, NULL)
          || matches != (gboolean) (i % 2))
        g_atomic_int_inc (&shared->wrong);
    }
  return NULL;
}

static void
test_threads (void)
{
  Shared shared = { evbus_matcher_new ("regex", "orders-(eu|us)", NULL), 0 };
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("match", match_many, &shared);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_assert_cmpint (g_atomic_int_get (&shared.wrong), ==, 0);
  evbus_matcher_free (shared.matcher);
}

int
main (int   argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/matcher/glob-is-fnmatch", test_glob_is_fnmatch);
  g_test_add_func ("/matcher/regex-matches-whole", test_regex_matches_whole);
  g_test_add_func ("/matcher/bad-patterns", test_bad_patterns);
  g_test_add_func ("/matcher/explosion", test_explosion);
  g_test_add_func ("/matcher/threads", test_threads);

  return g_test_run ();
}
