/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* A file of lines to which whole lines are appended, which rotates, and which
 * others may append to, move away or remove at any time. */
typedef struct {
  char     *path;         /* absolute */
  gboolean  sync;
  guint64   rotate_size;  /* bytes, 0: never */
  gint64    rotate_age;   /* microseconds, 0: never */
  guint     keep;
  int       fd;           /* -1: not open */
} FileLog;

void     file_log_init   (FileLog       *self,
                          const char    *path);
void     file_log_clear  (FileLog       *self);
gboolean file_log_open   (FileLog       *self,
                          GCancellable  *cancellable,
                          GError       **error);
gboolean file_log_append (FileLog       *self,
                          const char    *lines,
                          gsize          size,
                          GCancellable  *cancellable,
                          GError       **error);

G_END_DECLS
