/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The one of @candidates that @word was most likely meant to be, or NULL where
 * none is near. */
const char *evbus_nearest      (const char         *word,
                                const char * const *candidates);

/* The same for the end of a message: "; did you mean 'x'?", or nothing. */
char       *evbus_nearest_hint (const char         *word,
                                const char * const *candidates);

G_END_DECLS
