/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* conformance CONFIG STEP [N [KEY]]: what every ingress has to do alike, with the routes of
 * CONFIG, whose profiles are plain names. test_conformance.py runs it.
 *
 * deliver N   puts N events under each profile and stops; all are delivered, at the
 *             first try, and nothing is said of any fault. Prints "put PROFILE ID
 *             NUMBER" of each, and what is in a mailbox then, as "got …"
 * close N     N times, brokers are stopped and routes removed in the middle of it
 * leak N      N times from the beginning to the end; then nothing is left over
 * spoilt N [KEY]
 *             the same with one among them that can never be delivered, for its body or for
 *             that routing key: it is dead, and the others have come, once each. Prints
 *             "spoilt PROFILE ID", and "dead PROFILE ID REASON" of what is given up
 * full N      the same into a mailbox that has no room for all of them, until it is emptied:
 *             what it has taken does not come again
 * large       puts an event that is refused for its size; what it took is given back then
 * hang        puts and stops when a line is read, while a call into the ingress hangs
 */

#include <evbus/evbus.h>

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evbus-test.h"

#define N_WARM 10
#define N_FEW  100

/* What a round may leave in the heap by chance. A leak of one event, reply or connection
 * a round is more. */
#define MAX_HEAP_A_ROUND 200

/* An event of that size is twice as large as JSON, or more. */
#define LARGE 1000000

static const char *config;

static EvbusBroker *
start_broker (void)
{
  EvbusBroker *broker = evbus_test_broker_new ();
  g_autoptr(GError) error = NULL;

  evbus_broker_load_profiles (broker, config, &error);
  g_assert_no_error (error);
  evbus_test_start (broker);
  return broker;
}

static EvbusRoute *
get_route (EvbusBroker *broker,
           guint        i)
{
  /* The model keeps it. */
  g_autoptr(EvbusRoute) route = g_list_model_get_item (evbus_broker_get_routes (broker), i);

  return route;
}

static void
put_one (EvbusBroker *broker,
         EvbusRoute  *route,
         guint        number,
         gboolean     print)
{
  const char *profile = evbus_route_get_profile (route);
  g_autofree char *text = g_strdup_printf ("%u", number);
  g_autofree char *id = evbus_test_put (broker, "order.created", text, profile);

  if (print)
    printf ("put %s %s %s\n", profile, id, text);
}

static void
print_mailbox (EvbusRoute *route)
{
  g_autoptr(GPtrArray) events = evbus_mailbox_try_get_many (evbus_route_get_mailbox (route), NULL, G_MAXUINT);

  for (guint i = 0; i < events->len; i++)
    printf ("got %s %s %u\n", evbus_route_get_profile (route), evbus_event_get_id (events->pdata[i]),
            evbus_test_event_number (events->pdata[i]));
}

static void
assert_no_fault (EvbusRoute *route)
{
  g_autofree char *reason = evbus_route_dup_reason (route);

  if (reason != NULL && strstr (reason, "fault of the plugin") != NULL)
    g_error ("route %s: %s", evbus_route_get_profile (route), reason);
}

static void
deliver (guint n)
{
  g_autoptr(EvbusBroker) broker = start_broker ();
  guint n_routes = g_list_model_get_n_items (evbus_broker_get_routes (broker));

  for (guint i = 0; i < n; i++)
    for (guint r = 0; r < n_routes; r++)
      put_one (broker, get_route (broker, r), i, TRUE);
  for (guint r = 0; r < n_routes; r++)
    {
      evbus_test_wait_until (evbus_test_figure (get_route (broker, r), "delivered") == n);
      assert_no_fault (get_route (broker, r));
      g_assert_cmpuint (evbus_test_figure (get_route (broker, r), "retried"), ==, 0);
      print_mailbox (get_route (broker, r));
    }
  evbus_test_stop (broker);
}

static gboolean
take_all (EvbusRoute *route,
          guint       n)
{
  print_mailbox (route);
  return evbus_test_figure (route, "delivered") == n;
}

/* What no destination takes of an event, unless it is refused for its key. */
static void
put_spoilt (EvbusBroker *broker,
            EvbusRoute  *route,
            const char  *key)
{
  /* Neither JSON nor UTF-8, which a put looks for in application/json alone. */
  g_autoptr(GBytes) body = g_bytes_new_static (key != NULL ? "{}" : "{\xff", 2);
  g_autoptr(GError) error = NULL;
  g_autofree char *id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (broker), key != NULL ? key : "order.created", body,
                                                         "application/ld+json", evbus_route_get_profile (route), &error);

  g_assert_no_error (error);
  printf ("spoilt %s %s\n", evbus_route_get_profile (route), id);
}

