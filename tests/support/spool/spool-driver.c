/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Works on a spool as the broker does, and says each thing it could be held to,
 * so that a test can kill it, cut the power or break the disk, and compare.
 *
 *   spool-driver run FOLDER SEED STEPS [MUTANT]    some of everything
 *   spool-driver drain FOLDER                      delivers what is there
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
 *   of drain: letter ROUTE ID, known ID, ledger ROUTE NAME=N…, drained
 *
 * MUTANT breaks a promise on purpose: answer-first (before the commit),
 * settle-first (the cursor moves before the delivery).
 * SPOOL_DRIVER_HEAL=STEP removes the file EVBUS_DISK_SWITCH at that step, and waits
 * until a put is stored again. SPOOL_DRIVER_KILL=1: killed after the last one.
 * SPOOL_DRIVER_DAMAGED=1: records may be damaged. */

#include "evbus-spool-private.h"
#include "evbus-error.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#define ROUTES "abc"
#define N_ROUTES 3
#define LOT 100000     /* more events than there are */

typedef enum {
  MUTANT_NONE,
  MUTANT_ANSWER_FIRST,
  MUTANT_SETTLE_FIRST,
} Mutant;

static const char *mutants[] = { "none", "answer-first", "settle-first", NULL };

typedef struct {
  EvbusSpoolRoute  *route;
  EvbusSpoolReader *reader;
  GPtrArray        *hand;      /* EvbusEvent: read and not settled */
  char              name;
} Route;

typedef struct {
  EvbusSpool *spool;
  Route       routes[N_ROUTES];
  GRand      *rand;
  GString    *out;
  Mutant      mutant;
} Driver;

