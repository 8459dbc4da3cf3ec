/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `status` and `routes`: what the service is doing, for a person or a program. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"

#include <stdio.h>

static gboolean want_json;

const GOptionEntry evbusctl_status_entries[] = {
  { "json", 'j', 0, G_OPTION_ARG_NONE, &want_json, "Print one line of JSON", NULL },
  { NULL }
};

static const EvbusctlColumn status_columns[] = {
  { "PROVIDER" }, { "PROFILE" }, { "STATE" },
  { "ACCEPTED", TRUE }, { "DELIVERED", TRUE }, { "QUEUED", TRUE },
  { "DEAD", TRUE }, { "EXPIRED", TRUE }, { "DROPPED", TRUE },
};

static const char * const figures[] = {
  "accepted", "delivered", "queued", "dead", "expired", "dropped",
};

static const EvbusctlColumn route_columns[] = {
  { "PROVIDER" }, { "PROFILE" }, { "STATE" }, { "REASON" },
};

/* States that are not here are new ones, and plain. */
static const struct {
  const char *state;
  EvbusctlStyle style;
} state_styles[] = {
  { "running", EVBUSCTL_GOOD },
  { "opening", EVBUSCTL_WAIT },
  { "paused", EVBUSCTL_WAIT },
  { "retrying", EVBUSCTL_WAIT },
  { "broken", EVBUSCTL_BAD },
  { "stuck", EVBUSCTL_BAD },
  { "failed", EVBUSCTL_BAD },
};

static EvbusctlStyle
state_style (const char *state)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (state_styles); i++)
    if (g_str_equal (state_styles[i].state, state))
      return state_styles[i].style;

  return EVBUSCTL_PLAIN;
}

static const char *
lookup_text (GVariant   *dictionary,
             const char *key)
{
  const char *text = "";

  /* The value belongs to the dictionary's data, and lives as long. */
  g_variant_lookup (dictionary, key, "&s", &text);

  return text;
}

static guint64
lookup_figure (GVariant   *ledger,
               const char *name)
{
  guint64 figure = 0;

  g_variant_lookup (ledger, name, "t", &figure);

  return figure;
}

static void
add_route_name (EvbusctlTable *table,
                GVariant      *route)
{
  const char *state = lookup_text (route, "state");

  evbusctl_table_cell (table, EVBUSCTL_PLAIN, lookup_text (route, "provider"));
  evbusctl_table_cell (table, EVBUSCTL_PLAIN, lookup_text (route, "profile"));
  evbusctl_table_cell (table, state_style (state), state);
}

/* Beside the balance, and mostly nothing. */
static void
add_repeats (EvbusctlTable *table,
             GVariant      *ledger)
{
  guint64 retried = lookup_figure (ledger, "retried");
  g_autofree char *note = NULL;

  if (retried == 0)
    return;

  note = g_strdup_printf ("retried %" G_GUINT64_FORMAT ", duplicates %" G_GUINT64_FORMAT, retried,
                          lookup_figure (ledger, "duplicates"));
  evbusctl_table_note (table, note);
}

static void
print_status_table (GVariant *routes)
{
  g_autoptr(EvbusctlTable) table = evbusctl_table_new (status_columns, G_N_ELEMENTS (status_columns));
  GVariantIter iter;
  GVariant *route;

  g_variant_iter_init (&iter, routes);
  while (g_variant_iter_loop (&iter, "@a{sv}", &route))
    {
      g_autoptr(GVariant) ledger = g_variant_lookup_value (route, "ledger", G_VARIANT_TYPE ("a{st}"));
      const char *reason = lookup_text (route, "reason");
      guint i;

      add_route_name (table, route);
      for (i = 0; i < G_N_ELEMENTS (figures); i++)
        {
          g_autofree char *figure = NULL;

          figure = g_strdup_printf ("%" G_GUINT64_FORMAT,
                                    ledger != NULL ? lookup_figure (ledger, figures[i]) : 0);
          evbusctl_table_cell (table, EVBUSCTL_PLAIN, figure);
        }
      if (ledger != NULL)
        add_repeats (table, ledger);
      if (*reason != '\0')
        evbusctl_table_note (table, reason);
    }

  evbusctl_table_print (table);
}

static void
print_route_table (GVariant *routes)
{
  g_autoptr(EvbusctlTable) table = evbusctl_table_new (route_columns, G_N_ELEMENTS (route_columns));
  GVariantIter iter;
  GVariant *route;

  g_variant_iter_init (&iter, routes);
  while (g_variant_iter_loop (&iter, "@a{sv}", &route))
    {
      add_route_name (table, route);
      evbusctl_table_cell (table, EVBUSCTL_PLAIN, lookup_text (route, "reason"));
    }

  evbusctl_table_print (table);
}

static EvbusctlStyle
spool_style (const char *condition)
{
  static const char * const bad[] = { "damaged", "full", "failed", NULL };

  if (g_strv_contains (bad, condition))
    return EVBUSCTL_BAD;

  return g_str_equal (condition, "recovered") ? EVBUSCTL_WAIT : EVBUSCTL_PLAIN;
}

