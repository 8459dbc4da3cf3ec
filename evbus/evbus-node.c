/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <errno.h>
#include <math.h>
#include <string.h>

#include "evbus-error.h"
#include "evbus-node-private.h"

static const char * const null_words[] = { "", "~", "null", "Null", "NULL", NULL };
static const char * const true_words[] = { "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", NULL };
static const char * const false_words[] = { "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", NULL };

static EvbusNode *
node_alloc (const EvbusPlace *place,
            EvbusNodeKind     kind)
{
  EvbusNode *self = g_new0 (EvbusNode, 1);

  self->ref_count = 1;
  self->kind = kind;
  self->weight = 1;
  if (place != NULL && place->file != NULL)
    {
      self->place = *place;
      g_ref_string_acquire (self->place.file);
    }
  return self;
}

/* Digits may be grouped with underscores: 1_000_000. */
static char *
strip_underscores (const char *text)
{
  char *copy = g_strdup (text);
  char *to = copy;

  for (const char *from = copy; *from != '\0'; from++)
    if (*from != '_')
      *to++ = *from;
  *to = '\0';
  return copy;
}

/* 10, -10, 0x1F, 0b101, and an octal number after 0 (YAML 1.1) or 0o (1.2). */
static gboolean
parse_integer (const char *text,
               gint64     *result)
{
  static const struct {
    const char *prefix;
    guint       base;
    const char *digits;
  } forms[] = {
    { "0x", 16, "0123456789abcdefABCDEF_" },
    { "0b", 2, "01_" },
    { "0o", 8, "01234567_" },
    { "0", 8, "01234567_" },
    { "", 10, "0123456789_" },
  };
  gboolean negative = *text == '-';
  g_autofree char *digits = NULL;
  char *end;
  guint64 magnitude;

  if (*text == '-' || *text == '+')
    text++;
  if (!g_ascii_isdigit (*text))
    return FALSE;

  for (guint i = 0; i < G_N_ELEMENTS (forms); i++)
    {
      gsize skip = strlen (forms[i].prefix);

      if (!g_str_has_prefix (text, forms[i].prefix) || text[skip] == '\0')
        continue;
      if (text[skip + strspn (text + skip, forms[i].digits)] != '\0')
        return FALSE;
      digits = strip_underscores (text + skip);
      errno = 0;
      magnitude = g_ascii_strtoull (digits, &end, forms[i].base);
      if (*digits == '\0' || *end != '\0' || errno != 0 || magnitude > (guint64) G_MAXINT64)
        return FALSE;
      *result = negative ? -(gint64) magnitude : (gint64) magnitude;
      return TRUE;
    }
  return FALSE;
}

/* 1.5, .5, 1e3 (as JSON has it), -.inf, .nan */
static gboolean
parse_number (const char *text,
              double     *result)
{
  const char *unsigned_text = text + (*text == '-' || *text == '+');
  g_autofree char *digits = NULL;
  char *end;

  if (g_ascii_strcasecmp (unsigned_text, ".inf") == 0)
    {
      *result = *text == '-' ? -INFINITY : INFINITY;
      return TRUE;
    }
  if (g_ascii_strcasecmp (text, ".nan") == 0)
    {
      *result = NAN;
      return TRUE;
    }
  if (strpbrk (unsigned_text, "0123456789") == NULL
      || (!g_ascii_isdigit (*unsigned_text) && *unsigned_text != '.')
      || unsigned_text[strspn (unsigned_text, "0123456789_.eE+-")] != '\0')
    return FALSE;
  digits = strip_underscores (text);
  *result = g_ascii_strtod (digits, &end);
  return *end == '\0';
}

static void
resolve_plain (EvbusNode *self)
{
  if (g_strv_contains (null_words, self->text))
    self->kind = EVBUS_NODE_NULL;
  else if (g_strv_contains (true_words, self->text) || g_strv_contains (false_words, self->text))
    {
      self->kind = EVBUS_NODE_BOOLEAN;
      self->boolean = g_strv_contains (true_words, self->text);
    }
  else if (parse_integer (self->text, &self->integer))
    self->kind = EVBUS_NODE_INTEGER;
  else if (parse_number (self->text, &self->number))
    self->kind = EVBUS_NODE_NUMBER;
}

