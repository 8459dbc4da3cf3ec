/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* JSON of a GVariant, written straight from its serialised form, or from its
 * tree down to where that ends (evbus-json-tree.c).
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

#define FIRST_BYTES 256

/* Dictionaries larger than this are sorted to find a key twice. */
#define SORTED_KEYS 16

/* Of a key shown in an error. */
#define SHOWN_KEY_BYTES 64

#define EVERY_BYTE(byte) (G_GUINT64_CONSTANT (0x0101010101010101) * (byte))

gboolean
evbus_json_writer_grow (EvbusJsonWriter *self,
                        gsize            needed)
{
  gsize used = self->p - self->buffer->data;
  gsize size = self->buffer->len;

  if (used + needed > MAX_OUTPUT)
    return evbus_walk_fail (&self->walk, EVBUS_ERROR_TOO_LARGE,
                            "more than %u bytes as JSON", MAX_OUTPUT);

  size = MIN (MAX (size * 2, used + needed), MAX_OUTPUT);
  g_byte_array_set_size (self->buffer, size);
  self->p = self->buffer->data + used;
  self->end = self->buffer->data + size;
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
copy_plain (EvbusJsonWriter *self,
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
write_string (EvbusJsonWriter *self,
              const EvbusView *view)
{
  const guint8 *from = view->data;
  const guint8 *end;
  gsize length;

  if (!evbus_walk_open_string (view, &length))
    return evbus_walk_corrupt (&self->walk);
  end = from + length;

  if (!evbus_json_writer_reserve (self, length + 2 + 8))
    return FALSE;
  *self->p++ = '"';
  for (;;)
    {
      from = copy_plain (self, from, end);
      if (from == end)
        break;
      if (!evbus_json_writer_reserve (self, EVBUS_JSON_ESCAPE_SIZE + (end - from) + 2 + 8))
        return FALSE;
      self->p += evbus_json_escape (*from++, (char *) self->p);
    }
  *self->p++ = '"';
  return TRUE;
}

static gboolean
write_boolean (EvbusJsonWriter *self,
               const guint8 *data)
{
  return *data ? evbus_json_writer_text (self, "true", 4) : evbus_json_writer_text (self, "false", 5);
}

static gboolean
write_double (EvbusJsonWriter *self,
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
write_plain (EvbusJsonWriter *self,
             const EvbusView *view)
{
  const guint8 *data = view->data;

  if (!evbus_json_writer_reserve (self, EVBUS_NUMBER_SIZE))
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
add_key (EvbusJsonWriter *self,
         gsize            offset,
         gsize            length)
{
  EvbusJsonKey *more;

  if (self->n_keys == self->max_keys)
    {
      self->max_keys *= 2;
      more = g_renew (EvbusJsonKey, self->keys == self->few_keys ? NULL : self->keys,
                      self->max_keys);
      if (self->keys == self->few_keys)
        memcpy (more, self->few_keys, sizeof self->few_keys);
      self->keys = more;
    }
  self->keys[self->n_keys].offset = offset;
  self->keys[self->n_keys].length = length;
  self->n_keys++;
  return TRUE;
}

/* Writes the key and remembers it for evbus_json_writer_end_object(). */
gboolean
evbus_json_writer_key (EvbusJsonWriter *self,
                       const EvbusView *key)
{
  gsize begin = self->p - self->buffer->data;
  gboolean success;

  if (*key->type == 's' || *key->type == 'o' || *key->type == 'g')
    success = write_string (self, key);
  else
    success = evbus_json_writer_byte (self, '"') &&
              write_plain (self, key) &&
              evbus_json_writer_byte (self, '"');

  return success &&
         add_key (self, begin, self->p - self->buffer->data - begin) &&
         evbus_json_writer_byte (self, ':');
}

static int
compare_keys (gconstpointer a,
              gconstpointer b,
              gpointer      output)
{
  const EvbusJsonKey *left = a;
  const EvbusJsonKey *right = b;

  if (left->length != right->length)
    return left->length < right->length ? -1 : 1;
  return memcmp ((guint8 *) output + left->offset, (guint8 *) output + right->offset, left->length);
}

static gboolean
duplicate_key (EvbusJsonWriter    *self,
               const EvbusJsonKey *key)
{
  const char *text = (const char *) self->buffer->data + key->offset;
  g_autofree char *shown = g_utf8_make_valid (text, MIN (key->length, SHOWN_KEY_BYTES));

  return evbus_walk_fail (&self->walk, EVBUS_ERROR_INVALID_BODY,
                          "the dictionary has the key %s twice", shown);
}

/* The text in the output is compared: it is the same exactly when the key is,
 * and it stays where it is when another thread gives the body another form. */
static gboolean
keys_are_unique (EvbusJsonWriter *self,
                 EvbusJsonKey    *keys,
                 guint            n_keys)
{
  guint8 *output = self->buffer->data;
  guint i, j;

  if (n_keys > SORTED_KEYS)
    g_qsort_with_data (keys, n_keys, sizeof *keys, compare_keys, output);

  for (i = 1; i < n_keys; i++)
    {
      for (j = n_keys > SORTED_KEYS ? i - 1 : 0; j < i; j++)
        {
          if (compare_keys (&keys[j], &keys[i], output) == 0)
            return duplicate_key (self, &keys[i]);
        }
    }
  return TRUE;
}

/* first_key: what n_keys was when the object began. */
gboolean
evbus_json_writer_end_object (EvbusJsonWriter *self,
                              guint            first_key)
{
  guint n_keys = self->n_keys - first_key;

  self->n_keys = first_key;
  return keys_are_unique (self, self->keys + first_key, n_keys) &&
         evbus_json_writer_byte (self, '}');
}

static gboolean
write_entry (EvbusJsonWriter *self,
             const EvbusView *entry,
             guint            depth)
{
  EvbusTupleIter iter;
  EvbusView key;
  EvbusView value;

  evbus_tuple_iter_init (&iter, entry);
  if (!evbus_tuple_iter_next (&iter, &key) || !evbus_tuple_iter_next (&iter, &value))
    return evbus_walk_corrupt (&self->walk);

  if (!evbus_json_writer_key (self, &key) ||
      !evbus_json_writer_view (self, &value, depth))
    return evbus_walk_at_key (&self->walk, &key);
  return TRUE;
}

static gboolean
write_dictionary (EvbusJsonWriter *self,
                  const EvbusView *dictionary,
                  guint            depth)
{
  guint first_key = self->n_keys;
  EvbusArrayIter iter;
  EvbusView entry;
  gsize i;

  if (!evbus_array_iter_init (&iter, dictionary))
    return evbus_walk_corrupt (&self->walk);
  if (!evbus_json_writer_byte (self, '{'))
    return FALSE;

  for (i = 0; i < iter.count; i++)
    {
      if (!evbus_array_iter_next (&iter, &entry))
        return evbus_walk_corrupt (&self->walk);
      if (i != 0 && !evbus_json_writer_byte (self, ','))
        return FALSE;
      if (!write_entry (self, &entry, depth))
        return FALSE;
    }
  return evbus_json_writer_end_object (self, first_key);
}

static gboolean
write_array (EvbusJsonWriter *self,
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
  if (!evbus_json_writer_byte (self, '['))
    return FALSE;

  for (i = 0; i < iter.count; i++)
    {
      if (!evbus_array_iter_next (&iter, &child))
        return evbus_walk_corrupt (&self->walk);
      if ((i != 0 && !evbus_json_writer_byte (self, ',')) || !evbus_json_writer_view (self, &child, depth))
        return evbus_walk_at_index (&self->walk, i);
    }
  return evbus_json_writer_byte (self, ']');
}

static gboolean
write_tuple (EvbusJsonWriter *self,
             const EvbusView *tuple,
             guint            depth)
{
  EvbusTupleIter iter;
  EvbusView child;
  gsize i;

  if (!evbus_json_writer_byte (self, '['))
    return FALSE;
  evbus_tuple_iter_init (&iter, tuple);
  for (i = 0; !evbus_tuple_iter_at_end (&iter); i++)
    {
      if (!evbus_tuple_iter_next (&iter, &child))
        return evbus_walk_corrupt (&self->walk);
      if ((i != 0 && !evbus_json_writer_byte (self, ',')) || !evbus_json_writer_view (self, &child, depth))
        return evbus_walk_at_index (&self->walk, i);
    }
  return evbus_json_writer_byte (self, ']');
}

static gboolean
write_lone_entry (EvbusJsonWriter *self,
                  const EvbusView *entry,
                  guint            depth)
{
  guint first_key = self->n_keys;

  return evbus_json_writer_byte (self, '{') &&
         write_entry (self, entry, depth) &&
         evbus_json_writer_end_object (self, first_key);
}

static gboolean
write_maybe (EvbusJsonWriter *self,
             const EvbusView *maybe,
             guint            depth)
{
  EvbusView child;
  gboolean present;

  if (!evbus_walk_open_maybe (maybe, &child, &present))
    return evbus_walk_corrupt (&self->walk);
  return present ? evbus_json_writer_view (self, &child, depth) : evbus_json_writer_text (self, "null", 4);
}

static gboolean
write_variant (EvbusJsonWriter *self,
               const EvbusView *variant,
               guint            depth)
{
  EvbusView child;
  gboolean success;

  if (!evbus_walk_open_variant (variant, &child))
    return evbus_walk_corrupt (&self->walk);
  success = evbus_json_writer_view (self, &child, depth);
  evbus_walk_close (&child);
  return success;
}

gboolean
evbus_json_writer_view (EvbusJsonWriter *self,
                        const EvbusView *view,
                        guint            depth)
{
  static gboolean (* const containers[256]) (EvbusJsonWriter *, const EvbusView *, guint) = {
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
  /* So that strings are known to be UTF-8, and every offset to be in its place. */
  g_autoptr(GVariant) normal = g_variant_get_normal_form (body);
  EvbusJsonWriter self;
  guint before = buffer->len;
  gboolean success;

  self.walk = (EvbusWalk) { NULL, };
  self.buffer = buffer;
  /* The size of a tree is not asked for: it would be computed. */
  g_byte_array_set_size (buffer, before + FIRST_BYTES);
  self.p = buffer->data + before;
  self.end = buffer->data + buffer->len;
  self.keys = self.few_keys;
  self.n_keys = 0;
  self.max_keys = EVBUS_JSON_FEW_KEYS;

  success = evbus_json_writer_tree (&self, normal, 0);

  g_byte_array_set_size (buffer, success ? (guint) (self.p - buffer->data) : before);
  if (self.keys != self.few_keys)
    g_free (self.keys);
  return evbus_walk_finish (&self.walk, success, error);
}
