/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* MessagePack of a GVariant that evbus_walk_check() has passed:
 *
 *   b, numbers                  boolean, integer (the shortest form), float 64
 *   s, o, g                     str
 *   ay                          bin
 *   other arrays, tuples        array
 *   dictionaries, lone entries  map, keys with their own type
 *   m                           nil, or the value within
 *   v                           the value within
 */

#include "evbus-msgpack-private.h"

#include <msgpack/pack.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

typedef struct
{
  EvbusWalk       walk;
  GByteArray     *buffer;
  msgpack_packer  packer;
} Writer;

static gboolean write_value (Writer          *self,
                             const EvbusView *view);

static int
append (void       *data,
        const char *bytes,
        size_t      size)
{
  GByteArray *buffer = data;

  if (size > EVBUS_DEFAULT_QUEUE_BYTES - MIN (buffer->len, EVBUS_DEFAULT_QUEUE_BYTES))
    return -1;
  g_byte_array_append (buffer, (const guint8 *) bytes, size);
  return 0;
}

/* The only error a packer has is that of append(). */
static gboolean
packed (Writer *self,
        int     result)
{
  return result == 0 || evbus_walk_fail (&self->walk, EVBUS_ERROR_TOO_LARGE,
                                         "more than %u bytes as MessagePack",
                                         EVBUS_DEFAULT_QUEUE_BYTES);
}

static gboolean
write_plain (Writer          *self,
             const EvbusView *view)
{
  const guint8 *data = view->data;
  msgpack_packer *packer = &self->packer;

  switch (*view->type)
    {
    case 'b':
      return packed (self, *data ? msgpack_pack_true (packer) : msgpack_pack_false (packer));
    case 'y':
      return packed (self, msgpack_pack_uint8 (packer, *data));
    case 'n':
      return packed (self, msgpack_pack_int16 (packer, evbus_walk_read_int16 (data)));
    case 'q':
      return packed (self, msgpack_pack_uint16 (packer, evbus_walk_read_uint16 (data)));
    case 'i':
      return packed (self, msgpack_pack_int32 (packer, evbus_walk_read_int32 (data)));
    case 'u':
      return packed (self, msgpack_pack_uint32 (packer, evbus_walk_read_uint32 (data)));
    case 'x':
      return packed (self, msgpack_pack_int64 (packer, evbus_walk_read_int64 (data)));
    case 't':
      return packed (self, msgpack_pack_uint64 (packer, evbus_walk_read_uint64 (data)));
    case 'd':
      return packed (self, msgpack_pack_double (packer, evbus_walk_read_double (data)));
    default:
      return evbus_walk_handle (&self->walk);
    }
}

static gboolean
write_string (Writer          *self,
              const EvbusView *view)
{
  gsize length;

  if (!evbus_walk_open_string (view, &length))
    return evbus_walk_corrupt (&self->walk);
  return packed (self, msgpack_pack_str (&self->packer, length)) &&
         packed (self, msgpack_pack_str_body (&self->packer, view->data, length));
}

static gboolean
write_members (Writer          *self,
               const EvbusView *tuple)
{
  EvbusTupleIter iter;
  EvbusView child;

  evbus_tuple_iter_init (&iter, tuple);
  while (!evbus_tuple_iter_at_end (&iter))
    {
      if (!evbus_tuple_iter_next (&iter, &child))
        return evbus_walk_corrupt (&self->walk);
      if (!write_value (self, &child))
        return FALSE;
    }
  return TRUE;
}

static gboolean
write_array (Writer          *self,
             const EvbusView *array)
{
  gboolean dictionary = evbus_walk_is_dictionary (array);
  EvbusArrayIter iter;
  EvbusView child;
  gsize i;

  if (array->type[1] == 'y')
    return packed (self, msgpack_pack_bin (&self->packer, array->size)) &&
           packed (self, msgpack_pack_bin_body (&self->packer, array->data, array->size));

  if (!evbus_array_iter_init (&iter, array))
    return evbus_walk_corrupt (&self->walk);
  if (!packed (self, dictionary ? msgpack_pack_map (&self->packer, iter.count)
                                : msgpack_pack_array (&self->packer, iter.count)))
    return FALSE;

  for (i = 0; i < iter.count; i++)
    {
      if (!evbus_array_iter_next (&iter, &child))
        return evbus_walk_corrupt (&self->walk);
      if (!(dictionary ? write_members (self, &child) : write_value (self, &child)))
        return FALSE;
    }
  return TRUE;
}

static gboolean
write_tuple (Writer          *self,
             const EvbusView *tuple)
{
  return packed (self, msgpack_pack_array (&self->packer, evbus_walk_count_members (tuple))) &&
         write_members (self, tuple);
}

static gboolean
write_variant (Writer          *self,
               const EvbusView *variant)
{
  EvbusView child;
  gboolean success;

  if (!evbus_walk_open_variant (variant, &child))
    return evbus_walk_corrupt (&self->walk);
  success = write_value (self, &child);
  evbus_walk_close (&child);
  return success;
}

static gboolean
write_value (Writer          *self,
             const EvbusView *view)
{
  EvbusView child;
  gboolean present;

  switch (*view->type)
    {
    case 's':
    case 'o':
    case 'g':
      return write_string (self, view);
    case 'a':
      return write_array (self, view);
    case '(':
      return write_tuple (self, view);
    case '{':
      return packed (self, msgpack_pack_map (&self->packer, 1)) &&
             write_members (self, view);
    case 'm':
      if (!evbus_walk_open_maybe (view, &child, &present))
        return evbus_walk_corrupt (&self->walk);
      return present ? write_value (self, &child) : packed (self, msgpack_pack_nil (&self->packer));
    case 'v':
      return write_variant (self, view);
    default:
      return write_plain (self, view);
    }
}

/* Appends; on failure the caller restores the buffer. */
gboolean
evbus_msgpack_write (GVariant    *body,
                     GByteArray  *buffer,
                     GError     **error)
{
  Writer self = { { NULL, }, };
  EvbusView view;
  gboolean success;

  self.buffer = buffer;
  msgpack_packer_init (&self.packer, buffer, append);
  success = evbus_walk_view (body, &view) ? write_value (&self, &view)
                                          : evbus_walk_corrupt (&self.walk);
  evbus_walk_close (&view);
  return evbus_walk_finish (&self.walk, success, error);
}
