/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

gboolean evbus_json_writer_write (GVariant    *body,
                                  GByteArray  *buffer,
                                  GError     **error);
