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
  GMainLoop *loop;
  EvbusSerializer *serializer;
  int status;
} Monitor;

static void
monitor_end (Monitor *self,
             int      status)
{
  self->status = status;
  g_main_loop_quit (self->loop);
}

/* The members of the file route's lines, so that one program reads both. */
static GVariant *
event_as_json (const char *id,
               const char *time,
               const char *routing_key,
               const char *profile_name,
               GVariant   *body,
               GVariant   *attributes)
{
  GVariantBuilder event;

  g_variant_builder_init (&event, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&event, "{sv}", "id", g_variant_new_string (id));
  g_variant_builder_add (&event, "{sv}", "time", g_variant_new_string (time));
  g_variant_builder_add (&event, "{sv}", "routing_key", g_variant_new_string (routing_key));
  g_variant_builder_add (&event, "{sv}", "profile", g_variant_new_string (profile_name));
  if (g_variant_is_of_type (body, G_VARIANT_TYPE_BYTESTRING))
    {
      g_autofree char *base64 = g_base64_encode (g_variant_get_data (body), g_variant_get_size (body));

      g_variant_builder_add (&event, "{sv}", "body_base64", g_variant_new_string (base64));
    }
  else
    {
      g_variant_builder_add (&event, "{sv}", "body", body);
    }
  g_variant_builder_add (&event, "{sv}", "attributes", attributes);

  return g_variant_builder_end (&event);
}

/* JSON, or the text if the bytes are some, else their number. */
static char *
body_as_text (Monitor   *self,
              GVariant  *body,
              GError   **error)
{
  g_autoptr(GByteArray) buffer = g_byte_array_new ();

  if (g_variant_is_of_type (body, G_VARIANT_TYPE_BYTESTRING))
    {
      gsize size = g_variant_get_size (body);
      const char *data = g_variant_get_data (body);

      if (size > 0 && g_utf8_validate_len (data, size, NULL))
        return g_strndup (data, size);
      return g_strdup_printf ("(%" G_GSIZE_FORMAT " bytes)", size);
    }

  if (!evbus_serializer_serialize (self->serializer, body, buffer, error))
    return NULL;

  return g_strndup ((const char *) buffer->data, buffer->len);
}

static gboolean
print_event (Monitor     *self,
             GDateTime   *when,
             const char  *routing_key,
             const char  *profile_name,
             GVariant    *body,
             GError     **error)
{
  g_autofree char *raw = body_as_text (self, body, error);
  g_autofree char *text = raw != NULL ? evbusctl_printable (raw) : NULL;
  g_autofree char *key = evbusctl_printable (routing_key);
  g_autofree char *name = evbusctl_printable (profile_name);
  g_autoptr(GDateTime) local = g_date_time_to_local (when);
  g_autofree char *time = g_date_time_format (local, "%F %T");

  if (text == NULL)
    return FALSE;

  printf ("%s.%03d  ", time, g_date_time_get_microsecond (local) / 1000);
  evbusctl_print (EVBUSCTL_BOLD, "%s", key);
  printf ("  %s  %s\n", name, text);

  return TRUE;
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
  g_autoptr(GDateTime) epoch = g_date_time_new_from_unix_utc (0);
  g_autoptr(GDateTime) when = g_date_time_add (epoch, time_us);
  g_autoptr(GError) error = NULL;
  gboolean printed;

  if (when == NULL)
    when = g_date_time_ref (epoch);

  if (want_json)
    {
      g_autofree char *seconds = g_date_time_format (when, "%FT%T");
      g_autofree char *time = g_strdup_printf ("%s.%06dZ", seconds, g_date_time_get_microsecond (when));

      printed = evbusctl_print_json (event_as_json (id, time, routing_key, profile_name, body, attributes),
                                     &error);
    }
  else
    {
      printed = print_event (self, when, routing_key, profile_name, body, &error);
    }

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
subscribe (EvbusctlBus  *bus,
           Monitor      *self,
           const char   *pattern,
           GError      **error)
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

  return evbusctl_bus_subscribe (bus, g_variant_builder_end (&options), on_event, on_lost, self, error);
}

int
evbusctl_monitor (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(EvbusSerializer) serializer = NULL;
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GError) error = NULL;
  Monitor self = { loop, NULL, EVBUSCTL_OK };

  serializer = evbus_serializer_lookup ("json", &error);
  if (serializer == NULL || (bus = evbusctl_bus_open (&error)) == NULL)
    return evbusctl_bus_report (error);

  self.serializer = serializer;
  g_unix_signal_add (SIGINT, on_signal, &self);
  g_unix_signal_add (SIGTERM, on_signal, &self);
  g_unix_fd_add (STDOUT_FILENO, G_IO_ERR, on_hangup, &self);

  if (!subscribe (bus, &self, arguments[0], &error))
    return evbusctl_bus_report (error);

  /* On standard error, like the first line of tcpdump: from here on nothing is
   * missed, which who waits for it can see. */
  fprintf (stderr, "evbusctl: watching; Ctrl-C ends\n");
  g_main_loop_run (loop);
  evbusctl_bus_unsubscribe (bus);

  return self.status;
}
