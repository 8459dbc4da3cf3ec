/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The look at all that is stored: it finds what is wrong, and nothing where nothing
 * is. */

#include <errno.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "spool-test.h"

#include "evbus-spool-store-private.h"

#define DEADLINE (60 * G_TIME_SPAN_SECOND)
#define N_EVENTS 2000
#define PAGE 4096

#define LEAF 0x0d
#define INTERIOR 0x05

static int n_warnings;   /* atomic */

static GLogWriterOutput
count_warnings (GLogLevelFlags   level,
                const GLogField *fields,
                gsize            n_fields,
                gpointer         data)
{
  if ((level & G_LOG_LEVEL_WARNING) == 0)
    return g_log_writer_default (level, fields, n_fields, data);
  g_atomic_int_inc (&n_warnings);
  return G_LOG_WRITER_HANDLED;
}

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  EvbusSpoolRoute *routes[2];

  spool_test_set_up (fixture, NULL);
  routes[0] = evbus_spool_adopt_route (fixture->spool, "a");
  routes[1] = evbus_spool_adopt_route (fixture->spool, "b");
  for (guint i = 1; i <= N_EVENTS; i++)
    {
      g_autofree char *body = g_strdup_printf ("%u", i);
      g_autoptr(EvbusEvent) event = spool_test_event (body, 200);

      if (i % 500 == 1)
        evbus_spool_begin (fixture->spool);
      evbus_spool_append (fixture->spool, event, routes, i % 2 + 1, FALSE);
      if (i % 500 == 0)
        g_assert_true (evbus_spool_commit (fixture->spool, NULL));
    }
  g_atomic_int_set (&n_warnings, 0);
}

/* The file of a closed spool, its pages to be changed. */
static guint8 *
take_file (Fixture *fixture,
           gsize   *size)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  char *data = NULL;

  g_clear_pointer (&fixture->spool, evbus_spool_unref);
  g_assert_true (g_file_get_contents (path, &data, size, NULL));
  return (guint8 *) data;
}

static void
put_file (Fixture *fixture,
          guint8  *data,
          gsize    size)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);

  g_assert_true (g_file_set_contents (path, (char *) data, size, NULL));
  spool_test_open (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_INTACT);
}

/* A page of that type in the middle of the events. */
static guint8 *
find_page (guint8 *data,
           gsize   size,
           guint8  type)
{
  for (gsize at = size / 2 / PAGE * PAGE; at + PAGE <= size; at += PAGE)
    {
      if (data[at] == type && (type == INTERIOR || memmem (data + at, PAGE, "EVR1", 4) != NULL))
        return data + at;
    }
  for (gsize at = PAGE; at + PAGE <= size; at += PAGE)
    {
      if (data[at] == type)
        return data + at;
    }
  g_assert_not_reached ();
}

static gboolean
is_marked (Fixture *fixture)
{
  g_autofree char *mark = g_build_filename (fixture->directory, "damaged", NULL);

  return g_file_test (mark, G_FILE_TEST_EXISTS);
}

static EvbusSql *
open_reader (Fixture *fixture)
{
  g_autoptr(GError) error = NULL;
  EvbusSql *sql = evbus_spool_schema_open_reader (fixture->spool, &error);

  g_assert_no_error (error);
  return sql;
}

/* Looks at everything; returns in how many steps. */
static guint
look (Fixture *fixture)
{
  g_autoptr(EvbusSql) sql = open_reader (fixture);
  EvbusSpoolCheck *check = evbus_spool_check_new (fixture->spool, sql);
  guint n = 1;

  while (evbus_spool_check_step (check) == EVBUS_SPOOL_CHECK_MORE)
    n++;
  evbus_spool_check_free (check);
  return n;
}

/* It is marked and told; the next start has all events. */
static void
assert_found (Fixture *fixture)
{
  g_autofree char *note = NULL;
  EvbusSpoolRoute *route;
  EvbusLedger ledger;

  g_assert_true (is_marked (fixture));
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, &note), ==, EVBUS_SPOOL_CONDITION_DAMAGED);
  g_assert_nonnull (strstr (note, "the next start recovers"));

  spool_test_reopen (fixture);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_RECOVERED);
  route = evbus_spool_adopt_route (fixture->spool, "a");
  evbus_spool_route_get_ledger (route, &ledger, NULL);
  g_assert_cmpuint (ledger.queued, ==, N_EVENTS);
  g_assert_cmpuint (ledger.dropped, ==, 0);
}

