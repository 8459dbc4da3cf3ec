/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The names that come with an event: its routing key and its profile. */

#include "evbus-broker-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

#define DEFAULT_PROFILE "default"

/* Nearly every name is; to see that takes many bytes at once. */
static gboolean
is_ascii (const char *text,
          gsize       length)
{
  guint8 all = 0;

  for (gsize i = 0; i < length; i++)
    all |= text[i];
  return all < 0x80;
}

static gboolean
check_name (const char  *what,
            const char  *text,
            gsize        length,
            GError     **error)
{
  const char *end;

  if (length > EVBUS_MAX_NAME_BYTES)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the %s has %" G_GSIZE_FORMAT " bytes, and may have %u",
                   what, length, EVBUS_MAX_NAME_BYTES);
      return FALSE;
    }

  if (!is_ascii (text, length) && !g_utf8_validate_len (text, length, &end))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the %s is not valid UTF-8 at byte %d", what, (int) (end - text));
      return FALSE;
    }

  return TRUE;
}

const char *
evbus_broker_check_profile (const char  *profile,
                            GError     **error)
{
  if (profile == NULL || *profile == '\0')
    return DEFAULT_PROFILE;

  return check_name ("profile", profile, strlen (profile), error) ? profile : NULL;
}

gboolean
evbus_broker_init_names (EvbusEventInit  *init,
                         const char      *routing_key,
                         const char      *profile,
                         GError         **error)
{
  init->routing_key = routing_key;
  init->routing_key_length = strlen (routing_key);
  if (init->routing_key_length == 0)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                           "the routing key is empty");
      return FALSE;
    }

  init->profile = profile != NULL && *profile != '\0' ? profile : DEFAULT_PROFILE;
  init->profile_length = strlen (init->profile);

  return check_name ("routing key", routing_key, init->routing_key_length, error) &&
         check_name ("profile", init->profile, init->profile_length, error);
}
