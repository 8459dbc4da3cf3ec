/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-variant-walk-private.h"

#include <stdlib.h>

#include "evbus-error.h"
#include "evbus-limits-private.h"

/* Dictionaries up to this size are searched by comparing each key with each. */
#define FEW_KEYS 16

/* Of a key shown in an error. */
#define SHOWN_KEY_BYTES 64

typedef struct
{
  const guint8 *data;
  gsize         size;
} Key;

/* layout: where to note what is found, or NULL. */
static EvbusTypeInfo
note_info (const char    *type,
           EvbusTypeInfo *layout)
{
  if (layout == NULL)
    return evbus_type_info (type, NULL);
  *layout = strchr ("({am", *type) != NULL ? evbus_type_info_container (type, layout)
                                           : evbus_type_info (type, NULL);
  return *layout;
}

static EvbusTypeInfo
tuple_info (const char    *type,
            EvbusTypeInfo *layout,
            char           close)
{
  EvbusTypeInfo info = { type + 1, 0, 0 };
  EvbusTypeInfo member;
  gboolean fixed = TRUE;

  while (*info.end != close)
    {
      member = note_info (info.end, evbus_layout_at (layout, info.end - type));
      fixed = fixed && member.size != 0;
      info.size = ((info.size + member.mask) & ~member.mask) + member.size;
      info.mask |= member.mask;
      info.end = member.end;
    }
  info.end++;

  if (!fixed)
    info.size = 0;
  else if (info.size == 0)
    info.size = 1;      /* the unit type, () */
  else
    info.size = (info.size + info.mask) & ~info.mask;
  return info;
}

EvbusTypeInfo
evbus_type_info_container (const char    *type,
                           EvbusTypeInfo *layout)
{
  EvbusTypeInfo info;

  switch (*type)
    {
    case '(':
      return tuple_info (type, layout, ')');
    case '{':
      return tuple_info (type, layout, '}');
    case 'a':
    case 'm':
      info = note_info (type + 1, evbus_layout_at (layout, 1));
      info.size = 0;
      return info;
    default:
      g_assert_not_reached ();
    }
}

/* At the place of each type within: what evbus_type_info() says of it. */
EvbusTypeInfo *
evbus_type_layout_new (const char *type,
                       gsize       length)
{
  EvbusTypeInfo *layout = g_new (EvbusTypeInfo, length);

  note_info (type, layout);
  return layout;
}

/* FALSE where the data is not that of the type. evbus_walk_close() after both. */
gboolean
evbus_walk_view (GVariant  *value,
                 EvbusView *view)
{
  gsize fixed;

  view->type = g_variant_get_type_string (value);
  view->layout = NULL;
  view->data = g_variant_get_data (value);
  view->size = g_variant_get_size (value);

  if (view->data == NULL)
    {
      if (view->size != 0)
        return FALSE;
      view->data = (const guint8 *) "";
    }
  fixed = evbus_type_info (view->type, NULL).size;
  if (fixed != 0 && fixed != view->size)
    return FALSE;
  if (view->type[0] != '\0' && view->type[1] != '\0')
    evbus_walk_lay_out (view, strlen (view->type));
  return TRUE;
}

/* Returns the body in one piece and in normal form, so that strings are
 * known to be UTF-8 and every offset to be in its place. Nothing is taken on
 * trust: GDBus vouches for booleans that are, as bytes, neither 0 nor 1, and two
 * such keys of a dictionary would be equal and not look it. */
GVariant *
evbus_walk_begin (GVariant *body)
{
  g_autoptr(GVariant) normal = g_variant_get_normal_form (body);
  g_autoptr(GVariant) untrusted = NULL;
  const guint8 *data = g_variant_get_data (normal);
  gsize size = data != NULL ? g_variant_get_size (normal) : 0;

  untrusted = g_variant_new_from_data (g_variant_get_type (normal), data, size, FALSE,
                                       (GDestroyNotify) g_variant_unref, g_variant_ref (normal));
  g_variant_ref_sink (untrusted);
  return g_variant_get_normal_form (untrusted);
}

gboolean
evbus_walk_fail (EvbusWalk  *walk,
                 int         code,
                 const char *format,
                 ...)
{
  va_list args;

  if (walk->message != NULL)
    return FALSE;

  va_start (args, format);
  walk->message = g_strdup_vprintf (format, args);
  va_end (args);
  walk->path = g_string_new (NULL);
  walk->code = code;
  return FALSE;
}

gboolean
evbus_walk_corrupt (EvbusWalk *walk)
{
  return evbus_walk_fail (walk, EVBUS_ERROR_INVALID_BODY,
                          "its serialised form contradicts itself, though it was declared as trusted");
}

