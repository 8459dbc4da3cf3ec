/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* A compiled profile pattern. Immutable, so any thread may match with it. */
typedef struct _EvbusMatcher EvbusMatcher;

/* @plugin: "glob" or "regex". */
EvbusMatcher *evbus_matcher_new   (const char    *plugin,
                                   const char    *pattern,
                                   GError       **error);
void          evbus_matcher_free  (EvbusMatcher  *self);

const char   *evbus_matcher_get_plugin (EvbusMatcher *self);

/* FALSE with EVBUS_ERROR_MATCH: the question could not be answered (a match
 * limit was reached), which is never the same as "does not match". */
gboolean      evbus_matcher_match (EvbusMatcher  *self,
                                   const char    *name,
                                   gboolean      *matches,
                                   GError       **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusMatcher, evbus_matcher_free)

G_END_DECLS
