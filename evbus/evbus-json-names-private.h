/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

#include "evbus-limits-private.h"

/* Objects nested in each other have this many names before any is allocated. */
#define EVBUS_JSON_FEW_NAMES 64

typedef struct
{
  gsize offset;         /* of the text between the quotation marks: in the document, */
  gsize length : 63;    /* or in @plain where it has escapes */
  gsize escaped : 1;
  gsize place;          /* in the document: of the quotation mark before it */
} EvbusJsonName;

/* The names of the objects of a document that are open, one after the other. */
typedef struct
{
  const guint8  *document;
  GByteArray    *plain;         /* names that had escapes, without them; or NULL */
  EvbusJsonName *names;
  gsize          n_names;
  gsize          max_names;
  guint          n_objects;
  gsize          first[EVBUS_MAX_NESTING];      /* of each object that is open */
  EvbusJsonName  few_names[EVBUS_JSON_FEW_NAMES];
} EvbusJsonNames;

void     evbus_json_names_init  (EvbusJsonNames *self,
                                 const guint8   *document);
void     evbus_json_names_clear (EvbusJsonNames *self);

void     evbus_json_names_open  (EvbusJsonNames *self);
void     evbus_json_names_add   (EvbusJsonNames *self,
                                 const guint8   *begin,
                                 const guint8   *end);
gboolean evbus_json_names_close (EvbusJsonNames *self,
                                 const guint8  **twice);
