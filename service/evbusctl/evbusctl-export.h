/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusctl-bus.h"

G_BEGIN_DECLS

/* Prints dead letters as lines of JSON. @route: (nullable). @numbers: none: all that there
 * are. FALSE: not all were there; those that were are printed. */
gboolean evbusctl_export (EvbusctlBus  *bus,
                          const char   *route,
                          GArray       *numbers,
                          GError      **error);

G_END_DECLS
