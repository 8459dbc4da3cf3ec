/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-put-options-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-id-private.h"
#include "evbus-limits-private.h"

gboolean
evbus_put_check_content_type (const char  *content_type,
                              GError     **error)
{
  gsize length = strnlen (content_type, EVBUS_MAX_CONTENT_TYPE + 1);
  gboolean bad = length == 0 || length > EVBUS_MAX_CONTENT_TYPE;

  /* Without a branch, so that the compiler can take many bytes at once. */
  for (gsize i = 0; i < length; i++)
    bad |= (guint8) (content_type[i] - ' ') > '~' - ' ';
  if (!bad)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
               "the content type must have 1 to %u printable ASCII characters",
               EVBUS_MAX_CONTENT_TYPE);
  return FALSE;
}

static gboolean
has_control_characters (const char *text)
{
  for (; *text != '\0'; text = g_utf8_next_char (text))
    {
      if (g_unichar_iscntrl (g_utf8_get_char (text)))
        return TRUE;
    }

  return FALSE;
}

static gboolean
check_attribute_names (GVariant  *attributes,
                       GError   **error)
{
  const char *names[EVBUS_MAX_ATTRIBUTES];
  const char *fault = NULL;
  g_autofree char *escaped = NULL;
  gsize n = g_variant_n_children (attributes);
  gsize i;

  for (i = 0; i < n && fault == NULL; i++)
    {
      const char *value;

      g_variant_get_child (attributes, i, "{&s&s}", &names[i], &value);
      if (*names[i] == '\0')
        fault = "has no name";
      else if (has_control_characters (names[i]))
        fault = "has a control character in its name";
      for (gsize j = 0; j < i && fault == NULL; j++)
        {
          if (strcmp (names[i], names[j]) == 0)
            fault = "is given twice";
        }
    }
  if (fault == NULL)
    return TRUE;

  escaped = g_strescape (names[i - 1], NULL);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "the attribute '%s' %s", escaped, fault);
  return FALSE;
}

static gboolean
check_attributes (GVariant  *attributes,
                  GError   **error)
{
  if (g_variant_n_children (attributes) <= EVBUS_MAX_ATTRIBUTES &&
      g_variant_get_size (attributes) <= EVBUS_MAX_ATTRIBUTE_BYTES)
    return check_attribute_names (attributes, error);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
               "%" G_GSIZE_FORMAT " attributes of %" G_GSIZE_FORMAT " bytes: at most %u of %u bytes can be given",
               g_variant_n_children (attributes), g_variant_get_size (attributes),
               EVBUS_MAX_ATTRIBUTES, EVBUS_MAX_ATTRIBUTE_BYTES);
  return FALSE;
}

static gboolean
read_wait (EvbusPutOptions  *options,
           GVariant         *value,
           GError          **error)
{
  static const struct {
    const char *name;
    EvbusWait   wait;
  } waits[] = {
    { "accepted", EVBUS_WAIT_ACCEPTED },
    { "durable", EVBUS_WAIT_DURABLE },
    { "delivered", EVBUS_WAIT_DELIVERED },
  };
  const char *wait = g_variant_get_string (value, NULL);

  for (guint i = 0; i < G_N_ELEMENTS (waits); i++)
    {
      if (strcmp (wait, waits[i].name) == 0)
        {
          options->wait = waits[i].wait;
          return TRUE;
        }
    }

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
               "option 'wait': there is no '%s'; use 'accepted', 'durable' or 'delivered'", wait);
  return FALSE;
}

static gboolean
read_follower (EvbusPutOptions  *options,
               GVariant         *value,
               GError          **error)
{
  options->follower = g_variant_get_string (value, NULL);
  if (strlen (options->follower) <= EVBUS_MAX_NAME_BYTES && *options->follower != '\0')
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
               "option 'follow' must have 1 to %u bytes", EVBUS_MAX_NAME_BYTES);
  return FALSE;
}

static gboolean
read_option (EvbusPutOptions  *options,
             const char       *name,
             GVariant         *value,
             GError          **error)
{
  if (strcmp (name, "id") == 0)
    {
      options->id = g_variant_get_string (value, NULL);
      if (evbus_id_is_valid (options->id))
        return TRUE;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "option 'id' must have 1 to %u printable ASCII characters and no space",
                   EVBUS_MAX_ID_BYTES);
      return FALSE;
    }
  if (strcmp (name, "content-type") == 0)
    {
      options->content_type = g_variant_get_string (value, NULL);
      return evbus_put_check_content_type (options->content_type, error);
    }
  if (strcmp (name, "attributes") == 0)
    {
      options->attributes = value;
      return check_attributes (value, error);
    }
  if (strcmp (name, "max-age") == 0)
    {
      options->max_age = g_variant_get_uint64 (value);
      return TRUE;
    }
  if (strcmp (name, "timeout") == 0)
    {
      options->timeout = g_variant_get_uint32 (value);
      return TRUE;
    }

  if (strcmp (name, "follow") == 0)
    return read_follower (options, value, error);

  return read_wait (options, value, error);
}

static const struct {
  const char *name;
  const char *type;
} option_types[] = {
  { "attributes", "a{ss}" },
  { "content-type", "s" },
  { "follow", "s" },
  { "id", "s" },
  { "max-age", "t" },
  { "timeout", "u" },
  { "wait", "s" },
};

gboolean
evbus_put_options_read (EvbusPutOptions  *options,
                        GVariant         *dict,
                        GPtrArray        *values,
                        GError          **error)
{
  GVariantIter iter;
  const char *name;
  GVariant *value;
  guint given = 0;   /* a bit each */

  if (!g_variant_is_of_type (dict, G_VARIANT_TYPE_VARDICT))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the options must be a{sv}, not %s", g_variant_get_type_string (dict));
      return FALSE;
    }

  g_variant_iter_init (&iter, dict);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      guint i;

      g_ptr_array_add (values, value);
      for (i = 0; i < G_N_ELEMENTS (option_types); i++)
        {
          if (strcmp (name, option_types[i].name) == 0)
            break;
        }
      if (i == G_N_ELEMENTS (option_types))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                       "unknown option '%s'; there are attributes, content-type, follow, id, max-age, "
                       "timeout and wait", name);
          return FALSE;
        }
      if (!g_variant_is_of_type (value, G_VARIANT_TYPE (option_types[i].type)))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                       "option '%s' is of type %s, and must be %s", name,
                       g_variant_get_type_string (value), option_types[i].type);
          return FALSE;
        }
      if ((given & 1u << i) != 0)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT, "option '%s' is given twice", name);
          return FALSE;
        }
      given |= 1u << i;
      if (!read_option (options, name, value, error))
        return FALSE;
    }

  return TRUE;
}
