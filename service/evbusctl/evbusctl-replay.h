/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbusctl-bus.h"

G_BEGIN_DECLS

/* Which dead letters, and what of them: by their numbers, or if there are none all of
 * @route, or if that is NULL all there are. */
typedef struct {
  const char *method;    /* "ReplayDead", "DropDead", or "ForgetRoute", which takes @route alone */
  GArray     *numbers;   /* gint64; or NULL */
  const char *route;     /* or NULL; whose they are, also where there are numbers */
  const char *profile;   /* under which they are replayed; NULL: by their route */
} EvbusctlReplay;

gboolean evbusctl_replay (EvbusctlBus           *bus,
                          const EvbusctlReplay  *what,
                          guint64               *n_done,
                          gboolean              *interrupted,
                          GError               **error);

G_END_DECLS
