/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

/* The date of the last event, as text: most come in the same second. */
typedef struct {
  gint64 second;
  char   text[32];
} FileClock;

gboolean file_line_append (GString      *buffer,
                           FileClock    *clock,
                           EvbusEvent   *event,
                           GError      **error);

G_END_DECLS
