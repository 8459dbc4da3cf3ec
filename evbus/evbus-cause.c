/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Cuts loops of events. A thread that was handed an event (a route's thread
 * while it publishes, a consumer since it took the event out of a mailbox)
 * puts on that event's behalf: what it puts is one hop further. Inside a main
 * loop that holds for the dispatch in which the event was taken, elsewhere
 * until the thread takes the next one. */

#include "evbus-cause-private.h"

typedef struct {
  gboolean  active;
  guint     hops;
  GSource  *source;   /* only compared, never dereferenced */
} Cause;

static _Thread_local Cause cause;

void
evbus_cause_set (guint hops)
{
  cause.active = TRUE;
  cause.hops = hops;
  cause.source = g_main_current_source ();
}

void
evbus_cause_clear (void)
{
  cause.active = FALSE;
}

guint
evbus_cause_next_hops (void)
{
  if (!cause.active)
    return 0;

  if (cause.source != g_main_current_source ())
    {
      cause.active = FALSE;
      return 0;
    }

  return cause.hops + 1;
}
