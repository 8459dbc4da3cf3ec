/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a spool may hold: a route that has too much gives up its own oldest, dead
 * letters first. No other route loses anything, and no put fails. */

#include "evbus-test.h"

#include <glib/gstdio.h>
#include <string.h>

/* The smallest budget there is for the whole. */
#define WHOLE "evbus: {spool: {bytes: 1MiB}}\ninternal: {nobody: }\n"
#define MIB (1024 * 1024)

#define N_SLOW 30
#define SLOW_SIZE 10000
#define PART_SIZE 20000

/* "slow" is held at its first event, and has next to nothing in memory: what it has
 * could be expired. "other" is what a test makes of it. */
typedef struct {
  char *directory;
  EvbusTestHook *slow_hook, *other_hook;
  EvbusBroker *broker;
  EvbusRoute *slow, *other;
  guint n_other;
  char *options;      /* of what is tried to be put; NULL: none */
} Fixture;

/* Its answer comes when it is stored. */
static void
put (Fixture    *fixture,
     const char *profile,
     guint       number,
     gsize       size)
{
  g_autofree char *body = g_strdup_printf ("%0*u", (int) size, number);
  g_autoptr(GError) error = NULL;
  GVariant *bytes = g_variant_new_fixed_array (G_VARIANT_TYPE_BYTE, body, strlen (body), 1);
  g_autofree char *id = evbus_test_put_options (fixture->broker, "k", bytes, profile,
                                                "{'content-type': <'text/plain'>}", NULL, &error);

  g_assert_no_error (error);
  g_assert_nonnull (id);
}

static void
put_other (Fixture *fixture,
           guint    n,
           gsize    size)
{
  for (guint i = 0; i < n; i++)
    put (fixture, "other", fixture->n_other++, size);
}

static gboolean
refuse_all (EvbusTestHook *hook,
            EvbusContext  *ctx,
            EvbusBatch    *batch,
            GCancellable  *cancellable,
            GError       **error)
{
  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "refused");
  return TRUE;
}

static void
begin (Fixture    *fixture,
       const char *settings,
       const char *delivery)
{
  fixture->broker = evbus_test_broker_new ();
  evbus_broker_set_spool_directory (fixture->broker, fixture->directory);
  if (settings != NULL)
    evbus_test_apply (fixture->broker, settings);
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  fixture->slow = evbus_test_add_hook (fixture->broker, fixture->slow_hook, "slow",
                                       "{'window': <{'events': <2>}>, 'batch': <{'events': <1>}>}");
  fixture->other = evbus_test_add_hook (fixture->broker, fixture->other_hook, "other", delivery);
  evbus_test_hook_hold (fixture->slow_hook);
  evbus_test_start (fixture->broker);
}

static void
begin_slow (Fixture    *fixture,
            const char *settings,
            const char *delivery)
{
  begin (fixture, settings, delivery);
  for (guint i = 0; i < N_SLOW; i++)
    put (fixture, "slow", i, SLOW_SIZE);
  evbus_test_wait_until (evbus_test_hook_read (fixture->slow_hook, &fixture->slow_hook->n_waiting) == 1);
}

static void
end (Fixture *fixture)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  evbus_broker_stop_async (fixture->broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_test_stop_finish (fixture->broker, result, &error);
  g_assert_no_error (error);
  g_clear_object (&fixture->slow);
  g_clear_object (&fixture->other);
  g_clear_object (&fixture->broker);
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  g_autoptr(GError) error = NULL;

  fixture->directory = g_dir_make_tmp ("evbus-budget-XXXXXX", &error);
  g_assert_no_error (error);
  fixture->slow_hook = evbus_test_hook_new ("slow");
  fixture->other_hook = evbus_test_hook_new ("other");
}

