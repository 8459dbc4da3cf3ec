/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Reads the pages of a database of which nothing is sure, with those of its WAL. */
typedef struct _EvbusSpoolPages EvbusSpoolPages;

/* Something that may be a record or a set of routes begins at @data. */
typedef void (* EvbusSpoolPagesFound) (const guint8 *data,
                                       gsize         size,
                                       gpointer      user_data);

/* How many pages of the walk are done. FALSE: it ends here. */
typedef gboolean (* EvbusSpoolPagesStep) (guint32  n_done,
                                          guint32  n_pages,
                                          gpointer user_data);

/* A WAL is not needed. */
EvbusSpoolPages *evbus_spool_pages_open (const char           *path,
                                         GError              **error);
/* Walks all pages as they were last committed, then what the WAL had replaced. The same thing can
 * be found twice; the first time counts. */
void             evbus_spool_pages_walk (EvbusSpoolPages      *self,
                                         EvbusSpoolPagesFound  found,
                                         EvbusSpoolPagesStep   step,
                                         gpointer              user_data);
void             evbus_spool_pages_free (EvbusSpoolPages      *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusSpoolPages, evbus_spool_pages_free)

G_END_DECLS
