/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A walk over the serialised form of a GVariant: framing offsets and alignment
 * are read in place, because making a GVariant for every child costs several
 * times what writing the child does. Everything is bounds checked, so data that
 * was wrongly declared as trusted gives an error, never a wild read. */

#pragma once

#include <gio/gio.h>
#include <string.h>

/* Of a type that is scanned wherever it occurs. */
#define EVBUS_SHORT_TYPE 16

typedef struct
{
  const char *end;      /* of the type string */
  gsize       size;     /* 0 where it varies */
  gsize       mask;     /* alignment - 1 */
} EvbusTypeInfo;

/* A value within the serialised form. The type is not terminated at its end:
 * it may stand in the middle of a longer type, or of the data. */
typedef struct
{
  const char    *type;
  EvbusTypeInfo *layout;        /* at each type within, what it is; NULL: so short that it is scanned */
  const guint8  *data;
  gsize          size;
} EvbusView;

typedef struct
{
  const char    *type;
  EvbusTypeInfo *layout;
  const guint8  *data;
  EvbusTypeInfo  element;
  gsize          offsets;       /* where the framing offsets begin */
  gsize          start;         /* of the next element */
  gsize          count;
  gsize          index;
  guint          offset_size;
} EvbusArrayIter;

typedef struct
{
  const EvbusView *tuple;
  const char      *type;        /* of the next member, or the closing bracket */
  gsize            start;
  gsize            offsets;     /* where the framing offsets read so far begin */
  guint            offset_size;
  char             close;
} EvbusTupleIter;

/* What went wrong, and the way to it, which is collected while unwinding. */
typedef struct
{
  GString *path;
  char    *message;
  int      code;
} EvbusWalk;

gboolean       evbus_walk_view           (GVariant        *value,
                                          EvbusView       *view);
GVariant      *evbus_walk_begin          (GVariant        *body);
gboolean       evbus_walk_fail           (EvbusWalk       *walk,
                                          int              code,
                                          const char      *format,
                                          ...) G_GNUC_PRINTF (3, 4);
gboolean       evbus_walk_corrupt        (EvbusWalk       *walk);
gboolean       evbus_walk_handle         (EvbusWalk       *walk);
gboolean       evbus_walk_too_deep       (EvbusWalk       *walk);
gboolean       evbus_walk_at_index       (EvbusWalk       *walk,
                                          gsize            index);
gboolean       evbus_walk_at_key         (EvbusWalk       *walk,
                                          const EvbusView *key);
gboolean       evbus_walk_finish         (EvbusWalk       *walk,
                                          gboolean         success,
                                          GError         **error);
gboolean       evbus_walk_keys_are_unique (EvbusWalk       *walk,
                                          const EvbusView *dictionary);
gboolean       evbus_walk_check          (GVariant        *body,
                                          GError         **error);
EvbusTypeInfo  evbus_type_info_container (const char      *type,
                                          EvbusTypeInfo   *layout);
EvbusTypeInfo *evbus_type_layout_new     (const char      *type,
                                          gsize            length);

/* A type is looked at again for each value that has it: a long one is scanned
 * once, or an array of a thousand elements would scan it a thousand times. */
static inline EvbusTypeInfo
evbus_type_info (const char          *type,
                 const EvbusTypeInfo *layout)
{
  switch (*type)
    {
    case 'b':
    case 'y':
      return (EvbusTypeInfo) { type + 1, 1, 0 };
    case 'n':
    case 'q':
      return (EvbusTypeInfo) { type + 1, 2, 1 };
    case 'i':
    case 'u':
    case 'h':
      return (EvbusTypeInfo) { type + 1, 4, 3 };
    case 'x':
    case 't':
    case 'd':
      return (EvbusTypeInfo) { type + 1, 8, 7 };
    case 's':
    case 'o':
    case 'g':
      return (EvbusTypeInfo) { type + 1, 0, 0 };
    case 'v':
      return (EvbusTypeInfo) { type + 1, 0, 7 };
    default:
      return G_LIKELY (layout == NULL) ? evbus_type_info_container (type, NULL) : *layout;
    }
}

/* To be undone by evbus_walk_close(). */
static inline void
evbus_walk_lay_out (EvbusView *view,
                    gsize      length)
{
  view->layout = G_LIKELY (length <= EVBUS_SHORT_TYPE) ? NULL : evbus_type_layout_new (view->type, length);
}