/* The slow one has lost nothing: it gets all of its own, in order. */
static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  g_autoptr(GDir) dir = NULL;
  const char *name;

  evbus_test_hook_release (fixture->slow_hook);
  evbus_test_hook_release (fixture->other_hook);
  evbus_test_wait_ledger (fixture->slow, "queued=0");
  evbus_test_assert_ledger (fixture->slow, "accepted=30 delivered=30");
  for (guint i = 0; i < N_SLOW; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->slow_hook, i)), ==, i);
  evbus_test_wait_ledger (fixture->other, "queued=0");
  evbus_test_assert_balance (fixture->broker);
  end (fixture);

  evbus_test_hook_free (fixture->slow_hook);
  evbus_test_hook_free (fixture->other_hook);
  dir = g_dir_open (fixture->directory, 0, NULL);
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (fixture->directory, name, NULL);

      g_assert_cmpint (g_unlink (path), ==, 0);
    }
  g_assert_cmpint (g_rmdir (fixture->directory), ==, 0);
  g_free (fixture->directory);
  g_free (fixture->options);
}

/* Until so few dead letters are left that they fit; the rest has expired. */
static void
wait_for_dead (EvbusRoute *route,
               guint64     n,
               guint64     at_most,
               guint64     at_least)
{
  evbus_test_wait_until (evbus_test_figure (route, "dead") + evbus_test_figure (route, "expired") == n);
  evbus_test_wait_until (evbus_test_figure (route, "dead") <= at_most);
  g_assert_cmpuint (evbus_test_figure (route, "dead"), >=, at_least);
}

/* Four times as many bytes of dead letters as all may have: they go, and what is
 * queued for the other route stays. The same once more after a restart, when what
 * there is has not been counted but read. */
static void
test_dead_letters (Fixture       *fixture,
                   gconstpointer  data)
{
  const guint fit = (MIB - N_SLOW * SLOW_SIZE) / 40000;

  fixture->other_hook->publish = refuse_all;
  begin_slow (fixture, WHOLE, NULL);
  put_other (fixture, 100, 40000);
  wait_for_dead (fixture->other, 100, fit, fit / 2);
  evbus_test_assert_ledger (fixture->slow, "accepted=30 queued=30");
  end (fixture);

  begin (fixture, WHOLE, NULL);
  put_other (fixture, 50, 40000);
  wait_for_dead (fixture->other, 150, fit, fit / 2);
  evbus_test_assert_ledger (fixture->slow, "accepted=30 queued=30");
}

/* The share of a route is of its queued events and its dead letters. */
static void
test_dead_letters_of_a_route (Fixture       *fixture,
                              gconstpointer  data)
{
  fixture->other_hook->publish = refuse_all;
  begin_slow (fixture, NULL, "{'spool': <{'bytes': <'100KiB'>}>}");
  put_other (fixture, 100, 4000);
  wait_for_dead (fixture->other, 100, 25, 10);
  evbus_test_assert_ledger (fixture->slow, "accepted=30 queued=30");
}

/* Nobody delivers what an orphan has, or gives it up; it counts all the same. */
static void
test_orphan (Fixture       *fixture,
             gconstpointer  data)
{
  g_autoptr(GPtrArray) orphans = NULL;
  g_autoptr(GError) error = NULL;

  fixture->other_hook->publish = refuse_all;
  begin_slow (fixture, NULL, NULL);
  put_other (fixture, 100, 40000);
  evbus_test_wait_ledger (fixture->other, "accepted=100 dead=100");
  g_assert_true (evbus_broker_remove_route (fixture->broker, fixture->other, &error));
  g_assert_no_error (error);
  evbus_test_apply (fixture->broker, WHOLE);
  put (fixture, "other", 0, 0);   /* unrouted; but the budget is looked at when something happens */
  evbus_test_wait_until (evbus_test_figure (fixture->broker, "expired") >= 70);
  orphans = evbus_broker_list_orphans (fixture->broker);
  g_assert_cmpuint (orphans->len, ==, 1);

  g_clear_object (&fixture->other);
  fixture->other = evbus_test_add_hook (fixture->broker, fixture->other_hook, "other", NULL);
  evbus_test_assert_ledger (fixture->slow, "accepted=30 queued=30");
}