G_GNUC_PRINTF (2, 3)
static void
say (Driver     *self,
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
static void
flush (Driver *self)
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

static gboolean
chance (Driver *self,
        int     percent)
{
  return g_rand_int_range (self->rand, 0, 100) < percent;
}

/* ---- Events whose body follows from their routing key */

static void
fill_body (const char *routing_key,
           GByteArray *body)
{
  guint number = g_str_hash (routing_key);
  /* Most are small; some have a page or more of their own. */
  guint size = number % 10 == 0 ? number % 20000 : number % 400;

  g_byte_array_set_size (body, size);
  if (size > 0)
    memset (body->data, 'a' + number % 26, size);
}

static EvbusEvent *
make_event (Driver   *self,
            gboolean *known)
{
  g_autofree char *routing_key = g_strdup_printf ("key.%u", g_rand_int (self->rand));
  g_autofree char *id = NULL;
  g_autoptr (GByteArray) body = g_byte_array_new ();
  EvbusEventInit init = {
    .routing_key = routing_key,
    .routing_key_length = strlen (routing_key),
    .profile = "default",
    .profile_length = strlen ("default"),
    .content_type = "application/octet-stream",
  };

  *known = chance (self, 20);
  if (*known)
    init.id = id = g_strdup_printf ("given-%08x%08x", g_rand_int (self->rand), g_rand_int (self->rand));
  fill_body (routing_key, body);
  init.data = body->data;
  init.size = body->len;
  return evbus_event_new (&init);
}

static void
check_event (EvbusEvent *event)
{
  g_autoptr (GByteArray) body = g_byte_array_new ();

  fill_body (event->routing_key, body);
  if (body->len != event->size || memcmp (body->data, event->data, event->size) != 0)
    g_error ("The event %s has the body of another one", event->id);
}

/* ---- Putting */

typedef struct {
  EvbusEvent *event;
  char        routes[N_ROUTES + 1];
  gboolean    known;
} Put;

static void
say_puts (Driver     *self,
          GArray     *puts,
          const char *what)
{
  guint i;

  for (i = 0; i < puts->len; i++)
    {
      Put *put = &g_array_index (puts, Put, i);

      if (what != NULL)
        say (self, "%s %s", what, put->event->id);
      else
        say (self, "stored %" G_GINT64_FORMAT " %s %s", put->event->seq, put->event->id, put->routes);
      if (what == NULL && put->known)
        say (self, "told %s", put->event->id);
    }
}

static void
append_one (Driver *self,
            GArray *puts)
{
  EvbusSpoolRoute *routes[N_ROUTES];
  guint mask = g_rand_int_range (self->rand, 1, 1 << N_ROUTES);
  guint n = 0;
  Put put = { 0 };
  guint i;

  put.event = make_event (self, &put.known);
  for (i = 0; i < N_ROUTES; i++)
    if (mask & (1 << i))
      {
        put.routes[n] = self->routes[i].name;
        routes[n++] = self->routes[i].route;
      }
  evbus_spool_append (self->spool, put.event, routes, n, put.known);
  g_array_append_val (puts, put);
}

static void
clear_put (gpointer put)
{
  evbus_event_unref (((Put *) put)->event);
}

/* Returns whether it is stored. */
static gboolean
put_group (Driver *self)
{
  g_autoptr (GArray) puts = g_array_new (FALSE, FALSE, sizeof (Put));
  g_autoptr (GError) error = NULL;
  guint n = g_rand_int_range (self->rand, 1, 12);

  g_array_set_clear_func (puts, clear_put);
  evbus_spool_begin (self->spool);
  while (n-- > 0)
    append_one (self, puts);
  if (self->mutant == MUTANT_ANSWER_FIRST)
    {
      say_puts (self, puts, NULL);
      flush (self);
    }
  if (evbus_spool_commit (self->spool, &error))
    {
      if (self->mutant != MUTANT_ANSWER_FIRST)
        say_puts (self, puts, NULL);
      say (self, "settled");
    }
  else if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    {
      say_puts (self, puts, "refused");
      say (self, "settled");
    }
  else
    {
      g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED);
      say_puts (self, puts, "unknown");
    }
  flush (self);
  return error == NULL;
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
      say (self, "unread %s", error->message);
      return;
    }
  if (n_damaged > 0 && g_getenv ("SPOOL_DRIVER_DAMAGED") == NULL)
    g_error ("%u records of the route %c are damaged", n_damaged, route->name);
  for (i = first; i < route->hand->len; i++)
    {
      EvbusEvent *event = route->hand->pdata[i];

      check_event (event);
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
      gboolean dies = percent < 100 && chance (self, 6);

      if (!chance (self, percent))
        {
          i++;
          continue;
        }
      say (self, "%s %c %" G_GINT64_FORMAT " %s", dies ? "dead" : "delivered", route->name, event->seq, event->id);
      round->change.dead += dies;
      round->change.delivered += !dies;
      round->weight += event->weight;
      if (dies)
        g_array_append_vals (round->deaths, &(EvbusSpoolDeath) { event, "refused by the test" }, 1);
      g_ptr_array_add (round->settled, g_ptr_array_steal_index (route->hand, i));
    }
}

static void
deliver (Driver *self,
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
      flush (self);
      return;
    }
  flush (self);
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

      say (self, "expired %c %" G_GINT64_FORMAT " %s", route->name, event->seq, event->id);
    }
  flush (self);
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
  EvbusSpoolDeadStep step = { .replay = chance (self, 50), .routes = routes, .events = events, .old_seqs = old_seqs };
  EvbusSpoolDead *letter;

  letters = evbus_spool_list_dead (self->spool, evbus_spool_route_get_key (route->route), 0, 1, &error);
  if (letters == NULL || letters->len == 0)
    return;
  letter = letters->pdata[0];
  check_event (letter->event);
  say (self, "%s %c %s", step.replay ? "replaying" : "dropping", route->name, letter->event->id);
  flush (self);
  if (evbus_spool_step_dead (self->spool, &letter->number, 1, &step, &error) && step.n_done == 1)
    {
      g_assert_true (!step.replay || (routes->pdata[0] == route->route &&
                                      g_str_equal (((EvbusEvent *) events->pdata[0])->id, letter->event->id)));
      say (self, "settled");
    }
  flush (self);
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
  guint i;

  self->spool = evbus_spool_open (folder, &error);
  if (self->spool == NULL)
    {
      say (self, "closed %s", error->message);
      flush (self);
      exit (3);
    }
  condition = evbus_spool_get_condition (self->spool, &note);
  say (self, "opened %s %s", conditions[condition], note != NULL ? note : "");
  flush (self);
  for (i = 0; i < N_ROUTES; i++)
    {
      Route *route = &self->routes[i];
      char key[] = { ROUTES[i], '\0' };

      route->name = ROUTES[i];
      route->route = evbus_spool_adopt_route (self->spool, key);
      route->hand = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_event_unref);
      route->reader = evbus_spool_reader_new (self->spool, route->route, &error);
      if (route->reader == NULL)
        {
          say (self, "closed %s", error->message);
          flush (self);
          exit (3);
        }
      read_more (self, route, LOT);
    }
}