static inline void
evbus_walk_close (EvbusView *view)
{
  if (G_UNLIKELY (view->layout != NULL))
    g_free (view->layout);
}

/* The layout of a type that begins n bytes further on. */
static inline EvbusTypeInfo *
evbus_layout_at (EvbusTypeInfo *layout,
                 gsize          n)
{
  return G_LIKELY (layout == NULL) ? NULL : layout + n;
}

static inline guint
evbus_walk_offset_size (gsize size)
{
  if (size <= G_MAXUINT8)
    return 1;
  if (size <= G_MAXUINT16)
    return 2;
  if (size <= G_MAXUINT32)
    return 4;
  return 8;
}

static inline gsize
evbus_walk_read_offset (const guint8 *data,
                        guint         offset_size)
{
  guint16 two;
  guint32 four;
  guint64 eight;

  switch (offset_size)
    {
    case 1:
      return *data;
    case 2:
      memcpy (&two, data, sizeof two);
      return GUINT16_FROM_LE (two);
    case 4:
      memcpy (&four, data, sizeof four);
      return GUINT32_FROM_LE (four);
    default:
      memcpy (&eight, data, sizeof eight);
      return GUINT64_FROM_LE (eight);
    }
}

static inline gboolean
evbus_array_iter_init (EvbusArrayIter  *iter,
                       const EvbusView *array)
{
  gsize tail;

  iter->type = array->type + 1;
  iter->layout = evbus_layout_at (array->layout, 1);
  iter->data = array->data;
  iter->element = evbus_type_info (iter->type, iter->layout);
  iter->start = 0;
  iter->index = 0;
  iter->offsets = array->size;
  iter->offset_size = 0;

  if (iter->element.size != 0)
    {
      iter->count = array->size / iter->element.size;
      return array->size % iter->element.size == 0;
    }

  iter->count = 0;
  if (array->size == 0)
    return TRUE;

  iter->offset_size = evbus_walk_offset_size (array->size);
  if (array->size < iter->offset_size)
    return FALSE;
  iter->offsets = evbus_walk_read_offset (array->data + array->size - iter->offset_size,
                                          iter->offset_size);
  if (iter->offsets >= array->size)
    return FALSE;
  tail = array->size - iter->offsets;
  iter->count = tail / iter->offset_size;
  return tail % iter->offset_size == 0;
}

/* To be called `count` times; FALSE where the data contradicts itself. */
static inline gboolean
evbus_array_iter_next (EvbusArrayIter *iter,
                       EvbusView      *child)
{
  gsize end;

  child->type = iter->type;
  child->layout = iter->layout;
  child->data = iter->data + iter->start;
  if (iter->element.size != 0)
    {
      child->size = iter->element.size;
      iter->start += iter->element.size;
      return TRUE;
    }

  iter->start = (iter->start + iter->element.mask) & ~iter->element.mask;
  end = evbus_walk_read_offset (iter->data + iter->offsets + iter->index * iter->offset_size,
                                iter->offset_size);
  if (end > iter->offsets || iter->start > end)
    return FALSE;
  child->data = iter->data + iter->start;
  child->size = end - iter->start;
  iter->start = end;
  iter->index++;
  return TRUE;
}

static inline void
evbus_tuple_iter_init (EvbusTupleIter  *iter,
                       const EvbusView *tuple)
{
  iter->close = *tuple->type == '{' ? '}' : ')';
  iter->tuple = tuple;
  iter->type = tuple->type + 1;
  iter->start = 0;
  iter->offsets = tuple->size;
  iter->offset_size = evbus_walk_offset_size (tuple->size);
}

static inline gboolean
evbus_tuple_iter_at_end (const EvbusTupleIter *iter)
{
  return *iter->type == iter->close;
}

/* To be called until the end; FALSE where the data contradicts itself. */
static inline gboolean
evbus_tuple_iter_next (EvbusTupleIter *iter,
                       EvbusView      *child)
{
  const EvbusView *tuple = iter->tuple;
  EvbusTypeInfo info;
  gsize end;

  child->type = iter->type;
  child->layout = evbus_layout_at (tuple->layout, iter->type - tuple->type);
  info = evbus_type_info (child->type, child->layout);
  iter->type = info.end;
  iter->start = (iter->start + info.mask) & ~info.mask;

  if (info.size != 0)
    end = iter->start + info.size;
  else if (evbus_tuple_iter_at_end (iter))
    end = iter->offsets;
  else if (iter->offsets < iter->offset_size)
    return FALSE;
  else
    {
      iter->offsets -= iter->offset_size;
      end = evbus_walk_read_offset (tuple->data + iter->offsets, iter->offset_size);
    }

  if (end > iter->offsets || iter->start > end)
    return FALSE;
  child->data = tuple->data + iter->start;
  child->size = end - iter->start;
  iter->start = end;
  return TRUE;
}