gboolean
evbus_walk_handle (EvbusWalk *walk)
{
  return evbus_walk_fail (walk, EVBUS_ERROR_INVALID_BODY,
                          "a handle (type h) means nothing outside its D-Bus message; put what it refers to");
}

gboolean
evbus_walk_too_deep (EvbusWalk *walk)
{
  return evbus_walk_fail (walk, EVBUS_ERROR_INVALID_BODY,
                          "nested deeper than %u containers; flatten it", EVBUS_MAX_NESTING);
}

gboolean
evbus_walk_at_index (EvbusWalk *walk,
                     gsize      index)
{
  g_autofree char *step = g_strdup_printf ("[%" G_GSIZE_FORMAT "]", index);

  g_string_prepend (walk->path, step);
  return FALSE;
}

static char *
key_to_text (const EvbusView *key)
{
  const char *text = (const char *) key->data;
  g_autofree char *valid = NULL;
  g_autofree char *escaped = NULL;
  g_autoptr(GVariant) value = NULL;
  g_autoptr(GBytes) bytes = NULL;
  char type[2] = { *key->type, '\0' };

  if (*key->type == 's' || *key->type == 'o' || *key->type == 'g')
    {
      valid = g_utf8_make_valid (text, MIN (strnlen (text, key->size), SHOWN_KEY_BYTES));
      escaped = g_strescape (valid, NULL);
      return g_strdup_printf ("\"%s\"", escaped);
    }

  bytes = g_bytes_new (key->data, key->size);
  value = g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE (type), bytes, FALSE));
  return g_variant_print (value, FALSE);
}

gboolean
evbus_walk_at_key (EvbusWalk       *walk,
                   const EvbusView *key)
{
  g_autofree char *text = key_to_text (key);

  g_string_prepend (walk->path, "]");
  g_string_prepend (walk->path, text);
  g_string_prepend (walk->path, "[");
  return FALSE;
}

/* Turns what was collected into an error and frees it. */
gboolean
evbus_walk_finish (EvbusWalk  *walk,
                   gboolean    success,
                   GError    **error)
{
  if (success)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, walk->code, "body%s: %s", walk->path->str, walk->message);
  g_string_free (walk->path, TRUE);
  g_free (walk->message);
  return FALSE;
}

static gboolean
duplicate_key (EvbusWalk       *walk,
               const EvbusView *dictionary,
               const Key       *key)
{
  EvbusView view = { dictionary->type + 2, NULL, key->data, key->size };
  g_autofree char *text = key_to_text (&view);

  return evbus_walk_fail (walk, EVBUS_ERROR_INVALID_BODY,
                          "the dictionary has the key %s twice", text);
}

static int
compare_keys (const void *a,
              const void *b)
{
  const Key *left = a;
  const Key *right = b;

  if (left->size != right->size)
    return left->size < right->size ? -1 : 1;
  return memcmp (left->data, right->data, left->size);
}

static gboolean
many_keys_are_unique (EvbusWalk       *walk,
                      const EvbusView *dictionary,
                      Key             *keys,
                      gsize            n_keys)
{
  gsize i;

  qsort (keys, n_keys, sizeof *keys, compare_keys);
  for (i = 1; i < n_keys; i++)
    {
      if (compare_keys (&keys[i - 1], &keys[i]) == 0)
        return duplicate_key (walk, dictionary, &keys[i]);
    }
  return TRUE;
}

static gboolean
few_keys_are_unique (EvbusWalk       *walk,
                     const EvbusView *dictionary,
                     const Key       *keys,
                     gsize            n_keys)
{
  gsize i, j;

  for (i = 1; i < n_keys; i++)
    {
      for (j = 0; j < i; j++)
        {
          if (keys[i].size == keys[j].size &&
              memcmp (keys[i].data, keys[j].data, keys[i].size) == 0)
            return duplicate_key (walk, dictionary, &keys[i]);
        }
    }
  return TRUE;
}

/* Keys are basic values, equal exactly when their bytes are. (0.0 and -0.0 are
 * two keys, as they are two texts.) */
gboolean
evbus_walk_keys_are_unique (EvbusWalk       *walk,
                            const EvbusView *dictionary)
{
  g_autofree Key *many = NULL;
  Key few[FEW_KEYS];
  Key *keys = few;
  EvbusArrayIter entries;
  EvbusTupleIter members;
  EvbusView entry;
  EvbusView key;
  gsize i;

  if (!evbus_array_iter_init (&entries, dictionary))
    return evbus_walk_corrupt (walk);
  if (entries.count < 2)
    return TRUE;
  if (entries.count > FEW_KEYS)
    keys = many = g_new (Key, entries.count);

  for (i = 0; i < entries.count; i++)
    {
      if (!evbus_array_iter_next (&entries, &entry))
        return evbus_walk_corrupt (walk);
      evbus_tuple_iter_init (&members, &entry);
      if (!evbus_tuple_iter_next (&members, &key))
        return evbus_walk_corrupt (walk);
      keys[i].data = key.data;
      keys[i].size = key.size;
    }

  if (many != NULL)
    return many_keys_are_unique (walk, dictionary, keys, entries.count);
  return few_keys_are_unique (walk, dictionary, keys, entries.count);
}

