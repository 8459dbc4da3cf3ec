/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How a test ends of a broker with a route whose destination is a hook: what the hook holds
 * is let go, and what the route was given and has not given up was delivered. */

#pragma once

#include "evbus-test.h"

static inline void
hook_end (EvbusTestHook *hook,
          EvbusBroker   *broker,
          EvbusRoute    *route)
{
  EvbusLedger ledger;

  evbus_test_hook_release (hook);
  evbus_test_stop (broker);
  evbus_route_get_ledger (route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.queued, ==, 0);
  g_assert_cmpuint (ledger.delivered, ==, evbus_test_hook_length (hook));
  g_object_unref (route);
  g_object_unref (broker);
  evbus_test_hook_free (hook);
}
