/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl.h"

#include "../evbusd/evbusd-json.h"

#include <string.h>

static GVariant *
json_options (void)
{
  static GVariant *options;

  if (options == NULL)
    options = g_variant_ref_sink (g_variant_new_parsed ("{'content-type': <'application/json'>}"));

  return options;
}

/* A JSON body is not turned into a GVariant: a null has no value that D-Bus
 * can carry, and 1.0 would become 1 and a large integer a rounded double. Its
 * bytes go as they are, but for the white space around its tokens, with their
 * content type, and arrive so. */
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
  body->options = g_variant_ref (json_options ());

  return TRUE;
}

/* A bus cuts off whoever sends a message with deeper nesting than this. The
 * first variant, in which every body stands, is counted in. */
#define MAX_DEPTH        64u
#define MAX_SAME_DEPTH   32u

typedef struct {
  guint all;
  guint arrays;          /* in one signature, which a variant begins anew */
  guint structures;
} Depth;

/* @value is NULL where there is only the type to look at. */
static gboolean
fits_dbus (const GVariantType *type,
           GVariant           *value,
           Depth               depth)
{
  const GVariantType *member = NULL;
  gsize n = 0;
  gsize i;

  if (!g_variant_type_is_container (type))
    return TRUE;

  depth.all++;
  if (g_variant_type_is_variant (type))
    depth.arrays = depth.structures = 0;
  else if (g_variant_type_is_array (type))
    depth.arrays++;
  else
    depth.structures++;
  if (depth.all > MAX_DEPTH || depth.arrays > MAX_SAME_DEPTH || depth.structures > MAX_SAME_DEPTH)
    return FALSE;

  if (!g_variant_type_is_variant (type))
    member = g_variant_type_is_array (type) ? g_variant_type_element (type) : g_variant_type_first (type);

  /* What holds no variant is as deep as its type: its values need no look. */
  if (memchr (g_variant_type_peek_string (type), 'v', g_variant_type_get_string_length (type)) == NULL)
    value = NULL;
  if (value != NULL)
    n = g_variant_n_children (value);

  for (i = 0; i < n || (n == 0 && member != NULL); i++)
    {
      g_autoptr(GVariant) child = n > 0 ? g_variant_get_child_value (value, i) : NULL;

      if (!fits_dbus (member != NULL ? member : g_variant_get_type (child), child, depth))
        return FALSE;
      if (member != NULL && !g_variant_type_is_array (type))
        member = g_variant_type_next (member);
      else if (n == 0)
        break;
    }

  return TRUE;
}

/* GLib's parser reads up to a NUL, and is not made for what is not UTF-8. */
static GVariant *
parse_text (const char  *text,
            gsize        length,
            GError     **error)
{
  g_autoptr(GError) local_error = NULL;
  GVariant *value;
  const char *message;

  if (!g_utf8_validate_len (text, length, NULL))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                   "not GVariant text: it is not UTF-8, or has a NUL in it");
      return NULL;
    }

  value = g_variant_parse (NULL, text, text + length, NULL, &local_error);
  if (value != NULL)
    return value;

  /* It begins with the place, as in "3-5:", which the parser does not know of
   * every mistake. */
  message = local_error->message;
  if (g_ascii_strtoull (message, NULL, 10) > length && strchr (message, ':') != NULL)
    message = strchr (message, ':') + 1;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY, "not GVariant text: %s", message);

  return NULL;
}

static gboolean
parse_gvariant (EvbusctlBody  *body,
                const char    *text,
                gsize          length,
                GError       **error)
{
  const char *type;

  body->value = parse_text (text, length, error);
  if (body->value == NULL)
    return FALSE;

  type = g_variant_get_type_string (body->value);
  if (strchr (type, 'm') != NULL)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                 "it has the type %s, and maybe types cannot go over D-Bus", type);
  else if (!fits_dbus (G_VARIANT_TYPE (type), body->value, (Depth) { 1, 0, 0 }))
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                 "it is nested more deeply than D-Bus can carry");
  else
    {
      body->size = g_variant_get_size (body->value);
      return TRUE;
    }

  return FALSE;
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

/* Only small ones are worth it. */
#define MAX_VALUE (16u * 1024u)

/* Whether the service will write @value, and the same text for it. */
static gboolean
is_written_as (GVariant   *value,
               const void *text,
               gsize       length)
{
  g_autoptr(EvbusSerializer) serializer = evbus_serializer_lookup ("json", NULL);
  g_autoptr(GByteArray) written = g_byte_array_new ();

  return serializer != NULL &&
         evbus_serializer_serialize (serializer, value, written, NULL) &&
         written->len == length &&
         memcmp (written->data, text, length) == 0;
}

/* Returns: (transfer full) (nullable): the body as an entry of a PutMany, where it has
 * no content type; NULL: it has to be put by itself. JSON has such a value where the
 * service, if it writes values as JSON, makes of it the same text again. */
GVariant *
evbusctl_body_dup_value (const EvbusctlBody *body)
{
  g_autoptr(GVariant) value = NULL;
  gconstpointer text = g_variant_get_data (body->value);

  if (body->size > MAX_VALUE)
    return NULL;

  if (body->options == NULL)
    value = g_variant_ref (body->value);
  else
    value = evbusd_json_to_variant (text, body->size);

  if (value == NULL)
    return NULL;
  if (g_variant_is_floating (value))
    g_variant_ref_sink (value);
  if (body->options != NULL && !is_written_as (value, text, body->size))
    return NULL;

  /* Beside its variant, a list and a structure. */
  return fits_dbus (g_variant_get_type (value), value, (Depth) { 3, 0, 0 }) ? g_steal_pointer (&value) : NULL;
}

void
evbusctl_body_clear (EvbusctlBody *body)
{
  g_clear_pointer (&body->value, g_variant_unref);
  g_clear_pointer (&body->options, g_variant_unref);
}
