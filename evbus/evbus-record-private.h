/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-event-private.h"

G_BEGIN_DECLS

/* An event as bytes with a checksum: doc/spool.md has the layout. */

typedef enum {
  EVBUS_RECORD_EVENT = 1,
  EVBUS_RECORD_DEAD = 2,
} EvbusRecordKind;

/* What a record says of the event beside the event itself. */
typedef struct {
  EvbusRecordKind kind;
  guint32         place;    /* the set of routes of an event, the route of a dead letter */
  gint64          seq;
  gint64          ahead;    /* to be written: what the spool's steady clock is ahead of the boot time */
  gint64          put;      /* read: when it was put, by the steady clock */
  gint64          died;     /* of a dead letter: microseconds since 1970 UTC */
  const char     *reason;   /* of a dead letter, in the record; not terminated by a NUL */
  gsize           reason_length;
  gsize           size;     /* read: of the body */
  gsize           weight;   /* read: of the event */
} EvbusRecordInfo;

/* Appends to @out the record of @event. @info: kind, place, seq, ahead and, of a
 * dead letter, died and reason. */
void        evbus_record_append   (GByteArray            *out,
                                   EvbusEvent            *event,
                                   const EvbusRecordInfo *info);

/* Whether a record begins at @data, of which @size bytes can be read: its length,
 * or 0. @info: (out) (optional). */
gsize       evbus_record_check    (const guint8          *data,
                                   gsize                  size,
                                   EvbusRecordInfo       *info);

/* The event of the record at @data, or NULL if there is none that is sound. @ahead: as
 * above, now. @now: the boot time. */
EvbusEvent *evbus_record_parse    (const guint8          *data,
                                   gsize                  size,
                                   gint64                 ahead,
                                   gint64                 now,
                                   EvbusRecordInfo       *info);

/* "EVR1", with which a record begins. */
#define EVBUS_RECORD_MAGIC 0x31525645u
/* From its beginning to its end in the first bytes: magic, length, checksum. */
#define EVBUS_RECORD_PREFIX 12u

G_END_DECLS