/* So many of them fit beside the slow one's, and into a share of 300 KiB; room for what a record
 * needs beside the body makes no difference. */
#define N_BACKLOG 150
#define BACKLOG_SIZE 21000
#define FIT_ALL 35
#define FIT_SHARE 14

/* @data: of its own share, or else of the whole. */
static void
test_backlog (Fixture       *fixture,
              gconstpointer  data)
{
  g_autofree char *delivery = g_strdup_printf ("{'window': <{'events': <2>}>, 'batch': <{'events': <1>}>%s}",
                                               data != NULL ? (const char *) data : "");
  const guint fit = data != NULL ? FIT_SHARE : FIT_ALL;
  guint length, n_kept = 0;

  evbus_test_hook_hold (fixture->other_hook);
  begin_slow (fixture, WHOLE, delivery);
  put_other (fixture, N_BACKLOG, BACKLOG_SIZE);
  /* Then nothing expires any more, so that it cannot while the rest is delivered. */
  evbus_test_wait_until (evbus_test_figure (fixture->other, "queued") <= fit);
  g_assert_cmpuint (evbus_test_figure (fixture->other, "queued"), >=, fit - 1);
  evbus_test_assert_ledger (fixture->slow, "accepted=30 queued=30");

  evbus_test_hook_release (fixture->other_hook);
  evbus_test_wait_ledger (fixture->other, "queued=0");
  length = evbus_test_hook_length (fixture->other_hook);
  g_assert_cmpuint (length, ==, N_BACKLOG - evbus_test_figure (fixture->other, "expired"));

  /* The oldest went, but for those in memory (a window of two, and a batch); what is left is
   * the newest, without a gap. */
  while (n_kept < length && evbus_test_event_number (evbus_test_hook_peek (fixture->other_hook, n_kept)) == n_kept)
    n_kept++;
  g_assert_cmpuint (n_kept, <=, 3);
  for (guint i = n_kept; i < length; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (fixture->other_hook, i)), ==,
                      N_BACKLOG - length + i);
}

/* Whether it was accepted; else the route is full. */
static gboolean
try_put (Fixture    *fixture,
         const char *profile,
         gsize       size)
{
  g_autofree char *body = g_strnfill (size, 'x');
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_test_put_options (fixture->broker, "k", g_variant_new_string (body), profile,
                                                fixture->options != NULL ? fixture->options : "{}", NULL, &error);

  if (id == NULL)
    evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, profile);
  return id != NULL;
}

static guint
put_until_refused (Fixture    *fixture,
                   const char *profile,
                   gsize       size)
{
  guint n = 0;

  while (try_put (fixture, profile, size))
    n++;
  return n;
}

/* Where losing is worse than waiting, the producers are held up, and nothing
 * expires: also for what an earlier broker has left. @data: its own share is full, by what
 * attributes take beside small bodies, or else the whole. */
static void
test_reject (Fixture       *fixture,
             gconstpointer  data)
{
  g_autofree char *delivery = g_strdup_printf ("{'overflow': <'reject'>%s}", data != NULL ? (const char *) data : "");
  g_autofree char *large = g_strnfill (300, 'a');
  const gsize size = data != NULL ? 1 : 20000;
  guint n;

  if (data != NULL)
    fixture->options = g_strdup_printf ("{'attributes': <{'large': '%s'}>}", large);

  evbus_test_hook_hold (fixture->other_hook);
  begin_slow (fixture, WHOLE, delivery);
  n = put_until_refused (fixture, "other", size);
  g_assert_cmpuint (n, >=, 2);
  g_assert_cmpuint (n, <=, data != NULL ? 2 : (MIB - N_SLOW * SLOW_SIZE) / size);
  end (fixture);

  begin (fixture, WHOLE, delivery);
  n += put_until_refused (fixture, "other", size);
  g_assert_cmpuint (evbus_test_figure (fixture->other, "accepted"), ==, n);
  g_assert_cmpuint (evbus_test_figure (fixture->other, "queued"), ==, n);

  evbus_test_hook_release (fixture->other_hook);
  evbus_test_wait_ledger (fixture->other, "queued=0");
  evbus_test_wait_until (try_put (fixture, "other", size));
  evbus_test_wait_until (try_put (fixture, "other", size));
  evbus_test_wait_ledger (fixture->other, "queued=0");
  g_assert_cmpuint (evbus_test_figure (fixture->other, "delivered"), ==, n + 2);
  g_assert_cmpuint (evbus_test_hook_length (fixture->other_hook), ==, n + 2);
}

