/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-broker-private.h"

G_BEGIN_DECLS

/* What is done with dead letters, or an orphan: where it changes something, on the listener's
 * thread, a transaction a step, so that the listener never stalls for long. */
typedef enum {
  EVBUS_DEAD_REPLAY,
  EVBUS_DEAD_DROP,
  EVBUS_DEAD_EXPORT,
  EVBUS_DEAD_FORGET,   /* an orphan, with all that it has */
  EVBUS_DEAD_NAME,     /* an orphan: it gets a name */
} EvbusDeadKind;

typedef struct {
  EvbusDeadKind          kind;
  EvbusSpool            *spool;       /* a reference */
  EvbusSpooler          *spooler;     /* a reference */
  EvbusSpoolRoute       *route;       /* NULL: of any */
  char                  *key;         /* its key, as it was: a reload can change it; or NULL */
  char                  *name;        /* which it gets; or NULL */
  GOutputStream         *stream;      /* where to; or NULL */
  GArray                *numbers;     /* gint64; NULL: all that the route had at the beginning */
  GFileProgressCallback  progress;    /* or NULL */
  gpointer               progress_data;
  GDestroyNotify         progress_free;

  /* Of who has the work: its thread, and in the end that of the task's context. */
  guint                  next;        /* of @numbers */
  gint64                 after;       /* without: what is up to there was seen */
  gint64                 last;        /* where it ends; 0: not known yet */
  guint64                n_done;
  guint64                total;
  gint64                 missing;     /* the first that was not there; 0: none */
  GError                *orphaned;    /* some cannot go back: their route is in no configuration */
} EvbusDeadWork;

GTask         *evbus_dead_task_new    (EvbusBroker         *broker,
                                       GCancellable        *cancellable,
                                       GAsyncReadyCallback  callback,
                                       gpointer             user_data,
                                       gpointer             tag);
/* Makes the work that is the task's data, with the progress. FALSE: the task was answered. */
gboolean       evbus_dead_task_begin  (GTask               *task,
                                       EvbusDeadKind        kind,
                                       const char          *route,
                                       const gint64        *numbers,
                                       gsize                n_numbers,
                                       GFileProgressCallback progress,
                                       gpointer             progress_data,
                                       GDestroyNotify       progress_free);
gboolean       evbus_dead_task_finish (GAsyncResult        *result,
                                       guint64             *n_done,
                                       GError             **error);

/* Finds spool and route under the broker's lock; NULL: error. @route: (nullable). */
EvbusDeadWork *evbus_dead_work_new    (EvbusBroker         *broker,
                                       EvbusDeadKind        kind,
                                       const char          *route,
                                       const gint64        *numbers,
                                       gsize                n_numbers,
                                       GError             **error);
void           evbus_dead_work_free   (EvbusDeadWork       *self);
/* Does what is the task's data; TRUE, or an error, is returned from it. */
void           evbus_dead_work_start  (GTask               *task);
/* On any thread but the listener's: the next page of the letters (EvbusSpoolDead) that there were
 * at the beginning; NULL: error. An empty one is the last, once all is read. */
GPtrArray     *evbus_dead_work_read     (EvbusDeadWork     *self,
                                         GError           **error);
gboolean       evbus_dead_work_has_read (EvbusDeadWork     *self);
/* On any thread: has the progress told in the task's context. */
void           evbus_dead_work_report (GTask               *task);
/* NOT_FOUND if one was missing; for the end of a work. */
void           evbus_dead_work_return (GTask               *task);

/* evbus-broker-replay.c: the same for a replay under another profile. */
void           evbus_broker_put_anew  (GTask               *task,
                                       const char          *profile);

G_DEFINE_AUTOPTR_CLEANUP_FUNC (EvbusDeadWork, evbus_dead_work_free)

G_END_DECLS
