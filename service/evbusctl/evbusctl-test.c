/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `test-route`: whether what is put under a profile arrives. */

#include "evbusctl-follow.h"

#include "evbusctl-output.h"

static int seconds = 30;

const GOptionEntry evbusctl_test_entries[] = {
  { "wait", 0, 0, G_OPTION_ARG_INT, &seconds, "How long to wait (30)", "SECONDS" },
  { NULL }
};

static gboolean
has_match (GVariant *explanations)
{
  GVariantIter iter;
  gboolean matches;

  g_variant_iter_init (&iter, explanations);
  while (g_variant_iter_next (&iter, "(&s&sb&s)", NULL, NULL, &matches, NULL))
    if (matches)
      return TRUE;

  return FALSE;
}

static int
put_and_follow (EvbusctlBus *bus,
                const char  *profile)
{
  g_autoptr(GVariant) options = NULL;
  EvbusctlFollow event = { .routing_key = "evbus.test", .profile = profile, .seconds = seconds, .timed = TRUE };

  options = g_variant_ref_sink (g_variant_new_parsed ("{'attributes': <{'evbustest': 'true'}>}"));
  event.options = options;
  event.body = g_variant_new_parsed ("{'test': <true>}");
  return evbusctl_follow (bus, &event);
}

int
evbusctl_test_route (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GVariant) explanations = NULL;
  g_autoptr(GError) error = NULL;

  if (seconds < 1 || seconds > EVBUSCTL_MAX_WAIT)
    {
      evbusctl_error ("test-route: --wait: a number of seconds from 1 to %d is wanted", EVBUSCTL_MAX_WAIT);
      return EVBUSCTL_USAGE;
    }
  if (!evbusctl_check_text ("profile", arguments[0], &error) ||
      (bus = evbusctl_bus_open (&error)) == NULL ||
      (explanations = evbusctl_bus_explain (bus, arguments[0], &error)) == NULL)
    return evbusctl_bus_report (error);

  if (!has_match (explanations))
    {
      g_autofree char *name = evbusctl_printable (*arguments[0] != '\0' ? arguments[0] : "default");

      evbusctl_error ("no route takes events of the profile '%s'; 'evbusctl explain' tells why", name);
      return EVBUSCTL_FAILED;
    }

  return put_and_follow (bus, arguments[0]);
}