EvbusNode *
evbus_node_new_scalar (const EvbusPlace *place,
                       const char       *text,
                       gboolean          plain)
{
  EvbusNode *self = node_alloc (place, EVBUS_NODE_STRING);

  self->text = g_strdup (text);
  if (plain)
    resolve_plain (self);
  return self;
}

EvbusNode *
evbus_node_new_container (const EvbusPlace *place,
                          EvbusNodeKind     kind)
{
  EvbusNode *self = node_alloc (place, kind);

  self->values = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_node_unref);
  if (kind == EVBUS_NODE_MAPPING)
    self->keys = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_node_unref);
  return self;
}

EvbusNode *
evbus_node_ref (EvbusNode *self)
{
  self->ref_count++;
  return self;
}

void
evbus_node_unref (EvbusNode *self)
{
  if (--self->ref_count > 0)
    return;

  g_clear_pointer (&self->keys, g_ptr_array_unref);
  g_clear_pointer (&self->values, g_ptr_array_unref);
  g_clear_pointer (&self->place.file, g_ref_string_release);
  /* It may be a secret that somebody wrote into the file. */
  if (self->text != NULL)
    explicit_bzero (self->text, strlen (self->text));
  g_free (self->text);
  g_free (self);
}

void
evbus_node_append (EvbusNode *self,
                   EvbusNode *key,
                   EvbusNode *value)
{
  self->weight += value->weight + (key != NULL ? 1 : 0);
  if (key != NULL)
    g_ptr_array_add (self->keys, key);
  g_ptr_array_add (self->values, value);
}

EvbusNode *
evbus_node_lookup (const EvbusNode *self,
                   const char      *key)
{
  for (guint i = 0; self != NULL && self->keys != NULL && i < self->keys->len; i++)
    {
      const EvbusNode *candidate = g_ptr_array_index (self->keys, i);

      if (strcmp (candidate->text, key) == 0)
        return g_ptr_array_index (self->values, i);
    }
  return NULL;
}

static EvbusNode *
scalar_from_variant (GVariant *value)
{
  EvbusNode *self;
  g_autofree char *printed = NULL;

  if (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING)
      || g_variant_is_of_type (value, G_VARIANT_TYPE_OBJECT_PATH)
      || g_variant_is_of_type (value, G_VARIANT_TYPE_SIGNATURE))
    return evbus_node_new_scalar (NULL, g_variant_get_string (value, NULL), FALSE);

  if (!strchr ("bynqiuxtd", g_variant_get_type_string (value)[0])
      || g_variant_is_container (value))
    return NULL;

  /* The text form of a number is what a file would say. */
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_BYTE))
    printed = g_strdup_printf ("%u", g_variant_get_byte (value));
  else
    printed = g_variant_print (value, FALSE);
  self = evbus_node_new_scalar (NULL, printed, TRUE);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE))
    {
      self->kind = EVBUS_NODE_NUMBER;
      self->number = g_variant_get_double (value);
    }
  return self;
}

