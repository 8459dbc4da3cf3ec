/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Followed events and the spool: read back from it, kept through a stop, orphaned,
 * expired, damaged. */

#include "follow-test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define WAITS "{'id': <'mine'>, 'wait': <'delivered'>, 'follow': <'me'>}"

static void
put_others (Fixture *fixture,
            guint    n)
{
  for (guint i = 0; i < n; i++)
    follow_put (fixture, "ab", "@a{sv} {}", NULL, NULL);
}

/* A window of 10 events: the followed one is read back. */
static void
test_behind (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  put_others (fixture, 100);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  put_others (fixture, 100);
  evbus_test_wait_ledger (fixture->route_b, "delivered=201");
  evbus_test_wait_until (follow_was_told (fixture, "me: mine hook '*b' delivered () 1"));
  follow_assert_waits (&result);
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_until (follow_was_told (fixture, "me: mine hook 'a*' delivered () 0"));
  evbus_test_wait_ledger (fixture->broker, "accepted=402 delivered=402");
}

/* The stop ends the waiting and keeps the event; the next life goes on. */
static void
test_stop (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(EvbusBroker) stopped = g_object_ref (fixture->broker);
  g_autoptr(GError) error = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_wait_held (fixture->a);
  evbus_test_wait_ledger (fixture->route_b, "delivered=1");
  follow_end (fixture);
  evbus_test_wait_until (result != NULL);
  g_assert_null (evbus_producer_put_with_options_finish (EVBUS_PRODUCER (stopped), result, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_CLOSED, "event 'mine' stays in the spool: route hook 'a\\*' has it");
  g_clear_object (&result);

  g_ptr_array_set_size (fixture->told, 0);
  follow_begin (fixture, data);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  evbus_test_wait_until (follow_was_told (fixture, "me: mine hook '*b' delivered () 1"));
  follow_assert_waits (&result);
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_until (follow_was_told (fixture, "me: mine hook 'a*' delivered () 0"));
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* The spool, and what it knows, is opened only after the put. */
static void
test_put_before_the_start (Fixture       *fixture,
                           gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "ab", "{'id': <'mine'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  follow_end (fixture);

  follow_make (fixture, data);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  evbus_test_start (fixture->broker);
  follow_wait_held (fixture->a);
  follow_assert_waits (&result);
  evbus_test_hook_release (fixture->a);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* In an earlier life: delivered. */
static void
test_delivered_before (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  follow_put (fixture, "ab", "{'id': <'mine'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->broker, "delivered=2");
  follow_restart (fixture, data);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_until (fixture->told->len >= 1);
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* Delivered or not, where an event was lost before: nobody claims what is not known. */
static void
test_lost_before (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  g_atomic_int_set (&fixture->poison, TRUE);
  follow_put (fixture, "a", "{'id': <'mine'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->broker, "dead=1");
  g_atomic_int_set (&fixture->poison, FALSE);
  follow_put (fixture, "a", "{'id': <'yours'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "yours");
  evbus_test_wait_ledger (fixture->broker, "delivered=1");
  follow_drop_letter (fixture);
  follow_restart (fixture, data);
  for (guint i = 0; i < 2; i++)
    {
      follow_put (fixture, "a", i == 0 ? WAITS : "{'id': <'yours'>, 'wait': <'delivered'>}", NULL, &result);
      follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "whether it is one of them is not known");
    }
  evbus_test_wait_until (follow_was_told (fixture, "me: mine - settled () 0"));
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=1 dropped=1");
}

/* By one of its routes, while the other one has it still: that is enough to know. */
static void
test_lost_by_one (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->b);
  g_atomic_int_set (&fixture->poison, TRUE);
  follow_put (fixture, "ab", "{'id': <'mine'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->route_a, "dead=1");
  follow_drop_letter (fixture);
  g_atomic_int_set (&fixture->poison, FALSE);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED,
                        "'mine' was settled before anybody waited for it at route hook 'a\\*'");
  evbus_test_assert_ledger (fixture->route_b, "accepted=1 queued=1");
  evbus_test_hook_release (fixture->b);
  evbus_test_wait_until (follow_was_told (fixture, "me: mine hook '*b' delivered () 0"));
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=1 dropped=1");
}

/* Dead, while nobody followed it: in an earlier life, or in this one. */
static void
test_dead_before (Fixture       *fixture,
                  gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  g_atomic_int_set (&fixture->poison, TRUE);
  follow_put (fixture, "ab", "{'id': <'mine'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->broker, "dead=2");
  for (guint i = 0; i < 2; i++)
    {
      follow_put (fixture, "ab", WAITS, NULL, &result);
      follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'mine' is dead at route hook .*: it tastes bad");
      follow_restart (fixture, data);
    }
  evbus_test_assert_ledger (fixture->broker, "accepted=2 dead=2");
}

static void
remove_a (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;

  evbus_broker_remove_route (fixture->broker, fixture->route_a, &error);
  g_assert_no_error (error);
  g_clear_object (&fixture->route_a);
}

/* The event is with a route that is gone; and comes back. */
static void
test_orphan (Fixture       *fixture,
             gconstpointer  data)
{
  const Setup *setup = data;
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_wait_held (fixture->a);
  remove_a (fixture);
  evbus_test_wait_until (evbus_test_hook_read (fixture->a, &fixture->a->n_close) == 1);
  follow_assert_waits (&result);

  evbus_test_hook_release (fixture->a);
  follow_assert_waits (&result);
  fixture->route_a = evbus_test_add_hook (fixture->broker, fixture->a, "a*", setup->delivery);
  follow_assert_delivered (fixture, &result, "mine");
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=2");
}

/* FALSE: it has not closed yet. */
static gboolean
forget_a (Fixture *fixture)
{
  g_autoptr(GAsyncResult) forgotten = NULL;
  g_autoptr(GError) error = NULL;
  gboolean done;

  evbus_broker_forget_route_async (fixture->broker, "hook 'a*'", NULL, NULL, NULL, NULL, evbus_test_store_result, &forgotten);
  evbus_test_wait_until (forgotten != NULL);
  done = evbus_broker_forget_route_finish (fixture->broker, forgotten, NULL, &error);
  g_assert_true (done || g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_BUSY));
  return done;
}

static void
test_forgotten (Fixture       *fixture,
                gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_wait_held (fixture->a);
  remove_a (fixture);
  evbus_test_wait_until (forget_a (fixture));
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED,
                        "'mine' was dropped at route hook 'a\\*': the route was forgotten");
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=1 dropped=1");

  /* Also later nobody says that it was delivered. */
  evbus_test_hook_release (fixture->a);
  follow_restart (fixture, data);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "whether it is one of them is not known");
  evbus_test_assert_ledger (fixture->broker, "accepted=2 delivered=1 dropped=1");
}

/* What is over the route's share of the spool expires: with a route, and an orphan. */
static void
test_expired (Fixture       *fixture,
              gconstpointer  data)
{
  g_autofree char *text = g_strnfill (16 * 1024, 'x');
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GBytes) body = g_bytes_new (text, 16 * 1024);

  evbus_test_hook_hold (fixture->a);
  put_others (fixture, 20);
  follow_put (fixture, "ab", WAITS, NULL, &result);
  for (guint i = 0; i < 10; i++)
    evbus_producer_put_bytes_async (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, "ab", NULL, NULL, NULL);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED,
                        "'mine' expired at route hook 'a\\*': .*share of the spool");
}

/* One that says "needle" is damaged on the disk before it is read back. It is far from
 * the beginning of a record that takes many pages: what is on the page of a small one is
 * written again, sound, when its neighbours go. */
static void
damage (const char *directory)
{
  g_autoptr(GDir) dir = g_dir_open (directory, 0, NULL);
  const char *name;
  guint n = 0;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (directory, name, NULL);
      g_autofree char *content = NULL;
      gsize length;
      int fd = open (path, O_RDWR | O_CLOEXEC);

      g_assert_true (g_file_get_contents (path, &content, &length, NULL));
      g_assert_cmpint (fd, >=, 0);
      for (const char *at = content; (at = memmem (at, content + length - at, "needle", 6)) != NULL; at++)
        n += pwrite (fd, "N", 1, at - content) == 1;
      close (fd);
    }
  g_assert_cmpuint (n, >=, 1);
}