static void
test_sound (Fixture       *fixture,
            gconstpointer  data)
{
  /* Each step is bounded. */
  g_assert_cmpuint (look (fixture), >, N_EVENTS / 256);
  g_assert_false (is_marked (fixture));
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 0);
}

/* Events come, are settled and go in the meantime. */
static void
test_at_work (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(EvbusSql) sql = open_reader (fixture);
  EvbusSpoolCheck *check = evbus_spool_check_new (fixture->spool, sql);
  EvbusSpoolRoute *routes[2];
  guint last = N_EVENTS;
  gint64 position = 0;

  routes[0] = evbus_spool_adopt_route (fixture->spool, "a");
  routes[1] = evbus_spool_adopt_route (fixture->spool, "b");
  while (evbus_spool_check_step (check) == EVBUS_SPOOL_CHECK_MORE)
    {
      spool_test_put (fixture->spool, routes, 2, last + 1, last + 50, NULL);
      last += 50;
      position += 100;
      spool_test_deliver (fixture->spool, routes[0], 100, position, NULL, 0);
      spool_test_deliver (fixture->spool, routes[1], 50, position, NULL, 0);
      evbus_spool_maintain (fixture->spool);
    }
  evbus_spool_check_free (check);
  g_assert_cmpint (position, >, 0);
  g_assert_false (is_marked (fixture));
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 0);
}

/* A wrong bit in the key of a page above the leaves. */
static void
break_key (guint8 *data,
           gsize   size)
{
  guint8 *page = find_page (data, size, INTERIOR);
  guint n_cells = page[3] << 8 | page[4];
  guint8 *key = page + (page[12 + n_cells / 2 * 2] << 8 | page[13 + n_cells / 2 * 2]) + 4;

  while ((*key & 0x80) != 0)
    key++;
  key[-1] ^= 0x04;
}

/* A row too few in a leaf. */
static void
break_count (guint8 *data,
             gsize   size)
{
  find_page (data, size, LEAF)[4]--;
}

/* A child that is another one's. */
static void
break_pointer (guint8 *data,
               gsize   size)
{
  guint8 *page = find_page (data, size, INTERIOR);
  guint n_cells = page[3] << 8 | page[4];
  guint8 *cell = page + (page[12 + n_cells / 2 * 2] << 8 | page[13 + n_cells / 2 * 2]);
  guint8 *other = page + (page[12 + n_cells / 4 * 2] << 8 | page[13 + n_cells / 4 * 2]);

  memcpy (cell, other, 4);
}

static void
test_broken (Fixture       *fixture,
             gconstpointer  data)
{
  void (* break_it) (guint8 *, gsize) = data;
  g_autofree guint8 *file = NULL;
  gsize size;

  file = take_file (fixture, &size);
  break_it (file, size);
  put_file (fixture, file, size);
  look (fixture);
  assert_found (fixture);
}

/* A recovery would mend nothing: it is told, and the route drops it. */
static void
test_record (Fixture       *fixture,
             gconstpointer  data)
{
  g_autofree guint8 *file = NULL;
  guint8 *record;
  gsize size;

  file = take_file (fixture, &size);
  record = memmem (find_page (file, size, LEAF), PAGE, "EVR1", 4);
  record[80] ^= 0x10;
  put_file (fixture, file, size);
  look (fixture);
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);
  g_assert_false (is_marked (fixture));
}

static void
wait_for_condition (Fixture             *fixture,
                    EvbusSpoolCondition  condition)
{
  gint64 end = g_get_monotonic_time () + DEADLINE;

  while (evbus_spool_get_condition (fixture->spool, NULL) != condition)
    {
      g_assert_cmpint (g_get_monotonic_time (), <, end);
      g_thread_yield ();
    }
}

/* It is done without anyone asking. */
static void
test_by_itself (Fixture       *fixture,
                gconstpointer  data)
{
  g_autofree guint8 *file = NULL;
  gsize size;

  file = take_file (fixture, &size);
  break_key (file, size);
  put_file (fixture, file, size);
  wait_for_condition (fixture, EVBUS_SPOOL_CONDITION_DAMAGED);
  assert_found (fixture);
}

/* The inode that cannot be read, 0: there is none; atomic. And why. */
static gsize broken_file;
static int read_error;

static ssize_t
read_unless_broken (int     fd,
                    void   *data,
                    size_t  size,
                    off_t   offset)
{
  struct stat status;

  if (fstat (fd, &status) == 0 && status.st_ino == g_atomic_pointer_get (&broken_file))
    {
      errno = read_error;
      return -1;
    }
  return pread (fd, data, size, offset);
}

