/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Works on a spool as the broker does, and says each thing it could be held to,
 * so that a test can kill it, cut the power or break the disk, and compare.
 *
 *   spool-driver run FOLDER SEED STEPS [MUTANT]    some of everything
 *   spool-driver drain FOLDER                      delivers what is there
 *   spool-driver fill FOLDER SEED GROUPS           large events, none of which is delivered
 *   spool-driver phase FOLDER NAME                 one thing, as spool-phases.c has it
 *   spool-driver open FOLDER                       opens and closes it
 *
 * On standard output, a line a fact, written at once:
 *
 *   opened CONDITION NOTE
 *   stored SEQ ID ROUTES     its commit was answered (ROUTES: letters)
 *   told ID                  the same, of an event whose id the producer gave
 *   unknown ID               the commit failed: it may be stored or not
 *   refused ID               the disk was full: it is not stored
 *   delivered ROUTE SEQ ID   before the route settles it: a sink has it
 *   dead ROUTE SEQ ID, expired ROUTE SEQ ID       the same
 *   replaying ROUTE ID       before the dead letter goes back to the queue
 *   dropping ROUTE ID        before the dead letter is dropped
 *   settled                  what was delivered, dead … before has been committed
 *   unread MESSAGE, unsettled   where the database is damaged
 *   of drain: letter ROUTE ID, known ID, ledger ROUTE NAME=N… (ROUTE "-": those that were forgotten), drained
 *   of phases: began, ended, forgetting ROUTE, forgotten ROUTE, named ROUTE; and of each start: has-name ROUTE
 *
 * MUTANT breaks a promise on purpose: answer-first (before the commit),
 * settle-first (the cursor moves before the delivery).
 * SPOOL_DRIVER_HEAL=STEP removes the file EVBUS_DISK_SWITCH at that step, and waits
 * until a put is stored again. SPOOL_DRIVER_KILL=1: killed after the last one.
 * SPOOL_DRIVER_DAMAGED=1: records may be damaged. */

#include "spool-driver.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ROUTES "abc"
#define LOT 100000     /* more events than there are */

static const char *mutants[] = { "none", "answer-first", "settle-first", NULL };

void
driver_say (Driver     *self,
            const char *format,
            ...)
{
  va_list arguments;

  va_start (arguments, format);
  g_string_append_vprintf (self->out, format, arguments);
  va_end (arguments);
  g_string_append_c (self->out, '\n');
}

/* All that was said becomes known at once. */
void
driver_flush (Driver *self)
{
  gsize done = 0;
  gssize n;

  while (done < self->out->len)
    {
      n = write (STDOUT_FILENO, self->out->str + done, self->out->len - done);
      g_assert (n > 0);
      done += n;
    }
  g_string_truncate (self->out, 0);
}

gboolean
driver_chance (Driver *self,
               int     percent)
{
  return g_rand_int_range (self->rand, 0, 100) < percent;
}

/* ---- Routes */

/* More of the backlog into the hand. */
static void
read_more (Driver *self,
           Route  *route,
           guint   n)
{
  g_autoptr (GError) error = NULL;
  guint n_damaged = 0;
  guint first = route->hand->len;
  guint i;

  if (!evbus_spool_reader_read (route->reader, n, G_MAXSIZE, route->hand, &n_damaged, &error))
    {
      driver_say (self, "unread %s", error->message);
      return;
    }
  if (n_damaged > 0 && g_getenv ("SPOOL_DRIVER_DAMAGED") == NULL)
    g_error ("%u records of the route %c are damaged", n_damaged, route->name);
  for (i = first; i < route->hand->len; i++)
    {
      EvbusEvent *event = route->hand->pdata[i];

      driver_check_event (event);
      if (i > 0 && event->seq <= ((EvbusEvent *) route->hand->pdata[i - 1])->seq)
        g_error ("The route %c has read %s out of order", route->name, event->id);
    }
}

/* What a round has settled of a route. */
typedef struct {
  EvbusLedger change;
  guint64     weight;
  GArray     *deaths;      /* EvbusSpoolDeath */
  GPtrArray  *settled;     /* EvbusEvent */
} Round;

