/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"

#include <stdio.h>
#include <string.h>

static int evbusctl_help (char **names);

static const EvbusctlCommand commands[] = {
  { "put", "KEY BODY", "Put an event, or one for each line of the input",
    "BODY is a JSON value, @FILE for the content of a file, or - for one value per\n"
    "line of the standard input. Prints the id of each event, in order.\n"
    "With - every line is tried: a refused one is reported with its number, and the\n"
    "exit code is 1. Blank lines are skipped. A BODY that begins with a dash goes\n"
    "after --, as in: evbusctl put temperature -- -5\n"
    "With --wait it ends when all routes have delivered the event: exit code 0; 5: a\n"
    "route gave it up; 6: the SECONDS are over, and a route has it still.",
    2, 2, TRUE, evbusctl_put_entries, evbusctl_put },
  { "generate", "", "Put random events at a rate, to try a configuration",
    "Ends after --count events, or with Ctrl-C, and says how many were put.",
    0, 0, TRUE, evbusctl_generate_entries, evbusctl_generate },
  { "monitor", "[PATTERN]", "Show the events that reach internal routes",
    "PATTERN is a glob that the routing key must match. Ends with Ctrl-C.",
    0, 1, TRUE, evbusctl_monitor_entries, evbusctl_monitor },
  { "status", "", "Show the service, its totals and its routes",
    "Every event is counted once per route:\n"
    "accepted = delivered + dead + expired + dropped + queued.",
    0, 0, TRUE, evbusctl_status_entries, evbusctl_status },
  { "routes", "", "List the routes, their state and its reason", NULL,
    0, 0, TRUE, evbusctl_status_entries, evbusctl_routes },
  { "explain", "PROFILE", "Show which routes an event of a profile goes to, and why",
    NULL,
    1, 1, TRUE, evbusctl_explain_entries, evbusctl_explain },
  { "reload", "", "Make the service read its configuration anew",
    "A configuration with a mistake changes nothing; every mistake is shown. If a route\n"
    "that is new or was changed does not run, it says so, and the exit code is 1.",
    0, 0, TRUE, NULL, evbusctl_reload },
  { "pause", "[ROUTE]", "Have a route deliver nothing until it is resumed",
    "ROUTE is its name, or PROVIDER 'PATTERN'; without one, all routes. What a route has,\n"
    "and what comes, waits. The pause ends with the service, not with a reload.",
    0, 1, TRUE, NULL, evbusctl_pause },
  { "resume", "[ROUTE]", "Have a paused route go on",
    "ROUTE is its name, or PROVIDER 'PATTERN'; without one, all routes.",
    0, 1, TRUE, NULL, evbusctl_resume },
  { "flush", "[ROUTE]", "Have a route try now what it would try later",
    "ROUTE is its name, or PROVIDER 'PATTERN'; without one, all routes. It waits neither\n"
    "for the next try after a failure nor for a batch to fill. A paused one stays paused.",
    0, 1, TRUE, NULL, evbusctl_flush },
  { "test-route", "PROFILE", "Put a test event, and show whether it arrives, and how soon",
    "The event has the routing key evbus.test and the attribute evbustest. Exit code 0:\n"
    "all routes that match have delivered it; 5: one gave it up; 6: one has it still,\n"
    "with its state and the reason; 1: no route matches, and nothing was put.",
    1, 1, TRUE, evbusctl_test_entries, evbusctl_test_route },
  { "dead", "list|show|replay|drop|export [NUMBER...]", "Show, replay or drop dead letters",
    "Dead letters are events that a route has given up on, by their numbers: all of a\n"
    "route with --route, all there are with --all, as list and export do without either.\n"
    "replay gives them back to their route, or puts them anew under --profile. show and\n"
    "export print lines of JSON, as the file provider writes them.",
    1, G_MAXUINT16, TRUE, evbusctl_dead_entries, evbusctl_dead },
  { "forget", "ROUTE", "Drop all that an orphaned route has",
    "'evbusctl routes' shows which routes are in no configuration any more.",
    1, 1, TRUE, NULL, evbusctl_forget },
  { "name-orphan", "ORPHAN NAME", "Give an orphaned route a name, by which an entry gets it",
    "After the next reload an entry of the configuration with delivery: {name: NAME} goes\n"
    "on where the orphan was. 'evbusctl routes' shows the orphans. ORPHAN is its name,\n"
    "PROVIDER 'PATTERN', or, where several are called so, its key.",
    2, 2, TRUE, NULL, evbusctl_name_orphan },
  { "check-config", "FILE", "Check a configuration file or folder",
    "FILE can be a pipe, and - is the standard input. Needs no service. Exit code\n"
    "0: fine; 1: mistakes, each printed as FILE:LINE:COLUMN: what is wrong; 3: nothing\n"
    "wrong but providers whose plugin is not installed.",
    1, 1, FALSE, NULL, evbusctl_check_config },
  { "providers", "[NAME]", "List the kinds of destination, or the options of one",
    "Needs no service. Plugins are looked for in EVBUS_PLUGIN_PATH and then in the\n"
    "installed folder.",
    0, 1, FALSE, evbusctl_providers_entries, evbusctl_providers },
  { "help", "[COMMAND]", "Show this help, or that of a command", NULL,
    0, 1, FALSE, NULL, evbusctl_help },
};

