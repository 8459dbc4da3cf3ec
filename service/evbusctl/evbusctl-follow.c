/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An event that is put, and followed until all of its routes have settled it. */

#include "evbusctl-follow.h"

#include "evbusctl-output.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  EvbusctlBus          *bus;
  const EvbusctlFollow *event;
  GMainLoop            *loop;
  char                 *id;
  gint64                since;    /* monotonic */
  GHashTable           *told;     /* names of routes (char *) */
  int                   status;
} Follow;

static void
end (Follow *self,
     int     status)
{
  self->status = status;
  g_main_loop_quit (self->loop);
}

static void
print_route (const char    *name,
             EvbusctlStyle  style,
             const char    *what,
             const char    *why)
{
  g_autofree char *route = evbusctl_printable (name);
  g_autofree char *reason = evbusctl_printable (why);

  printf ("%s: ", route);
  evbusctl_print (style, "%s", what);
  printf (*reason != '\0' ? ": %s\n" : "%s\n", reason);
}

static void
print_settled (Follow     *self,
               const char *route,
               const char *fate,
               const char *reason)
{
  gboolean delivered = strcmp (fate, "delivered") == 0;
  double seconds = (g_get_monotonic_time () - self->since) / (double) G_USEC_PER_SEC;
  g_autofree char *what = self->event->timed ? g_strdup_printf ("%s after %.3f s", fate, seconds) : g_strdup (fate);

  print_route (route, delivered ? EVBUSCTL_GOOD : EVBUSCTL_BAD, what, reason);
  if (!delivered)
    self->status = EVBUSCTL_UNDELIVERED;
}

static void
on_settled (const char *id,
            const char *route,
            const char *fate,
            const char *reason,
            guint       left,
            gpointer    user_data)
{
  Follow *self = user_data;

  if (strcmp (id, self->id) != 0)
    return;

  if (strcmp (fate, "unrouted") == 0)
    {
      printf ("no route matches: it goes nowhere\n");
    }
  else
    {
      g_hash_table_add (self->told, g_strdup (route));
      print_settled (self, route, fate, reason);
    }
  fflush (stdout);
  if (left == 0)
    end (self, self->status);
}

static gboolean
is_match (GVariant   *explanations,
          const char *provider,
          const char *profile)
{
  const char *route_provider;
  const char *route_profile;
  gboolean matches;
  GVariantIter iter;

  g_variant_iter_init (&iter, explanations);
  while (g_variant_iter_next (&iter, "(&s&sb&s)", &route_provider, &route_profile, &matches, NULL))
    if (matches && strcmp (provider, route_provider) == 0 && strcmp (profile, route_profile) == 0)
      return TRUE;

  return FALSE;
}

static void
print_if_pending (Follow   *self,
                  GVariant *explanations,
                  GVariant *route)
{
  const char *provider = "";
  const char *profile = "";
  const char *name = NULL;
  const char *state = "";
  const char *reason = "";
  g_autofree char *place = NULL;
  g_autofree char *what = NULL;

  g_variant_lookup (route, "provider", "&s", &provider);
  g_variant_lookup (route, "profile", "&s", &profile);
  g_variant_lookup (route, "state", "&s", &state);
  g_variant_lookup (route, "reason", "&s", &reason);
  place = g_strdup_printf ("%s '%s'", provider, profile);
  if (!g_variant_lookup (route, "name", "&s", &name))
    name = place;
  if (!is_match (explanations, provider, profile) || g_hash_table_contains (self->told, name))
    return;

  what = g_strdup_printf ("not yet, it is %s", state);
  print_route (name, EVBUSCTL_WAIT, what, reason);
}

/* The routes that were not told of, each with its state and the reason for it. */
static void
print_pending (Follow *self)
{
  g_autoptr(GVariant) explanations = evbusctl_bus_explain (self->bus, self->event->profile, NULL);
  g_autoptr(GVariant) routes = evbusctl_bus_list_routes (self->bus, NULL);
  GVariantIter iter;
  GVariant *route;

  if (explanations == NULL || routes == NULL)
    return;

  g_variant_iter_init (&iter, routes);
  while (g_variant_iter_loop (&iter, "@a{sv}", &route))
    print_if_pending (self, explanations, route);
}

static gboolean
on_timeout (gpointer user_data)
{
  Follow *self = user_data;

  print_pending (self);
  evbusctl_error ("not delivered everywhere within %d s; the event stays with evbusd, which goes on",
                  self->event->seconds);
  end (self, self->status == EVBUSCTL_UNDELIVERED ? EVBUSCTL_UNDELIVERED : EVBUSCTL_PENDING);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_signal (gpointer user_data)
{
  evbusctl_error ("the event stays with evbusd, which goes on");
  end (user_data, EVBUSCTL_INTERRUPTED);
  return G_SOURCE_CONTINUE;
}

static void
on_lost (gpointer bus,
         gpointer user_data)
{
  evbusctl_error ("evbusd left the bus before the event was delivered everywhere; if it has a spool, it goes on "
                  "when it is started again");
  end (user_data, EVBUSCTL_FAILED);
}

static GVariant *
make_options (GVariant *given)
{
  GVariantDict dict;

  g_variant_dict_init (&dict, given);
  g_variant_dict_insert (&dict, "follow", "b", TRUE);
  return g_variant_dict_end (&dict);
}

int
evbusctl_follow (EvbusctlBus          *bus,
                 const EvbusctlFollow *event)
{
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GHashTable) told = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autofree char *id = NULL;
  g_autoptr(GError) error = NULL;
  Follow self = { bus, event, loop, NULL, g_get_monotonic_time (), told, EVBUSCTL_OK };

  /* Signals that come before the answer wait for the main loop. */
  evbusctl_bus_follow (bus, on_settled, on_lost, &self);
  id = evbusctl_bus_put (bus, event->routing_key, event->body, event->profile, make_options (event->options), &error);
  if (id == NULL)
    return evbusctl_bus_report (error);

  self.id = id;
  g_unix_signal_add (SIGINT, on_signal, &self);
  g_unix_signal_add (SIGTERM, on_signal, &self);
  puts (id);
  fflush (stdout);
  if (event->seconds > 0)
    g_timeout_add_seconds (event->seconds, on_timeout, &self);
  g_main_loop_run (loop);

  return self.status;
}
