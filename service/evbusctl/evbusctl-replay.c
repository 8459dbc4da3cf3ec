/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `dead replay`, `dead drop` and `forget`: work that can be long, with its progress, and an end
 * to it where a person wants one. */

#include "evbusctl-replay.h"

#include "evbusctl.h"
#include "evbusctl-output.h"

#include <evbus/evbus.h>
#include <glib-unix.h>
#include <string.h>

/* Of those that are given one by one, in a call. */
#define PAGE 256u

typedef struct {
  EvbusctlBus          *bus;
  const EvbusctlReplay *what;
  GMainLoop            *loop;
  guint64               n_done;        /* in the calls before this one */
  guint64               n_told;        /* in this one, so far */
  guint64               n_total;       /* 0: as the service says */
  guint                 n_interrupts;
  guint                 n_damaged;     /* that were passed over */
  gboolean              answered;
  GVariant             *reply;
  GError               *error;
} Work;

static void
show_progress (Work    *self,
               guint64  n_done,
               guint64  n_total)
{
  if (evbusctl_progress_wanted ())
    evbusctl_progress_of (n_done, MAX (n_done, n_total));
}

static void
on_progress (GDBusConnection *connection,
             const char      *sender,
             const char      *path,
             const char      *interface,
             const char      *signal,
             GVariant        *parameters,
             gpointer         data)
{
  Work *self = data;
  guint64 n_done;
  guint64 n_total;

  if (!g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(tt)")))
    return;

  g_variant_get (parameters, "(tt)", &n_done, &n_total);
  self->n_told = n_done;
  show_progress (self, self->n_done + n_done, self->n_total > 0 ? self->n_total : n_total);
}

/* The first time the service is asked to end it, and says how many were done; the
 * second time nobody waits for that. */
static gboolean
on_interrupt (gpointer data)
{
  Work *self = data;

  if (self->n_interrupts++ == 0)
    g_dbus_connection_call (evbusctl_bus_get_connection (self->bus), EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH,
                            EVBUSCTL_BUS_NAME ".Manager", "CancelDead", NULL, NULL,
                            G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, NULL, NULL, NULL);
  else
    g_main_loop_quit (self->loop);
  return G_SOURCE_CONTINUE;
}

static void
on_answer (GObject      *connection,
           GAsyncResult *result,
           gpointer      data)
{
  Work *self = data;

  self->reply = g_dbus_connection_call_finish (G_DBUS_CONNECTION (connection), result, &self->error);
  self->answered = TRUE;
  g_main_loop_quit (self->loop);
}

/* @numbers: none: all of the route. */
static GVariant *
make_parameters (const EvbusctlReplay *what,
                 const gint64         *numbers,
                 guint                 n_numbers)
{
  const char *route = what->route != NULL ? what->route : "";
  const char *profile = what->profile != NULL ? what->profile : "";
  GVariant *page;

  if (strcmp (what->method, "ForgetRoute") == 0)
    return g_variant_new ("(s)", route);
  page = g_variant_new_fixed_array (G_VARIANT_TYPE_INT64, numbers, n_numbers, sizeof (gint64));
  if (strcmp (what->method, "DropDead") == 0)
    return g_variant_new ("(s@ax)", route, page);
  return g_variant_new ("(s@axs)", route, page, profile);
}

static gboolean
call (Work          *self,
      const gint64  *numbers,
      guint          n_numbers,
      GError       **error)
{
  g_autoptr(GVariant) reply = NULL;
  guint64 n;

  self->answered = FALSE;
  self->n_told = 0;
  g_dbus_connection_call (evbusctl_bus_get_connection (self->bus), EVBUSCTL_BUS_NAME, EVBUSCTL_OBJECT_PATH,
                          EVBUSCTL_BUS_NAME ".Manager", self->what->method,
                          make_parameters (self->what, numbers, n_numbers),
                          G_VARIANT_TYPE ("(t)"), G_DBUS_CALL_FLAGS_NO_AUTO_START, G_MAXINT, NULL, on_answer, self);
  g_main_loop_run (self->loop);
  if (!self->answered)
    {
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CANCELLED,
                           "interrupted before the service said how many were done");
      return FALSE;
    }
  if (self->error != NULL)
    {
      self->n_done += self->n_told;
      g_propagate_error (error, g_steal_pointer (&self->error));
      return FALSE;
    }

  reply = g_steal_pointer (&self->reply);
  g_variant_get (reply, "(t)", &n);
  self->n_done += n;
  show_progress (self, self->n_done, self->n_total);
  return TRUE;
}

static guint64
count_dead (GVariant *ledger)
{
  guint64 dead = 0;

  g_variant_lookup (ledger, "dead", "t", &dead);
  return dead;
}

/* What is gone meanwhile is nobody's fault. What has no route any more stays, and is
 * told at the end: @left. */
static gboolean
goes_on (GError  *failure,
         GError **left)
{
  gboolean orphan = g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT);

  if (orphan && *left == NULL)
    *left = g_error_copy (failure);
  return orphan || g_error_matches (failure, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND);
}

