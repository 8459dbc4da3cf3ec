/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What a stop means for a plugin: what it may still do, what is said of it, and
 * that nobody waits for one that does not return. */

#include "evbus-test.h"

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
  GMutex lock;
  GCond changed;
  /* Under @lock. */
  gboolean entered;            /* a source of the plugin … */
  gboolean leave;              /* … is to return */
  gboolean answered;           /* the stop was */
  gboolean too_early;          /* while a source of the plugin was running */
  gint n_dispatched;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  g_mutex_init (&fixture->lock);
  g_cond_init (&fixture->changed);
  fixture->hook = evbus_test_hook_new ("plugin");
  fixture->hook->user_data = fixture;
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", NULL);
}

static gboolean
is_gone (GWeakRef *weak)
{
  g_autoptr(GObject) object = g_weak_ref_get (weak);

  return object == NULL;
}

/* The route's thread has a reference of it until its end. */
static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  GWeakRef weak;
  EvbusLedger ledger;

  evbus_test_hook_release (fixture->hook);
  evbus_route_get_ledger (fixture->route, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.queued, ==, 0);
  g_weak_ref_init (&weak, fixture->route);
  g_object_unref (fixture->route);
  g_object_unref (fixture->broker);
  evbus_test_wait_until (is_gone (&weak));
  g_weak_ref_clear (&weak);
  evbus_test_hook_free (fixture->hook);
  g_mutex_clear (&fixture->lock);
  g_cond_clear (&fixture->changed);
}

static void
attach (GSourceFunc func,
        Fixture    *fixture)
{
  g_autoptr(GSource) source = g_idle_source_new ();

  g_source_set_callback (source, func, fixture, NULL);
  g_source_attach (source, g_main_context_get_thread_default ());
}

static void
raise_flag (Fixture  *fixture,
            gboolean *flag)
{
  g_mutex_lock (&fixture->lock);
  *flag = TRUE;
  g_cond_broadcast (&fixture->changed);
  g_mutex_unlock (&fixture->lock);
}

static gboolean
read_flag (Fixture  *fixture,
           gboolean *flag)
{
  gboolean value;

  g_mutex_lock (&fixture->lock);
  value = *flag;
  g_mutex_unlock (&fixture->lock);
  return value;
}

static void
on_stopped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Fixture *fixture = user_data;

  evbus_broker_stop_finish (EVBUS_BROKER (source), result, NULL);
  raise_flag (fixture, &fixture->answered);
}

/* Gives the answer the time to come too early. */
static gboolean
look_for_answer (gpointer data)
{
  Fixture *fixture = data;
  gint64 deadline = g_get_monotonic_time () + G_USEC_PER_SEC / 5;

  g_mutex_lock (&fixture->lock);
  while (!fixture->answered &&
         g_cond_wait_until (&fixture->changed, &fixture->lock, deadline))
    ;
  fixture->entered = TRUE;
  fixture->too_early = fixture->answered;
  g_mutex_unlock (&fixture->lock);
  return G_SOURCE_REMOVE;
}

static void
leave_source (EvbusTestHook *hook,
              EvbusContext  *ctx)
{
  attach (look_for_answer, hook->user_data);
}

/* TS12: what the plugin leaves behind in its context is dispatched before. */
static void
test_last_dispatch (Fixture       *fixture,
                    gconstpointer  data)
{
  fixture->hook->close = leave_source;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3);
  evbus_broker_stop_async (fixture->broker, NULL, on_stopped, fixture);
  evbus_test_wait_until (read_flag (fixture, &fixture->answered));
  g_assert_true (read_flag (fixture, &fixture->entered));
  g_assert_false (read_flag (fixture, &fixture->too_early));
  evbus_test_assert_ledger (fixture->route, "accepted=3 delivered=3");
}

static gboolean
always_ready (gpointer data)
{
  Fixture *fixture = data;

  g_atomic_int_inc (&fixture->n_dispatched);
  return G_SOURCE_CONTINUE;
}

static void
leave_busy_source (EvbusTestHook *hook,
                   EvbusContext  *ctx)
{
  attach (always_ready, hook->user_data);
}

/* … but not for ever. */
static void
test_always_ready (Fixture       *fixture,
                   gconstpointer  data)
{
  fixture->hook->close = leave_busy_source;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 3);
  evbus_test_stop (fixture->broker);
  g_assert_cmpint (g_atomic_int_get (&fixture->n_dispatched), >, 0);
  evbus_test_assert_ledger (fixture->route, "accepted=3 delivered=3");
}

static gboolean
block (gpointer data)
{
  Fixture *fixture = data;

  g_mutex_lock (&fixture->lock);
  fixture->entered = TRUE;
  while (!fixture->leave)
    g_cond_wait (&fixture->changed, &fixture->lock);
  g_mutex_unlock (&fixture->lock);
  return G_SOURCE_REMOVE;
}

static gboolean
open_and_block_later (EvbusTestHook  *hook,
                      EvbusContext   *ctx,
                      GCancellable   *cancellable,
                      GError        **error)
{
  attach (block, hook->user_data);
  return TRUE;
}

/* A source of the plugin that does not return is not waited for, no more than a
 * call; and when it does the plugin is left alone. */
static void
test_blocked_source (Fixture       *fixture,
                     gconstpointer  data)
{
  fixture->hook->open = open_and_block_later;
  evbus_test_start (fixture->broker);
  evbus_test_wait_until (read_flag (fixture, &fixture->entered));
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  raise_flag (fixture, &fixture->leave);
}

static void
close_and_block (EvbusTestHook *hook,
                 EvbusContext  *ctx)
{
  attach (block, hook->user_data);
}

static void
test_blocked_at_the_end (Fixture       *fixture,
                         gconstpointer  data)
{
  fixture->hook->close = close_and_block;
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_ledger (fixture->route, "delivered=20");
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 delivered=20");
  raise_flag (fixture, &fixture->leave);
}

/* TS7: the late return of a call that was given up is its last. */
static void
test_no_close (Fixture       *fixture,
               gconstpointer  data)
{
  GWeakRef weak;

  fixture->hook->deaf = TRUE;
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  g_weak_ref_init (&weak, fixture->route);
  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_running) == 0);
  g_clear_object (&fixture->broker);
  g_clear_object (&fixture->route);
  evbus_test_wait_until (is_gone (&weak));
  g_assert_cmpuint (evbus_test_hook_read (fixture->hook, &fixture->hook->n_close), ==, 0);
  g_weak_ref_clear (&weak);

  /* For tear_down. */
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", NULL);
}

/* A call that the stop has cancelled took no longer than it may. */
static void
test_cut_short (Fixture       *fixture,
                gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  evbus_test_start (fixture->broker);
  evbus_test_put_numbers (fixture->broker, NULL, 0, 20);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  evbus_test_clear_logs ();
  evbus_test_stop_leaving (fixture->broker);
  evbus_test_assert_ledger (fixture->route, "accepted=20 dropped=20");
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*took longer*", NULL, NULL), ==, 0);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING,
                                           "*publish*the route was stopped*at the gate*", NULL, NULL), ==, 1);
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/stop/plugin/last-dispatch", test_last_dispatch },
    { "/stop/plugin/always-ready", test_always_ready },
    { "/stop/plugin/blocked-source", test_blocked_source },
    { "/stop/plugin/blocked-at-the-end", test_blocked_at_the_end },
    { "/stop/plugin/no-close", test_no_close },
    { "/stop/plugin/cut-short", test_cut_short },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