static void
test_block (Fixture       *fixture,
            gconstpointer  data)
{
  g_autofree char *delivery = g_strdup_printf ("{'overflow': <'block'>%s}", data != NULL ? (const char *) data : "");
  g_autofree char *text = g_strnfill (data != NULL ? 200 : 20000, '1');
  g_autoptr(GAsyncResult) result = NULL;
  guint n_stored = 0;

  evbus_test_hook_hold (fixture->other_hook);
  begin_slow (fixture, WHOLE, delivery);
  for (gboolean waits = FALSE; !waits; )
    {
      g_autoptr(GBytes) body = g_bytes_new (text, strlen (text));

      g_clear_object (&result);
      evbus_producer_put_bytes_async (EVBUS_PRODUCER (fixture->broker), "k", body, NULL, "other", NULL,
                                      evbus_test_store_result, &result);
      put (fixture, "nobody", 0, 1);   /* it is not held up; by now the other is stored, or waits */
      evbus_test_iterate ();
      waits = result == NULL;
      n_stored += !waits;
    }
  g_assert_cmpuint (n_stored, >=, 3);
  g_assert_cmpuint (evbus_test_figure (fixture->other, "accepted"), ==, n_stored);

  evbus_test_hook_release (fixture->other_hook);
  evbus_test_wait_until (result != NULL);
  evbus_test_wait_ledger (fixture->other, "queued=0");
  g_assert_cmpuint (evbus_test_figure (fixture->other, "delivered"), ==, n_stored + 1);
}

/* What is settled makes room at once, not with the next look at the whole that is due: a put takes what the disk
 * takes for it where there is room, as much again for what is settled, and little else. Of some the least counts, so
 * that the machine may do other things meanwhile. */
static void
test_settled_makes_room (Fixture       *fixture,
                         gconstpointer  data)
{
  gint64 least[2] = { G_MAXINT64, G_MAXINT64 };      /* with room, and without */

  evbus_test_hook_hold (fixture->other_hook);
  begin_slow (fixture, WHOLE, "{'overflow': <'block'>, 'batch': <{'events': <1>}>}");
  for (guint i = 0; i < 16; i++)
    {
      gint64 begun = g_get_monotonic_time ();

      if (i >= 8)
        evbus_test_hook_let_pass (fixture->other_hook);
      put (fixture, "other", i, PART_SIZE);
      least[i / 8] = MIN (least[i / 8], g_get_monotonic_time () - begun);
      if (i == 7)
        {
          fixture->options = g_strdup ("{'timeout': <uint32 0>}");
          put_until_refused (fixture, "other", PART_SIZE);
        }
    }
  g_assert_cmpint (least[1], <, 2 * least[0] + 20000);
}

/* A third route, which loses its oldest or (@delivery) may not. */
typedef struct {
  EvbusTestHook *hook;
  EvbusRoute *route;
} Third;

#define OLDEST_GOES "{'window': <{'events': <2>}>, 'batch': <{'events': <1>}>}"
#define NOTHING_GOES "{'overflow': <'reject'>}"

