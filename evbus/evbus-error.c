/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-error.h"

/**
 * EvbusError:
 * @EVBUS_ERROR_FAILED: something else went wrong; the message says what
 * @EVBUS_ERROR_INVALID_ARGUMENT: a routing key, a profile name, an id or an
 *   option that cannot be used
 * @EVBUS_ERROR_INVALID_BODY: a body that the serializer cannot express
 * @EVBUS_ERROR_TOO_LARGE: an event over the size limit, or more events in one
 *   call than the queue can ever hold
 * @EVBUS_ERROR_QUEUE_FULL: no space now; the event was not accepted
 * @EVBUS_ERROR_CLOSED: the broker was stopped
 * @EVBUS_ERROR_UNROUTED: no route matches, and the broker refuses such events
 * @EVBUS_ERROR_HOP_LIMIT: the event was caused by too long a chain of events
 * @EVBUS_ERROR_MATCH: a pattern gave up on this profile name
 * @EVBUS_ERROR_INVALID_CONFIG: a mistake in a configuration; the message has
 *   one line for each
 * @EVBUS_ERROR_NO_PROVIDER: there is no plugin for a provider
 * @EVBUS_ERROR_PLUGIN: a plugin does not load, is not an ingress, or says from
 *   [method@Ingress.open] that it never will work
 * @EVBUS_ERROR_NOT_FOUND: no such thing
 * @EVBUS_ERROR_EXISTS: it is there already
 * @EVBUS_ERROR_TIMED_OUT: the time given was not enough
 * @EVBUS_ERROR_ACCESS_DENIED: the caller may not do this
 * @EVBUS_ERROR_TRANSIENT: from [method@Ingress.publish]: try the events that
 *   are not marked again
 * @EVBUS_ERROR_BROKEN: from [method@Ingress.publish]: nothing goes there until
 *   a person mends something
 * @EVBUS_ERROR_POISON: from [method@Ingress.publish]: the destination will
 *   never take these events
 * @EVBUS_ERROR_SPOOL_FULL: no space on the disk for the spool; the event was not
 *   accepted
 * @EVBUS_ERROR_SPOOL_FAILED: reading or writing the spool failed; after a put it
 *   is not known whether the event was accepted
 * @EVBUS_ERROR_BUSY: another process has the spool
 * @EVBUS_ERROR_UNDELIVERED: from a put that waits for its delivery: the event was
 *   accepted, and a route gave it up; the message names both
 *
 * The errors of evbus. Each is known on D-Bus as `org.evbus1.Error.` and its
 * name in camel case, such as `org.evbus1.Error.QueueFull`.
 *
 * Since: 1.0
 */

static const GDBusErrorEntry entries[] = {
  { EVBUS_ERROR_FAILED,           "org.evbus1.Error.Failed" },
  { EVBUS_ERROR_INVALID_ARGUMENT, "org.evbus1.Error.InvalidArgument" },
  { EVBUS_ERROR_INVALID_BODY,     "org.evbus1.Error.InvalidBody" },
  { EVBUS_ERROR_TOO_LARGE,        "org.evbus1.Error.TooLarge" },
  { EVBUS_ERROR_QUEUE_FULL,       "org.evbus1.Error.QueueFull" },
  { EVBUS_ERROR_CLOSED,           "org.evbus1.Error.Closed" },
  { EVBUS_ERROR_UNROUTED,         "org.evbus1.Error.Unrouted" },
  { EVBUS_ERROR_HOP_LIMIT,        "org.evbus1.Error.HopLimit" },
  { EVBUS_ERROR_MATCH,            "org.evbus1.Error.Match" },
  { EVBUS_ERROR_INVALID_CONFIG,   "org.evbus1.Error.InvalidConfig" },
  { EVBUS_ERROR_NO_PROVIDER,      "org.evbus1.Error.NoProvider" },
  { EVBUS_ERROR_PLUGIN,           "org.evbus1.Error.Plugin" },
  { EVBUS_ERROR_NOT_FOUND,        "org.evbus1.Error.NotFound" },
  { EVBUS_ERROR_EXISTS,           "org.evbus1.Error.Exists" },
  { EVBUS_ERROR_TIMED_OUT,        "org.evbus1.Error.TimedOut" },
  { EVBUS_ERROR_ACCESS_DENIED,    "org.evbus1.Error.AccessDenied" },
  { EVBUS_ERROR_TRANSIENT,        "org.evbus1.Error.Transient" },
  { EVBUS_ERROR_BROKEN,           "org.evbus1.Error.Broken" },
  { EVBUS_ERROR_POISON,           "org.evbus1.Error.Poison" },
  { EVBUS_ERROR_SPOOL_FULL,       "org.evbus1.Error.SpoolFull" },
  { EVBUS_ERROR_SPOOL_FAILED,     "org.evbus1.Error.SpoolFailed" },
  { EVBUS_ERROR_BUSY,             "org.evbus1.Error.Busy" },
  { EVBUS_ERROR_UNDELIVERED,      "org.evbus1.Error.Undelivered" },
};

G_STATIC_ASSERT (G_N_ELEMENTS (entries) == EVBUS_ERROR_UNDELIVERED + 1);

/**
 * evbus_error_quark:
 *
 * The domain of the errors of evbus. The first call registers the D-Bus names
 * of the errors with GDBus.
 *
 * Returns: the domain
 *
 * Since: 1.0
 */
GQuark
evbus_error_quark (void)
{
  static gsize quark = 0;

  g_dbus_error_register_error_domain ("evbus-error-quark", &quark,
                                      entries, G_N_ELEMENTS (entries));
  return (GQuark) quark;
}
