/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

/* Enough for every number below, the zero byte included. */
#define EVBUS_NUMBER_SIZE 32

gsize evbus_number_from_uint64 (char    *text,
                                guint64  value);
gsize evbus_number_from_int64  (char    *text,
                                gint64   value);
gsize evbus_number_from_double (char    *text,
                                double   value);
