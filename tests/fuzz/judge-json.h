/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

/* Aborts unless @json, as json-glib reads it, has the value of @body. */
void judge_json (GBytes   *json,
                 GVariant *body);
