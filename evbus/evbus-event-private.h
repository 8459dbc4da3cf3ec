/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event.h"
#include "evbus-event-memory-private.h"

G_BEGIN_DECLS

typedef struct _EvbusRouteSet EvbusRouteSet;

struct _EvbusEvent
{
  EvbusEventBlock *block;        /* in which it stands, or NULL */
  int            ref_count;     /* atomic */
  guint          hops;
  gint64         time;          /* microseconds since 1970 UTC */
  gint64         max_age;       /* microseconds; 0: the route's own */
  gint64         seq;           /* in the spool; 0: it is not there. Written by the spool before anyone else has it */
  gint64         since;         /* in the spool: the boot time at which it was put, or replayed; else 0. Written like @seq */
  EvbusRouteSet *set;           /* until it is accepted, under the queue's lock */
  gboolean       has_receipt;   /* its put is answered once it is in the spool; under the queue's lock */
  gboolean       known_id;      /* the producer gave the id */
  gboolean       followed;      /* somebody waits for what becomes of it; under the queue's lock */
  GVariant      *attributes;    /* a{ss} or NULL */
  GBytes        *bytes;         /* holds @data where it is not in @storage */
  const guint8  *data;
  gsize          size;
  gsize          weight;        /* in every budget: the length of its record in a spool */
  const char    *routing_key;   /* this and the next three: in @storage */
  const char    *profile;
  const char    *content_type;
  const char    *id;
  char           storage[];
};

/* What a record has of each event beside its strings, attributes and body: see
 * evbus-record.c. */
#define EVBUS_EVENT_FIXED_BYTES 64u

/* What an event is made of. The strings are copied; @data is copied too,
 * unless it is large and in @bytes, of which then a reference is kept. */
typedef struct {
  const char   *id;            /* NULL: a new one */
  const char   *routing_key;
  gsize         routing_key_length;
  const char   *profile;
  gsize         profile_length;
  const char   *content_type;
  GBytes       *bytes;         /* or NULL, and then: */
  const guint8 *data;
  gsize         size;
  GVariant     *attributes;
  gint64        time;          /* 0: now */
  gint64        max_age;
  guint         hops;
} EvbusEventInit;

/* As evbus_event_append_time(). @time: microseconds since 1970 UTC. */
void        evbus_time_append            (gint64                time,
                                          GString              *string);
EvbusEvent *evbus_event_new              (const EvbusEventInit *init);
EvbusEvent *evbus_event_with_routing_key (EvbusEvent           *self,
                                          const char           *routing_key);

G_END_DECLS
