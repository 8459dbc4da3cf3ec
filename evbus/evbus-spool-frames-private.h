/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A version of a page, in a WAL. */
typedef struct {
  guint32 page;
  goffset at;     /* where its bytes begin */
} EvbusSpoolFrame;

/* Those of the file @fd that were committed, as they were written: of a page the last one is
 * valid. What SQLite would not believe is left out. (transfer full): EvbusSpoolFrame. */
GArray *evbus_spool_frames_read (int   fd,
                                 guint page_size);

G_END_DECLS
