/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* JSON of a GVariant that is still a tree, as GVariantBuilder and GDBus leave
 * it. To have it serialised first costs several times what writing it does, and
 * the tree's children are there already: taking one is a matter of a reference.
 *
 * Where the tree ends (a value in serialised form, whose children would have to
 * be made) the walk over the serialised form takes over. GLib does not tell
 * which form a value has, and may change it under our eyes when another thread
 * asks for its data; but a child of a tree is the same object each time.
 * Should the form change in between, children are made, and all stays right. */

#include "evbus-json-writer-private.h"

#include "evbus-limits-private.h"

static gboolean
write_serialised (EvbusJsonWriter *self,
                  GVariant        *value,
                  guint            depth)
{
  EvbusView view;
  gboolean success;

  if (!evbus_walk_view (value, &view))
    return evbus_walk_corrupt (&self->walk);
  /* Numbers grow as text and padding goes away: mostly this is enough. */
  success = evbus_json_writer_reserve (self, view.size + view.size / 4) &&
            evbus_json_writer_view (self, &view, depth);
  evbus_walk_close (&view);
  return success;
}

static gboolean
write_entry (EvbusJsonWriter *self,
             GVariant        *entry,
             guint            depth)
{
  g_autoptr(GVariant) key = g_variant_get_child_value (entry, 0);
  g_autoptr(GVariant) value = g_variant_get_child_value (entry, 1);
  EvbusView view;

  /* A key is of a short type, so nothing is to be closed. */
  if (!evbus_walk_view (key, &view))
    return evbus_walk_corrupt (&self->walk);
  if (!evbus_json_writer_key (self, &view) ||
      !evbus_json_writer_tree (self, value, depth))
    return evbus_walk_at_key (&self->walk, &view);
  return TRUE;
}

static gboolean
write_dictionary (EvbusJsonWriter *self,
                  GVariant        *dictionary,
                  gsize            n_entries,
                  guint            depth)
{
  guint first_key = self->n_keys;
  GVariant *entry;
  gboolean success;
  gsize i;

  if (!evbus_json_writer_byte (self, '{'))
    return FALSE;
  for (i = 0; i < n_entries; i++)
    {
      if (i != 0 && !evbus_json_writer_byte (self, ','))
        return FALSE;
      entry = g_variant_get_child_value (dictionary, i);
      success = write_entry (self, entry, depth);
      g_variant_unref (entry);
      if (!success)
        return FALSE;
    }
  return evbus_json_writer_end_object (self, first_key);
}

/* An array or a tuple. */
static gboolean
write_list (EvbusJsonWriter *self,
            GVariant        *list,
            gsize            n_children,
            guint            depth)
{
  GVariant *child;
  gboolean success;
  gsize i;

  if (!evbus_json_writer_byte (self, '['))
    return FALSE;
  for (i = 0; i < n_children; i++)
    {
      if (i != 0 && !evbus_json_writer_byte (self, ','))
        return evbus_walk_at_index (&self->walk, i);
      child = g_variant_get_child_value (list, i);
      success = evbus_json_writer_tree (self, child, depth);
      g_variant_unref (child);
      if (!success)
        return evbus_walk_at_index (&self->walk, i);
    }
  return evbus_json_writer_byte (self, ']');
}

/* Whether the first child is there already. */
static gboolean
is_tree (GVariant *container)
{
  g_autoptr(GVariant) first = g_variant_get_child_value (container, 0);
  g_autoptr(GVariant) again = g_variant_get_child_value (container, 0);

  return first == again;
}

static gboolean
write_variant (EvbusJsonWriter *self,
               GVariant        *variant,
               guint            depth)
{
  g_autoptr(GVariant) value = g_variant_get_variant (variant);

  return evbus_json_writer_tree (self, value, depth);
}

gboolean
evbus_json_writer_tree (EvbusJsonWriter *self,
                        GVariant        *value,
                        guint            depth)
{
  const char *type = g_variant_get_type_string (value);
  gsize n_children;

  if (strchr ("av(", *type) == NULL)
    return write_serialised (self, value, depth);
  /* Numbers in an array are one block of memory, and cheap to bring to it. */
  if (*type == 'a' && strchr ("bynqiuxthd", type[1]) != NULL)
    return write_serialised (self, value, depth);

  if (depth == EVBUS_MAX_NESTING)
    return evbus_walk_too_deep (&self->walk);
  if (*type == 'v')
    return write_variant (self, value, depth + 1);

  n_children = g_variant_n_children (value);
  if (n_children == 0 || !is_tree (value))
    return write_serialised (self, value, depth);
  if (type[1] == '{')
    return write_dictionary (self, value, n_children, depth + 1);
  return write_list (self, value, n_children, depth + 1);
}