static void
break_reads (Fixture *fixture,
             int      error)
{
  g_autofree char *path = g_build_filename (fixture->directory, "spool.db", NULL);
  sqlite3_vfs *vfs = sqlite3_vfs_find ("unix");
  GStatBuf status;

  g_assert_cmpint (g_stat (path, &status), ==, 0);
  read_error = error;
  for (guint i = 0; i < 2; i++)
    vfs->xSetSystemCall (vfs, i == 0 ? "pread" : "pread64", (sqlite3_syscall_ptr) read_unless_broken);
  g_atomic_pointer_set (&broken_file, status.st_ino);
}

static void
mend_reads (void)
{
  g_atomic_pointer_set (&broken_file, 0);
}

/* That it cannot be read is told, once, and ends no look: that goes on where it was when it can. */
static void
test_unreadable (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autofree char *note = NULL;
  g_autoptr(EvbusSql) sql = NULL;
  EvbusSpoolCheckResult result;
  EvbusSpoolCheck *check;

  spool_test_reopen (fixture);
  sql = open_reader (fixture);
  check = evbus_spool_check_new (fixture->spool, sql);
  g_assert_cmpint (evbus_spool_check_step (check), ==, EVBUS_SPOOL_CHECK_MORE);
  break_reads (fixture, ETIMEDOUT);

  /* Without anyone asking; and of this one. */
  wait_for_condition (fixture, EVBUS_SPOOL_CONDITION_FAILED);
  while ((result = evbus_spool_check_step (check)) == EVBUS_SPOOL_CHECK_MORE)
    ;
  g_assert_cmpint (result, ==, EVBUS_SPOOL_CHECK_FAILED);
  g_assert_cmpint (evbus_spool_check_step (check), ==, EVBUS_SPOOL_CHECK_FAILED);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, &note), ==, EVBUS_SPOOL_CONDITION_FAILED);
  g_assert_nonnull (strstr (note, "spool.db: cannot "));
  g_assert_nonnull (strstr (note, "Connection timed out; it is not looked at for damage until it can be read"));
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);

  mend_reads ();
  g_assert_cmpint (evbus_spool_check_step (check), ==, EVBUS_SPOOL_CHECK_MORE);
  g_assert_cmpint (evbus_spool_get_condition (fixture->spool, NULL), ==, EVBUS_SPOOL_CONDITION_INTACT);
  while ((result = evbus_spool_check_step (check)) == EVBUS_SPOOL_CHECK_MORE)
    ;
  /* No event is missed, and none is counted twice: the whole is as the ledgers say. */
  g_assert_cmpint (result, ==, EVBUS_SPOOL_CHECK_DONE);
  g_assert_false (is_marked (fixture));
  g_assert_cmpint (g_atomic_int_get (&n_warnings), ==, 1);
  evbus_spool_check_free (check);
}

/* What the disk does not give back is damage: the next start recovers the rest, of which here nothing is missing. */
static void
test_io_error (Fixture       *fixture,
               gconstpointer  data)
{
  g_autofree char *note = NULL;

  spool_test_reopen (fixture);
  break_reads (fixture, EIO);
  wait_for_condition (fixture, EVBUS_SPOOL_CONDITION_DAMAGED);
  mend_reads ();
  evbus_spool_get_condition (fixture->spool, &note);
  g_assert_nonnull (strstr (note, "not all of it can be read: Input/output error; the next start recovers"));
  assert_found (fixture);
}

static void
add_broken (const char *path,
            void     (* break_it) (guint8 *data, gsize size))
{
  g_test_add (path, Fixture, break_it, set_up, test_broken, spool_test_tear_down);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (count_warnings, NULL, NULL);
  g_test_add ("/spool/check/sound", Fixture, NULL, set_up, test_sound, spool_test_tear_down);
  g_test_add ("/spool/check/at-work", Fixture, NULL, set_up, test_at_work, spool_test_tear_down);
  g_test_add ("/spool/check/record", Fixture, NULL, set_up, test_record, spool_test_tear_down);
  g_test_add ("/spool/check/by-itself", Fixture, NULL, set_up, test_by_itself, spool_test_tear_down);
  g_test_add ("/spool/check/io-error", Fixture, NULL, set_up, test_io_error, spool_test_tear_down);
  g_test_add ("/spool/check/unreadable", Fixture, NULL, set_up, test_unreadable, spool_test_tear_down);
  add_broken ("/spool/check/key", break_key);
  add_broken ("/spool/check/count", break_count);
  add_broken ("/spool/check/pointer", break_pointer);
  return g_test_run ();
}
