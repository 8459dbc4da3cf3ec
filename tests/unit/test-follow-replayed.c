/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Followed events of which a dead letter is replayed. */

#include "follow-test.h"

#define WAITS "{'id': <'mine'>, 'wait': <'delivered'>, 'follow': <'me'>}"

/* How many: none before they are written, which is soon. @profile: NULL: to their own route. */
static guint64
replay_letters (Fixture    *fixture,
                const char *route,
                const char *profile)
{
  g_autoptr(GAsyncResult) replayed = NULL;
  g_autoptr(GError) error = NULL;
  guint64 n = 0;

  evbus_broker_replay_dead_async (fixture->broker, route, NULL, 0, profile, NULL, NULL, NULL, NULL,
                                  evbus_test_store_result, &replayed);
  evbus_test_wait_until (replayed != NULL);
  evbus_broker_replay_dead_finish (fixture->broker, replayed, &n, &error);
  g_assert_no_error (error);
  return n;
}

/* A dead letter that is replayed is not the event that somebody waits for any more, and
 * one that is put anew under its id is another. */
static void
test_replayed (Fixture       *fixture,
               gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  g_atomic_int_set (&fixture->poison, TRUE);
  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'mine' is dead at route hook 'a\\*'");
  g_atomic_int_set (&fixture->poison, FALSE);
  evbus_test_wait_until (replay_letters (fixture, "hook 'a*'", "b") > 0);
  evbus_test_hook_release (fixture->b);
  evbus_test_wait_ledger (fixture->broker, "accepted=3 delivered=2 dropped=1");
  evbus_test_wait_until (fixture->told->len == 2);
  g_assert_cmpstr (fixture->told->pdata[1], ==, "me: mine hook '*b' delivered () 0");
}

static void
put_poison (Fixture    *fixture,
            const char *profile,
            const char *options)
{
  g_autoptr(GAsyncResult) result = NULL;

  g_atomic_int_set (&fixture->poison, TRUE);
  follow_put (fixture, profile, options, NULL, &result);
  g_free (follow_finish (fixture, &result, NULL));
}

static void
replay_home (Fixture    *fixture,
             const char *route,
             gboolean    poison)
{
  g_atomic_int_set (&fixture->poison, poison);
  evbus_test_wait_until (replay_letters (fixture, route, NULL) == 1);
}

/* One that went back to its own route is the event still: it is waited for, also in the next life. */
static void
test_replayed_home (Fixture       *fixture,
                    gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  put_poison (fixture, "a", "{'id': <'mine'>}");
  evbus_test_wait_ledger (fixture->broker, "accepted=1 dead=1");
  evbus_test_hook_hold (fixture->a);
  replay_home (fixture, "hook 'a*'", FALSE);
  follow_put (fixture, "a", WAITS, NULL, &result);
  follow_wait_held (fixture->a);
  follow_assert_found (fixture, &result, "mine");

  follow_end (fixture);
  evbus_test_wait_until (result != NULL);
  g_clear_object (&result);
  follow_begin (fixture, data);
  follow_put (fixture, "a", WAITS, NULL, &result);
  follow_assert_found (fixture, &result, "mine");
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_until (follow_was_told (fixture, "me: mine hook 'a*' delivered () 0"));
  evbus_test_wait_ledger (fixture->broker, "accepted=1 delivered=1");
}

/* It dies once more, under a number of its own; and is replayed from there. */
static void
test_dead_again (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  put_poison (fixture, "a", "{'id': <'mine'>}");
  evbus_test_wait_ledger (fixture->broker, "accepted=1 dead=1");
  for (guint i = 0; i < 3; i++)
    {
      guint n = evbus_test_hook_read (fixture->a, &fixture->a->n_publish);

      replay_home (fixture, "hook 'a*'", TRUE);
      evbus_test_wait_until (evbus_test_hook_read (fixture->a, &fixture->a->n_publish) > n);
      evbus_test_wait_ledger (fixture->broker, "accepted=1 dead=1");
      if (i > 0)
        follow_restart (fixture, data);
      follow_put (fixture, "a", WAITS, NULL, &result);
      follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'mine' is dead at route hook 'a\\*': it");
    }
  evbus_test_wait_until (fixture->told->len == 3);

  /* By now somebody has followed it. */
  evbus_test_hook_hold (fixture->a);
  replay_home (fixture, "hook 'a*'", FALSE);
  follow_put (fixture, "a", WAITS, NULL, &result);
  follow_assert_found (fixture, &result, "mine");
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_until (fixture->told->len == 4);
  g_assert_cmpstr (fixture->told->pdata[3], ==, "me: mine hook 'a*' delivered () 0");
  evbus_test_assert_ledger (fixture->broker, "accepted=1 delivered=1");
}

