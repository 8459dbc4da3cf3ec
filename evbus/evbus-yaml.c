/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>
#include <yaml.h>

#include "evbus-yaml-private.h"

#define TAG_PREFIX "tag:yaml.org,2002:"

/* A mapping or sequence that has begun and not ended. */
typedef struct {
  EvbusNode  *node;
  char       *anchor;
  EvbusNode  *key;      /* a mapping's, until its value comes */
  GHashTable *seen;     /* of a mapping: text → EvbusNode (borrowed) */
  GPtrArray  *merges;   /* values of "<<" keys */
} Frame;

typedef struct {
  yaml_parser_t  yaml;
  GRefString    *file;
  EvbusReport   *report;
  GHashTable    *anchors;
  GPtrArray     *frames;
  EvbusNode     *root;
  guint          documents;
  guint          weight;
  gboolean       stopped;  /* an error that nothing after it can be read past */
} Parser;

static void
frame_free (Frame *self)
{
  g_clear_pointer (&self->node, evbus_node_unref);
  g_clear_pointer (&self->key, evbus_node_unref);
  g_clear_pointer (&self->seen, g_hash_table_unref);
  g_clear_pointer (&self->merges, g_ptr_array_unref);
  g_free (self->anchor);
  g_free (self);
}

static EvbusPlace
place_of (Parser            *self,
          const yaml_mark_t *mark)
{
  EvbusPlace place = { self->file, mark->line + 1, mark->column + 1 };

  return place;
}

static Frame *
top_frame (Parser *self)
{
  return self->frames->len > 0 ? g_ptr_array_index (self->frames, self->frames->len - 1) : NULL;
}

static gboolean
add_weight (Parser           *self,
            guint             weight,
            const EvbusPlace *place)
{
  self->weight += MIN (weight, EVBUS_MAX_CONFIG_NODES);
  if (self->weight <= EVBUS_MAX_CONFIG_NODES)
    return TRUE;

  evbus_report_error (self->report, place, "more than %u values, counting each use of an alias",
                      EVBUS_MAX_CONFIG_NODES);
  self->stopped = TRUE;
  return FALSE;
}

static void
take_key (Parser    *self,
          Frame     *frame,
          EvbusNode *node)
{
  if (node->text == NULL)
    {
      evbus_report_error (self->report, &node->place, "a key must be a text, not %s",
                          node->kind == EVBUS_NODE_MAPPING ? "a mapping" : "a list");
      /* Something in its stead, so that what follows is still read. */
      frame->key = evbus_node_new_scalar (&node->place, "?", FALSE);
      evbus_node_unref (node);
      return;
    }
  frame->key = node;
}

static void
take_value (Parser    *self,
            Frame     *frame,
            EvbusNode *value)
{
  EvbusNode *key = g_steal_pointer (&frame->key);
  EvbusNode *first = g_hash_table_lookup (frame->seen, key->text);

  if (first != NULL)
    {
      g_autofree char *where = evbus_place_to_string (&first->place);

      evbus_report_error (self->report, &key->place, "the key '%s' stands twice; first at %s",
                          key->text, where);
    }
  else
    g_hash_table_insert (frame->seen, key->text, key);
  /* The second one too is looked at for mistakes. */
  evbus_node_append (frame->node, key, value);
}

static gboolean
is_merge (const EvbusNode *key)
{
  return strcmp (key->text, "<<") == 0;
}

/* @node is taken. */
static void
add_node (Parser    *self,
          EvbusNode *node)
{
  Frame *frame = top_frame (self);

  if (frame == NULL)
    {
      g_clear_pointer (&self->root, evbus_node_unref);
      self->root = node;
    }
  else if (frame->node->kind == EVBUS_NODE_SEQUENCE)
    evbus_node_append (frame->node, NULL, node);
  else if (frame->key == NULL)
    take_key (self, frame, node);
  else if (is_merge (frame->key))
    {
      g_clear_pointer (&frame->key, evbus_node_unref);
      g_ptr_array_add (frame->merges, node);
    }
  else
    take_value (self, frame, node);
}

