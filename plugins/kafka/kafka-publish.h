/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "kafka-client.h"
#include "kafka-format.h"

G_BEGIN_DECLS

gboolean kafka_publish (KafkaClient   *client,
                        KafkaFormat   *format,
                        EvbusBatch    *batch,
                        gboolean      *keep,
                        GCancellable  *cancellable,
                        GError       **error);

G_END_DECLS