static gboolean show_help;
static gboolean show_version;
static char **arguments;

static const GOptionEntry global_entries[] = {
  { "help", 'h', 0, G_OPTION_ARG_NONE, &show_help, "Show help, of the command if one is given", NULL },
  { "version", 0, 0, G_OPTION_ARG_NONE, &show_version, "Show the version", NULL },
  { NULL }
};

static const GOptionEntry command_entries[] = {
  { "help", 'h', 0, G_OPTION_ARG_NONE, &show_help, "Show this help", NULL },
  { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &arguments, NULL, NULL },
  { NULL }
};

static const EvbusctlCommand *
find_command (const char *name)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (commands); i++)
    if (strcmp (commands[i].name, name) == 0)
      return &commands[i];

  return NULL;
}

/* How many letters must be changed, added or taken away. */
static guint
edit_distance (const char *a,
               const char *b)
{
  gsize n = strlen (b);
  g_autofree guint *row = g_new (guint, n + 1);
  gsize i, j;

  for (j = 0; j <= n; j++)
    row[j] = j;

  for (i = 0; a[i] != '\0'; i++)
    {
      guint diagonal = row[0];

      row[0] = i + 1;
      for (j = 0; j < n; j++)
        {
          guint above = row[j + 1];
          guint change = diagonal + (a[i] != b[j]);

          row[j + 1] = MIN (change, MIN (above, row[j]) + 1);
          diagonal = above;
        }
    }

  return row[n];
}

static int
unknown_command (const char *name)
{
  const char *nearest = NULL;
  guint best = G_MAXUINT;
  guint i;

  /* A name longer than any command is nobody's slip, and not worth the square
   * of its length. */
  for (i = 0; i < G_N_ELEMENTS (commands) && strlen (name) < 32; i++)
    {
      guint distance = edit_distance (name, commands[i].name);

      if (g_str_has_prefix (commands[i].name, name) && *name != '\0')
        distance = 1;
      if (distance < best)
        {
          best = distance;
          nearest = commands[i].name;
        }
    }

  if (nearest != NULL && best <= 1 + strlen (nearest) / 3)
    evbusctl_error ("unknown command '%s'; did you mean '%s'?", name, nearest);
  else
    evbusctl_error ("unknown command '%s'; 'evbusctl help' lists them", name);

  return EVBUSCTL_USAGE;
}

static GOptionContext *
command_context (const EvbusctlCommand *command)
{
  GOptionContext *context = g_option_context_new (NULL);

  g_option_context_set_help_enabled (context, FALSE);
  if (command->entries != NULL)
    g_option_context_add_main_entries (context, command->entries, NULL);
  if (command->uses_bus)
    g_option_context_add_main_entries (context, evbusctl_bus_entries, NULL);
  g_option_context_add_main_entries (context, command_entries, NULL);

  return context;
}

/* GOption's own help begins with a usage line made of the program's name; ours
 * names the command, so that only the options are taken from it. */
static void
print_options (GOptionContext *context)
{
  g_autofree char *help = g_option_context_get_help (context, TRUE, NULL);
  const char *options = strstr (help, "\n\n");

  puts (g_strchomp (options != NULL ? (char *) options + 1 : help));
}

static int
print_command_help (const EvbusctlCommand *command)
{
  g_autoptr(GOptionContext) context = command_context (command);

  printf ("Usage: evbusctl %s [OPTION...]%s%s\n\n%s.\n",
          command->name,
          *command->arguments != '\0' ? " " : "", command->arguments,
          command->summary);
  if (command->description != NULL)
    printf ("\n%s\n", command->description);
  print_options (context);

  return EVBUSCTL_OK;
}

