/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>
#include <librdkafka/rdkafka.h>

G_BEGIN_DECLS

rd_kafka_conf_t *kafka_properties_new  (EvbusContext    *ctx,
                                        GError         **error);
char            *kafka_properties_get  (rd_kafka_conf_t *conf,
                                        const char      *name);
void             kafka_properties_warn (rd_kafka_conf_t *conf,
                                        EvbusContext    *ctx);

G_END_DECLS
