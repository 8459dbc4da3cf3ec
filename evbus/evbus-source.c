/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-source-private.h"

static gboolean
dispatch (GSource     *source,
          GSourceFunc  callback,
          gpointer     user_data)
{
  g_source_set_ready_time (source, -1);
  return callback (user_data);
}

static GSourceFuncs source_funcs = {
  .dispatch = dispatch,
};

GSource *
evbus_source_new (const char     *name,
                  GSourceFunc     func,
                  gpointer        data,
                  GDestroyNotify  destroy)
{
  GSource *source = g_source_new (&source_funcs, sizeof (GSource));

  g_source_set_static_name (source, name);
  g_source_set_callback (source, func, data, destroy);
  return source;
}

void
evbus_source_wake (GSource *source)
{
  g_source_set_ready_time (source, 0);
}
