/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-broker.h"
#include "evbus-listener-private.h"
#include "evbus-notifier-private.h"
#include "evbus-put-options-private.h"
#include "evbus-serializer.h"
#include "evbus-spool-private.h"

G_BEGIN_DECLS

struct _EvbusBroker
{
  GObject          parent_instance;

  EvbusListener   *listener;
  EvbusQueue      *queue;
  EvbusNotifier   *notifier;
  GListStore      *model;           /* what get_routes() shows; changed in the broker's context alone */

  EvbusSerializer *serializer;      /* atomic; they live as long as the process */
  const char      *serializer_name; /* atomic; interned */
  gsize            event_bytes;     /* atomic: the size limit of an event */
  guint            stop_timeout;    /* atomic; milliseconds */
  int              reject_unrouted; /* atomic, a copy of the queue's */

  GMutex           reload_lock;     /* one reload at a time; taken before @lock */
  char            *profiles_spool;  /* what the configuration in place says of it; under @reload_lock */
  GMutex           lock;
  /* Under @lock. */
  GPtrArray       *routes;          /* a reference of each, in their order */
  guint64          generation;      /* of the last route table */
  gboolean         started;
  gboolean         stopped;
  char            *spool_directory; /* NULL: memory only */
  gsize            spool_bytes;
  gint64           spool_max_age;   /* microseconds; 0: none */
  gboolean         opening;         /* the spool is being opened */
  EvbusSpool      *opened_spool;    /* it is open, but perhaps not in use yet */
  char            *spool_note;      /* how far that is, or why it failed; for a person; or NULL */
  EvbusSpool      *spool;           /* this and the next are set once, by start() */
  EvbusSpooler    *spooler;
};

/* Their numbers are bits of what the notifier tells; bit 0 is for the followers. */
enum {
  EVBUS_BROKER_PROP_LEDGER = 1,
  EVBUS_BROKER_PROP_REJECT_UNROUTED,
  EVBUS_BROKER_PROP_ROUTES,
  EVBUS_BROKER_PROP_SERIALIZER,
  EVBUS_BROKER_PROP_SPOOL_CONDITION,
  EVBUS_BROKER_PROP_SPOOL_DIRECTORY,
  EVBUS_BROKER_PROP_SPOOL_NOTE,
  EVBUS_BROKER_PROP_STOP_TIMEOUT,
  EVBUS_BROKER_N_PROPS
};

/* In the broker's context, soon. */
void       evbus_broker_notify     (EvbusBroker *self,
                                    guint        property);

/* evbus-broker-open.c, under no lock: opens the spool, if it is not open. Blocks. */
gboolean   evbus_broker_open_spool        (EvbusBroker   *self,
                                           GCancellable  *cancellable,
                                           GError       **error);
/* Whether it can be started. */
gboolean   evbus_broker_may_start_locked  (EvbusBroker   *self,
                                           GError       **error);

/* evbus-broker-spool.c; without a spool they do nothing. The puts that this has
 * decided go into @done, for evbus_waiting_answer(), and into @doubts what begins anew, as
 * in evbus_claim_routes_locked(). */
gboolean   evbus_broker_use_spool_locked  (EvbusBroker  *self,
                                           GQueue       *done,
                                           GPtrArray    *doubts,
                                           GError      **error);
void       evbus_broker_set_spool_budget  (EvbusBroker  *self,
                                           gsize         spool_bytes,
                                           gint64        max_age);
/* Between them no put is accepted and no part of the spool claimed or forgotten: what there is when
 * a route claims what it goes on with is all that there is when puts see the route. */
void       evbus_broker_lock_claims       (EvbusBroker  *self);
void       evbus_broker_unlock_claims     (EvbusBroker  *self);
/* With the claims locked: finds what @added go on with in the spool, of @routes, which are all that
 * there will be; the one of @removed that each replaces is put into @predecessors. @doubts: as above,
 * or NULL. */
gboolean   evbus_broker_claim_added_locked (EvbusBroker  *self,
                                            GPtrArray    *routes,
                                            GPtrArray    *added,
                                            GPtrArray    *removed,
                                            GPtrArray    *predecessors,
                                            GPtrArray    *doubts,
                                            GError      **error);
/* The same, with the locks, where none is removed. */
gboolean   evbus_broker_claim_locked      (EvbusBroker  *self,
                                           GPtrArray    *routes,
                                           GPtrArray    *added,
                                           GPtrArray    *doubts,
                                           GError      **error);
void       evbus_broker_orphan_locked     (EvbusBroker  *self,
                                           GPtrArray    *removed,
                                           GPtrArray    *added);

/* evbus-broker-follow.c, in the broker's context: tells of what became of followed
 * events. */
void       evbus_broker_install_follow    (EvbusBrokerClass *klass);
void       evbus_broker_tell_followers    (EvbusBroker      *self);

/* evbus-broker-routes.c */
GPtrArray *evbus_broker_dup_routes (EvbusBroker *self);
/* In the broker's context: makes the list that the application sees equal to
 * the routes there are. */
void evbus_broker_sync_model (EvbusBroker *self);

/* evbus-broker.c: has that done, from any thread, under no lock. */
void evbus_broker_routes_changed (EvbusBroker *self);

/* evbus-broker-put.c and -names.c */
/* Puts an event that was made already, which it takes over; the task returns its
 * id (char *). %EVBUS_ERROR_UNROUTED if no route takes it, whatever becomes of others. */
void evbus_broker_put_event_async (EvbusBroker         *self,
                                   EvbusEvent          *event,
                                   GCancellable        *cancellable,
                                   GAsyncReadyCallback  callback,
                                   gpointer             user_data);
/* The name to match by, or NULL with EVBUS_ERROR_INVALID_ARGUMENT. */
const char *evbus_broker_check_profile (const char  *profile,
                                        GError     **error);
/* Checks both and puts them into @init; they are borrowed. */
gboolean evbus_broker_init_names (EvbusEventInit  *init,
                                  const char      *routing_key,
                                  const char      *profile,
                                  GError         **error);
void evbus_broker_producer_init (EvbusProducerInterface *iface);

/* evbus-broker-event.c: each checks and serialises what it is given. */
EvbusEvent *evbus_broker_make_event          (EvbusBroker            *self,
                                              const char             *routing_key,
                                              GVariant               *body,
                                              const char             *profile,
                                              const EvbusPutOptions  *options,
                                              GError                **error);
EvbusEvent *evbus_broker_make_event_of_bytes (EvbusBroker            *self,
                                              const char             *routing_key,
                                              GBytes                 *body,
                                              const char             *content_type,
                                              const char             *profile,
                                              GError                **error);

G_END_DECLS
