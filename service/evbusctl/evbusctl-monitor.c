/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `monitor`: the events that reach internal routes, as they come. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static gboolean want_json;
static char *profile;

const GOptionEntry evbusctl_monitor_entries[] = {
  { "json", 'j', 0, G_OPTION_ARG_NONE, &want_json, "Print a line of JSON for each event", NULL },
  { "profile", 'p', 0, G_OPTION_ARG_FILENAME, &profile, "Only profiles that match this glob", "PATTERN" },
  { NULL }
};

typedef struct {
  EvbusctlBus *bus;
  GMainLoop *loop;
  int status;
} Monitor;

typedef struct {
  const char *id;
  GDateTime *time;
  const char *routing_key;
  const char *profile;
  GVariant *body;
  GVariant *attributes;
  const char *content_type;
} Event;

static void
monitor_end (Monitor *self,
             int      status)
{
  self->status = status;
  g_main_loop_quit (self->loop);
}

static gboolean
is_json (const char *content_type)
{
  g_autofree char *bare = g_ascii_strdown (content_type, strcspn (content_type, "; "));

  return g_str_equal (bare, "application/json") || g_str_has_suffix (bare, "+json");
}

/* What the producer gave, which is text. */
static void
append_attributes (GString  *line,
                   GVariant *attributes)
{
  gsize start = line->len;
  const char *separator = ",\"attributes\":{";
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_loop (&iter, "{&sv}", &name, &value))
    {
      if (g_str_equal (name, "content-type") || !g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
        continue;

      g_string_append (line, separator);
      evbus_json_append_string (line, name, -1);
      g_string_append_c (line, ':');
      evbus_json_append_string (line, g_variant_get_string (value, NULL), -1);
      separator = ",";
    }

  if (line->len > start)
    g_string_append_c (line, '}');
}

/* The members of the file route's lines, so that one program reads both. */
static gboolean
append_event (GString      *line,
              const Event  *event,
              GError      **error)
{
  g_autofree char *seconds = g_date_time_format (event->time, "%FT%T");

  g_string_append (line, "{\"id\":");
  evbus_json_append_string (line, event->id, -1);
  g_string_append_printf (line, ",\"time\":\"%s.%06dZ\",\"routing_key\":", seconds,
                          g_date_time_get_microsecond (event->time));
  evbus_json_append_string (line, event->routing_key, -1);
  g_string_append (line, ",\"profile\":");
  evbus_json_append_string (line, event->profile, -1);
  if (!g_str_equal (event->content_type, "application/json"))
    {
      g_string_append (line, ",\"content_type\":");
      evbus_json_append_string (line, event->content_type, -1);
    }
  append_attributes (line, event->attributes);

  if (is_json (event->content_type))
    {
      g_string_append (line, ",\"body\":");
      if (!evbusctl_append_json_body (line, event->body, error))
        return FALSE;
    }
  else
    {
      g_autofree char *base64 = g_base64_encode (g_variant_get_data (event->body),
                                                 g_variant_get_size (event->body));

      g_string_append_printf (line, ",\"body_base64\":\"%s\"", base64);
    }
  g_string_append (line, "}\n");

  return TRUE;
}

static gboolean
print_event_as_json (const Event  *event,
                     GError      **error)
{
  g_autoptr(GString) line = g_string_new (NULL);

  if (!append_event (line, event, error))
    return FALSE;

  fwrite (line->str, 1, line->len, stdout);

  return TRUE;
}

/* JSON, or the text if the bytes are some, else their number. */
static gboolean
append_body_text (GString      *text,
                  const Event  *event,
                  GError      **error)
{
  gsize size = g_variant_get_size (event->body);
  const char *data = g_variant_get_data (event->body);

  if (is_json (event->content_type))
    return evbusctl_append_json_body (text, event->body, error);

  if (size > 0 && g_utf8_validate_len (data, size, NULL))
    g_string_append_len (text, data, size);
  else
    g_string_append_printf (text, "(%" G_GSIZE_FORMAT " bytes of %s)", size, event->content_type);

  return TRUE;
}

static gboolean
print_event (const Event  *event,
             GError      **error)
{
  g_autoptr(GString) raw = g_string_new (NULL);
  g_autofree char *key = evbusctl_printable (event->routing_key);
  g_autofree char *name = evbusctl_printable (event->profile);
  g_autoptr(GDateTime) local = g_date_time_to_local (event->time);
  g_autofree char *time = g_date_time_format (local, "%F %T");
  g_autofree char *text = NULL;

  if (!append_body_text (raw, event, error))
    return FALSE;

  text = evbusctl_printable (raw->str);
  printf ("%s.%03d  ", time, g_date_time_get_microsecond (local) / 1000);
  evbusctl_print (EVBUSCTL_BOLD, "%s", key);
  printf ("  %s  %s\n", name, text);

  return TRUE;
}