/* The slow one has next to nothing here. */
static void
begin_three (Fixture    *fixture,
             const char *of_other,
             Third      *third,
             const char *profile,
             const char *delivery)
{
  begin (fixture, WHOLE, of_other);
  third->hook = evbus_test_hook_new ("third");
  third->route = evbus_test_add_hook (fixture->broker, third->hook, profile, delivery);
  evbus_test_hook_hold (fixture->other_hook);
  evbus_test_hook_hold (third->hook);
  for (guint i = 0; i < N_SLOW; i++)
    put (fixture, "slow", i, 10);
}

/* What may not be lost was not, and nothing is wrong with the rest. */
static void
end_three (Fixture *fixture,
           Third   *third,
           guint    n_other)
{
  evbus_test_hook_release (fixture->other_hook);
  evbus_test_hook_release (third->hook);
  evbus_test_wait_ledger (fixture->other, "queued=0");
  evbus_test_wait_ledger (third->route, "queued=0");
  g_assert_cmpuint (evbus_test_figure (fixture->other, "delivered"), ==, n_other);
  g_assert_cmpuint (evbus_test_hook_length (fixture->other_hook), ==, n_other);
  evbus_test_assert_balance (fixture->broker);
  g_object_unref (third->route);
  end (fixture);

  evbus_test_hook_free (third->hook);
  begin (fixture, WHOLE, NOTHING_GOES);
}

static void
put_third (Fixture *fixture,
           guint    n)
{
  for (guint i = 0; i < n; i++)
    put (fixture, "third", i, PART_SIZE);
}

/* What one alone may have that may not lose anything. Returns how many events that are. */
static guint
fill_three_quarters (Fixture *fixture)
{
  guint n = put_until_refused (fixture, "other", PART_SIZE);

  g_assert_cmpuint (n, <=, MIB / PART_SIZE * 3 / 4);
  g_assert_cmpuint (n, >=, MIB / PART_SIZE * 3 / 4 - 1);
  return n;
}

static guint
count_queued (Fixture *fixture,
              Third   *third)
{
  return evbus_test_figure (fixture->other, "queued") + evbus_test_figure (third->route, "queued");
}

/* While one that may not lose anything has the most, another one keeps the whole within its bounds, with
 * what is its own; it has an eighth at least. */
static void
test_largest_keeps (Fixture       *fixture,
                    gconstpointer  data)
{
  const guint fit = MIB / PART_SIZE;
  Third third;
  guint n;

  begin_three (fixture, NOTHING_GOES, &third, "third", OLDEST_GOES);
  n = fill_three_quarters (fixture);
  put_third (fixture, 2 * fit);
  evbus_test_wait_until (count_queued (fixture, &third) <= fit);
  g_assert_cmpuint (evbus_test_figure (third.route, "queued"), >=, fit / 8);
  end_three (fixture, &third, n);
}

/* One that has all that it may have does not have the puts of another one refused; and there is
 * something for whoever comes next. */
static void
test_largest_leaves_room (Fixture       *fixture,
                          gconstpointer  data)
{
  const gsize size = PART_SIZE / 10;
  Third third;
  guint n, n_third;

  begin_three (fixture, NOTHING_GOES, &third, "third", NOTHING_GOES);
  n = put_until_refused (fixture, "other", PART_SIZE);
  n_third = put_until_refused (fixture, "third", size);
  g_assert_cmpuint (n_third, >=, 30);
  g_assert_cmpuint (n * PART_SIZE + n_third * size, <=, MIB / 8 * 7 - 5 * size);
  end_three (fixture, &third, n);
}

/* Nor does one that fills the whole, but loses its oldest: it makes room. */
static void
test_largest_makes_room (Fixture       *fixture,
                         gconstpointer  data)
{
  const guint fit = MIB / PART_SIZE;
  Third third;
  guint n;

  begin_three (fixture, NOTHING_GOES, &third, "third", OLDEST_GOES);
  put_third (fixture, 2 * fit);
  n = put_until_refused (fixture, "other", PART_SIZE);
  g_assert_cmpuint (n, >=, fit / 2 - 1);
  evbus_test_wait_until (count_queued (fixture, &third) <= fit);
  end_three (fixture, &third, n);
}

