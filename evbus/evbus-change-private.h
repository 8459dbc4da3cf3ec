/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-route-private.h"

G_BEGIN_DECLS

/* A reload in the making. */
typedef struct {
  GPtrArray *routes;       /* as they will be; a reference of each */
  GPtrArray *added;        /* of those, the new ones; borrowed */
  GPtrArray *predecessors; /* in step with @added: the route that each replaces, or NULL; borrowed */
  GPtrArray *removed;      /* a reference of each */

  GQueue     done;         /* EvbusPut; to be answered at the end */
} EvbusChange;

/* From @present to @specs: first every route that stays as it is finds its place; then each new
 * one may replace a route of the same place, whose ingress must close first. It takes as long as there
 * are routes, and not as there are pairs of them. */
void evbus_change_plan  (EvbusChange   *self,
                         GPtrArray     *present,
                         GPtrArray     *specs,
                         EvbusQueue    *queue,
                         EvbusNotifier *notifier);
void evbus_change_clear (EvbusChange   *self);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (EvbusChange, evbus_change_clear)

G_END_DECLS
