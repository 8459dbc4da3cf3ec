/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `dead`, `forget` and `name-orphan`. What is listed comes in pages, so that no call takes long. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-export.h"
#include "evbusctl-output.h"
#include "evbusctl-replay.h"

#include <stdio.h>
#include <string.h>

#define PAGE 256u

static char *route;
static char *profile;
static gboolean all;

const GOptionEntry evbusctl_dead_entries[] = {
  { "route", 'R', 0, G_OPTION_ARG_FILENAME, &route, "Only those of this route: its name, or PROVIDER 'PATTERN'", "ROUTE" },
  { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "All of them", NULL },
  { "profile", 'p', 0, G_OPTION_ARG_FILENAME, &profile, "replay: put them anew under this profile", "PROFILE" },
  { NULL }
};

static char *
format_time (gint64 when)
{
  g_autoptr(GDateTime) second = g_date_time_new_from_unix_utc (when / G_USEC_PER_SEC);
  g_autofree char *text = second != NULL ? g_date_time_format (second, "%Y-%m-%dT%H:%M:%S") : g_strdup ("?");

  return g_strdup_printf ("%s.%06dZ", text, (int) (when % G_USEC_PER_SEC));
}

static const EvbusctlColumn columns[] = {
  { "NUMBER", TRUE }, { "DIED" }, { "ROUTE" }, { "KEY" }, { "PROFILE" }, { "SIZE", TRUE }, { "REASON" },
};

/* Returns its number. */
static gint64
add_row (EvbusctlTable *table,
         GVariant      *letter)
{
  const char *of, *reason, *id, *key, *under, *type;
  gint64 number, died, put;
  guint64 size;
  g_autofree char *number_text = NULL;
  g_autofree char *died_text = NULL;
  g_autofree char *size_text = NULL;

  g_variant_get (letter, "(x&sx&s&sx&s&s&st)", &number, &of, &died, &reason, &id, &put, &key, &under, &type, &size);
  number_text = g_strdup_printf ("%" G_GINT64_FORMAT, number);
  died_text = died != 0 ? format_time (died) : g_strdup ("?");
  size_text = g_strdup_printf ("%" G_GUINT64_FORMAT, size);
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, number_text);
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, died_text);
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, of);
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, key);
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, under);
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, size_text);
  evbusctl_table_cell (table, EVBUSCTL_BAD, reason);
  return number;
}

static int
run_list (EvbusctlBus *bus,
          GArray      *numbers)
{
  g_autoptr(EvbusctlTable) table = evbusctl_table_new (columns, G_N_ELEMENTS (columns));
  g_autoptr(GError) error = NULL;
  gint64 after = 0;
  guint n = 1;

  while (n > 0)
    {
      g_autoptr(GVariant) reply = NULL;
      g_autoptr(GVariant) letters = NULL;

      reply = evbusctl_bus_call_manager (bus, "ListDead", g_variant_new ("(sxu)", route != NULL ? route : "", after, PAGE),
                                         "(a*)", &error);
      if (reply == NULL)
        return evbusctl_bus_report (error);
      letters = g_variant_get_child_value (reply, 0);
      n = g_variant_n_children (letters);
      for (guint i = 0; i < n; i++)
        {
          g_autoptr(GVariant) letter = g_variant_get_child_value (letters, i);

          after = add_row (table, letter);
        }
    }
  evbusctl_table_print (table);
  return EVBUSCTL_OK;
}

static int
run_export (EvbusctlBus *bus,
            GArray      *numbers)
{
  g_autoptr(GError) error = NULL;

  return evbusctl_export (bus, route, numbers, &error) ? EVBUSCTL_OK : evbusctl_bus_report (error);
}

static int
run_change (EvbusctlBus          *bus,
            const EvbusctlReplay *what,
            const char           *said)
{
  g_autoptr(GError) error = NULL;
  gboolean interrupted;
  guint64 n_done;
  gboolean done = evbusctl_replay (bus, what, &n_done, &interrupted, &error);
  int status = EVBUSCTL_OK;

  if (done || n_done > 0)
    printf ("%" G_GUINT64_FORMAT " %s\n", n_done, said);
  /* Who did not wait for the answer knows that. */
  if (!done && !(interrupted && g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED)))
    status = evbusctl_bus_report (error);
  return interrupted ? EVBUSCTL_INTERRUPTED : status;
}

