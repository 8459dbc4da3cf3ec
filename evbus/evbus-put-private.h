/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include <gio/gio.h>

#include "evbus-event-private.h"
#include "evbus-route.h"

G_BEGIN_DECLS

typedef enum {
  EVBUS_PUT_NEW,
  EVBUS_PUT_WAITING,    /* for space */
  EVBUS_PUT_ACCEPTED,   /* of one that follows its event, while that is being stored */
  EVBUS_PUT_FOLLOWS,    /* until its event is settled */
  EVBUS_PUT_DONE,       /* it is answered, by whoever made it so */
} EvbusPutState;

/* What a put that waits needs of one of its routes. */
typedef struct {
  EvbusRoute *route;     /* kept by the put's events */
  GList      *link;      /* in the route's list of those that wait */
  guint       n_events;
  gsize       weight;
} EvbusNeed;

/* One call of a put function: the events that are accepted together or not at
 * all. A put that has to wait lives as long as its task; others on the stack. */
typedef struct {
  EvbusEvent   **events;
  guint          n_events;
  gsize          weight;          /* of the events together */
  gboolean       has_id;          /* one event, whose id the producer gave */
  gboolean       to_be_routed;    /* without a route it is refused, whatever becomes of others */
  gboolean       at_once;         /* is answered when it is accepted, also where there is a spool */
  gboolean       to_be_delivered; /* is answered when its one event is settled */
  char          *follower;        /* who hears what becomes of its one event, or NULL */
  gboolean       has_receipt;     /* accepted, and answered by another: once it is in the spool, or settled; under
                                   * the queue's lock */

  /* Of a put that can wait. */
  gatomicrefcount ref_count;
  EvbusPutState  state;           /* under the queue's lock */
  struct _EvbusQueue *queue;      /* from when it waits */
  GArray        *needs;           /* EvbusNeed, while it waits, one a route; this and the next six under
                                   * the queue's lock */
  gsize          waiting_weight;  /* as it counts while it waits */
  guint          n_routed;        /* events that have routes */
  gsize          routed_weight;
  guint          n_behind;        /* routes of @needs at which an older put waits */
  GList         *waiting_link;    /* in the queue's list of those that wait */
  GList         *space_link;      /* in that of those that wait for the queue itself */
  struct _EvbusFollow *follow;    /* which it waits for; this and the next under the queue's lock */
  GList         *follow_link;     /* in its list of puts */
  gint64         seq;             /* of the event in the spool that it repeats */
  GError        *refusal;         /* between lock and answer; where it is accepted and not stored yet, why it
                                   * does not wait any longer */
  GTask         *task;            /* given up when it is answered, by whoever set EVBUS_PUT_DONE */
  gpointer       result;
  GDestroyNotify free_result;
  GCancellable  *cancellable;
  gulong         cancelled_id;
  guint          timeout;         /* milliseconds; G_MAXUINT: none */
  GSource       *timeout_source;
} EvbusPut;

/* Takes over @events and @result, which is what the task will return. */
EvbusPut *evbus_put_new        (GTask           *task,
                                EvbusEvent     **events,
                                guint            n_events,
                                gpointer         result,
                                GDestroyNotify   free_result);
EvbusPut *evbus_put_ref        (EvbusPut        *self);
void      evbus_put_unref      (EvbusPut        *self);

/* Whether it wants to know what becomes of its event. */
gboolean  evbus_put_follows    (EvbusPut        *self);

/* Answers the put, outside every lock, after its state was set to done. The
 * answer is delivered in the caller's main context. @error: NULL for its refusal, if
 * there is one; taken over. */
void      evbus_put_answer     (EvbusPut        *self,
                                GError          *error);
/* The same for each, of which a reference is given up. */
void      evbus_put_answer_all (GQueue          *puts);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusPut, evbus_put_unref)

G_END_DECLS
