/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Checking JSON that others have written, and writing strings into one's own.
 *
 * json-glib could parse, but it takes what is not JSON (comments, single
 * quotes), recurses without a bound, and turns numbers into doubles or
 * truncates them. Here nothing is converted: a document is found valid and
 * stays, byte for byte, what its author wrote. */

#include "evbus-json.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-json-names-private.h"
#include "evbus-json-private.h"
#include "evbus-limits-private.h"

/* Twice what a body may have, so that a body in an envelope is valid too. */
#define MAX_DEPTH      128
#define MAX_BODY_DEPTH 64
G_STATIC_ASSERT (MAX_DEPTH == 2 * EVBUS_MAX_NESTING);
G_STATIC_ASSERT (MAX_BODY_DEPTH == EVBUS_MAX_NESTING);

typedef struct
{
  const guint8   *start;
  const guint8   *end;
  const guint8   *p;
  const char     *expected;             /* set where the document is wrong */
  EvbusJsonNames *names;                /* NULL: a name may stand twice, */
                                        /* and nesting may be MAX_DEPTH */
  guint           depth;
  char            closing[MAX_DEPTH];   /* of the containers that are open */
} Scanner;

static gboolean
refuse (Scanner    *self,
        const char *expected)
{
  self->expected = expected;
  return FALSE;
}

/* The next byte, or 0, which is no byte of a valid document. */
static guint8
peek (const Scanner *self)
{
  return self->p < self->end ? *self->p : 0;
}

static gboolean
is_space (guint8 byte)
{
  return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static void
skip_space (Scanner *self)
{
  while (self->p < self->end && is_space (*self->p))
    self->p++;
}

static gboolean
scan_literal (Scanner    *self,
              const char *literal)
{
  gsize length = strlen (literal);

  if ((gsize) (self->end - self->p) < length || memcmp (self->p, literal, length) != 0)
    return refuse (self, "a value");
  self->p += length;
  return TRUE;
}

static gboolean
scan_digits (Scanner *self)
{
  if (!g_ascii_isdigit (peek (self)))
    return refuse (self, "a digit");
  while (g_ascii_isdigit (peek (self)))
    self->p++;
  return TRUE;
}

static gboolean
scan_number (Scanner *self)
{
  if (peek (self) == '-')
    self->p++;

  if (peek (self) == '0')
    self->p++;
  else if (!scan_digits (self))
    return FALSE;

  if (peek (self) == '.')
    {
      self->p++;
      if (!scan_digits (self))
        return FALSE;
    }
  if (peek (self) == 'e' || peek (self) == 'E')
    {
      self->p++;
      if (peek (self) == '+' || peek (self) == '-')
        self->p++;
      return scan_digits (self);
    }
  return TRUE;
}

static gboolean
scan_escape (Scanner *self)
{
  guint i;

  self->p++;
  if (peek (self) == 'u')
    {
      self->p++;
      for (i = 0; i < 4; i++, self->p++)
        {
          if (!g_ascii_isxdigit (peek (self)))
            return refuse (self, "four hexadecimal digits");
        }
      return TRUE;
    }
  if (peek (self) == 0 || strchr ("\"\\/bfnrt", peek (self)) == NULL)
    return refuse (self, "an escape");
  self->p++;
  return TRUE;
}

static gboolean
scan_string (Scanner *self)
{
  if (peek (self) != '"')
    return refuse (self, "a string");
  self->p++;

  while (peek (self) != '"')
    {
      if (peek (self) < 0x20)
        return refuse (self, self->p < self->end ? "no control character within a string"
                                                 : "the end of a string");
      if (*self->p != '\\')
        self->p++;
      else if (!scan_escape (self))
        return FALSE;
    }
  self->p++;
  return TRUE;
}

static gboolean
scan_member_name (Scanner *self)
{
  const guint8 *begin;

  skip_space (self);
  begin = self->p;
  if (!scan_string (self))
    return FALSE;
  if (self->names != NULL)
    evbus_json_names_add (self->names, begin + 1, self->p - 1);
  skip_space (self);
  if (peek (self) != ':')
    return refuse (self, "':'");
  self->p++;
  return TRUE;
}

static gboolean
may_nest (Scanner *self)
{
  if (self->names != NULL && self->depth == EVBUS_MAX_NESTING)
    return refuse (self, "at most " G_STRINGIFY (MAX_BODY_DEPTH) " levels of nesting");
  if (self->depth == MAX_DEPTH)
    return refuse (self, "at most " G_STRINGIFY (MAX_DEPTH) " levels of nesting");
  return TRUE;
}

static gboolean
open_container (Scanner *self,
                char     closing)
{
  self->closing[self->depth++] = closing;
  if (closing == ']')
    return TRUE;
  if (self->names != NULL)
    evbus_json_names_open (self->names);
  return scan_member_name (self);
}

static gboolean
close_container (Scanner *self)
{
  self->p++;
  self->depth--;
  if (self->names == NULL || self->closing[self->depth] == ']')
    return TRUE;
  return evbus_json_names_close (self->names, &self->p) ||
         refuse (self, "a name that is not in the object yet");
}

/* A container that is not empty is left open, with its first value next.
 * A container that is empty, or a plain value, is read to its end, which sets
 * *complete. */
static gboolean
scan_value (Scanner  *self,
            gboolean *complete)
{
  char closing;

  skip_space (self);
  *complete = TRUE;
  switch (peek (self))
    {
    case '"':
      return scan_string (self);
    case 't':
      return scan_literal (self, "true");
    case 'f':
      return scan_literal (self, "false");
    case 'n':
      return scan_literal (self, "null");
    case '[':
    case '{':
      break;
    default:
      if (peek (self) == '-' || g_ascii_isdigit (peek (self)))
        return scan_number (self);
      return refuse (self, "a value");
    }

  closing = *self->p++ == '[' ? ']' : '}';
  if (!may_nest (self))
    return FALSE;
  skip_space (self);
  if (peek (self) == closing)
    {
      self->p++;
      return TRUE;
    }
  *complete = FALSE;
  return open_container (self, closing);
}

/* Closes containers until a value follows, or nothing is open any more. */
static gboolean
scan_separator (Scanner *self)
{
  char closing;

  while (self->depth > 0)
    {
      closing = self->closing[self->depth - 1];
      skip_space (self);
      if (peek (self) == ',')
        {
          self->p++;
          return closing == ']' || scan_member_name (self);
        }
      if (peek (self) != closing)
        return refuse (self, closing == ']' ? "',' or ']'" : "',' or '}'");
      if (!close_container (self))
        return FALSE;
    }
  return TRUE;
}

static gboolean
scan_document (Scanner *self)
{
  gboolean complete;

  do
    {
      if (!scan_value (self, &complete))
        return FALSE;
      if (complete && !scan_separator (self))
        return FALSE;
    }
  while (self->depth > 0);

  skip_space (self);
  return self->p == self->end || refuse (self, "nothing after the value");
}

static gboolean
check (const guint8    *data,
       gsize            size,
       EvbusJsonNames  *names,
       GError         **error)
{
  Scanner self = { data, data + size, data, };
  const char *invalid;

  self.names = names;
  if (!g_utf8_validate_len ((const char *) data, size, &invalid))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                   "not JSON: byte %" G_GSIZE_FORMAT ": not UTF-8",
                   (gsize) (invalid - (const char *) data));
      return FALSE;
    }
  if (!scan_document (&self))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                   "not JSON: byte %" G_GSIZE_FORMAT ": expected %s",
                   (gsize) (self.p - self.start), self.expected);
      return FALSE;
    }
  return TRUE;
}