static int
run_replay (EvbusctlBus *bus,
            GArray      *numbers)
{
  const EvbusctlReplay what = { "ReplayDead", numbers, route, profile };

  return run_change (bus, &what, "replayed");
}

static int
run_drop (EvbusctlBus *bus,
          GArray      *numbers)
{
  const EvbusctlReplay what = { "DropDead", numbers, route, NULL };

  return run_change (bus, &what, "dropped");
}

static const struct {
  const char *name;
  gboolean    takes_numbers;
  gboolean    needs_choice;    /* numbers, --route or --all */
  int      (* run) (EvbusctlBus *bus, GArray *numbers);
} actions[] = {
  { "list", FALSE, FALSE, run_list },
  { "show", TRUE, TRUE, run_export },
  { "replay", TRUE, TRUE, run_replay },
  { "drop", TRUE, TRUE, run_drop },
  { "export", TRUE, FALSE, run_export },
};

static int
find_action (const char *name)
{
  for (guint i = 0; i < G_N_ELEMENTS (actions); i++)
    {
      if (strcmp (actions[i].name, name) == 0)
        return i;
    }
  return -1;
}

static gboolean
parse_numbers (char   **words,
               GArray  *numbers)
{
  for (guint i = 0; words[i] != NULL; i++)
    {
      guint64 number;
      g_autoptr(GError) error = NULL;

      if (!g_ascii_string_to_unsigned (words[i], 10, 1, G_MAXINT64, &number, &error))
        {
          evbusctl_error ("dead: '%s' is no number of a dead letter; 'evbusctl dead list' shows them", words[i]);
          return FALSE;
        }
      g_array_append_val (numbers, number);
    }
  return TRUE;
}

int
evbusctl_dead (char **arguments)
{
  g_autoptr(GArray) numbers = g_array_new (FALSE, FALSE, sizeof (gint64));
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GError) error = NULL;
  int action = find_action (arguments[0]);

  if (action < 0)
    {
      evbusctl_error ("dead: unknown action '%s'; list, show, replay, drop and export are known", arguments[0]);
      return EVBUSCTL_USAGE;
    }
  if (!parse_numbers (arguments + 1, numbers))
    return EVBUSCTL_USAGE;
  if ((numbers->len > 0 && (all || !actions[action].takes_numbers)) || (all && route != NULL))
    {
      evbusctl_error ("dead %s: either numbers, or --route, or --all", arguments[0]);
      return EVBUSCTL_USAGE;
    }
  if (actions[action].needs_choice && numbers->len == 0 && !all && route == NULL)
    {
      evbusctl_error ("dead %s: which? Numbers, --route ROUTE, or --all", arguments[0]);
      return EVBUSCTL_USAGE;
    }

  if ((route != NULL && !evbusctl_check_text ("route", route, &error)) ||
      (profile != NULL && !evbusctl_check_text ("profile", profile, &error)) ||
      (bus = evbusctl_bus_open (&error)) == NULL)
    return evbusctl_bus_report (error);
  return actions[action].run (bus, numbers);
}

int
evbusctl_forget (char **arguments)
{
  const EvbusctlReplay what = { "ForgetRoute", NULL, arguments[0], NULL };
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GError) error = NULL;

  if (!evbusctl_check_text ("route", arguments[0], &error) ||
      (bus = evbusctl_bus_open (&error)) == NULL)
    return evbusctl_bus_report (error);
  return run_change (bus, &what, "dropped");
}

int
evbusctl_name_orphan (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GVariant) reply = NULL;
  g_autoptr(GError) error = NULL;

  if (!evbusctl_check_text ("orphan", arguments[0], &error) ||
      !evbusctl_check_text ("name", arguments[1], &error) ||
      (bus = evbusctl_bus_open (&error)) == NULL ||
      (reply = evbusctl_bus_call_manager (bus, "NameOrphan", g_variant_new ("(ss)", arguments[0], arguments[1]), "()",
                                          &error)) == NULL)
    return evbusctl_bus_report (error);
  return EVBUSCTL_OK;
}