static void
set_anchor (Parser     *self,
            const char *anchor,
            EvbusNode  *node)
{
  if (anchor != NULL)
    g_hash_table_insert (self->anchors, g_strdup (anchor), evbus_node_ref (node));
}

/* It needs no bound of its own: the alias has been counted with all below it.
 * What the mapping says itself stands before what it takes over, and the first
 * of several sources before the later ones. */
static void
merge_from (Parser    *self,
            Frame     *frame,
            EvbusNode *source)
{
  if (source->kind == EVBUS_NODE_SEQUENCE)
    {
      for (guint i = 0; i < source->values->len; i++)
        {
          EvbusNode *item = g_ptr_array_index (source->values, i);

          if (item->kind == EVBUS_NODE_MAPPING)
            merge_from (self, frame, item);
          else
            evbus_report_error (self->report, &item->place, "'<<' takes mappings alone");
        }
      return;
    }
  if (source->kind != EVBUS_NODE_MAPPING)
    {
      evbus_report_error (self->report, &source->place, "'<<' takes a mapping, or a list of mappings");
      return;
    }
  for (guint i = 0; i < source->keys->len; i++)
    {
      EvbusNode *key = g_ptr_array_index (source->keys, i);
      EvbusNode *value = g_ptr_array_index (source->values, i);

      if (g_hash_table_contains (frame->seen, key->text))
        continue;
      g_hash_table_insert (frame->seen, key->text, key);
      evbus_node_append (frame->node, evbus_node_ref (key), evbus_node_ref (value));
    }
}

static void
report_tag (Parser           *self,
            const EvbusPlace *place)
{
  evbus_report_error (self->report, place, "unknown tag; a text that begins with ! needs quotes");
}

static void
begin_container (Parser            *self,
                 EvbusNodeKind      kind,
                 const yaml_char_t *anchor,
                 const yaml_char_t *tag,
                 const yaml_mark_t *mark)
{
  const char *usual = kind == EVBUS_NODE_MAPPING ? TAG_PREFIX "map" : TAG_PREFIX "seq";
  EvbusPlace place = place_of (self, mark);
  Frame *frame;

  if (tag != NULL && strcmp ((const char *) tag, usual) != 0)
    report_tag (self, &place);
  if (!add_weight (self, 1, &place))
    return;
  if (self->frames->len == EVBUS_MAX_CONFIG_DEPTH)
    {
      evbus_report_error (self->report, &place, "nested deeper than %u", EVBUS_MAX_CONFIG_DEPTH);
      self->stopped = TRUE;
      return;
    }

  frame = g_new0 (Frame, 1);
  frame->node = evbus_node_new_container (&place, kind);
  frame->anchor = g_strdup ((const char *) anchor);
  if (kind == EVBUS_NODE_MAPPING)
    {
      frame->seen = g_hash_table_new (g_str_hash, g_str_equal);
      frame->merges = g_ptr_array_new_with_free_func ((GDestroyNotify) evbus_node_unref);
    }
  g_ptr_array_add (self->frames, frame);
}

static void
end_container (Parser *self)
{
  Frame *frame = g_ptr_array_steal_index (self->frames, self->frames->len - 1);

  for (guint i = 0; frame->merges != NULL && i < frame->merges->len; i++)
    merge_from (self, frame, g_ptr_array_index (frame->merges, i));
  set_anchor (self, frame->anchor, frame->node);
  add_node (self, g_steal_pointer (&frame->node));
  frame_free (frame);
}

