/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The two sides of a bench run in turn, and in turn first. The ratio printed is
 * the median of the rounds' own ratios, not the ratio of two medians: what slows
 * the machine down for a second or two slows both sides of one round, and
 * cancels there, while the two medians may come from different minutes.
 * `ours` and `limit` are the medians of each side, so that their quotient can
 * differ a little from `ratio`.
 *
 * A ratio short of its target is reported ("met": false), and is no failure of
 * the program: that is for whoever reads the figures, who knows the machine.
 */

#include "bench.h"

#include <glib/gstdio.h>

#include <stdlib.h>
#include <unistd.h>

/* How much smaller a --quick run is, which only shows that a bench works. */
#define QUICK_DIVISOR 50

typedef enum
{
  SIDE_OURS,
  SIDE_LIMIT,
  N_SIDES,
} Side;

static const char * const side_names[N_SIDES] = { "ours", "limit" };

static gboolean quick;
static int rounds = BENCH_ROUNDS;
static char *only_side;
static gboolean failed;

static const GOptionEntry options[] = {
  { "quick", 0, 0, G_OPTION_ARG_NONE, &quick,
    "One small round, to see that it works; the figures mean nothing", NULL },
  { "rounds", 0, 0, G_OPTION_ARG_INT, &rounds,
    "Rounds to take the median of, at least 5; against a mere number 5 are enough", "N" },
  { "side", 0, 0, G_OPTION_ARG_STRING, &only_side,
    "Run one side alone and print no ratio, for a profiler", "ours|limit" },
  G_OPTION_ENTRY_NULL
};

/* A load that others put on the machine is part of how the figures are to be
 * read, so it is said beside them. */
static void
warn_of_load (void)
{
  double load;

  if (getloadavg (&load, 1) == 1 && load > 0.25 * g_get_num_processors ())
    g_printerr ("# load %.2f on %u processors before the start: the figures are noisy\n",
                load, g_get_num_processors ());
}

void
bench_init (int    *argc,
            char ***argv)
{
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);
  g_autoptr (GError) error = NULL;

  g_option_context_add_main_entries (context, options, NULL);
  if (!g_option_context_parse (context, argc, argv, &error))
    {
      g_printerr ("%s: %s\n", g_get_prgname (), error->message);
      exit (2);
    }

  if (only_side != NULL &&
      g_strcmp0 (only_side, side_names[SIDE_OURS]) != 0 &&
      g_strcmp0 (only_side, side_names[SIDE_LIMIT]) != 0)
    {
      g_printerr ("%s: --side is 'ours' or 'limit', not '%s'\n", g_get_prgname (), only_side);
      exit (2);
    }

  if (rounds < BENCH_MIN_ROUNDS)
    {
      g_printerr ("%s: --rounds is at least %d\n", g_get_prgname (), BENCH_MIN_ROUNDS);
      exit (2);
    }

  if (quick)
    rounds = 1;
  else
    warn_of_load ();
}

gboolean
bench_is_quick (void)
{
  return quick;
}

/* Turns a count of a full run into that of this run. */
guint
bench_scale (guint n)
{
  return quick ? MAX (n / QUICK_DIVISOR, 1) : n;
}

/* With all that is in it. */
void
bench_remove_folder (const char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename (folder, name, NULL);

      if (g_file_test (path, G_FILE_TEST_IS_DIR))
        bench_remove_folder (path);
      else
        g_unlink (path);
    }
  g_rmdir (folder);
}

double
bench_per_second (guint64 n,
                  gint64  start,
                  gint64  end)
{
  return (double) n * G_USEC_PER_SEC / (double) MAX (end - start, 1);
}

void
bench_fail (const char *name,
            const char *side,
            const char *message)
{
  g_printerr ("%s: %s: %s: %s\n", g_get_prgname (), name, side, message);
  failed = TRUE;
}

static int
compare_doubles (gconstpointer a,
                 gconstpointer b)
{
  double x = *(const double *) a;
  double y = *(const double *) b;

  return (x > y) - (x < y);
}

static double
median (const double *values,
        guint         n)
{
  g_autofree double *sorted = g_memdup2 (values, n * sizeof *values);

  qsort (sorted, n, sizeof *sorted, compare_doubles);
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static double
ratio_of (double ours,
          double limit)
{
  return limit > 0 ? ours / limit : ours;
}

static void
append_number (GString    *line,
               const char *key,
               double      value)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append_printf (line, ",\"%s\":%s", key,
                          g_ascii_formatd (text, sizeof text, "%.6g", value));
}