static void
close_spool (Driver *self)
{
  guint i;

  for (i = 0; i < N_ROUTES; i++)
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
  while (!put_group (self))
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
      put_group (self);
      read_more (self, route, g_rand_int_range (self->rand, 1, 16));
      deliver (self, route, 80);
      if (chance (self, 10))
        evbus_spool_maintain (self->spool);
      if (chance (self, 5))
        expire (self, &self->routes[N_ROUTES - 1]);
      if (chance (self, 10))
        handle_letter (self, route);
    }
}

static void
say_ledger (Driver *self,
            Route  *route)
{
  EvbusLedger ledger;
  guint64 weight;

  evbus_spool_route_get_ledger (route->route, &ledger, &weight);
  say (self, "ledger %c accepted=%" G_GUINT64_FORMAT " delivered=%" G_GUINT64_FORMAT " dead=%" G_GUINT64_FORMAT
       " expired=%" G_GUINT64_FORMAT " dropped=%" G_GUINT64_FORMAT " queued=%" G_GUINT64_FORMAT
       " weight=%" G_GUINT64_FORMAT,
       route->name, ledger.accepted, ledger.delivered, ledger.dead, ledger.expired, ledger.dropped, ledger.queued,
       weight);
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
    say (self, "unread %s", error->message);
  for (i = 0; letters != NULL && i < letters->len; i++)
    {
      EvbusSpoolDead *letter = letters->pdata[i];

      check_event (letter->event);
      say (self, "letter %s %s", letter->route, letter->event->id);
    }
  for (i = 0; i < known->len; i++)
    {
      if (!g_array_index (replayed, gboolean, i))
        say (self, "known %s", (char *) known->pdata[i]);
    }
  for (i = 0; i < N_ROUTES; i++)
    say_ledger (self, &self->routes[i]);
}

static void
drain (Driver *self)
{
  gint64 deadline = g_get_monotonic_time () + 5 * G_USEC_PER_SEC;
  guint i;

  for (i = 0; i < N_ROUTES; i++)
    deliver (self, &self->routes[i], 100);
  while (evbus_spool_is_dirty (self->spool) && g_get_monotonic_time () < deadline)
    evbus_spool_maintain (self->spool);
  say (self, evbus_spool_is_dirty (self->spool) ? "unsettled" : "settled");
  say_rest (self);
  say (self, "drained");
}

int
main (int    argc,
      char **argv)
{
  gboolean drains = argc == 3 && g_str_equal (argv[1], "drain");
  Driver self = { 0 };

  if (!drains && (argc < 5 || argc > 6 || !g_str_equal (argv[1], "run")))
    g_error ("usage: spool-driver run FOLDER SEED STEPS [MUTANT] | drain FOLDER");
  self.rand = g_rand_new_with_seed (drains ? 0 : atoi (argv[3]));
  self.out = g_string_new (NULL);
  while (argc == 6 && !g_str_equal (argv[5], mutants[self.mutant]))
    g_assert (mutants[++self.mutant] != NULL);
  open_spool (&self, argv[2]);
  if (drains)
    drain (&self);
  else
    run (&self, atoi (argv[4]));
  flush (&self);
  if (g_getenv ("SPOOL_DRIVER_KILL") != NULL)
    raise (SIGKILL);
  close_spool (&self);
  g_rand_free (self.rand);
  g_string_free (self.out, TRUE);
  return 0;
}
