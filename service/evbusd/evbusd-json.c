/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A JSON text as a value that a D-Bus message can carry.
 *
 * Not json-glib's deserializer: that one makes -1 of the largest uint64 and a
 * "maybe" of null, which D-Bus does not have. Here an object is a{sv}, an array
 * av, a string s, a boolean b, an integer x, or t where x is too small, any
 * other number d, and null the empty signature (g), which nothing else gives. */

#include "evbusd-json.h"

#include <evbus/evbus.h>
#include <math.h>
#include <string.h>

/* A bus disconnects who sends a message of deeper nesting than 64: of arrays,
 * dictionary entries and variants together, of which an object takes all three. */
#define MAX_DEPTH 64
#define VARIANT_DEPTH 1
#define OBJECT_DEPTH 3
#define ARRAY_DEPTH 2

/* The text was validated before: what is read here is JSON. */
typedef struct {
  const char *p;
  const char *end;
  guint       depth;
} Reader;

static GVariant *read_value (Reader *reader);

static void
skip_blanks (Reader *reader)
{
  while (reader->p < reader->end && strchr (" \t\r\n", *reader->p) != NULL)
    reader->p++;
}

static gunichar
read_hex4 (Reader *reader)
{
  gunichar value = 0;

  for (guint i = 0; i < 4; i++)
    value = value << 4 | (guint) g_ascii_xdigit_value (*reader->p++);

  return value;
}

/* After "\u". Returns 0 for what a D-Bus string cannot hold: NUL, and half a
 * surrogate pair. */
static gunichar
read_unicode_escape (Reader *reader)
{
  gunichar high = read_hex4 (reader);
  gunichar low;

  if (high < 0xd800 || high > 0xdfff)
    return high;

  if (high > 0xdbff || reader->end - reader->p < 6 || reader->p[0] != '\\' || reader->p[1] != 'u')
    return 0;

  reader->p += 2;
  low = read_hex4 (reader);
  if (low < 0xdc00 || low > 0xdfff)
    return 0;

  return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static gboolean
read_escape (Reader  *reader,
             GString *text)
{
  static const char escapes[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
  char c = *reader->p++;
  gunichar unichar;

  for (guint i = 0; i < sizeof (escapes) - 1; i += 2)
    {
      if (escapes[i] == c)
        {
          g_string_append_c (text, escapes[i + 1]);
          return TRUE;
        }
    }

  unichar = read_unicode_escape (reader);
  if (unichar == 0)
    return FALSE;

  g_string_append_unichar (text, unichar);
  return TRUE;
}

static char *
read_string (Reader *reader)
{
  g_autoptr (GString) text = g_string_new (NULL);

  reader->p++;
  while (*reader->p != '"')
    {
      const char *start = reader->p;

      while (*reader->p != '"' && *reader->p != '\\')
        reader->p++;
      g_string_append_len (text, start, reader->p - start);

      if (*reader->p == '\\')
        {
          reader->p++;
          if (!read_escape (reader, text))
            return NULL;
        }
    }

  reader->p++;
  return g_strdup (text->str);
}

static GVariant *
read_string_value (Reader *reader)
{
  char *text = read_string (reader);

  return text != NULL ? g_variant_new_take_string (text) : NULL;
}

static GVariant *
read_number (Reader *reader)
{
  gsize length = 0;
  g_autofree char *text = NULL;
  gint64 integer;
  guint64 natural;
  double number;

  while (reader->p + length < reader->end && strchr ("+-.0123456789Ee", reader->p[length]) != NULL)
    length++;
  text = g_strndup (reader->p, length);
  reader->p += length;

  /* "-0" is the one integer that only a double can tell from another. */
  if (strcmp (text, "-0") != 0)
    {
      if (g_ascii_string_to_signed (text, 10, G_MININT64, G_MAXINT64, &integer, NULL))
        return g_variant_new_int64 (integer);
      if (g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT64, &natural, NULL))
        return g_variant_new_uint64 (natural);
    }

  number = g_ascii_strtod (text, NULL);
  return isfinite (number) ? g_variant_new_double (number) : NULL;
}

static gboolean
enter (Reader *reader,
       guint   depth)
{
  reader->depth += depth;
  reader->p++;
  skip_blanks (reader);
  return reader->depth <= MAX_DEPTH;
}

/* Past the comma or the closing bracket; FALSE: it was the latter. */
static gboolean
next_member (Reader *reader)
{
  gboolean more;

  skip_blanks (reader);
  more = *reader->p++ == ',';
  skip_blanks (reader);
  return more;
}

static GVariant *
read_array (Reader *reader)
{
  g_auto (GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE ("av"));

  if (!enter (reader, ARRAY_DEPTH))
    return NULL;

  if (*reader->p == ']')
    reader->p++;
  else
    do
      {
        GVariant *value = read_value (reader);

        if (value == NULL)
          return NULL;
        g_variant_builder_add (&builder, "v", value);
      }
    while (next_member (reader));

  reader->depth -= ARRAY_DEPTH;
  return g_variant_builder_end (&builder);
}

static gboolean
read_member (Reader          *reader,
             GVariantBuilder *builder)
{
  g_autofree char *name = read_string (reader);
  GVariant *value;

  if (name == NULL)
    return FALSE;

  skip_blanks (reader);
  reader->p++;
  skip_blanks (reader);
  value = read_value (reader);
  if (value == NULL)
    return FALSE;

  g_variant_builder_add (builder, "{sv}", name, value);
  return TRUE;
}

static GVariant *
read_object (Reader *reader)
{
  g_auto (GVariantBuilder) builder = G_VARIANT_BUILDER_INIT (G_VARIANT_TYPE_VARDICT);

  if (!enter (reader, OBJECT_DEPTH))
    return NULL;

  if (*reader->p == '}')
    reader->p++;
  else
    do
      {
        if (!read_member (reader, &builder))
          return NULL;
      }
    while (next_member (reader));

  reader->depth -= OBJECT_DEPTH;
  return g_variant_builder_end (&builder);
}

static GVariant *
read_literal (Reader *reader)
{
  char c = *reader->p;

  reader->p += c == 'f' ? strlen ("false") : strlen ("true");
  return c == 'n' ? g_variant_new_signature ("") : g_variant_new_boolean (c == 't');
}

static GVariant *
read_value (Reader *reader)
{
  switch (*reader->p)
    {
    case '{':
      return read_object (reader);
    case '[':
      return read_array (reader);
    case '"':
      return read_string_value (reader);
    case 't':
    case 'f':
    case 'n':
      return read_literal (reader);
    default:
      return read_number (reader);
    }
}

/* Returns a floating value, or NULL if this is not JSON, or a D-Bus message
 * cannot say it: nested too deeply, a NUL in a string, half a character, a
 * number beyond a double. */
GVariant *
evbusd_json_to_variant (const guint8 *data,
                        gsize         size)
{
  Reader reader = { (const char *) data, (const char *) data + size, VARIANT_DEPTH };

  if (size == 0 || !evbus_json_validate (data, size, NULL))
    return NULL;

  skip_blanks (&reader);
  return read_value (&reader);
}
