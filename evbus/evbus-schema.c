/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-nearest-private.h"
#include "evbus-schema-private.h"
#include "evbus-secret-private.h"

typedef struct {
  GPtrArray        *options;
  const EvbusPlace *place;
  EvbusReport      *report;
} Schema;

/* One mapping of the tree: the options whose names begin with @prefix. */
typedef struct {
  Schema     *schema;
  char       *prefix;     /* "connection.", or "" at the top */
  EvbusOption *self;      /* the option "connection" itself, or NULL */
  gboolean    open;
  GHashTable *done;       /* segment → GVariant, or NULL where it was wrong */
  GPtrArray  *free_keys;  /* (char *, borrowed), in the order of the file */
} Level;

static GVariant *check_level (Schema          *schema,
                              const char      *prefix,
                              EvbusOption     *self,
                              gboolean         open,
                              const EvbusNode *node);

static void
unref_value (gpointer value)
{
  if (value != NULL)
    g_variant_unref (value);
}

static EvbusOption *
find_option (Schema     *schema,
             const char *name)
{
  for (guint i = 0; i < schema->options->len; i++)
    {
      EvbusOption *option = g_ptr_array_index (schema->options, i);

      if (strcmp (option->name, name) == 0)
        return option;
    }
  return NULL;
}

static gboolean
is_group (Schema     *schema,
          const char *prefix)
{
  for (guint i = 0; i < schema->options->len; i++)
    if (g_str_has_prefix (((EvbusOption *) g_ptr_array_index (schema->options, i))->name, prefix))
      return TRUE;
  return FALSE;
}

/* The part of @option's name that is a key of this level, or NULL. */
static char *
segment_of (Level       *level,
            EvbusOption *option)
{
  const char *rest;

  if (!g_str_has_prefix (option->name, level->prefix))
    return NULL;
  rest = option->name + strlen (level->prefix);
  return g_strndup (rest, strcspn (rest, "."));
}

static GPtrArray *
list_segments (Level *level)
{
  GPtrArray *segments = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < level->schema->options->len; i++)
    {
      g_autofree char *segment = segment_of (level, g_ptr_array_index (level->schema->options, i));

      if (segment != NULL && !g_ptr_array_find_with_equal_func (segments, segment, g_str_equal, NULL))
        g_ptr_array_add (segments, g_steal_pointer (&segment));
    }
  return segments;
}

/* An option that stands elsewhere under the same key. */
static const char *
find_elsewhere (Schema     *schema,
                const char *key)
{
  for (guint i = 0; i < schema->options->len; i++)
    {
      const char *name = ((EvbusOption *) g_ptr_array_index (schema->options, i))->name;
      const char *dot = strrchr (name, '.');

      if (dot != NULL && (strcmp (dot + 1, key) == 0 || strcmp (name, key) == 0))
        return name;
    }
  return NULL;
}

static void
report_unknown (Level           *level,
                const EvbusNode *key)
{
  g_autoptr(GPtrArray) segments = list_segments (level);
  const char *elsewhere = find_elsewhere (level->schema, key->text);
  g_autofree char *all = NULL;
  const char *nearest;

  g_ptr_array_add (segments, NULL);
  nearest = evbus_nearest (key->text, (const char * const *) segments->pdata);
  all = g_strjoinv (", ", (char **) segments->pdata);

  if (nearest != NULL && strchr (key->text, '.') == NULL)
    evbus_report_error (level->schema->report, &key->place, "unknown key '%s%s'; did you mean '%s%s'?",
                        level->prefix, key->text, level->prefix, nearest);
  else if (elsewhere != NULL)
    evbus_report_error (level->schema->report, &key->place, "unknown key '%s%s'; '%s' is a key of the mapping '%.*s'",
                        level->prefix, key->text, strrchr (elsewhere, '.') + 1,
                        (int) (strrchr (elsewhere, '.') - elsewhere), elsewhere);
  else
    evbus_report_error (level->schema->report, &key->place, "unknown key '%s%s'; the keys are %s",
                        level->prefix, key->text, all);
}

/* A key that the table does not list, where that is allowed. */
static GVariant *
take_free (Level           *level,
           const EvbusNode *key,
           const EvbusNode *value)
{
  g_autoptr(GPtrArray) segments = list_segments (level);
  g_autofree char *name = g_strconcat (level->prefix, key->text, NULL);
  GVariant *result;
  const char *nearest;

  g_ptr_array_add (segments, NULL);
  nearest = evbus_nearest (key->text, (const char * const *) segments->pdata);
  if (nearest != NULL)
    evbus_report_warning (level->schema->report, &key->place, "the key '%s' is passed on as it is; did you mean '%s%s'?",
                          name, level->prefix, nearest);
  if (level->self != NULL && level->self->secret)
    evbus_secret_check_member (name, key->text, value, level->schema->report);

  result = evbus_node_to_variant (value);
  if (result != NULL)
    g_ptr_array_add (level->free_keys, key->text);
  return result != NULL ? g_variant_ref_sink (result) : NULL;
}

