/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>
#include <string.h>

#include "evbus-variant-walk-private.h"

/* Dictionaries nested in each other have this many keys before any is allocated. */
#define EVBUS_JSON_FEW_KEYS 64

/* A key as it stands in the output. */
typedef struct
{
  guint offset;
  guint length;
} EvbusJsonKey;

typedef struct
{
  EvbusWalk     walk;
  GByteArray   *buffer;
  guint8       *p;              /* where the next byte goes */
  guint8       *end;            /* of the space there is */

  /* The keys of the dictionaries that are open, one after the other. */
  EvbusJsonKey *keys;
  guint         n_keys;
  guint         max_keys;
  EvbusJsonKey  few_keys[EVBUS_JSON_FEW_KEYS];
} EvbusJsonWriter;

gboolean evbus_json_writer_write      (GVariant         *body,
                                       GByteArray       *buffer,
                                       GError          **error);

gboolean evbus_json_writer_grow       (EvbusJsonWriter  *self,
                                       gsize             needed);
gboolean evbus_json_writer_key        (EvbusJsonWriter  *self,
                                       const EvbusView  *key);
gboolean evbus_json_writer_end_object (EvbusJsonWriter  *self,
                                       guint             first_key);
gboolean evbus_json_writer_view       (EvbusJsonWriter  *self,
                                       const EvbusView  *view,
                                       guint             depth);
gboolean evbus_json_writer_tree       (EvbusJsonWriter  *self,
                                       GVariant         *value,
                                       guint             depth);

static inline gboolean
evbus_json_writer_reserve (EvbusJsonWriter *self,
                           gsize            needed)
{
  return G_LIKELY ((gsize) (self->end - self->p) >= needed) ||
         evbus_json_writer_grow (self, needed);
}

static inline gboolean
evbus_json_writer_byte (EvbusJsonWriter *self,
                        char             byte)
{
  if (!evbus_json_writer_reserve (self, 1))
    return FALSE;
  *self->p++ = byte;
  return TRUE;
}

static inline gboolean
evbus_json_writer_text (EvbusJsonWriter *self,
                        const char      *text,
                        gsize            length)
{
  if (!evbus_json_writer_reserve (self, length))
    return FALSE;
  memcpy (self->p, text, length);
  self->p += length;
  return TRUE;
}
