/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event.h"
#include "evbus-route.h"

G_BEGIN_DECLS

/* Carries what happens on the routes' threads to the main context in which
 * the broker was made. Holds no reference of the broker, so that the last one
 * can be dropped anywhere, and nothing that can grow. */
typedef struct _EvbusNotifier EvbusNotifier;

/* Called in the context of @object, the broker. */
typedef struct {
  void (* event_failed)  (GObject         *object,
                          EvbusRoute      *route,
                          EvbusEvent      *event,
                          const char      *reason,
                          guint64          missed);
  void (* state_changed) (GObject         *object,
                          EvbusRoute      *route,
                          EvbusRouteState  state,
                          const char      *reason);
  /* A bit for each of the object's own changes. */
  void (* changed)       (GObject         *object,
                          guint            changes);
  /* Of a route, or of no route. */
  void (* figures_moved) (GObject         *object);
} EvbusNotifierFuncs;

EvbusNotifier *evbus_notifier_new   (GObject                  *object,
                                     const EvbusNotifierFuncs *funcs);
EvbusNotifier *evbus_notifier_ref   (EvbusNotifier            *self);
void           evbus_notifier_unref (EvbusNotifier            *self);

/* From any thread, under no lock. */
void           evbus_notifier_event_failed  (EvbusNotifier    *self,
                                             EvbusRoute       *route,
                                             EvbusEvent       *event,
                                             const char       *reason);
/* The same, or under the route's lock, which keeps the changes in order. */
void           evbus_notifier_state_changed (EvbusNotifier    *self,
                                             EvbusRoute       *route,
                                             EvbusRouteState   state,
                                             const char       *reason);
/* The figures of @route have moved: its properties are notified, but not
 * more often than four times a second. */
void           evbus_notifier_figures_moved (EvbusNotifier    *self,
                                             EvbusRoute       *route);

/* The same of what belongs to no route that there is. */
void           evbus_notifier_totals_moved (EvbusNotifier     *self);

/* From any thread, under no lock, with a reference of the object. Tells it at
 * once where that is right: on a thread that runs the object's context now, or
 * on the one that made the object, while nobody runs the context. */
void           evbus_notifier_changed (EvbusNotifier          *self,
                                       guint                   changes);

/* The same, but never at once, and no reference is needed. */
void           evbus_notifier_changed_later (EvbusNotifier    *self,
                                             guint             changes);

/* The object is going: what is pending is dropped. */
void           evbus_notifier_close (EvbusNotifier            *self);

G_END_DECLS
