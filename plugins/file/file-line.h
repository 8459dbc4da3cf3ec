/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <evbus/evbus.h>

G_BEGIN_DECLS

gboolean file_line_append (GString      *buffer,
                           EvbusEvent   *event,
                           GError      **error);

G_END_DECLS
