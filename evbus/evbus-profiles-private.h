/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-profiles.h"
#include "evbus-route-spec-private.h"

G_BEGIN_DECLS

/* Instead of a folder: memory only. */
#define EVBUS_SPOOL_NONE "none"

/* The top-level key `evbus:`: the broker's own settings. */
typedef struct {
  char    *serializer;       /* NULL: not set */
  gboolean reject_unrouted;
  guint    queue_events;
  gsize    queue_bytes;
  gsize    event_bytes;
  guint    stop_timeout;     /* milliseconds */
  char    *spool_directory;  /* NULL: not set; "none": memory only */
  gsize    spool_bytes;
  gint64   spool_max_age;    /* microseconds; 0: none */
} EvbusSettings;

/* (element-type EvbusRouteSpec) (transfer none), in the order of the files,
 * those of missing providers included. */
GPtrArray           *evbus_profiles_get_specs    (EvbusProfiles *self);
const EvbusSettings *evbus_profiles_get_settings (EvbusProfiles *self);

G_END_DECLS
