/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#pragma once

#include "evbus-queue-private.h"
#include "evbus-spool-private.h"

G_BEGIN_DECLS

/* What the spool may hold, for each route and for all together. A route that has
 * more than its share gives up its own oldest, its dead letters before its queued
 * events; where all together have too much, the one that can lose the most does. A route
 * within its share loses nothing. What is older than all may be expires as well; a route sees to
 * what it has in memory. No put fails, but those for a route whose own
 * settings say that it rather holds them up than loses anything. */
typedef struct {
  EvbusSpool *spool;       /* borrowed */
  EvbusQueue *queue;       /* borrowed */
  gsize       max_bytes;   /* atomic */
  guint       max_age;     /* atomic: seconds; 0: none */
  guint       seen_age;    /* the listener's thread's: what that was when it looked at ages last … */
  gint64      next_ages;   /* … and when to look again, monotonic; 0: there is nothing that ages */
  guint       next_share;  /* the listener's thread's: of the shares, where that look goes on */
  gint64      say_again;   /* the listener's thread's: monotonic, when to tell of dead letters that expire */
  gint64      again;       /* the listener's thread's: monotonic, when to look again though nothing happens */
  GMutex      claiming;    /* held while routes are claimed, what no route has expires, or one is forgotten */
} EvbusBudget;

void     evbus_budget_init  (EvbusBudget *self,
                             EvbusSpool  *spool,
                             EvbusQueue  *queue);
void     evbus_budget_clear (EvbusBudget *self);

/* Before the listener's thread has it: what the spool holds is known from then on. */
void     evbus_budget_measure (EvbusBudget *self);

/* On the listener's thread: expires what is too much, for a while, forgets orphans that
 * have nothing, and has the spool maintained. Returns whether there is more to do; if not,
 * @again says when there will be, G_MAXINT64 if nobody knows. */
gboolean evbus_budget_keep  (EvbusBudget *self);

G_END_DECLS
