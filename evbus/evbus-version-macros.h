/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

/* Symbols are hidden by default; what the library exports says so here. A
 * program that defines EVBUS_VERSION_MAX_ALLOWED will gain warnings here for
 * what is newer once there is a second series. */
#ifndef _EVBUS_EXTERN
# if defined(__GNUC__)
#  define _EVBUS_EXTERN __attribute__((visibility ("default"))) extern
# else
#  define _EVBUS_EXTERN extern
# endif
#endif

#define EVBUS_AVAILABLE_IN_1_0 _EVBUS_EXTERN
