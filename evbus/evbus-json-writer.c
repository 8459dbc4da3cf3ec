/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* JSON of a GVariant, written straight from its serialised form.
 *
 * The shape is that of json-glib, which it replaces because that one builds two
 * trees on the way and writes what is not JSON (1e+22.0, nan) or not the value
 * (-1 for the largest uint64, double keys cut to six places):
 *
 *   b, numbers                  true, false, numbers
 *   s, o, g                     strings
 *   ay, arrays, tuples          arrays
 *   dictionaries, lone entries  objects; keys that are no strings as their text
 *   m                           null, or the value within
 *   v                           the value within
 */

#include "evbus-json-writer-private.h"

#include <math.h>
#include <string.h>

#include "evbus-error.h"
#include "evbus-json-private.h"
#include "evbus-limits-private.h"
#include "evbus-number-private.h"
#include "evbus-variant-walk-private.h"

/* What would not fit into a queue of the default size cannot be delivered, and a
 * few kilobytes of nested unit types must not fill the memory before the size of
 * the event is looked at. */
#define MAX_OUTPUT EVBUS_DEFAULT_QUEUE_BYTES

#define EVERY_BYTE(byte) (G_GUINT64_CONSTANT (0x0101010101010101) * (byte))

typedef struct
{
  EvbusWalk   walk;
  GByteArray *buffer;
  guint8     *p;        /* where the next byte goes */
  guint8     *end;      /* of the space there is */
} Writer;

static gboolean write_value (Writer          *self,
                             const EvbusView *view,
                             guint            depth);

static gboolean
grow (Writer *self,
      gsize   needed)
{
  gsize used = self->p - self->buffer->data;
  gsize size = self->buffer->len;

  if (used + needed > MAX_OUTPUT)
    return evbus_walk_fail (&self->walk, EVBUS_ERROR_TOO_LARGE,
                            "more than %u bytes as JSON", MAX_OUTPUT);

  size = MAX (size + size / 2, used + needed);
  g_byte_array_set_size (self->buffer, size);
  self->p = self->buffer->data + used;
  self->end = self->buffer->data + size;
  return TRUE;
}

static inline gboolean
reserve (Writer *self,
         gsize   needed)
{
  return G_LIKELY ((gsize) (self->end - self->p) >= needed) || grow (self, needed);
}

static inline gboolean
write_byte (Writer *self,
            char    byte)
{
  if (!reserve (self, 1))
    return FALSE;
  *self->p++ = byte;
  return TRUE;
}

static inline gboolean
write_text (Writer     *self,
            const char *text,
            gsize       length)
{
  if (!reserve (self, length))
    return FALSE;
  memcpy (self->p, text, length);
  self->p += length;
  return TRUE;
}

/* Sets the high bit of each byte below n, which is at most 0x80. Exact up to
 * the first such byte, which is all that matters here. */
static inline guint64
bytes_below (guint64 word,
             guint64 n)
{
  return (word - EVERY_BYTE (n)) & ~word & EVERY_BYTE (0x80);
}

/* How many of the eight bytes come before one that needs an escape. */
static inline guint
plain_bytes (guint64 word)
{
  guint64 found;

  word = GUINT64_FROM_LE (word);
  found = bytes_below (word, 0x20) |
          bytes_below (word ^ EVERY_BYTE ('"'), 1) |
          bytes_below (word ^ EVERY_BYTE ('\\'), 1) |
          bytes_below (word ^ EVERY_BYTE (0x7f), 1);
  return found == 0 ? 8 : __builtin_ctzll (found) / 8;
}

/* The caller has reserved the length of the string and eight bytes more. */
static inline const guint8 *
copy_plain (Writer       *self,
            const guint8 *from,
            const guint8 *end)
{
  guint8 *p = self->p;
  guint64 word;
  guint plain;

  while (end - from >= 8)
    {
      memcpy (&word, from, sizeof word);
      memcpy (p, &word, sizeof word);
      plain = plain_bytes (word);
      p += plain;
      from += plain;
      if (plain != 8)
        {
          self->p = p;
          return from;
        }
    }
  while (from < end && !evbus_json_needs_escape (*from))
    *p++ = *from++;
  self->p = p;
  return from;
}