static gboolean check_value (EvbusWalk       *walk,
                             const EvbusView *view,
                             guint            depth);

static gboolean
check_tuple (EvbusWalk       *walk,
             const EvbusView *tuple,
             guint            depth)
{
  EvbusTupleIter iter;
  EvbusView child;
  gsize i;

  evbus_tuple_iter_init (&iter, tuple);
  for (i = 0; !evbus_tuple_iter_at_end (&iter); i++)
    {
      if (!evbus_tuple_iter_next (&iter, &child))
        return evbus_walk_corrupt (walk);
      if (!check_value (walk, &child, depth))
        return evbus_walk_at_index (walk, i);
    }
  return TRUE;
}

static gboolean
check_entry (EvbusWalk       *walk,
             const EvbusView *entry,
             guint            depth)
{
  EvbusTupleIter iter;
  EvbusView key;
  EvbusView value;

  evbus_tuple_iter_init (&iter, entry);
  if (!evbus_tuple_iter_next (&iter, &key) || !evbus_tuple_iter_next (&iter, &value))
    return evbus_walk_corrupt (walk);
  if (!check_value (walk, &key, depth) || !check_value (walk, &value, depth))
    return evbus_walk_at_key (walk, &key);
  return TRUE;
}

static gboolean
check_array (EvbusWalk       *walk,
             const EvbusView *array,
             guint            depth)
{
  EvbusArrayIter iter;
  EvbusView child;
  gsize count;
  gsize i;

  if (evbus_walk_is_dictionary (array))
    {
      if (!evbus_walk_keys_are_unique (walk, array))
        return FALSE;
    }
  if (!evbus_array_iter_init (&iter, array))
    return evbus_walk_corrupt (walk);

  /* Of fixed size are numbers, handles and tuples of them: one is as good, and
   * as deep, as the other. */
  count = iter.element.size != 0 ? MIN (iter.count, 1) : iter.count;
  for (i = 0; i < count; i++)
    {
      if (!evbus_array_iter_next (&iter, &child))
        return evbus_walk_corrupt (walk);
      if (evbus_walk_is_dictionary (array))
        {
          if (!check_entry (walk, &child, depth))
            return FALSE;
        }
      else if (!check_value (walk, &child, depth))
        return evbus_walk_at_index (walk, i);
    }
  return TRUE;
}

static gboolean
check_value (EvbusWalk       *walk,
             const EvbusView *view,
             guint            depth)
{
  EvbusView child;
  gboolean present;
  gboolean success;
  gsize length;

  switch (*view->type)
    {
    case 'h':
      return evbus_walk_handle (walk);
    case 's':
    case 'o':
    case 'g':
      return evbus_walk_open_string (view, &length) || evbus_walk_corrupt (walk);
    case 'a':
    case 'm':
    case 'v':
    case '(':
    case '{':
      break;
    default:
      return TRUE;
    }

  if (depth == EVBUS_MAX_NESTING)
    return evbus_walk_too_deep (walk);
  switch (*view->type)
    {
    case 'a':
      return check_array (walk, view, depth + 1);
    case '(':
      return check_tuple (walk, view, depth + 1);
    case '{':
      return check_entry (walk, view, depth + 1);
    case 'm':
      if (!evbus_walk_open_maybe (view, &child, &present))
        return evbus_walk_corrupt (walk);
      return !present || check_value (walk, &child, depth + 1);
    default:
      if (!evbus_walk_open_variant (view, &child))
        return evbus_walk_corrupt (walk);
      success = check_value (walk, &child, depth + 1);
      evbus_walk_close (&child);
      return success;
    }
}

/* What no serializer takes: handles, a key twice in a dictionary, nesting past
 * EVBUS_MAX_NESTING. Every array, tuple, maybe and variant counts as a
 * container; a dictionary counts once, together with its entries. */
gboolean
evbus_walk_check (GVariant  *body,
                  GError   **error)
{
  EvbusWalk walk = { NULL, };
  EvbusView view;
  gboolean success;

  success = evbus_walk_view (body, &view) ? check_value (&walk, &view, 0)
                                          : evbus_walk_corrupt (&walk);
  evbus_walk_close (&view);
  return evbus_walk_finish (&walk, success, error);
}