static void
take_key (Level           *level,
          const EvbusNode *key,
          const EvbusNode *value)
{
  g_autofree char *name = g_strconcat (level->prefix, key->text, NULL);
  g_autofree char *prefix = g_strconcat (name, ".", NULL);
  EvbusOption *option = strchr (key->text, '.') == NULL ? find_option (level->schema, name) : NULL;
  GVariant *result = NULL;

  if (strchr (key->text, '.') == NULL && *key->text != '\0' && is_group (level->schema, prefix))
    {
      if (value->kind == EVBUS_NODE_MAPPING || value->kind == EVBUS_NODE_NULL)
        result = check_level (level->schema, prefix, option, option != NULL, value);
      else
        {
          g_autofree char *given = evbus_node_describe (value, option != NULL && option->secret);

          evbus_report_error (level->schema->report, &value->place, "'%s' must be a mapping, not %s", name, given);
        }
    }
  else if (option != NULL)
    {
      if (value->kind == EVBUS_NODE_NULL)
        return;
      if (option->ignored)
        evbus_report_warning (level->schema->report, &key->place, "'%s': %s", name, option->help);
      else if (option->refused)
        evbus_report_error (level->schema->report, &key->place, "'%s': %s", name, option->help);
      else if (option->required && value->text != NULL && *value->text == '\0')
        evbus_report_error (level->schema->report, &value->place, "'%s' must not be empty: %s", name, option->help);
      else
        result = evbus_option_check (option, value, level->schema->report);
    }
  else if (level->open)
    result = take_free (level, key, value);
  else
    report_unknown (level, key);

  g_hash_table_insert (level->done, g_strdup (key->text), result);
}

static void
fill_in (Level       *level,
         EvbusOption *option)
{
  g_autofree char *segment = segment_of (level, option);
  g_autofree char *name = segment != NULL ? g_strconcat (level->prefix, segment, NULL) : NULL;
  g_autofree char *prefix = segment != NULL ? g_strconcat (name, ".", NULL) : NULL;
  GVariant *value = NULL;

  if (segment == NULL || g_hash_table_contains (level->done, segment))
    return;
  if (is_group (level->schema, prefix))
    value = check_level (level->schema, prefix, NULL, FALSE, NULL);
  else if (option->fallback != NULL)
    value = g_variant_ref (option->fallback);
  else if (option->required)
    evbus_report_error (level->schema->report, level->schema->place, "'%s' is required: %s",
                        option->name, option->help);
  g_hash_table_insert (level->done, g_steal_pointer (&segment), value);
}

static void
add_entry (GVariantBuilder *builder,
           Level           *level,
           const char      *key)
{
  GVariant *value = g_hash_table_lookup (level->done, key);

  /* A group of which nothing is set says nothing. */
  if (value != NULL && !(g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT)
                         && g_variant_n_children (value) == 0))
    g_variant_builder_add (builder, "{sv}", key, value);
}

static GVariant *
build_level (Level *level)
{
  g_autoptr(GPtrArray) segments = list_segments (level);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  for (guint i = 0; i < segments->len; i++)
    add_entry (&builder, level, g_ptr_array_index (segments, i));
  for (guint i = 0; i < level->free_keys->len; i++)
    add_entry (&builder, level, g_ptr_array_index (level->free_keys, i));
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static GVariant *
check_level (Schema          *schema,
             const char      *prefix,
             EvbusOption     *self,
             gboolean         open,
             const EvbusNode *node)
{
  Level level = { .schema = schema, .prefix = (char *) prefix, .self = self, .open = open };
  GVariant *result;

  level.done = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, unref_value);
  level.free_keys = g_ptr_array_new ();

  for (guint i = 0; node != NULL && node->kind == EVBUS_NODE_MAPPING && i < node->keys->len; i++)
    take_key (&level, g_ptr_array_index (node->keys, i), g_ptr_array_index (node->values, i));
  for (guint i = 0; i < schema->options->len; i++)
    fill_in (&level, g_ptr_array_index (schema->options, i));
  result = build_level (&level);

  g_hash_table_unref (level.done);
  g_ptr_array_unref (level.free_keys);
  return result;
}

GVariant *
evbus_schema_check (GPtrArray        *options,
                    gboolean          open,
                    const EvbusNode  *node,
                    const EvbusPlace *place,
                    EvbusReport      *report)
{
  Schema schema = { options, place, report };

  return check_level (&schema, "", NULL, open, node);
}

GVariant *
evbus_schema_lookup (GVariant   *data,
                     const char *name)
{
  g_auto(GStrv) segments = g_strsplit (name, ".", -1);
  g_autoptr(GVariant) at = g_variant_ref (data);

  for (gsize i = 0; segments[i] != NULL; i++)
    {
      GVariant *next = NULL;

      if (g_variant_is_of_type (at, G_VARIANT_TYPE_VARDICT))
        next = g_variant_lookup_value (at, segments[i], NULL);
      g_variant_unref (at);
      at = next;
      if (at == NULL)
        return NULL;
    }
  return g_steal_pointer (&at);
}
