/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "evbus-variant-walk-private.h"

gboolean evbus_msgpack_write (GVariant    *body,
                              GByteArray  *buffer,
                              GError     **error);
