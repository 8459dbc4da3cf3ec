/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-error.h"
#include "evbus-plugin-host-private.h"

EvbusIngress *
evbus_plugin_host_create_ingress (EvbusProvider  *provider,
                                  GError        **error)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN, "no plugin host yet");
  return NULL;
}