/* Who was told that it is dead is told no more; who waits has to wait for each of its routes. */
static void
test_replayed_by_both (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GAsyncResult) other = NULL;

  g_atomic_int_set (&fixture->poison, TRUE);
  follow_put (fixture, "ab", "{'id': <'mine'>, 'follow': <'me'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->broker, "dead=2");
  evbus_test_wait_until (fixture->told->len == 2);
  evbus_test_hook_hold (fixture->b);
  replay_home (fixture, "hook 'a*'", FALSE);
  evbus_test_wait_ledger (fixture->route_a, "delivered=1");
  follow_put (fixture, "ab", "{'id': <'mine'>, 'wait': <'delivered'>}", NULL, &result);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'mine' is dead at route hook '\\*b'");
  replay_home (fixture, "hook '*b'", FALSE);
  for (guint i = 0; i < 2; i++)
    {
      follow_put (fixture, "ab", "{'id': <'mine'>, 'wait': <'delivered'>}", NULL, i == 0 ? &result : &other);
      follow_wait_held (fixture->b);
      follow_assert_found (fixture, i == 0 ? &result : &other, "mine");
      if (i == 0)
        follow_restart (fixture, data);
    }
  evbus_test_wait_until (result != NULL);
  evbus_test_hook_release (fixture->b);
  follow_assert_delivered (fixture, &other, "mine");
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
  g_assert_cmpuint (fixture->told->len, ==, 2);
}

/* What was put under another profile is no event of that id's, wherever it dies and goes back to. */
static void
test_replayed_elsewhere (Fixture       *fixture,
                         gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  put_poison (fixture, "a", "{'id': <'mine'>}");
  evbus_test_wait_ledger (fixture->broker, "accepted=1 dead=1");
  evbus_test_wait_until (replay_letters (fixture, "hook 'a*'", "b") == 1);
  evbus_test_wait_ledger (fixture->broker, "accepted=2 dead=1 dropped=1");
  evbus_test_hook_hold (fixture->b);
  replay_home (fixture, "hook '*b'", FALSE);
  for (guint i = 0; i < 2; i++)
    {
      follow_put (fixture, "a", WAITS, NULL, &result);
      follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "whether it is one of them is not known");
      if (i == 0)
        follow_restart (fixture, data);
    }
  evbus_test_hook_release (fixture->b);
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=1 dropped=1");
}

/* One went back to its only route, in a spool that lost another: in this life the broker knows that there was
 * no other route, later on it does not. */
static void
test_replayed_and_lost (Fixture       *fixture,
                        gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  put_poison (fixture, "a", "@a{sv} {}");
  evbus_test_wait_ledger (fixture->broker, "dead=1");
  follow_drop_letter (fixture);
  put_poison (fixture, "a", "{'id': <'mine'>}");
  evbus_test_wait_ledger (fixture->broker, "accepted=2 dead=1 dropped=1");
  evbus_test_hook_hold (fixture->a);
  replay_home (fixture, "hook 'a*'", FALSE);
  follow_put (fixture, "a", WAITS, NULL, &result);
  follow_wait_held (fixture->a);
  follow_assert_found (fixture, &result, "mine");
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "mine");

  put_poison (fixture, "a", "{'id': <'yours'>}");
  evbus_test_wait_ledger (fixture->broker, "accepted=3 delivered=1 dead=1 dropped=1");
  evbus_test_hook_hold (fixture->a);
  replay_home (fixture, "hook 'a*'", FALSE);
  follow_wait_held (fixture->a);
  follow_restart (fixture, data);
  follow_put (fixture, "a", "{'id': <'yours'>, 'wait': <'delivered'>, 'follow': <'me'>}", NULL, &result);
  follow_wait_held (fixture->a);
  follow_assert_found (fixture, &result, "yours");
  evbus_test_hook_release (fixture->a);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "another one gave it up before is not known");
  evbus_test_wait_until (follow_was_told (fixture, "me: yours hook 'a*' delivered () 1"));
  evbus_test_wait_until (follow_was_told (fixture, "me: yours - settled () 0"));
  evbus_test_wait_ledger (fixture->broker, "accepted=3 delivered=2 dropped=1");
}

int
main (int    argc,
      char **argv)
{
  static const Setup plain = { NULL, TRUE };
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/follow-replayed/elsewhere-while-followed", test_replayed },
    { "/follow-replayed/home", test_replayed_home },
    { "/follow-replayed/dead-again", test_dead_again },
    { "/follow-replayed/by-both", test_replayed_by_both },
    { "/follow-replayed/elsewhere", test_replayed_elsewhere },
    { "/follow-replayed/lost-before", test_replayed_and_lost },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, &plain, follow_set_up, tests[i].run, follow_tear_down);
  return g_test_run ();
}
