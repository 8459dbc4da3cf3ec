/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-fate.h"
#include "evbus-known-ids-private.h"
#include "evbus-put-private.h"

G_BEGIN_DECLS

/* The events of which somebody wants to know what becomes of them: a put that is
 * answered when its event is delivered, or a follower who hears of each route. All
 * of it is under the queue's lock, and where there is none of them it costs a
 * settlement one look at a number.
 *
 * An event whose id the producer gave stays here, where there is room, until all
 * its routes have settled it, and if one gave it up as long as there is room: who
 * repeats the id joins. */

/* One of its routes. */
typedef struct {
  gpointer   key;       /* the route, or its part of the spool; never followed, only compared */
  char      *label;
  gint64     seq;       /* of the event there, or of its letter that was replayed; 0: not in the spool, or not yet */
  gboolean   told;      /* the follower has heard of it, once: not what becomes of a dead letter that is replayed */
  gboolean   settled;
  EvbusFate  fate;      /* once it is; this and the next */
  char      *reason;    /* why it gave the event up, or NULL */
} EvbusFollowed;

typedef struct _EvbusFollow {
  char          *id;
  gboolean       stored;     /* it is accepted for good: in the spool, where there is one */
  gboolean       known;      /* the producer gave the id */
  gboolean       unsure;     /* it may have had other routes, and whether these have delivered it is not known */
  char          *follower;   /* or NULL */
  GQueue         puts;       /* EvbusPut that wait for it; a reference of each */
  GList          idle_link;  /* in the list of those for which nobody waits, if it is there */
  gboolean       idle;
  guint          n_routes;
  guint          n_left;     /* of which have it still */
  EvbusFollowed  routes[];
} EvbusFollow;

/* What a follower is told. */
typedef struct {
  char      *follower;
  char      *id;
  char      *route;     /* NULL: of the event as a whole */
  EvbusFate  fate;
  char      *reason;    /* or NULL */
  guint      left;      /* how many routes are still to be told of */
} EvbusNews;

void evbus_news_free (EvbusNews *news);

typedef struct {
  EvbusKnownIds *known_ids;
  GHashTable    *by_id;    /* id → EvbusFollow */
  GQueue         idle;     /* those for which nobody waits, oldest first */
  GQueue         news;     /* EvbusNews, oldest first */
  GQueue         answers;  /* EvbusPut that are done, with their refusal: who gives up the lock answers them */
  guint          n_used;   /* copies that are followed, puts that wait for them, and news */
} EvbusFollows;

void         evbus_follows_init         (EvbusFollows     *self,
                                         EvbusKnownIds    *known_ids);
void         evbus_follows_clear        (EvbusFollows     *self);

/* Whether @n more copies can be followed. Who is not waited for gives way. */
gboolean     evbus_follows_make_room    (EvbusFollows     *self,
                                         guint             n);
GError      *evbus_follows_new_full     (void);

EvbusFollow *evbus_follows_find         (EvbusFollows     *self,
                                         const char       *id);
/* Begins to follow an event of @n_routes, which evbus_follow_set_route() names. An
 * older one of that id is no longer followed. */
EvbusFollow *evbus_follows_add          (EvbusFollows     *self,
                                         const char       *id,
                                         gboolean          known,
                                         gboolean          stored,
                                         guint             n_routes);
void         evbus_follow_set_route     (EvbusFollow      *follow,
                                         guint             index,
                                         gpointer          key,
                                         gint64            seq,
                                         const char       *label);
/* The number of the event at that route, known by either key; 0: it has none, or the event is not
 * followed there. */
gint64       evbus_follow_get_seq       (EvbusFollow      *follow,
                                         gpointer          key,
                                         gpointer          other_key);

/* Lets @put hear of it what it wants to. FALSE: it need not wait, and is to be
 * answered with its refusal, if there is one. */
gboolean     evbus_follows_join         (EvbusFollows     *self,
                                         EvbusFollow      *follow,
                                         EvbusPut         *put);
/* Ends the waiting of a put; its reference is given up. */
void         evbus_follows_leave        (EvbusFollows     *self,
                                         EvbusPut         *put);
/* For the refusal of one that no longer waits: which routes have the event still. */
char        *evbus_follow_describe_left (EvbusFollow      *follow);

/* The event is in the spool. */
void         evbus_follows_stored       (EvbusFollows     *self,
                                         EvbusFollow      *follow,
                                         gint64            seq);
/* It was not accepted after all: the puts that wait for it are moved to @puts. */
void         evbus_follows_refuse       (EvbusFollows     *self,
                                         EvbusFollow      *follow,
                                         const char       *reason,
                                         GQueue           *puts);
/* A route, known by either key, has settled it. */
void         evbus_follows_settle       (EvbusFollows     *self,
                                         EvbusFollow      *follow,
                                         gpointer          key,
                                         gpointer          other_key,
                                         EvbusFate         fate,
                                         const char       *reason);
/* A dead letter of that route went back to it, under the number @seq: whoever joins from now on
 * waits for that. FALSE: the event is not followed there. */
gboolean     evbus_follows_replay       (EvbusFollows     *self,
                                         EvbusFollow      *follow,
                                         gpointer          key,
                                         gint64            seq);
/* Tells a follower of an event as a whole. */
void         evbus_follows_tell         (EvbusFollows     *self,
                                         const char       *follower,
                                         const char       *id,
                                         EvbusFate         fate);
/* The broker was stopped: all waiting ends. */
void         evbus_follows_end          (EvbusFollows     *self);
/* All news, which the caller frees. */
GQueue       evbus_follows_steal_news   (EvbusFollows     *self);
/* The puts to be answered by evbus_put_answer_all(), outside of the lock. */
GQueue       evbus_follows_steal_answers (EvbusFollows    *self);

G_END_DECLS
