/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Calls a function soon after it is wanted, and at most once a second. While
 * nobody wants it there is no timer. Main context only. */
typedef struct _EvbusdPace EvbusdPace;

EvbusdPace *evbusd_pace_new  (GFunc       func,
                              gpointer    data);
void        evbusd_pace_free (EvbusdPace *self);

/* @func is called with @data and NULL. */
void        evbusd_pace_want (EvbusdPace *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusdPace, evbusd_pace_free)

G_END_DECLS
