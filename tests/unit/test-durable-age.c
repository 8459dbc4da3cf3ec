/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An age for the whole spool: what is older expires, whosever it is. */

#include "durable-test.h"

#define WHOLE(age) "evbus: {spool: {max_age: " age "}}\ninternal: {nobody: }\n"

static gboolean
give_back (EvbusTestHook *hook,
           EvbusContext  *ctx,
           EvbusBatch    *batch,
           GCancellable  *cancellable,
           GError       **error)
{
  EvbusOutcome outcome = g_atomic_int_get ((int *) hook->user_data);

  for (guint i = 0; i < evbus_batch_get_n_events (batch); i++)
    evbus_batch_fail (batch, i, outcome, "not so");
  return TRUE;
}

/* Dead letters, what an orphan has, and what a route cannot deliver, though it could keep
 * it for longer. Nothing goes where it may be older. */
static void
test_age (Fixture       *fixture,
          gconstpointer  data)
{
  int outcome = EVBUS_OUTCOME_POISON;

  fixture->hook->publish = give_back;
  fixture->hook->user_data = &outcome;
  durable_put (fixture, 10);
  evbus_test_wait_ledger (fixture->route, "accepted=10 dead=10");
  g_atomic_int_set (&outcome, EVBUS_OUTCOME_TRANSIENT);
  durable_put (fixture, 20);
  evbus_test_wait_ledger (fixture->route, "accepted=30 dead=10 queued=20");
  durable_end (fixture);

  fixture->broker = durable_new_broker (fixture);
  evbus_test_apply (fixture->broker, WHOLE ("1d"));
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "other", NULL);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, "other", 0, 5);
  evbus_test_wait_ledger (fixture->broker, "accepted=35 dead=10 queued=25");

  evbus_test_apply (fixture->broker, WHOLE ("1s"));
  evbus_test_wait_ledger (fixture->broker, "accepted=35 expired=35");
  evbus_test_assert_ledger (fixture->route, "accepted=5 expired=5");
}

/* Its destination does not answer: what waits behind that grows too old all the same. */
static void
test_hangs (Fixture       *fixture,
            gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  durable_put (fixture, 30);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_apply (fixture->broker, WHOLE ("1s"));
  evbus_test_wait_until (evbus_test_figure (fixture->route, "expired") >= 20);
  g_assert_cmpuint (evbus_test_figure (fixture->route, "queued"), >=, 1);

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  g_assert_cmpuint (evbus_test_figure (fixture->route, "delivered"), >=, 1);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);
  g_test_add ("/durable-age/whole", Fixture, NULL, durable_set_up, test_age, durable_tear_down);
  g_test_add ("/durable-age/hangs", Fixture, "{'window': <{'events': <2>}>, 'batch': <{'events': <1>}>, 'timeout': <'10m'>}",
              durable_set_up, test_hangs, durable_tear_down);
  return g_test_run ();
}
