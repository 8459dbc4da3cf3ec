/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `explain`, `reload`, `pause`, `resume` and `flush`. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"

#include <stdio.h>

static gboolean want_json;

const GOptionEntry evbusctl_explain_entries[] = {
  { "json", 'j', 0, G_OPTION_ARG_NONE, &want_json, "Print one line of JSON", NULL },
  { NULL }
};

static const EvbusctlColumn columns[] = {
  { "PROVIDER" }, { "PROFILE" }, { "GOES THERE" }, { "WHY" },
};

static void
print_explanation (GVariant   *routes,
                   const char *profile)
{
  g_autoptr(EvbusctlTable) table = evbusctl_table_new (columns, G_N_ELEMENTS (columns));
  const char *provider;
  const char *pattern;
  const char *reason;
  gboolean matches;
  GVariantIter iter;
  guint n_matches = 0;

  g_variant_iter_init (&iter, routes);
  while (g_variant_iter_next (&iter, "(&s&sb&s)", &provider, &pattern, &matches, &reason))
    {
      n_matches += matches;
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, provider);
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, pattern);
      evbusctl_table_cell (table, matches ? EVBUSCTL_GOOD : EVBUSCTL_PLAIN, matches ? "yes" : "no");
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, reason);
    }

  if (g_variant_n_children (routes) > 0)
    evbusctl_table_print (table);
  if (n_matches == 0)
    {
      g_autofree char *name = evbusctl_printable (*profile != '\0' ? profile : "default");

      printf ("No route takes events of the profile '%s': they are unrouted.\n", name);
    }
}

static GVariant *
explanation_as_json (GVariant *routes)
{
  GVariantBuilder list;
  const char *provider;
  const char *pattern;
  const char *reason;
  gboolean matches;
  GVariantIter iter;

  g_variant_builder_init (&list, G_VARIANT_TYPE ("aa{sv}"));
  g_variant_iter_init (&iter, routes);
  while (g_variant_iter_next (&iter, "(&s&sb&s)", &provider, &pattern, &matches, &reason))
    {
      g_variant_builder_open (&list, G_VARIANT_TYPE_VARDICT);
      g_variant_builder_add (&list, "{sv}", "provider", g_variant_new_string (provider));
      g_variant_builder_add (&list, "{sv}", "profile", g_variant_new_string (pattern));
      g_variant_builder_add (&list, "{sv}", "matches", g_variant_new_boolean (matches));
      g_variant_builder_add (&list, "{sv}", "reason", g_variant_new_string (reason));
      g_variant_builder_close (&list);
    }

  return g_variant_builder_end (&list);
}

int
evbusctl_explain (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GVariant) routes = NULL;
  g_autoptr(GError) error = NULL;

  if (!evbusctl_check_text ("profile", arguments[0], &error) ||
      (bus = evbusctl_bus_open (&error)) == NULL ||
      (routes = evbusctl_bus_explain (bus, arguments[0], &error)) == NULL)
    return evbusctl_bus_report (error);

  if (!want_json)
    print_explanation (routes, arguments[0]);
  else if (!evbusctl_print_json (explanation_as_json (routes), &error))
    return evbusctl_bus_report (error);

  return EVBUSCTL_OK;
}

int
evbusctl_reload (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_auto(GStrv) not_running = NULL;
  g_autoptr(GError) error = NULL;

  bus = evbusctl_bus_open (&error);
  if (bus == NULL)
    return evbusctl_bus_report (error);

  not_running = evbusctl_bus_reload (bus, &error);
  if (not_running != NULL && not_running[0] == NULL)
    return EVBUSCTL_OK;
  if (not_running != NULL)
    {
      g_autofree char *lines = g_strjoinv ("\n", not_running);

      evbusctl_error ("the new configuration is in place, but not all of its routes run\n%s", lines);
      return EVBUSCTL_FAILED;
    }

  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG))
    {
      g_dbus_error_strip_remote_error (error);
      evbusctl_error ("the configuration has mistakes; nothing was changed\n%s", error->message);
      return EVBUSCTL_FAILED;
    }

  return evbusctl_bus_report (error);
}

/* @route: NULL for all. */
static int
tell_routes (const char *method,
             const char *route,
             const char *done)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GVariant) reply = NULL;
  g_autoptr(GError) error = NULL;
  guint n;

  if (!evbusctl_check_text ("route", route != NULL ? route : "", &error) ||
      (bus = evbusctl_bus_open (&error)) == NULL ||
      (reply = evbusctl_bus_call_manager (bus, method, g_variant_new ("(s)", route != NULL ? route : ""),
                                          "(u)", &error)) == NULL)
    return evbusctl_bus_report (error);

  g_variant_get (reply, "(u)", &n);
  printf ("%u route%s %s\n", n, n == 1 ? "" : "s", done);
  return EVBUSCTL_OK;
}

int
evbusctl_pause (char **arguments)
{
  return tell_routes ("Pause", arguments[0], "paused");
}

int
evbusctl_resume (char **arguments)
{
  return tell_routes ("Resume", arguments[0], "resumed");
}

int
evbusctl_flush (char **arguments)
{
  return tell_routes ("Flush", arguments[0], "told to try now");
}