static void
on_alias (Parser             *self,
          const yaml_event_t *event)
{
  const char *name = (const char *) event->data.alias.anchor;
  EvbusPlace place = place_of (self, &event->start_mark);
  EvbusNode *target = g_hash_table_lookup (self->anchors, name);

  if (target == NULL)
    {
      /* Without its name, which may be a password that nobody put into quotes. */
      evbus_report_error (self->report, &place, "the alias names nothing that stands complete before it; "
                          "a text that begins with * needs quotes");
      add_node (self, evbus_node_new_scalar (&place, name, FALSE));
      return;
    }
  if (add_weight (self, target->weight, &place))
    add_node (self, evbus_node_ref (target));
}

static EvbusNode *
tagged_scalar (Parser           *self,
               const EvbusPlace *place,
               const char       *text,
               const char       *tag)
{
  static const struct {
    const char    *tag;
    EvbusNodeKind  kind;
  } tags[] = {
    { TAG_PREFIX "null", EVBUS_NODE_NULL },
    { TAG_PREFIX "bool", EVBUS_NODE_BOOLEAN },
    { TAG_PREFIX "int", EVBUS_NODE_INTEGER },
    { TAG_PREFIX "float", EVBUS_NODE_NUMBER },
  };
  EvbusNode *node;

  if (strcmp (tag, "!") == 0 || strcmp (tag, TAG_PREFIX "str") == 0)
    return evbus_node_new_scalar (place, text, FALSE);

  node = evbus_node_new_scalar (place, text, TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (tags); i++)
    if (strcmp (tag, tags[i].tag) == 0)
      {
        if (tags[i].kind == EVBUS_NODE_NUMBER && node->kind == EVBUS_NODE_INTEGER)
          {
            node->kind = EVBUS_NODE_NUMBER;
            node->number = node->integer;
          }
        if (node->kind != tags[i].kind)
          evbus_report_error (self->report, place, "the value is not what its tag '!!%s' says",
                              tag + strlen (TAG_PREFIX));
        return node;
      }
  report_tag (self, place);
  return node;
}

static void
on_scalar (Parser             *self,
           const yaml_event_t *event)
{
  const char *text = (const char *) event->data.scalar.value;
  const char *tag = (const char *) event->data.scalar.tag;
  EvbusPlace place = place_of (self, &event->start_mark);
  gboolean plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  EvbusNode *node;

  if (!add_weight (self, 1, &place))
    return;
  if (strlen (text) != event->data.scalar.length)
    evbus_report_error (self->report, &place, "a text must not hold a NUL character");
  node = tag != NULL ? tagged_scalar (self, &place, text, tag)
                     : evbus_node_new_scalar (&place, text, plain);
  set_anchor (self, (const char *) event->data.scalar.anchor, node);
  add_node (self, node);
}

static void
on_document (Parser             *self,
             const yaml_event_t *event)
{
  EvbusPlace place = place_of (self, &event->start_mark);

  if (self->documents++ == 0)
    return;
  evbus_report_error (self->report, &place, "a second document; a configuration is one");
  self->stopped = TRUE;
}

static void
handle_event (Parser             *self,
              const yaml_event_t *event)
{
  switch (event->type)
    {
    case YAML_DOCUMENT_START_EVENT:
      on_document (self, event);
      break;
    case YAML_MAPPING_START_EVENT:
      begin_container (self, EVBUS_NODE_MAPPING, event->data.mapping_start.anchor,
                       event->data.mapping_start.tag, &event->start_mark);
      break;
    case YAML_SEQUENCE_START_EVENT:
      begin_container (self, EVBUS_NODE_SEQUENCE, event->data.sequence_start.anchor,
                       event->data.sequence_start.tag, &event->start_mark);
      break;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
      end_container (self);
      break;
    case YAML_SCALAR_EVENT:
      on_scalar (self, event);
      break;
    case YAML_ALIAS_EVENT:
      on_alias (self, event);
      break;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    default:
      break;
    }
}

