/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A disk that is full: nothing that was stored is lost, delivery and what is dropped on
 * purpose free space, and puts work again. */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "spool-test.h"

#include "evbus-limits-private.h"
#include "evbus-spool-store-private.h"

#define DEADLINE (60 * G_TIME_SPAN_SECOND)
#define N_WAITING 100   /* letters */

/* Puts until there is no space; how many went in. */
static guint
fill_disk (Fixture         *fixture,
           EvbusSpoolRoute *route,
           gsize            padding,
           gint64          *last)
{
  guint n = 0;

  for (;;)
    {
      g_autoptr(GError) error = NULL;
      EvbusLedger before, after;
      gint64 seqs[10];

      evbus_spool_route_get_ledger (route, &before, NULL);
      spool_test_append (fixture->spool, &route, 1, n, n + 9, padding, seqs);
      if (!evbus_spool_commit (fixture->spool, &error))
        {
          g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL);
          g_assert_nonnull (strstr (error->message, fixture->directory));
          evbus_spool_route_get_ledger (route, &after, NULL);
          g_assert_cmpuint (after.accepted, ==, before.accepted);
          return n;
        }
      n += 10;
      *last = seqs[9];
      g_assert_cmpuint (n, <, 100000);
    }
}

/* Delivers the whole backlog in steps, while the disk is full, until puts work
 * again. */
static void
drain_full_disk (Fixture         *fixture,
                 EvbusSpoolRoute *route,
                 guint            n)
{
  g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (fixture->spool, route, NULL);
  gint64 deadline = g_get_monotonic_time () + DEADLINE;
  guint found = 0;
  gboolean done = FALSE;

  for (;;)
    {
      g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
      g_autoptr(GError) error = NULL;

      evbus_spool_reader_read (reader, 50, G_MAXSIZE, events, NULL, &error);
      g_assert_no_error (error);
      if (events->len == 0)
        break;
      g_assert_cmpuint (spool_test_number (events->pdata[0]), ==, found);
      found += events->len;
      spool_test_deliver (fixture->spool, route, events->len, evbus_spool_reader_get_position (reader), NULL, 0);
      evbus_spool_maintain (fixture->spool);
    }
  g_assert_cmpuint (found, ==, n);

  while (!done)
    {
      evbus_spool_maintain (fixture->spool);
      spool_test_append (fixture->spool, &route, 1, 1, 1, 1000, NULL);
      done = evbus_spool_commit (fixture->spool, NULL);
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    }
}

static void
test_full (gconstpointer data)
{
  const char *options = data;
  Fixture fixture = { 0 };
  EvbusSpoolRoute *route;
  gint64 last = 0;
  guint n;

  fixture.directory = g_dir_make_tmp ("evbus-full-XXXXXX", NULL);
  g_assert_cmpint (mount ("tmpfs", fixture.directory, "tmpfs", 0, options), ==, 0);
  spool_test_open (&fixture);
  route = evbus_spool_adopt_route (fixture.spool, "a");

  for (guint round = 0; round < 3; round++)
    {
      n = fill_disk (&fixture, route, 1000, &last);
      g_assert_cmpuint (n, >, 100);
      /* All that was accepted is there after a restart on the full disk. */
      spool_test_reopen (&fixture);
      route = evbus_spool_adopt_route (fixture.spool, "a");
      if (round > 0)
        {
          g_autoptr(EvbusSpoolReader) reader = evbus_spool_reader_new (fixture.spool, route, NULL);
          g_autoptr(GPtrArray) first = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);

          g_assert_true (evbus_spool_reader_read (reader, 1, G_MAXSIZE, first, NULL, NULL));
          spool_test_deliver (fixture.spool, route, 1, evbus_spool_reader_get_position (reader), NULL, 0);
        }
      {
        EvbusLedger ledger;

        evbus_spool_route_get_ledger (route, &ledger, NULL);
        g_assert_cmpuint (ledger.queued, ==, n);
        g_assert_cmpuint (ledger.accepted - ledger.delivered, ==, n);
      }
      drain_full_disk (&fixture, route, n);
    }
  spool_test_check_ledgers (fixture.spool);
  evbus_spool_unref (fixture.spool);
  g_assert_cmpint (umount (fixture.directory), ==, 0);
  g_rmdir (fixture.directory);
  g_free (fixture.directory);
}