static void
print_failed (EvbusBroker *broker,
              EvbusRoute  *route,
              EvbusEvent  *event,
              const char  *reason,
              guint64      missed,
              guint       *n_failed)
{
  printf ("dead %s %s %s\n", evbus_route_get_profile (route), evbus_event_get_id (event), reason);
  *n_failed += 1 + missed;
}

static void
spoil (guint       n,
       const char *key)
{
  g_autoptr(EvbusBroker) broker = start_broker ();
  guint n_routes = g_list_model_get_n_items (evbus_broker_get_routes (broker));
  g_autofree char *ledger = g_strdup_printf ("accepted=%u delivered=%u dead=%u", (n + 1) * n_routes, n * n_routes, n_routes);
  guint n_failed = 0;

  g_signal_connect (broker, "event-failed", G_CALLBACK (print_failed), &n_failed);
  for (guint i = 0; i < n; i++)
    for (guint r = 0; r < n_routes; r++)
      {
        put_one (broker, get_route (broker, r), i, TRUE);
        if (i == n / 2)
          put_spoilt (broker, get_route (broker, r), key);
      }
  evbus_test_wait_until (evbus_test_figure (broker, "delivered") == n * n_routes && n_failed == n_routes);
  for (guint r = 0; r < n_routes; r++)
    {
      assert_no_fault (get_route (broker, r));
      g_assert_cmpuint (evbus_test_figure (get_route (broker, r), "retried"), ==, 0);
    }
  evbus_test_stop (broker);
  evbus_test_assert_ledger (broker, ledger);
}

static void
fill_one (EvbusBroker *broker,
          EvbusRoute  *route,
          guint        n)
{
  for (guint i = 0; i < n; i++)
    put_one (broker, route, i, TRUE);
  evbus_test_wait_until (evbus_test_figure (route, "retried") > 0);
  g_assert_cmpuint (evbus_test_figure (route, "delivered"), <, n);
  assert_no_fault (route);
  evbus_test_wait_until (take_all (route, n));
  print_mailbox (route);
}

static void
fill (guint n)
{
  g_autoptr(EvbusBroker) broker = start_broker ();
  guint n_routes = g_list_model_get_n_items (evbus_broker_get_routes (broker));
  g_autofree char *ledger = g_strdup_printf ("accepted=%u delivered=%u", n * n_routes, n * n_routes);

  for (guint r = 0; r < n_routes; r++)
    fill_one (broker, get_route (broker, r), n);
  evbus_test_stop (broker);
  evbus_test_assert_ledger (broker, ledger);
}

/* A thread of a route that is left is one that hangs. Those of GLib's pools come and go. */
static guint
count_threads (const char *only)
{
  g_autoptr(GDir) dir = g_dir_open ("/proc/self/task", 0, NULL);
  const char *name;
  guint n = 0;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename ("/proc/self/task", name, "comm", NULL);
      g_autofree char *comm = NULL;

      if (!g_file_get_contents (path, &comm, NULL, NULL))
        continue;
      n += only != NULL ? g_str_has_prefix (comm, only) : !g_str_has_prefix (comm, "pool-");
    }
  return n;
}

static void
one_round (void)
{
  g_autoptr(EvbusBroker) broker = start_broker ();

  for (guint i = 0; i < N_FEW; i++)
    put_one (broker, get_route (broker, 0), i, FALSE);
  evbus_test_wait_until (evbus_test_figure (broker, "delivered") == N_FEW);
  evbus_test_stop (broker);
  evbus_test_assert_ledger (broker, "accepted=100 delivered=100");
}

/* In every second round the routes are removed, else all of it is stopped: when a part of
 * the events is through, a larger one each time. */
static void
close_in_the_middle (guint n_rounds)
{
  one_round ();
  for (guint round = 0; round < n_rounds; round++)
    {
      g_autoptr(EvbusBroker) broker = start_broker ();
      g_autoptr(EvbusRoute) route = g_object_ref (get_route (broker, 0));
      g_autoptr(GError) error = NULL;

      for (guint i = 0; i < N_FEW; i++)
        put_one (broker, route, i, FALSE);
      evbus_test_wait_until (evbus_test_figure (route, "delivered") >= round * N_FEW / n_rounds);
      if (round % 2 == 0)
        {
          evbus_broker_remove_route (broker, route, &error);
          g_assert_no_error (error);
          evbus_test_wait_until (evbus_route_get_state (route) == EVBUS_ROUTE_STATE_STOPPED);
        }
      evbus_test_stop_leaving (broker);
      assert_no_fault (route);
      evbus_test_wait_until (count_threads ("evbus-route") == 0);
    }
}

static guint
count_files (void)
{
  g_autoptr(GDir) dir = g_dir_open ("/proc/self/fd", 0, NULL);
  guint n = 0;

  while (g_dir_read_name (dir) != NULL)
    n++;
  return n;
}