static inline gsize
evbus_walk_count_members (const EvbusView *tuple)
{
  const char *type = tuple->type + 1;
  gsize count;

  for (count = 0; *type != ')'; count++)
    type = evbus_type_info (type, evbus_layout_at (tuple->layout, type - tuple->type)).end;
  return count;
}

/* Sets child to the value within, and present to whether there is one. */
static inline gboolean
evbus_walk_open_maybe (const EvbusView *maybe,
                       EvbusView       *child,
                       gboolean        *present)
{
  EvbusTypeInfo info;

  *present = maybe->size != 0;
  child->type = maybe->type + 1;
  child->layout = evbus_layout_at (maybe->layout, 1);
  info = evbus_type_info (child->type, child->layout);
  child->data = maybe->data;
  /* A value whose size varies has a zero byte behind it: it may itself be empty. */
  child->size = info.size != 0 || maybe->size == 0 ? maybe->size : maybe->size - 1;
  return info.size == 0 || maybe->size == 0 || maybe->size == info.size;
}

/* Whether a complete type stands from type to end. */
static inline gboolean
evbus_type_is_whole (const char *type,
                     const char *end)
{
#define LETTER(c) (1u << ((c) - 'a'))
  static const guint32 letters = LETTER ('b') | LETTER ('y') | LETTER ('n') | LETTER ('q') | LETTER ('i') |
                                 LETTER ('u') | LETTER ('x') | LETTER ('t') | LETTER ('h') | LETTER ('d') |
                                 LETTER ('s') | LETTER ('o') | LETTER ('g') | LETTER ('v');
#undef LETTER
  const char *limit;

  /* Nearly always. */
  if (end - type == 1 && *type >= 'a' && *type <= 'z')
    return (letters >> (*type - 'a')) & 1;
  return g_variant_type_string_scan (type, end, &limit) && limit == end;
}

/* After TRUE, evbus_walk_close() when done with child. */
static inline gboolean
evbus_walk_open_variant (const EvbusView *variant,
                         EvbusView       *child)
{
  const guint8 *end = variant->data + variant->size;
  const guint8 *zero = NULL;
  gsize fixed;

  /* Nearly always the type is one letter. */
  if (variant->size >= 2 && end[-2] == '\0')
    zero = end - 2;
  else if (variant->size != 0)
    zero = memrchr (variant->data, '\0', variant->size);
  if (zero == NULL)
    return FALSE;

  child->type = (const char *) zero + 1;
  child->data = variant->data;
  child->size = zero - variant->data;
  if (!evbus_type_is_whole (child->type, (const char *) end))
    return FALSE;
  fixed = evbus_type_info (child->type, NULL).size;
  if (fixed != 0 && fixed != child->size)
    return FALSE;
  evbus_walk_lay_out (child, end - (const guint8 *) child->type);
  return TRUE;
}

/* Without the zero byte at the end. */
static inline gboolean
evbus_walk_open_string (const EvbusView *view,
                        gsize           *length)
{
  if (view->size == 0 || view->data[view->size - 1] != '\0')
    return FALSE;
  *length = view->size - 1;
  return TRUE;
}

static inline gboolean
evbus_walk_is_dictionary (const EvbusView *array)
{
  return array->type[1] == '{';
}

#define EVBUS_WALK_READER(name, ctype) \
static inline ctype \
evbus_walk_read_##name (const guint8 *data) \
{ \
  ctype value; \
  memcpy (&value, data, sizeof value); \
  return value; \
}

EVBUS_WALK_READER (int16, gint16)
EVBUS_WALK_READER (uint16, guint16)
EVBUS_WALK_READER (int32, gint32)
EVBUS_WALK_READER (uint32, guint32)
EVBUS_WALK_READER (int64, gint64)
EVBUS_WALK_READER (uint64, guint64)
EVBUS_WALK_READER (double, double)

#undef EVBUS_WALK_READER