/* What two of them have of the same events is stored once, and counts once. */
static void
test_largest_same_events (Fixture       *fixture,
                          gconstpointer  data)
{
  Third third;
  guint n;

  begin_three (fixture, NOTHING_GOES, &third, "oth*", NOTHING_GOES);
  n = fill_three_quarters (fixture);
  g_assert_cmpuint (evbus_test_figure (third.route, "queued"), ==, n);
  end_three (fixture, &third, n);
}

/* One that has all of it in memory cannot lose it now: the next one does. */
static void
test_largest_in_memory (Fixture       *fixture,
                        gconstpointer  data)
{
  const guint fit = MIB / PART_SIZE, n = fit * 3 / 4;
  Third third;
  guint n_expired;

  begin_three (fixture, OLDEST_GOES, &third, "third", NULL);
  put_third (fixture, n);
  put_other (fixture, fit / 2, PART_SIZE);
  evbus_test_wait_until (count_queued (fixture, &third) <= fit);
  n_expired = evbus_test_figure (fixture->other, "expired");
  g_assert_cmpuint (n_expired, <=, fit / 4 + 2);
  g_assert_cmpuint (evbus_test_figure (third.route, "expired"), ==, 0);
  g_assert_cmpuint (evbus_test_figure (third.route, "queued"), ==, n);
  end_three (fixture, &third, fit / 2 - n_expired);
}

/* A smaller budget for all that there is does not take everything from the one that can lose. */
static void
test_smaller_budget (Fixture       *fixture,
                     gconstpointer  data)
{
  const guint fit = MIB / PART_SIZE;
  Third third;

  begin_three (fixture, NOTHING_GOES, &third, "third", OLDEST_GOES);
  evbus_test_apply (fixture->broker, "evbus: {spool: {bytes: 4MiB}}\ninternal: {nobody: }\n");
  put_other (fixture, 2 * fit, PART_SIZE);
  put_third (fixture, fit);
  evbus_test_apply (fixture->broker, WHOLE);
  evbus_broker_set_stop_timeout (fixture->broker, 0);
  evbus_test_wait_until (evbus_test_figure (third.route, "queued") <= fit / 8 + 1);
  g_assert_false (try_put (fixture, "other", PART_SIZE));
  put (fixture, "third", fit, PART_SIZE);
  evbus_test_wait_until (evbus_test_figure (third.route, "expired") >= fit * 7 / 8);
  g_assert_cmpuint (evbus_test_figure (third.route, "queued"), >=, fit / 8);
  end_three (fixture, &third, 2 * fit);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, data, test) g_test_add ("/durable-budget/" name, Fixture, data, set_up, test, tear_down)
  ADD ("dead-letters", NULL, test_dead_letters);
  ADD ("dead-letters/of-a-route", NULL, test_dead_letters_of_a_route);
  ADD ("dead-letters/of-an-orphan", NULL, test_orphan);
  ADD ("backlog/of-all", NULL, test_backlog);
  ADD ("backlog/of-a-route", ", 'spool': <{'bytes': <'300KiB'>}>", test_backlog);
  ADD ("reject/of-a-route", ", 'spool': <{'bytes': <'1KiB'>}>", test_reject);
  ADD ("reject/of-all", NULL, test_reject);
  ADD ("settled-makes-room", NULL, test_settled_makes_room);
  ADD ("largest/keeps", NULL, test_largest_keeps);
  ADD ("largest/leaves-room", NULL, test_largest_leaves_room);
  ADD ("largest/makes-room", NULL, test_largest_makes_room);
  ADD ("largest/in-memory", NULL, test_largest_in_memory);
  ADD ("largest/same-events", NULL, test_largest_same_events);
  ADD ("smaller-budget", NULL, test_smaller_budget);
  ADD ("block/of-a-route", ", 'spool': <{'bytes': <'1KiB'>}>", test_block);
  ADD ("block/of-all", NULL, test_block);

  return g_test_run ();
}
