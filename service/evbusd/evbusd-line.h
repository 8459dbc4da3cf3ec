/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusd-method.h"

G_BEGIN_DECLS

/* Answers one call: results (floating, or NULL for none) or an error. */
typedef void (* EvbusdAnswer) (GDBusConnection *connection,
                               GDBusMessage    *message,
                               GVariant        *results,
                               const GError    *error);

typedef struct _EvbusdLines EvbusdLines;

EvbusdLines *evbusd_lines_new   (GDBusConnection    *connection,
                                 EvbusProducer      *producer,
                                 EvbusdAnswer        answer);
void         evbusd_lines_unref (EvbusdLines        *self);
gboolean     evbusd_lines_join  (EvbusdLines        *self,
                                 const EvbusdMethod *method,
                                 GDBusMessage       *message,
                                 gboolean            open);

G_END_DECLS
