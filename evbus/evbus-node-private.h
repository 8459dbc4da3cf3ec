/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-report-private.h"

G_BEGIN_DECLS

/* A configuration as it was written: a tree of values, each with its place. A
 * tree made in code (from a GVariant) has no places, and is checked the same. */

#define EVBUS_MAX_CONFIG_BYTES (4u * 1024u * 1024u)   /* of one file */
#define EVBUS_MAX_CONFIG_NODES 100000u                /* of one file, aliases expanded */
#define EVBUS_MAX_CONFIG_DEPTH 64u

typedef enum {
  EVBUS_NODE_NULL,
  EVBUS_NODE_BOOLEAN,
  EVBUS_NODE_INTEGER,
  EVBUS_NODE_NUMBER,
  EVBUS_NODE_STRING,
  EVBUS_NODE_SEQUENCE,
  EVBUS_NODE_MAPPING,
} EvbusNodeKind;

typedef struct _EvbusNode EvbusNode;

struct _EvbusNode
{
  guint         ref_count;  /* aliases share nodes; a tree belongs to one thread */
  EvbusNodeKind kind;
  guint         weight;     /* this node and all below it, aliases expanded */
  EvbusPlace    place;
  char         *text;       /* of a scalar, as it was written */
  union {
    gboolean    boolean;
    gint64      integer;
    double      number;
  };
  GPtrArray    *keys;       /* of a mapping, in its order: scalars */
  GPtrArray    *values;     /* of a mapping or sequence */
};

/* @plain: written without quotes, so that it may be a number, a boolean or null
 * (as YAML 1.1 and PyYAML read them). */
EvbusNode  *evbus_node_new_scalar       (const EvbusPlace  *place,
                                         const char        *text,
                                         gboolean           plain);
EvbusNode  *evbus_node_new_container    (const EvbusPlace  *place,
                                         EvbusNodeKind      kind);
EvbusNode  *evbus_node_new_from_variant (GVariant          *value,
                                         GError           **error);
EvbusNode  *evbus_node_ref              (EvbusNode         *self);
void        evbus_node_unref            (EvbusNode         *self);

/* Both are taken. @key is NULL for a sequence. */
void        evbus_node_append           (EvbusNode         *self,
                                         EvbusNode         *key,
                                         EvbusNode         *value);
EvbusNode  *evbus_node_lookup           (const EvbusNode   *self,
                                         const char        *key);

/* Integers are x, numbers d, sequences av, mappings a{sv}; null is left out of
 * its mapping, and NULL at the top. A new floating reference. */
GVariant   *evbus_node_to_variant       (const EvbusNode   *self);

/* "a list", "a mapping", "nothing", "the text 'abc'"; with @hide, no content. */
char       *evbus_node_describe         (const EvbusNode   *self,
                                         gboolean           hide);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusNode, evbus_node_unref)

G_END_DECLS