/* Files cannot grow: the same, in other words. */
static void
test_limit (Fixture       *fixture,
            gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  struct rlimit old, small;
  EvbusLedger ledger;
  gint64 last = 0;
  guint n;

  g_assert_true (evbus_spool_commit ((evbus_spool_begin (fixture->spool), fixture->spool), NULL));
  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &old), ==, 0);
  small = old;
  small.rlim_cur = 5 * 1024 * 1024;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &small), ==, 0);
  n = fill_disk (fixture, route, 1000, &last);
  g_assert_cmpuint (n, >, 100);
  spool_test_deliver (fixture->spool, route, n, last, NULL, 0);
  evbus_spool_maintain (fixture->spool);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &old), ==, 0);
  evbus_spool_route_get_ledger (route, &ledger, NULL);
  g_assert_cmpuint (ledger.delivered, ==, n);
}

/* ---- A disk that dead letters have filled: they go by what is asked for. */

static void
bury (Fixture         *fixture,
      EvbusSpoolRoute *route,
      guint            number,
      gint64           seq,
      const char      *reason)
{
  g_autofree char *body = g_strdup_printf ("%u", number);
  g_autoptr(EvbusEvent) event = spool_test_event (body, 1000);
  EvbusSpoolDeath death = { event, reason };
  EvbusLedger change = { .dead = 1 };

  event->seq = seq;
  evbus_spool_settle (fixture->spool, route, seq, NULL, 0, &change, event->weight, &death, 1);
}

/* The events @first to @last of the route are refused. FALSE: they could not be put. */
static gboolean
put_and_bury (Fixture         *fixture,
              EvbusSpoolRoute *route,
              guint            first,
              guint            last)
{
  g_autoptr(GError) error = NULL;
  gint64 seqs[10];

  spool_test_append (fixture->spool, &route, 1, first, last, 1000, seqs);
  if (!evbus_spool_commit (fixture->spool, &error))
    {
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL);
      return FALSE;
    }
  for (guint i = first; i <= last; i++)
    bury (fixture, route, i, seqs[i - first], "refused");
  evbus_spool_maintain (fixture->spool);
  return TRUE;
}

/* While there is space, what stands in the log has its place in the database allocated: a disk that
 * another fills then does not keep the log. */
static void
test_letters_have_their_place (Fixture       *fixture,
                               gconstpointer  data)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (fixture->spool, "a");
  g_autofree char *reason = g_strnfill (4 * 1024 * 1024 / N_WAITING, 'x');
  gint64 seqs[N_WAITING], n_pages;
  struct stat status;

  spool_test_put (fixture->spool, &route, 1, 0, N_WAITING - 1, seqs);
  for (guint i = 0; i < N_WAITING; i++)
    bury (fixture, route, i, seqs[i], reason);
  evbus_spool_maintain (fixture->spool);

  g_assert_true (evbus_sql_number (fixture->spool->sql, "PRAGMA page_count", &n_pages, NULL));
  g_assert_cmpint (n_pages, >, 1000);
  g_assert_cmpint (fstat (fixture->spool->db_fd, &status), ==, 0);
  g_assert_cmpint (status.st_blocks * 512, >=, n_pages * 4096);
}