static gsize
get_growth (gsize heap)
{
  gsize now = mallinfo2 ().uordblks;

  return MAX (now, heap) - heap;
}

/* Some client libraries free what was received on a thread of their own. */
static gboolean
grows_little (gsize heap,
              guint n_rounds)
{
  gint64 deadline = g_get_monotonic_time () + 5 * G_USEC_PER_SEC;

  while (get_growth (heap) > n_rounds * MAX_HEAP_A_ROUND)
    {
      if (g_get_monotonic_time () >= deadline)
        return FALSE;
      g_usleep (10000);   /* poll */
    }
  return TRUE;
}

static gboolean
some_rounds (guint n_rounds)
{
  gsize heap = mallinfo2 ().uordblks;
  gboolean flat;

  for (guint i = 0; i < n_rounds; i++)
    one_round ();
  evbus_test_wait_until (count_threads ("evbus-") == 0);
  evbus_test_clear_logs ();
  flat = grows_little (heap, n_rounds);
  printf ("heap: %" G_GSIZE_FORMAT " bytes more after %u rounds\n", get_growth (heap), n_rounds);
  return flat;
}

static void
leave_nothing (guint n_rounds)
{
  guint n_threads, n_files, n_attempts = 1;

  for (guint i = 0; i < N_WARM; i++)
    one_round ();
  evbus_test_wait_until (count_threads ("evbus-") == 0);
  n_threads = count_threads (NULL);
  n_files = count_files ();
  evbus_test_clear_logs ();

  /* What is kept to be used again, as memory for events, has grown to its size once, in
   * whichever round needed the most; what leaks grows each time. */
  while (!some_rounds (n_rounds))
    g_assert_cmpuint (++n_attempts, <=, 3);
  /* Some client libraries end their threads after they said that they were done. */
  evbus_test_wait_until (count_threads (NULL) <= n_threads);
  evbus_test_wait_until (count_files () <= n_files);
}

static gsize
get_heap (void)
{
  struct mallinfo2 info = mallinfo2 ();

  return info.uordblks + info.hblkhd;
}

static void
give_back (void)
{
  g_autoptr(EvbusBroker) broker = start_broker ();
  EvbusRoute *route = get_route (broker, 0);
  g_autofree char *text = g_strnfill (LARGE, '"');
  g_autofree char *id = NULL;
  gsize heap;

  put_one (broker, route, 0, FALSE);
  evbus_test_wait_until (evbus_test_figure (route, "delivered") == 1);
  heap = get_heap ();
  id = evbus_test_put (broker, "order.created", text, evbus_route_get_profile (route));
  evbus_test_wait_until (evbus_test_figure (route, "dead") == 1);
  evbus_test_wait_until (get_heap () < heap + LARGE / 2);
  evbus_test_stop (broker);
  evbus_test_assert_ledger (broker, "accepted=2 delivered=1 dead=1");
}

static void
read_line (void)
{
  char line[16];

  fflush (stdout);
  g_assert_nonnull (fgets (line, sizeof line, stdin));
}

static void
stop_while_it_hangs (void)
{
  g_autoptr(EvbusBroker) broker = start_broker ();
  EvbusRoute *route = get_route (broker, 0);
  gint64 start;

  puts ("started");
  read_line ();
  for (guint i = 0; i < N_FEW; i++)
    put_one (broker, route, i, FALSE);
  puts ("put");
  read_line ();
  start = g_get_monotonic_time ();
  evbus_test_stop_leaving (broker);
  evbus_test_wait_until (count_threads ("evbus-route") == 0);
  /* It has five seconds; the rest is for a machine that has much to do. */
  g_assert_cmpint (g_get_monotonic_time () - start, <, 10 * G_USEC_PER_SEC);
  g_assert_cmpuint (evbus_test_figure (route, "delivered"), <, N_FEW);
}

int
main (int    argc,
      char **argv)
{
  const char *step = argc > 2 ? argv[2] : "";
  guint n = argc > 3 ? atoi (argv[3]) : 0;

  evbus_test_init (&argc, &argv);
  config = argv[1];

  if (g_str_equal (step, "deliver"))
    deliver (n);
  else if (g_str_equal (step, "close"))
    close_in_the_middle (n);
  else if (g_str_equal (step, "leak"))
    leave_nothing (n);
  else if (g_str_equal (step, "spoilt"))
    spoil (n, argc > 4 ? argv[4] : NULL);
  else if (g_str_equal (step, "full"))
    fill (n);
  else if (g_str_equal (step, "large"))
    give_back ();
  else if (g_str_equal (step, "hang"))
    stop_while_it_hangs ();
  else
    g_error ("there is no step '%s'", step);

  return 0;
}
