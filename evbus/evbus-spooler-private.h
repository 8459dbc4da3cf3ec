/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-queue-private.h"
#include "evbus-spool-private.h"

G_BEGIN_DECLS

/* The listener's side of the spool: what it has taken out of the queue is stored
 * in one transaction, and only then answered and handed on; what the routes have
 * settled is written down soon after. On the listener's thread, but for what says
 * otherwise. */
typedef struct _EvbusSpooler EvbusSpooler;

EvbusSpooler *evbus_spooler_new    (EvbusSpool   *spool,
                                    EvbusQueue   *queue);
EvbusSpooler *evbus_spooler_ref    (EvbusSpooler *self);
void          evbus_spooler_unref  (EvbusSpooler *self);

/* FALSE: nothing could be stored; the puts were told, and nothing is left to be
 * handed on. */
gboolean      evbus_spooler_store  (EvbusSpooler *self,
                                    EvbusTake    *take);

/* What became of events in the spool that were put again, for who wants to know. */
gboolean      evbus_spooler_look_up (EvbusSpooler *self);

/* From any thread: between the two none of the spool's routes is forgotten, and nothing
 * expires that no route has. Before the queue's lock. */
void          evbus_spooler_lock_routes   (EvbusSpooler *self);
void          evbus_spooler_unlock_routes (EvbusSpooler *self);

/* Before the listener is started, once it is sure that this is the spool: the totals
 * go on with what it has counted for no route, and puts are admitted by what it holds. */
void          evbus_spooler_load_figures (EvbusSpooler *self);

/* From any thread: a route has settled something. */
void          evbus_spooler_tend   (EvbusSpooler *self);
/* From any thread: what the spool may hold, and for how long (microseconds; 0: for ever). */
void          evbus_spooler_set_budget (EvbusSpooler *self,
                                        gsize         max_bytes,
                                        gint64        max_age);

/* From any thread: has @job called once on the listener's thread, soon, with TRUE;
 * with FALSE if the spool is closed before its turn comes. FALSE: it is closed
 * already, and @job is not called. A long work is a job a step, so that the
 * listener does not stall. */
typedef void (*EvbusSpoolerJob) (gboolean open,
                                 gpointer data);
gboolean      evbus_spooler_do     (EvbusSpooler    *self,
                                    EvbusSpoolerJob  job,
                                    gpointer         data);

/* Writes what is left to write and closes the spool. */
void          evbus_spooler_close  (EvbusSpooler *self);

/* Where nothing will be stored any more: the puts whose answer is due get
 * %EVBUS_ERROR_CLOSED. */
void          evbus_spooler_refuse (EvbusQueue   *queue,
                                    EvbusTake    *take);

G_END_DECLS