static void
print_spool (GVariant *properties)
{
  const char *condition = lookup_text (properties, "SpoolCondition");
  g_autofree char *note = evbusctl_printable (lookup_text (properties, "SpoolNote"));

  printf ("spool: ");
  evbusctl_print (spool_style (condition), "%s", condition);
  printf ("%s%s\n", *note != '\0' ? ": " : "", note);
}

static gint64
start_time (GVariant *properties)
{
  gint64 time = 0;

  g_variant_lookup (properties, "StartTime", "x", &time);

  return time;
}

static void
print_totals (GVariant *ledger)
{
  evbusctl_print (EVBUSCTL_BOLD, "accepted");
  printf (" %" G_GUINT64_FORMAT " = delivered %" G_GUINT64_FORMAT " + queued %" G_GUINT64_FORMAT
          " + dead %" G_GUINT64_FORMAT " + expired %" G_GUINT64_FORMAT " + dropped %" G_GUINT64_FORMAT
          "\nunrouted %" G_GUINT64_FORMAT ", repeated %" G_GUINT64_FORMAT ", retried %" G_GUINT64_FORMAT
          ", duplicates %" G_GUINT64_FORMAT "\n",
          lookup_figure (ledger, "accepted"), lookup_figure (ledger, "delivered"),
          lookup_figure (ledger, "queued"), lookup_figure (ledger, "dead"),
          lookup_figure (ledger, "expired"), lookup_figure (ledger, "dropped"),
          lookup_figure (ledger, "unrouted"), lookup_figure (ledger, "repeated"),
          lookup_figure (ledger, "retried"), lookup_figure (ledger, "duplicates"));
}

static void
print_status (GVariant *properties,
              GVariant *ledger,
              GVariant *routes)
{
  g_autofree char *uptime = evbusctl_format_span (g_get_real_time () - start_time (properties));
  g_autofree char *version = evbusctl_printable (lookup_text (properties, "Version"));
  g_autofree char *configuration = evbusctl_printable (lookup_text (properties, "Configuration"));
  gsize n_routes = g_variant_n_children (routes);

  evbusctl_print (EVBUSCTL_BOLD, "evbusd %s", version);
  printf (" on %s, up %s\n", evbusctl_bus_get_label (), uptime);
  printf ("configuration: %s\n", *configuration != '\0' ? configuration : "the embedded default");
  print_spool (properties);
  print_totals (ledger);
  printf ("\n");

  if (n_routes == 0)
    printf ("No routes: every event is counted as unrouted.\n");
  else
    print_status_table (routes);
}

static GVariant *
status_as_json (GVariant *properties,
                GVariant *ledger,
                GVariant *routes)
{
  GVariantBuilder status;
  gint64 started = start_time (properties);

  g_variant_builder_init (&status, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&status, "{sv}", "version",
                         g_variant_new_string (lookup_text (properties, "Version")));
  g_variant_builder_add (&status, "{sv}", "configuration",
                         g_variant_new_string (lookup_text (properties, "Configuration")));
  g_variant_builder_add (&status, "{sv}", "spool_condition",
                         g_variant_new_string (lookup_text (properties, "SpoolCondition")));
  g_variant_builder_add (&status, "{sv}", "spool_note",
                         g_variant_new_string (lookup_text (properties, "SpoolNote")));
  g_variant_builder_add (&status, "{sv}", "start_time_us", g_variant_new_int64 (started));
  g_variant_builder_add (&status, "{sv}", "uptime_us",
                         g_variant_new_int64 (g_get_real_time () - started));
  g_variant_builder_add (&status, "{sv}", "ledger", ledger);
  g_variant_builder_add (&status, "{sv}", "routes", routes);

  return g_variant_builder_end (&status);
}

int
evbusctl_status (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GVariant) properties = NULL;
  g_autoptr(GVariant) ledger = NULL;
  g_autoptr(GVariant) routes = NULL;
  g_autoptr(GError) error = NULL;

  bus = evbusctl_bus_open (&error);
  if (bus == NULL ||
      (properties = evbusctl_bus_get_properties (bus, &error)) == NULL ||
      (ledger = evbusctl_bus_get_ledger (bus, &error)) == NULL ||
      (routes = evbusctl_bus_list_routes (bus, &error)) == NULL)
    return evbusctl_bus_report (error);

  if (!want_json)
    print_status (properties, ledger, routes);
  else if (!evbusctl_print_json (status_as_json (properties, ledger, routes), &error))
    return evbusctl_bus_report (error);

  return EVBUSCTL_OK;
}

int
evbusctl_routes (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GVariant) routes = NULL;
  g_autoptr(GError) error = NULL;

  bus = evbusctl_bus_open (&error);
  if (bus == NULL || (routes = evbusctl_bus_list_routes (bus, &error)) == NULL)
    return evbusctl_bus_report (error);

  if (!want_json)
    print_route_table (routes);
  else if (!evbusctl_print_json (routes, &error))
    return evbusctl_bus_report (error);

  return EVBUSCTL_OK;
}