/* What people run into, in words that say what to do. */
static const char *
syntax_hint (Parser     *self,
             const char *data,
             gsize       length)
{
  const yaml_parser_t *yaml = &self->yaml;
  glong at = yaml->problem_mark.index;   /* in characters */

  if (yaml->context != NULL && strstr (yaml->context, "alias") != NULL)
    return "; a text that begins with * needs quotes";
  if (at < g_utf8_strlen (data, length) && *g_utf8_offset_to_pointer (data, at) == '\t')
    return "; YAML is indented with spaces, not with tabs";
  return "";
}

/* libyaml tells where for what it parses, not for bytes that it refuses. */
static EvbusPlace
place_of_byte (GRefString *file,
               const char *data,
               gsize       offset)
{
  EvbusPlace place = { file, 1, 1 };

  for (const char *at = data; at < data + offset; at = g_utf8_next_char (at))
    {
      place.line += *at == '\n';
      place.column = *at == '\n' ? 1 : place.column + 1;
    }
  return place;
}

static void
report_syntax (Parser     *self,
               const char *data,
               gsize       length)
{
  const yaml_parser_t *yaml = &self->yaml;
  EvbusPlace place = place_of (self, &yaml->problem_mark);
  const char *problem = yaml->problem != NULL ? yaml->problem : "out of memory";

  if (yaml->error == YAML_READER_ERROR)
    place = place_of_byte (self->file, data, MIN (yaml->problem_offset, length));
  if (yaml->context != NULL)
    evbus_report_error (self->report, &place, "not YAML: %s %s that began in line %u%s", problem, yaml->context,
                        (guint) yaml->context_mark.line + 1, syntax_hint (self, data, length));
  else
    evbus_report_error (self->report, &place, "not YAML: %s%s", problem, syntax_hint (self, data, length));
}

static gboolean
check_bytes (const char  *data,
             gsize        length,
             GRefString  *file,
             EvbusReport *report)
{
  EvbusPlace place = { file, 0, 0 };
  const char *bad;

  if (length > EVBUS_MAX_CONFIG_BYTES)
    {
      evbus_report_error (report, &place, "larger than %u bytes", EVBUS_MAX_CONFIG_BYTES);
      return FALSE;
    }
  if (g_utf8_validate_len (data, length, &bad))
    return TRUE;

  place = place_of_byte (file, data, bad - data);
  evbus_report_error (report, &place, "not UTF-8 text: the byte 0x%02x", (guint) (guchar) *bad);
  return FALSE;
}

EvbusNode *
evbus_yaml_parse (const char  *data,
                  gsize        length,
                  const char  *file,
                  EvbusReport *report)
{
  g_autoptr(GRefString) name = g_ref_string_new (file);
  Parser self = { .file = name, .report = report };
  EvbusPlace place = { name, 0, 0 };
  gboolean done = FALSE;

  if (!check_bytes (data, length, name, report))
    return NULL;

  yaml_parser_initialize (&self.yaml);
  yaml_parser_set_input_string (&self.yaml, (const guchar *) data, length);
  self.anchors = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify) evbus_node_unref);
  self.frames = g_ptr_array_new_with_free_func ((GDestroyNotify) frame_free);

  while (!done && !self.stopped)
    {
      yaml_event_t event;

      if (!yaml_parser_parse (&self.yaml, &event))
        {
          report_syntax (&self, data, length);
          self.stopped = TRUE;
          break;
        }
      handle_event (&self, &event);
      done = event.type == YAML_STREAM_END_EVENT;
      yaml_event_delete (&event);
    }

  g_ptr_array_unref (self.frames);
  g_hash_table_unref (self.anchors);
  yaml_parser_delete (&self.yaml);
  if (self.stopped)
    g_clear_pointer (&self.root, evbus_node_unref);
  else if (self.root == NULL || self.root->kind == EVBUS_NODE_NULL)
    {
      place.line = place.column = 1;
      evbus_report_error (report, &place, "is empty; a configuration names at least one provider, "
                          "as in \"internal: {default: }\"");
      g_clear_pointer (&self.root, evbus_node_unref);
    }
  return self.root;
}
