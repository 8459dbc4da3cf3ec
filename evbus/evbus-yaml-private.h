/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-node-private.h"

G_BEGIN_DECLS

/* Reads one YAML (or JSON) document. What is wrong goes into @report, with
 * @file as the name to show; NULL if there is nothing usable, which an empty
 * document is not either. */
EvbusNode *evbus_yaml_parse (const char  *data,
                             gsize        length,
                             const char  *file,
                             EvbusReport *report);

G_END_DECLS
