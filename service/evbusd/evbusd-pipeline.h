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

typedef struct _EvbusdPipeline EvbusdPipeline;

EvbusdPipeline *evbusd_pipeline_new      (GDBusConnection    *connection,
                                          EvbusBroker        *broker,
                                          EvbusdAnswer        answer);
void            evbusd_pipeline_free     (EvbusdPipeline     *self);
void            evbusd_pipeline_enter    (EvbusdPipeline     *self);
gboolean        evbusd_pipeline_holds_up (EvbusdPipeline     *self,
                                          const char         *name);
void            evbusd_pipeline_call     (EvbusdPipeline     *self,
                                          const EvbusdMethod *method,
                                          GDBusMessage       *message);
void            evbusd_pipeline_settle   (EvbusdPipeline     *self,
                                          GSourceFunc         done,
                                          gpointer            user_data);

G_END_DECLS
