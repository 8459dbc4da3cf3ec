/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "http-options.h"

G_BEGIN_DECLS

/* Makes the bodies of requests. */
typedef struct {
  GString    *plain;
  GConverter *compressor;   /* or NULL */
} HttpWriter;

void        http_writer_init  (HttpWriter   *self,
                               HttpOptions  *options);
void        http_writer_clear (HttpWriter   *self);
gboolean    http_writer_event (HttpWriter   *self,
                               HttpOptions  *options,
                               EvbusEvent   *event,
                               GString      *scratch,
                               const char  **body,
                               gsize        *size,
                               GError      **error);
gboolean    http_writer_batch (HttpWriter   *self,
                               HttpOptions  *options,
                               EvbusBatch   *batch,
                               guint         first,
                               guint         n,
                               GArray       *indexes,
                               GString      *body,
                               char        **key,
                               GError      **error);

G_END_DECLS
