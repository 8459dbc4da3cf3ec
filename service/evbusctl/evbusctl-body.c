/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl.h"

#include <string.h>

/* A JSON body is not turned into a GVariant: a null has no value that D-Bus
 * can carry, 1.0 would become 1 and a large integer a rounded double, and of a
 * key that stands twice one would vanish. Its bytes go as they are, but for the
 * white space around its tokens, with their content type, and arrive so. */
static gboolean
parse_json (EvbusctlBody  *body,
            const char    *text,
            gsize          length,
            GError       **error)
{
  g_autoptr(GString) compact = g_string_sized_new (length);
  g_autoptr(GBytes) bytes = NULL;

  if (!evbus_json_append_compact (compact, (const guint8 *) text, length, error))
    return FALSE;

  body->size = compact->len;
  bytes = g_string_free_to_bytes (g_steal_pointer (&compact));
  body->value = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, bytes, TRUE));
  body->options = g_variant_ref_sink (g_variant_new_parsed ("{'content-type': <'application/json'>}"));

  return TRUE;
}

static gboolean
parse_gvariant (EvbusctlBody  *body,
                const char    *text,
                gsize          length,
                GError       **error)
{
  g_autoptr(GError) local_error = NULL;

  body->value = g_variant_parse (NULL, text, text + length, NULL, &local_error);
  if (body->value == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                   "the body is not GVariant text: %s", local_error->message);
      return FALSE;
    }

  if (strchr (g_variant_get_type_string (body->value), 'm') != NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                   "the body has the type %s, and maybe types cannot go over D-Bus",
                   g_variant_get_type_string (body->value));
      return FALSE;
    }

  body->size = g_variant_get_size (body->value);

  return TRUE;
}

/* Fills @body, which must be zeroed, or sets @error; either way it can be
 * cleared. @text needs no NUL at its end. */
gboolean
evbusctl_body_parse (EvbusctlBody  *body,
                     const char    *text,
                     gsize          length,
                     gboolean       gvariant,
                     GError       **error)
{
  if (length > EVBUSCTL_MAX_BODY)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
                   "the body has more than the %u MiB that D-Bus can carry",
                   EVBUSCTL_MAX_BODY / 1024 / 1024);
      return FALSE;
    }

  if (gvariant)
    return parse_gvariant (body, text, length, error);

  return parse_json (body, text, length, error);
}

void
evbusctl_body_clear (EvbusctlBody *body)
{
  g_clear_pointer (&body->value, g_variant_unref);
  g_clear_pointer (&body->options, g_variant_unref);
}