static void
settle_round (Driver *self,
              Route  *route,
              Round  *round)
{
  g_autoptr (GArray) pending = g_array_new (FALSE, FALSE, sizeof (gint64));
  guint i;

  for (i = 0; i < route->hand->len; i++)
    g_array_append_val (pending, ((EvbusEvent *) route->hand->pdata[i])->seq);
  evbus_spool_settle (self->spool, route->route, evbus_spool_reader_get_position (route->reader),
                      (gint64 *) pending->data, pending->len, &round->change, round->weight,
                      (EvbusSpoolDeath *) round->deaths->data, round->deaths->len);
}

/* Takes some events out of the hand: @percent of them, of which few die. */
static void
fill_round (Driver *self,
            Route  *route,
            Round  *round,
            int     percent)
{
  guint i = 0;

  while (i < route->hand->len)
    {
      EvbusEvent *event = route->hand->pdata[i];
      gboolean dies = percent < 100 && driver_chance (self, 6);

      if (!driver_chance (self, percent))
        {
          i++;
          continue;
        }
      driver_say (self, "%s %c %" G_GINT64_FORMAT " %s", dies ? "dead" : "delivered", route->name, event->seq, event->id);
      round->change.dead += dies;
      round->change.delivered += !dies;
      round->weight += event->weight;
      if (dies)
        g_array_append_vals (round->deaths, &(EvbusSpoolDeath) { event, "refused by the test" }, 1);
      g_ptr_array_add (round->settled, g_ptr_array_steal_index (route->hand, i));
    }
}

void
driver_deliver (Driver *self,
                Route  *route,
                int     percent)
{
  g_autoptr (GArray) deaths = g_array_new (FALSE, FALSE, sizeof (EvbusSpoolDeath));
  g_autoptr (GPtrArray) settled = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  Round round = { .deaths = deaths, .settled = settled };

  fill_round (self, route, &round, percent);
  if (self->mutant == MUTANT_SETTLE_FIRST)
    {
      settle_round (self, route, &round);
      evbus_spool_maintain (self->spool);
      driver_flush (self);
      return;
    }
  driver_flush (self);
  settle_round (self, route, &round);
}

static void
expire (Driver *self,
        Route  *route)
{
  g_autoptr (GPtrArray) expired = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  guint i;

  evbus_spool_expire_oldest (self->spool, route->route, evbus_spool_reader_get_position (route->reader),
                             g_rand_int_range (self->rand, 0, 20000), G_MININT64, 5, expired, NULL);
  for (i = 0; i < expired->len; i++)
    {
      EvbusEvent *event = expired->pdata[i];

      driver_say (self, "expired %c %" G_GINT64_FORMAT " %s", route->name, event->seq, event->id);
    }
  driver_flush (self);
}

static gboolean
is_damaged (EvbusSpoolDead *letter)
{
  if (letter->event == NULL && g_getenv ("SPOOL_DRIVER_DAMAGED") == NULL)
    g_error ("The dead letter %" G_GINT64_FORMAT " is damaged", letter->number);
  return letter->event == NULL;
}

/* The oldest dead letter of a route is replayed or dropped. */
static void
handle_letter (Driver *self,
               Route  *route)
{
  g_autoptr (GPtrArray) letters = NULL;
  g_autoptr (GPtrArray) routes = g_ptr_array_new ();
  g_autoptr (GPtrArray) events = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
  g_autoptr (GArray) old_seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr (GError) error = NULL;
  EvbusSpoolDeadStep step = { .replay = driver_chance (self, 50), .routes = routes, .events = events, .old_seqs = old_seqs };
  EvbusSpoolDead *letter;

  letters = evbus_spool_list_dead (self->spool, evbus_spool_route_get_key (route->route), 0, 1, &error);
  if (letters == NULL || letters->len == 0 || is_damaged (letters->pdata[0]))
    return;
  letter = letters->pdata[0];
  driver_check_event (letter->event);
  driver_say (self, "%s %c %s", step.replay ? "replaying" : "dropping", route->name, letter->event->id);
  driver_flush (self);
  if (evbus_spool_step_dead (self->spool, &letter->number, 1, &step, &error) && step.n_done == 1)
    {
      g_assert_true (!step.replay || (routes->pdata[0] == route->route &&
                                      g_str_equal (((EvbusEvent *) events->pdata[0])->id, letter->event->id)));
      driver_say (self, "settled");
    }
  driver_flush (self);
}