static void
drop_all (EvbusSpool      *spool,
          EvbusSpoolRoute *route)
{
  g_autoptr(GArray) numbers = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(GError) error = NULL;
  gint64 last = 0;

  g_assert_true (evbus_spool_last_dead (spool, route, &last, NULL));
  g_assert_true (evbus_spool_list_dead_numbers (spool, route, 0, last, G_MAXINT, numbers, NULL));
  while (numbers->len > 0)
    {
      guint n = MIN (numbers->len, EVBUS_SPOOL_STEP_LETTERS);
      g_autoptr(GPtrArray) routes = g_ptr_array_new ();
      EvbusSpoolDeadStep step = { .routes = routes };

      evbus_spool_step_dead (spool, (gint64 *) (gpointer) numbers->data, n, &step, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (step.n_seen, >, 0);
      g_assert_cmpuint (step.n_done, ==, step.n_seen);
      g_assert_cmpuint (routes->len, ==, step.n_seen);
      g_array_remove_range (numbers, 0, step.n_seen);
    }
}

static void
forget (EvbusSpool      *spool,
        EvbusSpoolRoute *route)
{
  g_autoptr(GError) error = NULL;

  evbus_spool_orphan_route (spool, route);
  evbus_spool_forget_route (spool, route, &error);
  g_assert_no_error (error);
}

static void
expire_all (EvbusSpool      *spool,
            EvbusSpoolRoute *route)
{
  g_autoptr(GError) error = NULL;
  guint n = 1;

  while (n > 0)
    {
      evbus_spool_lose_dead (spool, route, G_STRUCT_OFFSET (EvbusLedger, expired), EVBUS_EXPIRE_EVENTS,
                             G_MAXUINT64, G_MAXINT64, &n, &error);
      g_assert_no_error (error);
    }
}

/* Somebody else takes what there is. */
static void
take_all_space (const char *directory)
{
  g_autofree char *path = g_build_filename (directory, "of-another", NULL);
  g_autofree char *block = g_malloc0 (4096);
  int fd = g_open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  g_assert_cmpint (fd, >=, 0);
  while (write (fd, block, 4096) > 0)
    ;
  g_assert_cmpint (errno, ==, ENOSPC);
  close (fd);
}

typedef struct {
  const char *path;
  const char *options;    /* of the file system */
  guint n_letters;        /* then somebody else takes the rest of the disk; 0: they fill it */
  void (* lose) (EvbusSpool *, EvbusSpoolRoute *);
  gboolean waiting;       /* more letters, of another route, wait for space */
} LoseCase;

/* So that @route has dead letters, and the disk no space. Returns how many. */
static guint
fill_with_dead (Fixture         *fixture,
                EvbusSpoolRoute *route,
                const LoseCase  *how)
{
  EvbusLedger ledger;
  guint n = 0;

  while ((how->n_letters == 0 || n < how->n_letters) && !fixture->spool->full)
    {
      n += put_and_bury (fixture, route, n, n + 9) ? 10 : 0;
      /* Whether it stays so is not a question of time here. */
      fixture->spool->next_try = 0;
      evbus_spool_maintain (fixture->spool);
    }
  if (how->n_letters > 0)
    {
      evbus_spool_empty_wal (fixture->spool);
      take_all_space (fixture->directory);
    }
  evbus_spool_route_get_ledger (route, &ledger, NULL);
  g_assert_cmpuint (ledger.dead, ==, n);
  return n;
}

/* Of another route: they wait in memory for the disk, and are more than will ever find room
 * in what the reserve has given back. */
static void
let_letters_wait (Fixture         *fixture,
                  EvbusSpoolRoute *route,
                  const gint64    *seqs)
{
  g_autofree char *reason = g_strnfill (4 * 1024 * 1024 / N_WAITING, 'x');

  for (guint i = 0; i < N_WAITING; i++)
    bury (fixture, route, i, seqs[i], reason);
  evbus_spool_maintain (fixture->spool);
  g_assert_cmpuint (fixture->spool->deaths->len, >, 0);
}

static void
wait_for_space (EvbusSpool      *spool,
                EvbusSpoolRoute *route)
{
  gint64 deadline = g_get_monotonic_time () + DEADLINE;
  gboolean done = FALSE;

  while (!done)
    {
      evbus_spool_maintain (spool);
      spool_test_append (spool, &route, 1, 1, 1, 1000, NULL);
      done = evbus_spool_commit (spool, NULL);
      g_assert_cmpint (g_get_monotonic_time (), <, deadline);
    }
  while (evbus_spool_maintain (spool) || spool->deaths->len > 0)
    g_assert_cmpint (g_get_monotonic_time (), <, deadline);
}

/* Whatever else fails: that puts do comes first. */
static void
test_told_first (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GError) error = g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "it cannot be moved");

  evbus_spool_set_failed (fixture->spool, EVBUS_SPOOL_MOVE_LOG, error);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_FAILED);
  evbus_spool_set_full (fixture->spool, TRUE);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_FULL);
  evbus_spool_set_full (fixture->spool, FALSE);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_FAILED);
}

/* One of two routes is dead, and the other one's share is small: what that delivers is enough. */
static void
test_partly (void)
{
  Fixture fixture = { 0 };
  EvbusSpoolRoute *routes[2];
  EvbusLedger ledger;
  gint64 seqs[50], n_before, n_after;

  fixture.directory = g_dir_make_tmp ("evbus-full-XXXXXX", NULL);
  g_assert_cmpint (mount ("tmpfs", fixture.directory, "tmpfs", 0, "size=80m"), ==, 0);
  spool_test_open (&fixture);
  routes[0] = evbus_spool_adopt_route (fixture.spool, "healthy");
  routes[1] = evbus_spool_adopt_route (fixture.spool, "dead");
  for (guint i = 0; i < 100; i++)
    {
      spool_test_append (fixture.spool, &routes[i >= 16], 1, 1, 50, 10000, i < 16 ? seqs : NULL);
      g_assert_true (evbus_spool_commit (fixture.spool, NULL));
    }
  evbus_spool_empty_wal (fixture.spool);
  take_all_space (fixture.directory);
  spool_test_append (fixture.spool, &routes[1], 1, 1, 50, 10000, NULL);
  g_assert_false (evbus_spool_commit (fixture.spool, NULL));
  g_assert_true (fixture.spool->full);

  spool_test_deliver (fixture.spool, routes[0], 16 * 50, seqs[49], NULL, 0);
  /* Each step fits into what the reserve has given up, however fast the machine is. */
  evbus_spool_maintain (fixture.spool);
  g_assert_true (evbus_sql_number (fixture.spool->sql, "PRAGMA page_count", &n_before, NULL));
  for (guint i = 0; i < 5; i++)
    evbus_spool_maintain (fixture.spool);
  g_assert_true (evbus_sql_number (fixture.spool->sql, "PRAGMA page_count", &n_after, NULL));
  g_assert_cmpint (n_after, <, n_before);
  wait_for_space (fixture.spool, routes[1]);
  evbus_spool_route_get_ledger (routes[0], &ledger, NULL);
  g_assert_cmpuint (ledger.delivered, ==, 16 * 50);
  spool_test_check_ledgers (fixture.spool);
  evbus_spool_unref (fixture.spool);
  g_assert_cmpint (umount (fixture.directory), ==, 0);
  g_rmdir (fixture.directory);
  g_free (fixture.directory);
}

