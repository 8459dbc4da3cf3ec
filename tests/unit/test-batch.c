/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a plugin sees of a batch beside the marks, which test-delivery tests. */

#include "mailbox-test.h"

static void
test_events (void)
{
  g_autoptr(EvbusBatch) batch = make_batch ("a1 b1 a2");

  g_assert_cmpuint (evbus_batch_get_n_events (batch), ==, 3);
  g_assert_cmpstr (evbus_event_get_id (evbus_batch_get_event (batch, 0)), ==, "a-1");
  g_assert_cmpstr (evbus_event_get_id (evbus_batch_get_event (batch, 2)), ==, "a-2");
}

/* Of each event the ten bytes of its body, its strings, and what a record has beside. */
static void
test_n_bytes (void)
{
  g_autoptr(EvbusBatch) one = make_batch ("a1");
  g_autoptr(EvbusBatch) three = make_batch ("a1 b1 a2");

  g_assert_cmpuint (evbus_batch_get_n_bytes (one), ==, 10 + strlen ("a") + strlen ("default") +
                    strlen ("a-1") + strlen ("application/json") + 68);
  g_assert_cmpuint (evbus_batch_get_n_bytes (three), ==, 3 * evbus_batch_get_n_bytes (one));
}

int
main (int   argc,
      char *argv[])
{
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/batch/events", test_events);
  g_test_add_func ("/batch/n-bytes", test_n_bytes);

  return g_test_run ();
}
