/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl-follow.h"
#include "evbusctl-output.h"

#include <stdio.h>
#include <string.h>

static char *profile;
static gboolean gvariant;
static gboolean wants_wait;
static int wait_seconds;           /* 0: as long as it takes */

static gboolean
parse_wait (const char  *name,
            const char  *value,
            gpointer     data,
            GError     **error)
{
  guint64 seconds = 0;

  wants_wait = TRUE;
  if (*value == '\0' || g_ascii_string_to_unsigned (value, 10, 1, EVBUSCTL_MAX_WAIT, &seconds, NULL))
    {
      wait_seconds = (int) seconds;
      return TRUE;
    }

  g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
               "%s: a number of seconds from 1 to %d is wanted", name, EVBUSCTL_MAX_WAIT);
  return FALSE;
}

const GOptionEntry evbusctl_put_entries[] = {
  { "profile", 'p', 0, G_OPTION_ARG_FILENAME, &profile, "The event's profile (default)", "PROFILE" },
  { "gvariant", 'g', 0, G_OPTION_ARG_NONE, &gvariant, "BODY is GVariant text, such as {'id': <42>}", NULL },
  { "wait", 0, G_OPTION_FLAG_OPTIONAL_ARG, G_OPTION_ARG_CALLBACK, parse_wait,
    "Show what becomes of it at each route, for at most so long", "SECONDS" },
  { NULL }
};

/* GVariant text can begin with @ too, as in "@as []": then a type follows, and
 * a space. */
static gboolean
names_file (const char *text)
{
  const char *end;

  if (*text != '@')
    return FALSE;

  return !gvariant ||
         !g_variant_type_string_scan (text + 1, NULL, &end) ||
         *end != ' ';
}

static gboolean
parse_argument (EvbusctlBody  *body,
                const char    *text,
                GError       **error)
{
  g_autoptr(GByteArray) content = NULL;

  if (!names_file (text))
    {
      if (evbusctl_body_parse (body, text, strlen (text), gvariant, error))
        return TRUE;
      if (!gvariant && g_ascii_isalpha (*text))
        g_prefix_error (error, "the body '%s' is no JSON value (a string needs its quotes): ", text);
      else
        g_prefix_error (error, "the body: ");
      return FALSE;
    }

  if (text[1] == '\0')
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the body '@' names no file; @FILE reads one, and a string needs its quotes: '\"@\"'");
      return FALSE;
    }

  content = evbusctl_read_file (text + 1, EVBUSCTL_MAX_BODY, error);
  if (content == NULL)
    return FALSE;

  if (evbusctl_body_parse (body, (const char *) content->data, content->len, gvariant, error))
    return TRUE;

  g_prefix_error (error, "%s: ", text + 1);

  return FALSE;
}

static int
put_one (EvbusctlBus  *bus,
         const char   *routing_key,
         EvbusctlBody *body)
{
  const EvbusctlFollow event = {
    .routing_key = routing_key, .body = body->value, .profile = profile, .options = body->options,
    .seconds = wait_seconds,
  };
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;

  if (wants_wait)
    return evbusctl_follow (bus, &event);

  id = evbusctl_bus_put (bus, routing_key, body->value, profile, body->options, &error);
  if (id == NULL)
    return evbusctl_bus_report (error);

  puts (id);
  return EVBUSCTL_OK;
}

int
evbusctl_put (char **arguments)
{
  g_auto(EvbusctlBody) body = { NULL };
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GError) error = NULL;

  if (profile == NULL)
    profile = g_strdup ("");
  if (wants_wait && strcmp (arguments[1], "-") == 0)
    {
      evbusctl_error ("put: --wait is for one event, not for the lines of the standard input");
      return EVBUSCTL_USAGE;
    }

  if (!evbusctl_check_text ("routing key", arguments[0], &error) ||
      !evbusctl_check_text ("profile", profile, &error))
    return evbusctl_bus_report (error);

  if (strcmp (arguments[1], "-") == 0)
    return evbusctl_put_stream (arguments[0], profile, gvariant);

  if (!parse_argument (&body, arguments[1], &error))
    return evbusctl_bus_report (error);

  bus = evbusctl_bus_open (&error);
  if (bus == NULL)
    return evbusctl_bus_report (error);

  return put_one (bus, arguments[0], &body);
}