static void
print_line (const Bench *bench,
            double       ours,
            double       limit,
            double       ratio)
{
  g_autoptr (GString) line = g_string_new (NULL);
  gboolean met;

  met = bench->lower_is_better ? ratio <= bench->target : ratio >= bench->target;

  g_string_append_printf (line, "{\"name\":\"%s\"", bench->name);
  append_number (line, "ours", ours);
  append_number (line, "limit", limit);
  g_string_append_printf (line, ",\"unit\":\"%s\"", bench->unit);
  append_number (line, "ratio", ratio);
  append_number (line, "target", bench->target);
  if (bench->lower_is_better)
    g_string_append (line, ",\"lower_is_better\":true");
  g_string_append_printf (line, ",\"met\":%s}", met ? "true" : "false");
  g_print ("%s\n", line->str);
}

static gboolean
run_side (const Bench *bench,
          Side         side,
          double      *value)
{
  BenchSide func = side == SIDE_OURS ? bench->ours : bench->limit;
  g_autoptr (GError) error = NULL;

  if (func == NULL)
    {
      *value = bench->fixed_limit;
      return TRUE;
    }

  if (!func (bench->data, value, &error))
    {
      bench_fail (bench->name, side_names[side], error ? error->message : "no reason given");
      return FALSE;
    }

  g_debug ("%s: %s: %g %s", bench->name, side_names[side], *value, bench->unit);
  return TRUE;
}

/* The first side of a round pays for the caches that the other left behind, so
 * the sides take turns in being first. */
static gboolean
run_round (const Bench *bench,
           guint        round,
           double      *values)
{
  Side first = round % 2 == 0 ? SIDE_OURS : SIDE_LIMIT;
  Side second = first == SIDE_OURS ? SIDE_LIMIT : SIDE_OURS;

  return run_side (bench, first, &values[first]) &&
         run_side (bench, second, &values[second]);
}

/* A mere number does not vary, so that fewer rounds tell the same. */
static int
rounds_of (const Bench *bench)
{
  return bench->limit != NULL ? rounds : MIN (rounds, BENCH_MIN_ROUNDS);
}

static void
run_one_side (const Bench *bench,
              Side         side)
{
  double value;
  int i;

  for (i = 0; i < rounds_of (bench); i++)
    if (!run_side (bench, side, &value))
      return;
}

/*
 * bench_run:
 *
 * Runs a bench and prints its line. A round that warms both sides up comes
 * first and is not counted, unless our side is held against a mere number: what
 * is measured then (a start, a growth) is of the first time.
 */
void
bench_run (const Bench *bench)
{
  int n = rounds_of (bench);
  g_autofree double *ours = g_new (double, n);
  g_autofree double *limits = g_new (double, n);
  g_autofree double *ratios = g_new (double, n);
  double values[N_SIDES];
  int i;

  if (only_side != NULL)
    {
      run_one_side (bench, g_str_equal (only_side, side_names[SIDE_OURS]) ? SIDE_OURS : SIDE_LIMIT);
      return;
    }

  if (bench->limit != NULL && !quick && !run_round (bench, 1, values))
    return;

  for (i = 0; i < n; i++)
    {
      if (!run_round (bench, i, values))
        return;
      ours[i] = values[SIDE_OURS];
      limits[i] = values[SIDE_LIMIT];
      ratios[i] = ratio_of (ours[i], limits[i]);
    }

  print_line (bench, median (ours, n), median (limits, n), median (ratios, n));
}

/* Returns: the exit code: not 0 if anything could not be measured. */
int
bench_finish (void)
{
  g_clear_pointer (&only_side, g_free);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

GVariant *
bench_build_body (guint i)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&builder, "{sv}", "id", g_variant_new_int64 (i));
  g_variant_builder_add (&builder, "{sv}", "customer", g_variant_new_string ("C-10442"));
  g_variant_builder_add (&builder, "{sv}", "amount", g_variant_new_double (129.95));
  g_variant_builder_add (&builder, "{sv}", "paid", g_variant_new_boolean (TRUE));
  g_variant_builder_add (&builder, "{sv}", "note", g_variant_new_string ("leave it at the \"back\" door"));
  return g_variant_builder_end (&builder);
}
