/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Entries claim their parts of the spool under the queue's lock: that takes as long as there are entries
 * and parts, and not as long as there are pairs of them. The time of some is compared with that of
 * thirty-two times as many; the machine's speed is in both, and nobody else's work is in a thread's
 * own time. */

#include <time.h>

#include "spool-test.h"

#include "evbus-claim-private.h"

#define FEW 64
#define MANY (32 * FEW)

/* It would be 1,024, if it went by pairs. */
#define MAX_RATIO 256
#define N_ROUNDS 3

/* The entries of a configuration, and those of the one that it is changed to. */
typedef struct {
  const char *before;
  const char *after;     /* how the patterns begin */
  gboolean    numbered;  /* each entry has a pattern of its own */
  gboolean    distinct;  /* each has settings of its own */
} Case;

static void
free_spec (gpointer data)
{
  EvbusRouteSpec *spec = data;

  g_free (spec->provider);
  g_free (spec->profile);
  g_free (spec->digest);
  g_free (spec);
}

/* With what is asked for here alone. */
static GPtrArray *
make_specs (const Case *the,
            const char *pattern,
            guint       first,
            guint       n)
{
  GPtrArray *specs = g_ptr_array_new_with_free_func (free_spec);

  for (guint i = 0; i < n; i++)
    {
      EvbusRouteSpec *spec = g_new0 (EvbusRouteSpec, 1);

      spec->provider = g_strdup ("internal");
      spec->profile = g_strdup_printf ("%s%u", pattern, the->numbered ? i : 0);
      spec->digest = g_strdup_printf ("%064u", the->distinct ? first + i : first);
      g_ptr_array_add (specs, spec);
    }
  return specs;
}

/* In ns. */
static gint64
get_time (void)
{
  struct timespec now;

  g_assert_cmpint (clock_gettime (CLOCK_THREAD_CPUTIME_ID, &now), ==, 0);
  return now.tv_sec * (gint64) 1000000000 + now.tv_nsec;
}

static gint64
claim (Fixture   *fixture,
       GPtrArray *specs)
{
  g_autoptr(GHashTable) taken = g_hash_table_new (NULL, NULL);
  g_autoptr(GHashTable) held = g_hash_table_new (NULL, NULL);
  g_autofree EvbusSpoolRoute **claims = g_new0 (EvbusSpoolRoute *, specs->len);
  g_autoptr(GHashTable) different = g_hash_table_new (NULL, NULL);
  g_autoptr(GError) error = NULL;
  gint64 time = get_time ();

  evbus_claim_routes_locked (fixture->spool, held, specs, taken, claims, NULL, &error);
  time = get_time () - time;
  g_assert_no_error (error);
  for (guint i = 0; i < specs->len; i++)
    g_assert_true (claims[i] != NULL && g_hash_table_add (different, claims[i]));
  return time;
}

static gint64
measure (const Case *the,
         guint       n)
{
  g_autoptr(GPtrArray) before = make_specs (the, the->before, 1, n);
  g_autoptr(GPtrArray) after = make_specs (the, the->after, 1 + n, n);
  gint64 least = G_MAXINT64;

  for (guint i = 0; i < N_ROUNDS; i++)
    {
      Fixture fixture = { 0 };

      spool_test_set_up (&fixture, NULL);
      claim (&fixture, before);
      least = MIN (least, claim (&fixture, after));
      evbus_spool_unref (fixture.spool);
      spool_test_remove (fixture.directory);
      g_free (fixture.directory);
    }
  return least;
}

static void
test_ratio (gconstpointer data)
{
  gint64 few = measure (data, FEW);
  gint64 many = measure (data, MANY);

  g_test_message ("%u: %.3f ms, %u: %.3f ms", FEW, few / 1e6, MANY, many / 1e6);
  g_assert_cmpint (many / few, <=, MAX_RATIO);
}

int
main (int    argc,
      char **argv)
{
  static const Case changed = { "p", "p", TRUE, FALSE };
  static const Case new_ones = { "p", "q", TRUE, FALSE };
  static const Case empty = { "p", "p", FALSE, TRUE };
  static const Case equal = { "p", "p", FALSE, FALSE };

  g_test_init (&argc, &argv, NULL);
  g_test_add_data_func ("/claim-cost/changed", &changed, test_ratio);
  g_test_add_data_func ("/claim-cost/new", &new_ones, test_ratio);
  g_test_add_data_func ("/claim-cost/empty", &empty, test_ratio);
  g_test_add_data_func ("/claim-cost/equal", &equal, test_ratio);
  return g_test_run ();
}
