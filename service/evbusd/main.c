/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* evbusd: the command line. */

#include <evbus/evbus.h>

#include "evbusd-daemon.h"
#include "evbusd-log.h"
#include "evbusd-memory.h"

#define EXIT_USAGE 2

typedef struct {
  gboolean session;
  gboolean system;
  gboolean verbose;
  gboolean version;
  char    *address;
  char    *config;
  char    *spool;
  gboolean no_spool;
  char   **rest;
} Arguments;

static void
clear_arguments (Arguments *arguments)
{
  g_free (arguments->address);
  g_free (arguments->config);
  g_free (arguments->spool);
  g_strfreev (arguments->rest);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Arguments, clear_arguments)

static gboolean
parse (Arguments   *arguments,
       int         *argc,
       char      ***argv,
       GError     **error)
{
  const GOptionEntry entries[] = {
    { "session", 0, 0, G_OPTION_ARG_NONE, &arguments->session, "Serve the session bus (the default)", NULL },
    { "system", 0, 0, G_OPTION_ARG_NONE, &arguments->system, "Serve the system bus", NULL },
    { "address", 0, 0, G_OPTION_ARG_STRING, &arguments->address, "Serve the bus at this address", "ADDRESS" },
    { "config", 0, 0, G_OPTION_ARG_FILENAME, &arguments->config, "The configuration, instead of searching for it", "FILE-OR-FOLDER" },
    { "spool", 0, 0, G_OPTION_ARG_FILENAME, &arguments->spool, "Keep what is not delivered yet there, whatever the configuration says", "FOLDER" },
    { "no-spool", 0, 0, G_OPTION_ARG_NONE, &arguments->no_spool, "Keep it in memory alone: a crash loses it", NULL },
    { "verbose", 0, 0, G_OPTION_ARG_NONE, &arguments->verbose, "Log debug messages too", NULL },
    { "version", 0, 0, G_OPTION_ARG_NONE, &arguments->version, "Print the version", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &arguments->rest, NULL, NULL },
    { NULL }
  };
  g_autoptr (GOptionContext) context = g_option_context_new (NULL);

  g_option_context_set_summary (context, "Takes events over D-Bus and hands each one to every configured destination.");
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;

  if (arguments->session + arguments->system + (arguments->address != NULL) > 1)
    {
      g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                           "--session, --system and --address exclude each other");
      return FALSE;
    }
  if (arguments->spool != NULL && arguments->no_spool)
    {
      g_set_error_literal (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                           "--spool and --no-spool exclude each other");
      return FALSE;
    }
  if (arguments->rest != NULL)
    {
      g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                   "unexpected argument '%s'", arguments->rest[0]);
      return FALSE;
    }

  return TRUE;
}

int
main (int    argc,
      char **argv)
{
  g_auto (Arguments) arguments = { 0 };
  g_autoptr (GError) error = NULL;
  EvbusdOptions options;

  evbusd_memory_avoid_slices (argv);
  g_set_prgname ("evbusd");
  if (!parse (&arguments, &argc, &argv, &error))
    {
      g_printerr ("evbusd: %s\nTry 'evbusd --help'.\n", error->message);
      return EXIT_USAGE;
    }

  if (arguments.version)
    {
      g_print ("evbusd %s\n", EVBUS_VERSION_S);
      return 0;
    }

  evbusd_log_init (arguments.verbose);
  options.bus = arguments.system ? G_BUS_TYPE_SYSTEM : G_BUS_TYPE_SESSION;
  options.address = arguments.address;
  options.config = arguments.config;
  options.spool = arguments.spool;
  options.no_spool = arguments.no_spool;
  return evbusd_daemon_run (&options);
}