static gboolean
write_string (Writer          *self,
              const EvbusView *view)
{
  const guint8 *from = view->data;
  const guint8 *end;
  gsize length;

  if (!evbus_walk_open_string (view, &length))
    return evbus_walk_corrupt (&self->walk);
  end = from + length;

  if (!reserve (self, length + 2 + 8))
    return FALSE;
  *self->p++ = '"';
  for (;;)
    {
      from = copy_plain (self, from, end);
      if (from == end)
        break;
      if (!reserve (self, EVBUS_JSON_ESCAPE_SIZE + (end - from) + 2 + 8))
        return FALSE;
      self->p += evbus_json_escape (*from++, (char *) self->p);
    }
  *self->p++ = '"';
  return TRUE;
}

static gboolean
write_boolean (Writer       *self,
               const guint8 *data)
{
  return *data ? write_text (self, "true", 4) : write_text (self, "false", 5);
}

static gboolean
write_double (Writer       *self,
              const guint8 *data)
{
  double value = evbus_walk_read_double (data);

  if (!isfinite (value))
    return evbus_walk_fail (&self->walk, EVBUS_ERROR_INVALID_BODY,
                            "JSON has no %s; leave it out, or use the serializer gvariant or msgpack",
                            isnan (value) ? "not-a-number" : "infinity");
  self->p += evbus_number_from_double ((char *) self->p, value);
  return TRUE;
}

/* A value that is neither a string nor a container. */
static gboolean
write_plain (Writer          *self,
             const EvbusView *view)
{
  const guint8 *data = view->data;

  if (!reserve (self, EVBUS_NUMBER_SIZE))
    return FALSE;

  switch (*view->type)
    {
    case 'b':
      return write_boolean (self, data);
    case 'y':
      self->p += evbus_number_from_uint64 ((char *) self->p, *data);
      return TRUE;
    case 'n':
      self->p += evbus_number_from_int64 ((char *) self->p, evbus_walk_read_int16 (data));
      return TRUE;
    case 'q':
      self->p += evbus_number_from_uint64 ((char *) self->p, evbus_walk_read_uint16 (data));
      return TRUE;
    case 'i':
      self->p += evbus_number_from_int64 ((char *) self->p, evbus_walk_read_int32 (data));
      return TRUE;
    case 'u':
      self->p += evbus_number_from_uint64 ((char *) self->p, evbus_walk_read_uint32 (data));
      return TRUE;
    case 'x':
      self->p += evbus_number_from_int64 ((char *) self->p, evbus_walk_read_int64 (data));
      return TRUE;
    case 't':
      self->p += evbus_number_from_uint64 ((char *) self->p, evbus_walk_read_uint64 (data));
      return TRUE;
    case 'd':
      return write_double (self, data);
    default:
      return evbus_walk_handle (&self->walk);
    }
}

static gboolean
write_key (Writer          *self,
           const EvbusView *key)
{
  if (*key->type == 's' || *key->type == 'o' || *key->type == 'g')
    return write_string (self, key);

  return write_byte (self, '"') &&
         write_plain (self, key) &&
         write_byte (self, '"');
}

static gboolean
write_entry (Writer          *self,
             const EvbusView *entry,
             guint            depth)
{
  EvbusTupleIter iter;
  EvbusView key;
  EvbusView value;

  evbus_tuple_iter_init (&iter, entry);
  if (!evbus_tuple_iter_next (&iter, &key) || !evbus_tuple_iter_next (&iter, &value))
    return evbus_walk_corrupt (&self->walk);

  if (!write_key (self, &key) ||
      !write_byte (self, ':') ||
      !write_value (self, &value, depth))
    return evbus_walk_at_key (&self->walk, &key);
  return TRUE;
}

static gboolean
write_dictionary (Writer          *self,
                  const EvbusView *dictionary,
                  guint            depth)
{
  EvbusArrayIter iter;
  EvbusView entry;
  gsize i;

  if (!evbus_walk_keys_are_unique (&self->walk, dictionary) || !write_byte (self, '{'))
    return FALSE;
  if (!evbus_array_iter_init (&iter, dictionary))
    return evbus_walk_corrupt (&self->walk);

  for (i = 0; i < iter.count; i++)
    {
      if (!evbus_array_iter_next (&iter, &entry))
        return evbus_walk_corrupt (&self->walk);
      if (i != 0 && !write_byte (self, ','))
        return FALSE;
      if (!write_entry (self, &entry, depth))
        return FALSE;
    }
  return write_byte (self, '}');
}

