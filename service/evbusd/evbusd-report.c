/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Tells the log what the broker tells its owner. */

#include "evbusd-report.h"

/* A sink that fails fails for every event: so many are named in an interval,
 * the rest is counted. */
#define NAMED_EVENTS 10
#define INTERVAL_US (10 * G_USEC_PER_SEC)

typedef struct {
  gint64  start;
  guint   named;
  guint64 unnamed;
} Report;

const char *
evbusd_report_state_name (EvbusRouteState state)
{
  g_autoptr (GEnumClass) names = g_type_class_ref (EVBUS_TYPE_ROUTE_STATE);
  GEnumValue *value = g_enum_get_value (names, state);

  return value != NULL ? value->value_nick : "unknown";
}

static char *
describe_route (EvbusRoute *route)
{
  return g_strdup_printf ("%s '%s'", evbus_route_get_provider (route), evbus_route_get_profile (route));
}

static void
on_event_failed (EvbusBroker *broker,
                 EvbusRoute  *route,
                 EvbusEvent  *event,
                 const char  *reason,
                 guint64      missed,
                 Report      *report)
{
  g_autofree char *route_name = NULL;
  gint64 now = g_get_monotonic_time ();

  report->unnamed += missed;
  if (now - report->start >= INTERVAL_US)
    {
      report->start = now;
      report->named = 0;
    }
  if (report->named >= NAMED_EVENTS)
    {
      report->unnamed++;
      return;
    }

  report->named++;
  route_name = describe_route (route);
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "EVBUS_ROUTE", route_name,
                    "EVBUS_PROFILE", evbus_event_get_profile (event),
                    "EVBUS_EVENT_ID", evbus_event_get_id (event),
                    "MESSAGE", "an event was not delivered (%" G_GUINT64_FORMAT " others before it unnamed): %s",
                    report->unnamed, reason);
  report->unnamed = 0;
}

/* Of a bad one the library itself has warned. */
static void
on_state_changed (EvbusBroker     *broker,
                  EvbusRoute      *route,
                  EvbusRouteState  state,
                  const char      *reason,
                  gpointer         user_data)
{
  g_autofree char *route_name = describe_route (route);
  gboolean has_reason = reason != NULL && reason[0] != '\0';

  if (state >= EVBUS_ROUTE_STATE_RETRYING)
    return;

  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE,
                    "EVBUS_ROUTE", route_name,
                    "MESSAGE", "the route is %s%s%s",
                    evbusd_report_state_name (state), has_reason ? ": " : "", has_reason ? reason : "");
}

void
evbusd_report_watch (EvbusBroker *broker)
{
  g_signal_connect_data (broker, "event-failed", G_CALLBACK (on_event_failed),
                         g_new0 (Report, 1), (GClosureNotify) (void (*) (void)) g_free, 0);
  g_signal_connect (broker, "route-state-changed", G_CALLBACK (on_state_changed), NULL);
}
