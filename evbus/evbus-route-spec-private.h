/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-matcher-private.h"
#include "evbus-node-private.h"
#include "evbus-provider.h"

G_BEGIN_DECLS

typedef enum {
  EVBUS_OVERFLOW_DROP_OLDEST,
  EVBUS_OVERFLOW_DROP_NEWEST,
  EVBUS_OVERFLOW_REJECT,
  EVBUS_OVERFLOW_BLOCK,
} EvbusOverflow;

/* The `delivery:` settings of one route; all are set, from the configuration
 * or from evbus-limits-private.h. Times in microseconds. */
typedef struct {
  guint         batch_events;
  gsize         batch_bytes;
  gint64        linger;
  guint         in_flight;
  guint         window_events;
  gsize         window_bytes;
  gint64        timeout;
  gint64        retry_min;
  gint64        retry_max;
  gint64        max_age;
  EvbusOverflow overflow;
  char         *name;          /* NULL: none */
  gsize         spool_bytes;
  gboolean      dead_letters;
} EvbusDelivery;

/* One entry `provider → pattern → data` of the configuration, checked and
 * complete: all that is needed to make a route. Immutable, atomic refcount. */
typedef struct {
  gatomicrefcount ref_count;

  char          *provider;   /* the provider's own name, aliases resolved */
  char          *profile;    /* the pattern, as it was written */
  char          *where;      /* "profiles.yaml:12:7", or NULL for one made in code */
  EvbusMatcher  *matcher;
  EvbusProvider *info;       /* NULL: there is no plugin for the provider */
  char          *missing;    /* then, the sentence that says so and what to do */
  GVariant      *data;       /* a{sv}, nested mappings as a{sv}, sequences as av; the
                              * defaults of the option table filled in; a secret is
                              * still a reference, never its value (inline ones apart) */
  EvbusDelivery  delivery;
  char          *digest;     /* SHA-256 over all of the above that changes what the route does */
  guint          ordinal;    /* which of the equal entries of a configuration it is; 0: the first */
} EvbusRouteSpec;

/* Checks @data (a{sv}, NULL for none; `delivery` may be one of its keys)
 * against the provider's option table. EVBUS_ERROR_NO_PROVIDER where there is
 * no plugin for @provider, EVBUS_ERROR_INVALID_CONFIG for all else. */
EvbusRouteSpec *evbus_route_spec_new   (const char      *provider,
                                        const char      *profile,
                                        const char      *match_plugin,
                                        GVariant        *data,
                                        GError         **error);

/* The same of a node of a configuration (NULL: no data), against what
 * evbus_provider_scan() has found. A missing plugin is no error here. NULL after
 * errors, which are in @report. */
EvbusRouteSpec *evbus_route_spec_build (GPtrArray        *providers,
                                        const char       *provider,
                                        const char       *profile,
                                        const char       *match_plugin,
                                        EvbusNode        *data,
                                        const EvbusPlace *place,
                                        EvbusReport      *report);

EvbusRouteSpec *evbus_route_spec_ref   (EvbusRouteSpec  *self);
void            evbus_route_spec_unref (EvbusRouteSpec  *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusRouteSpec, evbus_route_spec_unref)

G_END_DECLS