static gboolean
write_array (Writer          *self,
             const EvbusView *array,
             guint            depth)
{
  EvbusArrayIter iter;
  EvbusView child;
  gsize i;

  if (evbus_walk_is_dictionary (array))
    return write_dictionary (self, array, depth);

  if (!evbus_array_iter_init (&iter, array))
    return evbus_walk_corrupt (&self->walk);
  if (!write_byte (self, '['))
    return FALSE;

  for (i = 0; i < iter.count; i++)
    {
      if (!evbus_array_iter_next (&iter, &child))
        return evbus_walk_corrupt (&self->walk);
      if ((i != 0 && !write_byte (self, ',')) || !write_value (self, &child, depth))
        return evbus_walk_at_index (&self->walk, i);
    }
  return write_byte (self, ']');
}

static gboolean
write_tuple (Writer          *self,
             const EvbusView *tuple,
             guint            depth)
{
  EvbusTupleIter iter;
  EvbusView child;
  gsize i;

  if (!write_byte (self, '['))
    return FALSE;
  evbus_tuple_iter_init (&iter, tuple);
  for (i = 0; !evbus_tuple_iter_at_end (&iter); i++)
    {
      if (!evbus_tuple_iter_next (&iter, &child))
        return evbus_walk_corrupt (&self->walk);
      if ((i != 0 && !write_byte (self, ',')) || !write_value (self, &child, depth))
        return evbus_walk_at_index (&self->walk, i);
    }
  return write_byte (self, ']');
}

static gboolean
write_lone_entry (Writer          *self,
                  const EvbusView *entry,
                  guint            depth)
{
  return write_byte (self, '{') &&
         write_entry (self, entry, depth) &&
         write_byte (self, '}');
}

static gboolean
write_maybe (Writer          *self,
             const EvbusView *maybe,
             guint            depth)
{
  EvbusView child;
  gboolean present;

  if (!evbus_walk_open_maybe (maybe, &child, &present))
    return evbus_walk_corrupt (&self->walk);
  return present ? write_value (self, &child, depth) : write_text (self, "null", 4);
}

static gboolean
write_variant (Writer          *self,
               const EvbusView *variant,
               guint            depth)
{
  EvbusView child;

  if (!evbus_walk_open_variant (variant, &child))
    return evbus_walk_corrupt (&self->walk);
  return write_value (self, &child, depth);
}

static gboolean
write_value (Writer          *self,
             const EvbusView *view,
             guint            depth)
{
  static gboolean (* const containers[256]) (Writer *, const EvbusView *, guint) = {
    ['a'] = write_array,
    ['('] = write_tuple,
    ['{'] = write_lone_entry,
    ['m'] = write_maybe,
    ['v'] = write_variant,
  };
  guint8 type = *view->type;

  if (type == 's' || type == 'o' || type == 'g')
    return write_string (self, view);
  if (containers[type] == NULL)
    return write_plain (self, view);
  if (depth == EVBUS_MAX_NESTING)
    return evbus_walk_too_deep (&self->walk);
  return containers[type] (self, view, depth + 1);
}

/* Appends the JSON of body to buffer; on failure buffer is as it was. */
gboolean
evbus_json_writer_write (GVariant    *body,
                         GByteArray  *buffer,
                         GError     **error)
{
  g_autoptr(GVariant) held = NULL;
  Writer self = { { NULL, }, };
  guint before = buffer->len;
  EvbusView view;
  gboolean success;

  held = evbus_walk_begin (body, &view, error);
  if (held == NULL)
    return FALSE;

  self.buffer = buffer;
  self.p = self.end = buffer->data + before;
  /* Numbers grow as text and padding goes away: one allocation mostly does. */
  success = reserve (&self, view.size + view.size / 4 + EVBUS_NUMBER_SIZE) &&
            write_value (&self, &view, 0);
  g_byte_array_set_size (buffer, success ? (guint) (self.p - buffer->data) : before);
  return evbus_walk_finish (&self.walk, success, error);
}