/* Of what is put as JSON more is asked: a name stands once in an object, and
 * containers are nested at most EVBUS_MAX_NESTING deep, as in any other body. */
gboolean
evbus_json_check_body (const guint8  *data,
                       gsize          size,
                       GError       **error)
{
  EvbusJsonNames names;
  gboolean valid;

  if (size == 0)
    data = (const guint8 *) "";
  evbus_json_names_init (&names, data);
  valid = check (data, size, &names, error);
  evbus_json_names_clear (&names);
  return valid;
}

/**
 * evbus_json_validate:
 * @data: (array length=size) (element-type guint8) (nullable): a document;
 *   %NULL only with @size 0
 * @size: its size in bytes
 * @error: return location for a #GError
 *
 * Checks that bytes are one JSON value as RFC 8259 has it, in valid UTF-8,
 * nested at most 128 deep, with nothing but white space around it. Nothing is
 * allocated, and the time is proportional to @size.
 *
 * A name that stands twice in an object, a number no double can hold and an
 * unpaired surrogate (as `"\ud800"`) are valid: what becomes of them is up to
 * the reader. A producer's body of type `application/json` may have no name
 * twice in an object, and be nested at most 64 deep.
 *
 * May be called from any thread.
 *
 * Returns: %TRUE if the document is valid; otherwise %FALSE and @error is
 *   %EVBUS_ERROR_INVALID_BODY, with the offset of the first mistake in bytes
 *
 * Since: 1.0
 */
gboolean
evbus_json_validate (const guint8  *data,
                     gsize          size,
                     GError       **error)
{
  g_return_val_if_fail (data != NULL || size == 0, FALSE);

  return check (size == 0 ? (const guint8 *) "" : data, size, NULL, error);
}

