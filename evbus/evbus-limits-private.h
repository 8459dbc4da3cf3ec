/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Every default and bound of the library, once. doc/limits.md shows the same
 * table to users; a test compares the two. */

#pragma once

#include <glib.h>

#define EVBUS_MAX_NAME_BYTES        255u                     /* routing key, profile name */
#define EVBUS_MAX_CONTENT_TYPE      255u                     /* bytes */
#define EVBUS_MAX_ID_BYTES          128u                     /* an id given by the producer */
#define EVBUS_MAX_NESTING           64u                      /* containers in a body */
#define EVBUS_MAX_HOPS              8u                       /* puts caused by a delivery caused by … */
#define EVBUS_MAX_ROUTES            1024u
#define EVBUS_MAX_SERIALIZERS       64u                      /* that are registered */
#define EVBUS_MAX_ATTRIBUTES        64u                      /* of one event */
#define EVBUS_MAX_ATTRIBUTE_BYTES   (16u * 1024u)            /* of one event, serialised */

#define EVBUS_DEFAULT_EVENT_BYTES   (1024u * 1024u)          /* routing key, profile and body */
#define EVBUS_DEFAULT_QUEUE_EVENTS  65536u
#define EVBUS_DEFAULT_QUEUE_BYTES   (64u * 1024u * 1024u)
#define EVBUS_DEFAULT_WINDOW_EVENTS 4096u
#define EVBUS_DEFAULT_WINDOW_BYTES  (16u * 1024u * 1024u)
#define EVBUS_DEFAULT_BATCH_EVENTS  256u
#define EVBUS_DEFAULT_BATCH_BYTES   (1024u * 1024u)
#define EVBUS_DEFAULT_LINGER_US     ((gint64) 0)
#define EVBUS_DEFAULT_TIMEOUT_US    (30 * G_USEC_PER_SEC)    /* of one publish */
#define EVBUS_DEFAULT_RETRY_MIN_US  (100 * (G_USEC_PER_SEC / 1000))
#define EVBUS_DEFAULT_RETRY_MAX_US  (60 * (gint64) G_USEC_PER_SEC)
#define EVBUS_CIRCUIT_FAILURES      5u                       /* in a row, after which single events are tried */
#define EVBUS_DEFAULT_MAX_AGE_US    (7 * G_TIME_SPAN_DAY)
#define EVBUS_ORPHAN_US             (20 * G_USEC_PER_SEC)    /* which an orphan that has nothing is kept */
#define EVBUS_EXTEND_US              (1 * G_USEC_PER_SEC)     /* for which one publish gets more events … */
#define EVBUS_EXTEND_EVENTS          16384u                   /* … and up to how many */
#define EVBUS_MAX_OFF_US            (1 * G_TIME_SPAN_DAY)    /* between two boots, by which an event ages */
#define EVBUS_DEFAULT_SPOOL_BYTES   ((gsize) 1024u * 1024u * 1024u)
#define EVBUS_DEFAULT_STOP_MS       10000u
#define EVBUS_STUCK_GRACE_US        (5 * G_USEC_PER_SEC)     /* cancelled, and still not back */
#define EVBUS_MAX_ABANDONED         64u                      /* threads held by plugins that do not return */
#define EVBUS_MAX_TRIALS            8u                       /* threads in which plugins are tried before a reload */
#define EVBUS_MATCH_CACHE_NAMES     4096u                    /* profile names of which the routes are remembered */
#define EVBUS_KNOWN_IDS             65536u                   /* ids given by producers that are remembered */
#define EVBUS_MAX_WAITING           4096u                    /* puts that wait for space, and at most the queue's bytes */
#define EVBUS_MAX_FOLLOWED          65536u                   /* copies of events that are followed, and puts that wait for them */
#define EVBUS_UNROUTED_NAMES        1024u                    /* unrouted profile names that are logged */
#define EVBUS_EXPIRE_EVENTS         4096u                    /* that are expired at a time, where a backlog is over its share */
#define EVBUS_MAX_FAILURES_PENDING  1024u                    /* event-failed emissions under way */
#define EVBUS_SPOOL_SETS            256u                     /* sets of more than one route that are stored at once */
#define EVBUS_SPOOL_COMMIT_BYTES    (16u * 1024u * 1024u)    /* of the events of one transaction of the spool */
#define EVBUS_SPOOL_RESERVE_BYTES   (4u * 1024u * 1024u)     /* on the disk, given up when it is full */
#define EVBUS_SPOOL_DEATHS_BYTES    (8u * 1024u * 1024u)     /* of dead letters that wait to be written to the spool */
#define EVBUS_SPOOL_WAL_BYTES       (64u * 1024u * 1024u)    /* of the spool's write-ahead log */
#define EVBUS_SPOOL_STEP_LETTERS    256u                     /* dead letters that are moved at a time … */
#define EVBUS_SPOOL_STEP_BYTES      (4u * 1024u * 1024u)     /* … and of how much */
#define EVBUS_DEAD_PAGE_EVENTS      4096u                    /* dead letters that are listed at a time … */
#define EVBUS_DEAD_PAGE_BYTES       (16u * 1024u * 1024u)    /* … and of how much */