/* ---- The programs */

static void
open_spool (Driver     *self,
            const char *folder)
{
  static const char *conditions[] = {
    [EVBUS_SPOOL_CONDITION_INTACT] = "intact", [EVBUS_SPOOL_CONDITION_MIGRATED] = "migrated",
    [EVBUS_SPOOL_CONDITION_RECOVERED] = "recovered", [EVBUS_SPOOL_CONDITION_DAMAGED] = "damaged",
    [EVBUS_SPOOL_CONDITION_FULL] = "full", [EVBUS_SPOOL_CONDITION_FAILED] = "failed",
  };
  g_autoptr (GError) error = NULL;
  EvbusSpoolCondition condition;
  g_autofree char *note = NULL;

  self->spool = evbus_spool_open (folder, &error);
  if (self->spool == NULL)
    {
      driver_say (self, "closed %s", error->message);
      driver_flush (self);
      exit (3);
    }
  condition = evbus_spool_get_condition (self->spool, &note);
  driver_say (self, "opened %s %s", conditions[condition], note != NULL ? note : "");
  driver_flush (self);
}

/* Under its other name, if it has that. */
static EvbusSpoolRoute *
adopt_route (Driver     *self,
             const char *key)
{
  g_autoptr (GPtrArray) routes = evbus_spool_list_routes (self->spool);
  guint i;

  for (i = 0; i < routes->len; i++)
    {
      const char *other = evbus_spool_route_get_key (routes->pdata[i]);

      if (g_str_equal (other, OTHER_KEY) && *other == *key)
        {
          driver_say (self, "has-name %c", *key);
          return evbus_spool_adopt_route (self->spool, other);
        }
    }
  return evbus_spool_adopt_route (self->spool, key);
}

static void
adopt_routes (Driver *self)
{
  g_autoptr (GError) error = NULL;
  guint i;

  for (i = 0; i < N_ROUTES; i++)
    {
      Route *route = &self->routes[i];
      char key[] = { ROUTES[i], '\0' };

      route->name = ROUTES[i];
      route->route = adopt_route (self, key);
      route->hand = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
      route->reader = evbus_spool_reader_new (self->spool, route->route, &error);
      if (route->reader == NULL)
        {
          driver_say (self, "closed %s", error->message);
          driver_flush (self);
          exit (3);
        }
      read_more (self, route, LOT);
    }
  driver_flush (self);
}

static void
close_spool (Driver *self)
{
  guint i;

  for (i = 0; i < N_ROUTES && self->routes[i].reader != NULL; i++)
    {
      evbus_spool_reader_free (self->routes[i].reader);
      g_ptr_array_unref (self->routes[i].hand);
    }
  evbus_spool_unref (self->spool);
}

/* There is space again: it may take a moment until that is noticed. */
static void
heal (Driver *self)
{
  gint64 deadline = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;

  unlink (g_getenv ("EVBUS_DISK_SWITCH"));
  while (!driver_put_group (self))
    {
      if (g_get_monotonic_time () > deadline)
        g_error ("There is space again, and still nothing can be put");
      evbus_spool_maintain (self->spool);
      g_usleep (20000);  /* poll */
    }
}

static void
run (Driver *self,
     int     n_steps)
{
  const char *healing = g_getenv ("SPOOL_DRIVER_HEAL");
  int step;

  for (step = 0; step < n_steps; step++)
    {
      Route *route = &self->routes[g_rand_int_range (self->rand, 0, N_ROUTES)];

      if (healing != NULL && step == atoi (healing))
        heal (self);
      driver_put_group (self);
      read_more (self, route, g_rand_int_range (self->rand, 1, 16));
      driver_deliver (self, route, 80);
      if (driver_chance (self, 10))
        evbus_spool_maintain (self->spool);
      if (driver_chance (self, 5))
        expire (self, &self->routes[N_ROUTES - 1]);
      if (driver_chance (self, 10))
        handle_letter (self, route);
    }
}