static int
print_help (void)
{
  g_autoptr(GOptionContext) context = g_option_context_new (NULL);
  guint i;

  g_option_context_set_help_enabled (context, FALSE);
  g_option_context_add_main_entries (context, evbusctl_bus_entries, NULL);
  g_option_context_add_main_entries (context, global_entries, NULL);

  printf ("Usage: evbusctl [OPTION...] COMMAND [ARGUMENT...]\n\n"
          "Puts events, and shows and steers the event service evbusd.\n\n"
          "Commands:\n");
  for (i = 0; i < G_N_ELEMENTS (commands); i++)
    printf ("  %-14s %s\n", commands[i].name, commands[i].summary);
  print_options (context);
  printf ("\n'evbusctl help COMMAND' tells more, evbusctl(1) everything.\n");

  return EVBUSCTL_OK;
}

static int
evbusctl_help (char **names)
{
  const EvbusctlCommand *command;

  if (names[0] == NULL)
    return print_help ();

  command = find_command (names[0]);
  if (command == NULL)
    return unknown_command (names[0]);

  return print_command_help (command);
}

static int
usage_error (const EvbusctlCommand *command,
             const char            *message)
{
  if (command != NULL)
    evbusctl_error ("%s: %s\nUsage: evbusctl %s [OPTION...]%s%s; 'evbusctl help %s' tells more",
                    command->name, message, command->name,
                    *command->arguments != '\0' ? " " : "", command->arguments,
                    command->name);
  else
    evbusctl_error ("%s\n'evbusctl --help' lists the options", message);

  return EVBUSCTL_USAGE;
}

static gboolean
may_have_value (const EvbusctlCommand *command,
                const char            *word)
{
  const GOptionEntry *entry;

  for (entry = command->entries; entry != NULL && entry->long_name != NULL; entry++)
    if ((entry->flags & G_OPTION_FLAG_OPTIONAL_ARG) != 0 &&
        g_str_has_prefix (word, "--") && strcmp (word + 2, entry->long_name) == 0)
      return TRUE;

  return FALSE;
}

/* GOption takes the next word for the value of an option that may have one, whatever
 * it is: such a value comes with = alone, and none is an empty one. */
static void
mark_missing_values (const EvbusctlCommand  *command,
                     char                  **words)
{
  guint i;

  for (i = 1; words[0] != NULL && words[i] != NULL && strcmp (words[i], "--") != 0; i++)
    if (may_have_value (command, words[i]))
      {
        char *word = g_strconcat (words[i], "=", NULL);

        g_free (words[i]);
        words[i] = word;
      }
}

static int
run_command (const EvbusctlCommand   *command,
             char                  ***strv)
{
  g_autoptr(GOptionContext) context = command_context (command);
  g_autoptr(GError) error = NULL;
  guint n;

  mark_missing_values (command, *strv);
  if (!g_option_context_parse_strv (context, strv, &error))
    return usage_error (command, error->message);
  if (show_help)
    return print_command_help (command);
  if (!evbusctl_bus_check_options (&error))
    return usage_error (command, error->message);

  if (arguments == NULL)
    arguments = g_new0 (char *, 1);

  n = g_strv_length (arguments);
  if (n < command->min_arguments)
    return usage_error (command, "an argument is missing");
  if (n > command->max_arguments)
    {
      g_autofree char *message = g_strdup_printf ("unexpected argument '%s'",
                                                  arguments[command->max_arguments]);

      return usage_error (command, message);
    }

  return command->run (arguments);
}

static int
run (char ***strv)
{
  g_autoptr(GOptionContext) context = g_option_context_new (NULL);
  g_autoptr(GError) error = NULL;
  const EvbusctlCommand *command;
  char **words;
  guint n_words;

  /* Stops at the first word that is no option: the rest is the command's. */
  g_option_context_set_strict_posix (context, TRUE);
  g_option_context_set_help_enabled (context, FALSE);
  g_option_context_add_main_entries (context, evbusctl_bus_entries, NULL);
  g_option_context_add_main_entries (context, global_entries, NULL);

  if (!g_option_context_parse_strv (context, strv, &error))
    return usage_error (NULL, error->message);

  if (show_version)
    {
      printf ("evbusctl %s\n", EVBUS_VERSION_S);
      return EVBUSCTL_OK;
    }

  words = *strv;
  if (words[0] == NULL || words[1] == NULL)
    {
      if (show_help)
        return print_help ();
      return usage_error (NULL, "a command is missing; 'evbusctl help' lists them");
    }

  command = find_command (words[1]);
  if (command == NULL)
    return unknown_command (words[1]);

  /* The command takes the place of the program's name; the last of the words
   * moved is the NULL at their end. */
  n_words = g_strv_length (words);
  g_free (words[0]);
  memmove (words, words + 1, sizeof (char *) * n_words);

  return run_command (command, strv);
}

int
evbusctl_run (int    argc,
              char **argv)
{
  g_auto(GStrv) strv = g_strdupv (argv);

  return evbusctl_close_stdout (run (&strv));
}
