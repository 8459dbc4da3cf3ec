/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusd-line.h"

G_BEGIN_DECLS

typedef struct _EvbusdPipeline EvbusdPipeline;

EvbusdPipeline *evbusd_pipeline_new   (GDBusConnection    *connection,
                                       EvbusProducer      *producer,
                                       EvbusdAnswer        answer);
void            evbusd_pipeline_free  (EvbusdPipeline     *self);
void            evbusd_pipeline_enter (EvbusdPipeline     *self);
void            evbusd_pipeline_call  (EvbusdPipeline     *self,
                                       const EvbusdMethod *method,
                                       GDBusMessage       *message);
void            evbusd_pipeline_settle (EvbusdPipeline    *self,
                                       GSourceFunc         done,
                                       gpointer            user_data);

G_END_DECLS