static void
test_damaged (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GAsyncResult) stored = NULL;
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GVariant) options = g_variant_ref_sink (g_variant_new_parsed (WAITS));
  g_autofree char *most = g_strnfill (20000, 'x');
  g_autofree char *body = g_strconcat (most, "needle", NULL);

  evbus_test_hook_hold (fixture->a);
  put_others (fixture, 50);
  evbus_producer_put_with_options_async (EVBUS_PRODUCER (fixture->broker), "k", g_variant_new_string (body), "a",
                                         options, NULL, evbus_test_store_result, &result);
  follow_put (fixture, "a", "@a{sv} {}", NULL, &stored);
  g_free (follow_finish (fixture, &stored, NULL));
  damage (fixture->directory);
  evbus_test_hook_release (fixture->a);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "'mine' was dropped at route hook 'a\\*': .*damaged");
  evbus_test_wait_ledger (fixture->route_a, "accepted=52 delivered=51 dropped=1");
  /* Its bytes are queued no more, though nobody knows how many they were. */
  g_assert_cmpuint (evbus_route_get_queued_bytes (fixture->route_a), ==, 0);
}

/* It is with another route still when one that had it, too, is forgotten: nobody says that all have delivered it. */
static void
test_forgotten_by_one (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_test_hook_hold (fixture->a);
  evbus_test_hook_hold (fixture->b);
  follow_put (fixture, "ab", "{'id': <'mine'>}", NULL, &result);
  follow_assert_delivered (fixture, &result, "mine");
  follow_wait_held (fixture->a);
  remove_a (fixture);
  evbus_test_wait_until (forget_a (fixture));
  follow_put (fixture, "ab", WAITS, NULL, &result);
  follow_assert_found (fixture, &result, "mine");
  evbus_test_hook_release (fixture->b);
  follow_assert_failed (fixture, &result, EVBUS_ERROR_UNDELIVERED, "another one gave it up before is not known");
  evbus_test_wait_until (follow_was_told (fixture, "me: mine - settled () 0"));
  evbus_test_wait_ledger (fixture->broker, "accepted=2 delivered=1 dropped=1");
  evbus_test_hook_release (fixture->a);
}