EvbusNode *
evbus_node_new_from_variant (GVariant  *value,
                             GError   **error)
{
  g_autoptr(EvbusNode) self = NULL;
  GVariantIter iter;
  GVariant *item;
  gboolean mapping;

  if (g_variant_is_of_type (value, G_VARIANT_TYPE_VARIANT))
    {
      g_autoptr(GVariant) inner = g_variant_get_variant (value);

      return evbus_node_new_from_variant (inner, error);
    }

  mapping = g_variant_is_of_type (value, G_VARIANT_TYPE ("a{s*}"));
  if (!mapping && (!g_variant_is_of_type (value, G_VARIANT_TYPE_ARRAY)
                   || g_variant_is_of_type (value, G_VARIANT_TYPE_DICTIONARY)
                   || g_variant_is_of_type (value, G_VARIANT_TYPE_BYTESTRING)))
    {
      self = scalar_from_variant (value);
      if (self == NULL)
        g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                     "an option cannot be of the type '%s'", g_variant_get_type_string (value));
      return g_steal_pointer (&self);
    }

  self = evbus_node_new_container (NULL, mapping ? EVBUS_NODE_MAPPING : EVBUS_NODE_SEQUENCE);
  g_variant_iter_init (&iter, value);
  while ((item = g_variant_iter_next_value (&iter)) != NULL)
    {
      g_autoptr(GVariant) owned = item;
      g_autoptr(GVariant) key = mapping ? g_variant_get_child_value (item, 0) : NULL;
      g_autoptr(GVariant) inner = mapping ? g_variant_get_child_value (item, 1) : g_variant_ref (item);
      EvbusNode *child = evbus_node_new_from_variant (inner, error);

      if (child == NULL)
        return NULL;
      if (mapping && evbus_node_lookup (self, g_variant_get_string (key, NULL)) != NULL)
        {
          evbus_node_unref (child);
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG, "the key '%s' stands twice",
                       g_variant_get_string (key, NULL));
          return NULL;
        }
      evbus_node_append (self,
                         mapping ? evbus_node_new_scalar (NULL, g_variant_get_string (key, NULL), FALSE) : NULL,
                         child);
    }
  return g_steal_pointer (&self);
}

static GVariant *
container_to_variant (const EvbusNode *self)
{
  gboolean mapping = self->kind == EVBUS_NODE_MAPPING;
  GVariantBuilder builder;

  g_variant_builder_init (&builder, mapping ? G_VARIANT_TYPE_VARDICT : G_VARIANT_TYPE ("av"));
  for (guint i = 0; i < self->values->len; i++)
    {
      GVariant *value = evbus_node_to_variant (g_ptr_array_index (self->values, i));

      if (value == NULL)
        continue;
      if (mapping)
        g_variant_builder_add (&builder, "{sv}",
                               ((EvbusNode *) g_ptr_array_index (self->keys, i))->text, value);
      else
        g_variant_builder_add (&builder, "v", value);
    }
  return g_variant_builder_end (&builder);
}

GVariant *
evbus_node_to_variant (const EvbusNode *self)
{
  switch (self->kind)
    {
    case EVBUS_NODE_NULL:
      return NULL;
    case EVBUS_NODE_BOOLEAN:
      return g_variant_new_boolean (self->boolean);
    case EVBUS_NODE_INTEGER:
      return g_variant_new_int64 (self->integer);
    case EVBUS_NODE_NUMBER:
      return g_variant_new_double (self->number);
    case EVBUS_NODE_STRING:
      return g_variant_new_string (self->text);
    case EVBUS_NODE_SEQUENCE:
    case EVBUS_NODE_MAPPING:
      return container_to_variant (self);
    default:
      g_return_val_if_reached (NULL);
    }
}

char *
evbus_node_describe (const EvbusNode *self,
                     gboolean         hide)
{
  static const char * const words[] = {
    [EVBUS_NODE_NULL] = "nothing",
    [EVBUS_NODE_BOOLEAN] = "a boolean",
    [EVBUS_NODE_INTEGER] = "an integer",
    [EVBUS_NODE_NUMBER] = "a number",
    [EVBUS_NODE_STRING] = "a text",
    [EVBUS_NODE_SEQUENCE] = "a list",
    [EVBUS_NODE_MAPPING] = "a mapping",
  };
  g_autofree char *start = NULL;

  if (hide || self->kind == EVBUS_NODE_NULL || self->text == NULL)
    return g_strdup (words[self->kind]);
  /* Not cut in the middle of a character: errors travel over D-Bus. */
  start = g_utf8_substring (self->text, 0, MIN (g_utf8_strlen (self->text, -1), 60));
  return g_strdup_printf ("the %s '%s'", strchr (words[self->kind], ' ') + 1, start);
}
