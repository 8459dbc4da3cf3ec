/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusd-pace.h"

#define INTERVAL_US G_USEC_PER_SEC

struct _EvbusdPace
{
  GFunc    func;
  gpointer data;
  gint64   next;     /* monotonic: not before */
  guint    source;   /* or 0 */
};

EvbusdPace *
evbusd_pace_new (GFunc    func,
                 gpointer data)
{
  EvbusdPace *self = g_new0 (EvbusdPace, 1);

  self->func = func;
  self->data = data;
  return self;
}

void
evbusd_pace_free (EvbusdPace *self)
{
  if (self->source != 0)
    g_source_remove (self->source);
  g_free (self);
}

static gboolean
on_turn (gpointer data)
{
  EvbusdPace *self = data;

  self->source = 0;
  self->next = g_get_monotonic_time () + INTERVAL_US;
  self->func (self->data, NULL);
  return G_SOURCE_REMOVE;
}

void
evbusd_pace_want (EvbusdPace *self)
{
  gint64 wait = MAX (0, self->next - g_get_monotonic_time ());

  /* Rounded up: to a timer of milliseconds it is never too early. */
  if (self->source == 0)
    self->source = g_timeout_add ((guint) ((wait + 999) / 1000), on_turn, self);
}