int
main (int    argc,
      char **argv)
{
  static const Setup plain = { NULL, TRUE };
  static const Setup narrow = { "{'window': <{'events': <10>}>, 'batch': <{'events': <3>}>}", TRUE };
  static const Setup small = { "{'window': <{'events': <10>}>, 'batch': <{'events': <3>}>, "
                               "'spool': <{'bytes': <65536>}>}", TRUE };
  static const struct {
    const char *path;
    const Setup *setup;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/follow-durable/behind", &narrow, test_behind },
    { "/follow-durable/stop", &plain, test_stop },
    { "/follow-durable/put-before-the-start", &plain, test_put_before_the_start },
    { "/follow-durable/delivered-before", &plain, test_delivered_before },
    { "/follow-durable/dead-before", &plain, test_dead_before },
    { "/follow-durable/lost-before", &plain, test_lost_before },
    { "/follow-durable/lost-by-one", &plain, test_lost_by_one },
    { "/follow-durable/orphan", &plain, test_orphan },
    { "/follow-durable/forgotten", &plain, test_forgotten },
    { "/follow-durable/expired", &small, test_expired },
    { "/follow-durable/damaged", &narrow, test_damaged },
    { "/follow-durable/forgotten-by-one", &plain, test_forgotten_by_one },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].setup, follow_set_up, tests[i].run, follow_tear_down);
  return g_test_run ();
}
