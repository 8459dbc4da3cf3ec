/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Cuts loops of events. A thread that was handed an event puts on its behalf,
 * one hop further: a route's thread while it publishes, a consumer for the rest
 * of the dispatch in which its callback finished a get. */

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