/**
 * evbus_json_append_compact:
 * @string: what to append to
 * @data: (array length=size) (element-type guint8) (nullable): a JSON document
 * @size: its size in bytes
 * @error: return location for a #GError
 *
 * Checks a document like [func@Evbus.json_validate] and appends it on one line:
 * the white space between its values is left out, all else is kept byte for byte.
 *
 * Returns: %TRUE on success; %FALSE with @error set, and nothing appended, if
 *   the document is not valid
 *
 * Since: 1.0
 */
gboolean
evbus_json_append_compact (GString       *string,
                           const guint8  *data,
                           gsize          size,
                           GError       **error)
{
  gboolean within_string = FALSE;
  gsize begin = 0;
  gsize i;

  g_return_val_if_fail (string != NULL, FALSE);

  if (!evbus_json_validate (data, size, error))
    return FALSE;

  for (i = 0; i < size; i++)
    {
      if (data[i] == '"')
        within_string = !within_string;
      else if (within_string && data[i] == '\\')
        i++;
      else if (!within_string && is_space (data[i]))
        {
          g_string_append_len (string, (const char *) data + begin, i - begin);
          begin = i + 1;
        }
    }
  g_string_append_len (string, (const char *) data + begin, size - begin);
  return TRUE;
}

/* Returns the length of what stands for the byte. */
gsize
evbus_json_escape (guint8 byte,
                   char   escape[EVBUS_JSON_ESCAPE_SIZE])
{
  static const char hex[] = "0123456789abcdef";
  static const char from[] = "\"\\\b\f\n\r\t";
  static const char to[] = "\"\\bfnrt";
  const char *known = byte != 0 ? strchr (from, byte) : NULL;

  escape[0] = '\\';
  if (known != NULL)
    {
      escape[1] = to[known - from];
      return 2;
    }
  memcpy (escape + 1, "u00", 3);
  escape[4] = hex[byte >> 4];
  escape[5] = hex[byte & 0xf];
  return 6;
}

static void
append_escaped (GString    *string,
                const char *text,
                gsize       length)
{
  char escape[EVBUS_JSON_ESCAPE_SIZE];
  gsize begin = 0;
  gsize i;

  for (i = 0; i < length; i++)
    {
      if (!evbus_json_needs_escape (text[i]))
        continue;
      g_string_append_len (string, text + begin, i - begin);
      g_string_append_len (string, escape, evbus_json_escape (text[i], escape));
      begin = i + 1;
    }
  g_string_append_len (string, text + begin, length - begin);
}

/**
 * evbus_json_append_string:
 * @string: what to append to
 * @text: any text
 * @length: its length in bytes, or -1 if it ends with a zero byte
 *
 * Appends @text as a JSON string with its quotation marks. Quotation marks,
 * backslashes, control characters and DEL are escaped, so that the text cannot
 * end the string or the line; each byte that is not UTF-8 becomes U+FFFD.
 *
 * Since: 1.0
 */
void
evbus_json_append_string (GString    *string,
                          const char *text,
                          gssize      length)
{
  const char *end;
  const char *invalid;

  g_return_if_fail (string != NULL);
  g_return_if_fail (text != NULL);

  end = text + (length < 0 ? strlen (text) : (gsize) length);
  g_string_append_c (string, '"');
  while (text < end)
    {
      /* Stops at a zero byte too, which is valid as far as JSON is concerned. */
      g_utf8_validate_len (text, end - text, &invalid);
      append_escaped (string, text, invalid - text);
      if (invalid == end)
        break;
      g_string_append (string, *invalid == '\0' ? "\\u0000" : "\357\277\275");
      text = invalid + 1;
    }
  g_string_append_c (string, '"');
}

/**
 * evbus_json_append_base64:
 * @string: what to append to
 * @data: (array length=size): any bytes
 * @size: how many
 *
 * Appends @data as base64 (RFC 4648, section 4), without quotation marks.
 *
 * Since: 1.0
 */
void
evbus_json_append_base64 (GString      *string,
                          const guint8 *data,
                          gsize         size)
{
  gsize at;
  gsize length;
  int state = 0;
  int save = 0;

  g_return_if_fail (string != NULL);
  g_return_if_fail (data != NULL || size == 0);

  at = string->len;
  g_string_set_size (string, at + (size / 3 + 1) * 4 + 4);
  length = g_base64_encode_step (data, size, FALSE, string->str + at, &state, &save);
  length += g_base64_encode_close (FALSE, string->str + at + length, &state, &save);
  g_string_truncate (string, at + length);
}