static void
say_ledger (Driver            *self,
            char               name,
            const EvbusLedger *ledger,
            guint64            weight)
{
  driver_say (self, "ledger %c accepted=%" G_GUINT64_FORMAT " delivered=%" G_GUINT64_FORMAT " dead=%" G_GUINT64_FORMAT
              " expired=%" G_GUINT64_FORMAT " dropped=%" G_GUINT64_FORMAT " queued=%" G_GUINT64_FORMAT
              " weight=%" G_GUINT64_FORMAT,
              name, ledger->accepted, ledger->delivered, ledger->dead, ledger->expired, ledger->dropped, ledger->queued,
              weight);
}

static void
say_ledgers (Driver *self)
{
  EvbusLedger ledger;
  guint64 weight;
  guint i;

  for (i = 0; i < N_ROUTES; i++)
    {
      evbus_spool_route_get_ledger (self->routes[i].route, &ledger, &weight);
      say_ledger (self, self->routes[i].name, &ledger, weight);
    }
  evbus_spool_get_rest (self->spool, &ledger);
  say_ledger (self, '-', &ledger, 0);
}

static void
say_rest (Driver *self)
{
  g_autoptr (GArray) seqs = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr (GArray) replayed = g_array_new (FALSE, FALSE, sizeof (gboolean));
  g_autoptr (GPtrArray) known = evbus_spool_load_known_ids (self->spool, seqs, replayed);
  g_autoptr (GPtrArray) letters = NULL;
  g_autoptr (GError) error = NULL;
  guint i;

  letters = evbus_spool_list_dead (self->spool, NULL, 0, LOT, &error);
  if (letters == NULL)
    driver_say (self, "unread %s", error->message);
  for (i = 0; letters != NULL && i < letters->len; i++)
    {
      EvbusSpoolDead *letter = letters->pdata[i];

      if (is_damaged (letter))
        continue;
      driver_check_event (letter->event);
      driver_say (self, "letter %c %s", *letter->route, letter->event->id);
    }
  for (i = 0; i < known->len; i++)
    {
      if (!g_array_index (replayed, gboolean, i))
        driver_say (self, "known %s", (char *) known->pdata[i]);
    }
  say_ledgers (self);
}

static void
drain (Driver *self)
{
  gint64 deadline = g_get_monotonic_time () + 5 * G_USEC_PER_SEC;
  guint i;

  for (i = 0; i < N_ROUTES; i++)
    driver_deliver (self, &self->routes[i], 100);
  while (evbus_spool_is_dirty (self->spool) && g_get_monotonic_time () < deadline)
    evbus_spool_maintain (self->spool);
  driver_say (self, evbus_spool_is_dirty (self->spool) ? "unsettled" : "settled");
  say_rest (self);
  driver_say (self, "drained");
}

static void
run_mode (Driver *self,
          char  **argv)
{
  const char *mode = argv[1];

  if (g_str_equal (mode, "open"))
    return;
  adopt_routes (self);
  if (g_str_equal (mode, "drain"))
    drain (self);
  else if (g_str_equal (mode, "phase"))
    driver_run_phase (self, argv[3]);
  else if (g_str_equal (mode, "fill"))
    driver_fill (self, atoi (argv[4]));
  else
    run (self, atoi (argv[4]));
  driver_flush (self);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *name;
    int         min;
    int         max;
  } modes[] = { { "run", 5, 6 }, { "drain", 3, 3 }, { "fill", 5, 5 }, { "phase", 4, 4 }, { "open", 3, 3 } };
  Driver self = { 0 };
  guint mode = 0;

  while (mode < G_N_ELEMENTS (modes) && (argc < 3 || !g_str_equal (argv[1], modes[mode].name)))
    mode++;
  if (mode == G_N_ELEMENTS (modes) || argc < modes[mode].min || argc > modes[mode].max)
    g_error ("usage: see the top of spool-driver.c");
  self.rand = g_rand_new_with_seed (argc > 4 ? atoi (argv[3]) : 0);
  self.out = g_string_new (NULL);
  while (argc == 6 && !g_str_equal (argv[5], mutants[self.mutant]))
    g_assert (mutants[++self.mutant] != NULL);
  open_spool (&self, argv[2]);
  run_mode (&self, argv);
  if (g_getenv ("SPOOL_DRIVER_KILL") != NULL)
    raise (SIGKILL);
  close_spool (&self);
  g_rand_free (self.rand);
  g_string_free (self.out, TRUE);
  return 0;
}