/* The year 1970 stands for a time that no calendar has. */
static GDateTime *
date_from_us (gint64 time_us)
{
  g_autoptr(GDateTime) epoch = g_date_time_new_from_unix_utc (0);
  GDateTime *date = g_date_time_add (epoch, time_us);

  return date != NULL ? date : g_date_time_ref (epoch);
}

static void
on_event (guint64     subscription,
          const char *id,
          gint64      time_us,
          const char *routing_key,
          const char *profile_name,
          GVariant   *body,
          GVariant   *attributes,
          gpointer    user_data)
{
  Monitor *self = user_data;
  g_autoptr(GDateTime) time = date_from_us (time_us);
  g_autoptr(GError) error = NULL;
  const char *content_type = "application/json";
  Event event = { id, time, routing_key, profile_name, body, attributes };
  gboolean printed;

  g_variant_lookup (attributes, "content-type", "&s", &content_type);
  event.content_type = content_type;

  printed = want_json ? print_event_as_json (&event, &error) : print_event (&event, &error);

  /* Somebody else's event that cannot be shown does not end the watch. */
  if (!printed)
    evbusctl_error ("event %s cannot be shown: %s", id, error->message);

  /* Why is told, where it is worth telling, by evbusctl_close_stdout(). */
  if (fflush (stdout) != 0)
    monitor_end (self, EVBUSCTL_OK);
}

static void
on_lost (gpointer bus,
         gpointer user_data)
{
  evbusctl_error ("evbusd left the bus");
  monitor_end (user_data, EVBUSCTL_FAILED);
}

static gboolean
on_signal (gpointer user_data)
{
  monitor_end (user_data, EVBUSCTL_OK);

  return G_SOURCE_REMOVE;
}

/* The reader went away. It is noticed here even if no event ever comes. */
static gboolean
on_hangup (int          fd,
           GIOCondition condition,
           gpointer     user_data)
{
  monitor_end (user_data, EVBUSCTL_OK);

  return G_SOURCE_REMOVE;
}

static gboolean
any_is_internal (GVariant *routes)
{
  GVariantIter iter;
  g_autoptr(GVariant) route = NULL;

  g_variant_iter_init (&iter, routes);
  while ((route = g_variant_iter_next_value (&iter)) != NULL)
    {
      const char *provider = "";

      if (g_variant_lookup (route, "provider", "&s", &provider) && g_str_equal (provider, "internal"))
        return TRUE;
      g_clear_pointer (&route, g_variant_unref);
    }

  return FALSE;
}

/* A hint and no more: who may watch but not ask gets none. */
static void
on_routes (GObject      *source,
           GAsyncResult *result,
           gpointer      user_data)
{
  Monitor *self = user_data;
  g_autoptr(GVariant) routes = evbusctl_bus_list_routes_finish (self->bus, result, NULL);

  if (routes != NULL && !any_is_internal (routes))
    evbusctl_error ("there is no route of the provider 'internal', and nothing will be shown until there is\n"
                    "one. Add it to the configuration, and run 'evbusctl reload':\n"
                    "  internal: {\"*\": }");
}

static gboolean
subscribe (Monitor     *self,
           const char  *pattern,
           GError     **error)
{
  GVariantBuilder options;

  if ((pattern != NULL && !evbusctl_check_text ("pattern", pattern, error)) ||
      (profile != NULL && !evbusctl_check_text ("profile", profile, error)))
    return FALSE;

  g_variant_builder_init (&options, G_VARIANT_TYPE_VARDICT);
  if (pattern != NULL)
    g_variant_builder_add (&options, "{sv}", "routing-key", g_variant_new_string (pattern));
  if (profile != NULL)
    g_variant_builder_add (&options, "{sv}", "profile", g_variant_new_string (profile));

  return evbusctl_bus_subscribe (self->bus, g_variant_builder_end (&options), on_event, on_lost, self, error);
}

int
evbusctl_monitor (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GError) error = NULL;
  Monitor self = { NULL, loop, EVBUSCTL_OK };

  bus = evbusctl_bus_open (&error);
  if (bus == NULL)
    return evbusctl_bus_report (error);

  self.bus = bus;
  g_unix_signal_add (SIGINT, on_signal, &self);
  g_unix_signal_add (SIGTERM, on_signal, &self);
  g_unix_fd_add (STDOUT_FILENO, G_IO_ERR, on_hangup, &self);

  if (!subscribe (&self, arguments[0], &error))
    return evbusctl_bus_report (error);

  /* On standard error, like the first line of tcpdump: from here on nothing is
   * missed, which who waits for it can see. */
  fprintf (stderr, "evbusctl: watching; Ctrl-C ends\n");
  evbusctl_bus_list_routes_async (bus, on_routes, &self);
  g_main_loop_run (loop);
  evbusctl_bus_unsubscribe (bus);

  return self.status;
}