/* The rest is done as that of a call is: of which there was one that could not be, that is told at the end. */
static gboolean
do_numbers (Work    *self,
            GArray  *numbers,
            GError **error)
{
  g_autoptr(GError) left = NULL;

  self->n_total = numbers->len;
  for (guint i = 0; i < numbers->len && self->n_interrupts == 0; i += PAGE)
    {
      g_autoptr(GError) failure = NULL;

      if (call (self, &g_array_index (numbers, gint64, i), MIN (PAGE, numbers->len - i), &failure))
        continue;
      if (!goes_on (failure, &left))
        {
          g_propagate_error (error, g_steal_pointer (&failure));
          return FALSE;
        }
      if (left == NULL)
        left = g_steal_pointer (&failure);
    }
  if (left == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&left));
  return FALSE;
}

/* Of one that is damaged nothing can be replayed. */
static gboolean
is_damaged (GVariant *letter)
{
  const char *id;

  g_variant_get_child (letter, 4, "&s", &id);
  return *id == '\0';
}

/* With which of the first @n there is something to do; @after: (out): the last one. */
static guint
choose_numbers (Work     *self,
                GVariant *letters,
                guint     n,
                gint64   *numbers,
                gint64   *after)
{
  guint n_chosen = 0;

  for (guint i = 0; i < n; i++)
    {
      g_autoptr(GVariant) letter = g_variant_get_child_value (letters, i);

      g_variant_get_child (letter, 0, "x", after);
      if (strcmp (self->what->method, "ReplayDead") == 0 && is_damaged (letter))
        self->n_damaged++;
      else
        numbers[n_chosen++] = *after;
    }
  return n_chosen;
}

/* As many as there are now, the oldest first: what dies again meanwhile comes last,
 * and is not taken once more. */
static gboolean
do_all (Work    *self,
        GError **error)
{
  g_autoptr(GVariant) ledger = evbusctl_bus_get_ledger (self->bus, error);
  g_autoptr(GError) left = NULL;
  guint64 n_seen = 0;
  gint64 after = 0;
  guint n = 1;

  if (ledger == NULL)
    return FALSE;

  self->n_total = count_dead (ledger);
  while (n > 0 && n_seen < self->n_total && self->n_interrupts == 0)
    {
      guint max = MIN (PAGE, self->n_total - n_seen);
      g_autofree gint64 *numbers = g_new (gint64, max);
      g_autoptr(GVariant) reply = NULL;
      g_autoptr(GVariant) letters = NULL;
      g_autoptr(GError) failure = NULL;
      guint n_chosen;

      reply = evbusctl_bus_call_manager (self->bus, "ListDead", g_variant_new ("(sxu)", "", after, max), "(a*)", error);
      if (reply == NULL)
        return FALSE;
      letters = g_variant_get_child_value (reply, 0);
      n = MIN (max, g_variant_n_children (letters));
      n_seen += n;
      n_chosen = choose_numbers (self, letters, n, numbers, &after);
      if (n_chosen > 0 && !call (self, numbers, n_chosen, &failure) && !goes_on (failure, &left))
        {
          g_propagate_error (error, g_steal_pointer (&failure));
          return FALSE;
        }
    }
  if (left == NULL && self->n_damaged > 0)
    g_set_error (&left, EVBUS_ERROR, EVBUS_ERROR_NOT_FOUND,
                 "the records of %u dead letters are damaged, and cannot be replayed: 'evbusctl dead list' says which, "
                 "'evbusctl dead drop' drops them", self->n_damaged);
  if (left == NULL)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&left));
  return FALSE;
}

/* Returns whether it was all done. @n_done: (out): how many were, in any case.
 * @interrupted: (out): by a person. */
gboolean
evbusctl_replay (EvbusctlBus           *bus,
                 const EvbusctlReplay  *what,
                 guint64               *n_done,
                 gboolean              *interrupted,
                 GError               **error)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  Work self = { .bus = bus, .what = what, .loop = loop };
  guint sources[2] = { g_unix_signal_add (SIGINT, on_interrupt, &self),
                       g_unix_signal_add (SIGTERM, on_interrupt, &self) };
  guint subscription;
  gboolean done;

  subscription = g_dbus_connection_signal_subscribe (evbusctl_bus_get_connection (bus), EVBUSCTL_BUS_NAME,
                                                     EVBUSCTL_BUS_NAME ".Manager", "DeadProgress",
                                                     EVBUSCTL_OBJECT_PATH, NULL, G_DBUS_SIGNAL_FLAGS_NO_MATCH_RULE,
                                                     on_progress, &self, NULL);
  if (what->numbers != NULL && what->numbers->len > 0)
    done = do_numbers (&self, what->numbers, error);
  else if (what->route != NULL)
    done = call (&self, NULL, 0, error);
  else
    done = do_all (&self, error);

  g_dbus_connection_signal_unsubscribe (evbusctl_bus_get_connection (bus), subscription);
  for (guint i = 0; i < G_N_ELEMENTS (sources); i++)
    g_source_remove (sources[i]);
  evbusctl_progress_clear ();
  *n_done = self.n_done;
  *interrupted = self.n_interrupts > 0;
  return done;
}