static void
test_lose_dead (gconstpointer data)
{
  const LoseCase *how = data;
  Fixture fixture = { 0 };
  EvbusSpoolRoute *route, *other;
  gint64 seqs[N_WAITING];
  EvbusLedger ledger;
  guint n;

  fixture.directory = g_dir_make_tmp ("evbus-full-XXXXXX", NULL);
  g_assert_cmpint (mount ("tmpfs", fixture.directory, "tmpfs", 0, how->options), ==, 0);
  spool_test_open (&fixture);
  route = evbus_spool_adopt_route (fixture.spool, "a");
  other = evbus_spool_adopt_route (fixture.spool, "b");
  spool_test_put (fixture.spool, &other, 1, 0, N_WAITING - 1, seqs);

  n = fill_with_dead (&fixture, route, how);
  if (how->waiting)
    let_letters_wait (&fixture, other, seqs);
  how->lose (fixture.spool, route);
  wait_for_space (fixture.spool, other);

  if (how->lose == forget)
    evbus_spool_get_rest (fixture.spool, &ledger);
  else
    evbus_spool_route_get_ledger (route, &ledger, NULL);
  g_assert_cmpuint (ledger.accepted, ==, n);
  g_assert_cmpuint (ledger.dropped + ledger.expired + ledger.dead, ==, n);
  g_assert_cmpuint (ledger.dead, <=, how->lose == forget ? 0 : 10);   /* those that waited for the disk themselves */
  g_assert_true (evbus_ledger_balances (&ledger));
  spool_test_check_ledgers (fixture.spool);
  evbus_spool_unref (fixture.spool);
  g_assert_cmpint (umount (fixture.directory), ==, 0);
  g_rmdir (fixture.directory);
  g_free (fixture.directory);
}

int
main (int    argc,
      char **argv)
{
  static const LoseCase losses[] = {
    { "/spool/full/drop-dead", "size=2m", 0, drop_all },
    { "/spool/full/forget", "size=2m", 0, forget },
    { "/spool/full/expire-dead", "size=2m", 0, expire_all },
    { "/spool/full/drop-dead/waiting", "size=20m", 0, drop_all, TRUE },
    { "/spool/full/drop-dead/of-another", "size=20m", 5000, drop_all },
    { "/spool/full/expire-dead/of-another", "size=20m", 5000, expire_all },
    { "/spool/full/forget/of-another", "size=20m", 5000, forget },
  };

  /* The mounts are this process's alone, and go with it; any user can make them. */
  unshare (geteuid () == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS);
  mount ("none", "/", "none", MS_REC | MS_PRIVATE, NULL);

  g_test_init (&argc, &argv, NULL);
  /* A full disk is warned of. */
  g_log_set_always_fatal (G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
  g_test_add ("/spool/full/limit", Fixture, NULL, spool_test_set_up, test_limit, spool_test_tear_down);
  g_test_add ("/spool/full/letters-have-their-place", Fixture, NULL, spool_test_set_up, test_letters_have_their_place, spool_test_tear_down);
  g_test_add ("/spool/full/told-first", Fixture, NULL, spool_test_set_up, test_told_first, spool_test_tear_down);
  g_test_add_func ("/spool/full/partly", test_partly);
  g_test_add_data_func ("/spool/full/tmpfs-2m", "size=2m", test_full);
  g_test_add_data_func ("/spool/full/tmpfs-20m", "size=20m", test_full);
  for (guint i = 0; i < G_N_ELEMENTS (losses); i++)
    g_test_add_data_func (losses[i].path, &losses[i], test_lose_dead);
  return g_test_run ();
}
