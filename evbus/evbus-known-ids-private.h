/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* What is known of one. */
typedef struct {
  gboolean settled;     /* its event's acceptance is final (in the spool, where there is one); those who
                         * repeat it before have to wait for that */
  gboolean delivered;   /* there is nothing to be waited for any more */
  gboolean alone;       /* its event has one route for certain */
  gint64   seq;         /* of the event in the spool; 0: it is not there, or not yet */
  GArray  *replayed;    /* gint64: of its dead letters that went back to their routes, each the last one; or NULL */
} EvbusKnownId;

/* The last ids that producers gave, so that a repeated put makes no second
 * event. Bounded, a dead letter that was replayed counting as one more: the oldest is
 * forgotten first. */
typedef struct {
  GHashTable     *ids;       /* id → its entry */
  GQueue          by_age;    /* entries */
  guint           n_replayed;
  guint           max;
  GDestroyNotify  free_repeat;
} EvbusKnownIds;

void     evbus_known_ids_init       (EvbusKnownIds  *self,
                                     guint           max,
                                     GDestroyNotify  free_repeat);
void     evbus_known_ids_clear      (EvbusKnownIds  *self);
/* NULL: it is not known. */
const EvbusKnownId *
         evbus_known_ids_find       (EvbusKnownIds  *self,
                                     const char     *id);
void     evbus_known_ids_add        (EvbusKnownIds  *self,
                                     const char     *id,
                                     gboolean        settled,
                                     gboolean        alone,
                                     gint64          seq);
/* Of one that may be forgotten by now. */
void     evbus_known_ids_set_delivered (EvbusKnownIds *self,
                                     const char     *id);
/* A dead letter of the event of that id is under the number @seq now, where it was under
 * @old before (0: an earlier life replayed it). FALSE: it is none of that event. */
gboolean evbus_known_ids_replay     (EvbusKnownIds  *self,
                                     const char     *id,
                                     gint64          old,
                                     gint64          seq);
/* Keeps @repeat (taken over) with an id that is not settled. */
void     evbus_known_ids_repeat     (EvbusKnownIds  *self,
                                     const char     *id,
                                     gpointer        repeat);
/* The id is settled, with the event's @seq, or (@accepted FALSE) its event was not
 * accepted after all and it is forgotten. What was kept with it is moved to @repeats. */
void     evbus_known_ids_settle     (EvbusKnownIds  *self,
                                     const char     *id,
                                     gboolean        accepted,
                                     gint64          seq,
                                     GQueue         *repeats);

G_END_DECLS
