/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event-private.h"
#include "evbus-route.h"

G_BEGIN_DECLS

/* The routes of one profile name: what an event carries from its put to the
 * listener. */
struct _EvbusRouteSet
{
  guint64     generation;   /* of the table that made it */
  guint       ref_count;    /* plain: under the queue's lock */
  guint       n_routes;
  EvbusRoute *routes[];     /* a reference of each */
};

/* The routes of a broker at one time, and the answers to the profile names
 * seen lately. Everything but the routes is under the queue's lock. */
typedef struct {
  gatomicrefcount  ref_count;
  guint64          generation;
  GPtrArray       *routes;     /* immutable, a reference of each */
  GHashTable      *by_name;    /* profile name → EvbusRouteSet */
  const char      *last_name;  /* the key looked up last, which most often is asked for again */
  EvbusRouteSet   *last_set;
  GQueue           names;      /* keys of @by_name, oldest first */
  GQueue           sets;       /* the different ones made lately, to be shared */
} EvbusRouteTable;

/* @generation: larger than that of every table before. */
EvbusRouteTable *evbus_route_table_new      (GPtrArray        *routes,
                                             guint64           generation);
EvbusRouteTable *evbus_route_table_ref      (EvbusRouteTable  *self);
void             evbus_route_table_unref    (EvbusRouteTable  *self);

/* Which routes @profile goes to, by asking each matcher. Any thread, no lock.
 * Returns a container of borrowed routes, or NULL with EVBUS_ERROR_MATCH. */
GPtrArray       *evbus_route_table_match    (EvbusRouteTable  *self,
                                             const char       *profile,
                                             GError          **error);

/* All of these under the queue's lock. Sets that are no longer used are put
 * into @garbage, to be freed outside of it. */
EvbusRouteSet   *evbus_route_table_lookup   (EvbusRouteTable  *self,
                                             const char       *profile);
EvbusRouteSet   *evbus_route_table_remember (EvbusRouteTable  *self,
                                             const char       *profile,
                                             GPtrArray        *routes,
                                             GPtrArray        *garbage);
void             evbus_route_table_forget   (EvbusRouteTable  *self,
                                             GPtrArray        *garbage);
void             evbus_route_set_release    (EvbusRouteSet    *set,
                                             guint             n_references,
                                             GPtrArray        *garbage);

/* Outside the lock; the GDestroyNotify of a @garbage array. */
void             evbus_route_set_free       (EvbusRouteSet    *set);

G_END_DECLS
