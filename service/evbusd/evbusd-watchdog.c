/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The service manager hears of us while each thread that everything goes through has
 * its turns: the main loop, which looks, the broker's thread, and GDBus's worker, which
 * serves the puts; and while nobody keeps a lock. The main loop waits for none of them:
 * it asks, and looks at the next interval whether there was an answer. */

#include "evbusd-watchdog.h"

#include "evbusd-notify.h"

typedef struct {
  EvbusBroker  *broker;
  EvbusdIntake *intake;
  gboolean      asked;   /* the worker, which has not answered yet */
} Watchdog;

static gboolean
on_worker (gpointer user_data)
{
  Watchdog *self = user_data;

  self->asked = FALSE;
  return G_SOURCE_REMOVE;
}

static gboolean
worker_is_well (Watchdog *self)
{
  if (self->asked)
    return FALSE;

  self->asked = TRUE;
  evbusd_intake_settle (self->intake, on_worker, self);
  return TRUE;
}

/* A lock that somebody keeps for ever keeps us as well. */
static void
take_locks (Watchdog *self)
{
  GListModel *routes = evbus_broker_get_routes (self->broker);
  EvbusLedger ledger;

  evbus_broker_get_ledger (self->broker, &ledger);
  for (guint i = 0; i < g_list_model_get_n_items (routes); i++)
    {
      g_autoptr (EvbusRoute) route = g_list_model_get_item (routes, i);

      evbus_route_get_state (route);
    }
}

static gboolean
on_interval (gpointer user_data)
{
  Watchdog *self = user_data;
  gboolean broker_is_well = evbus_broker_ping (self->broker);

  take_locks (self);
  if (worker_is_well (self) && broker_is_well)
    evbusd_notify ("WATCHDOG=1");
  return G_SOURCE_CONTINUE;
}

void
evbusd_watchdog_start (EvbusBroker  *broker,
                       EvbusdIntake *intake)
{
  gint64 interval = evbusd_notify_watchdog ();
  Watchdog *self;

  if (interval == 0)
    return;

  self = g_new0 (Watchdog, 1);
  self->broker = broker;
  self->intake = intake;
  g_timeout_add_full (G_PRIORITY_DEFAULT, (guint) CLAMP (interval / 1000, 1, G_MAXUINT), on_interval, self, g_free);
}
