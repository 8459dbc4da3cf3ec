/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the budget takes from a route that nobody has, while a reload brings that route back. */

#include "spool-test.h"

#include "evbus-admission-private.h"
#include "evbus-budget-private.h"
#include "evbus-listener-private.h"
#include "evbus-route-private.h"
#include "evbus-spool-store-private.h"

#define N_LETTERS 10

typedef struct {
  EvbusBudget budget;
  EvbusQueue *queue;
  EvbusRoute *route;
  EvbusSpoolRoute *spool_route;
  guint n_told;
  gboolean bound;
} Reload;

/* An orphan with nothing but dead letters, all of which are written. */
static EvbusSpoolRoute *
make_orphan (EvbusSpool *spool)
{
  EvbusSpoolRoute *route = evbus_spool_adopt_route (spool, "a");
  EvbusLedger change = { .dead = 1 };

  for (guint i = 0; i < N_LETTERS; i++)
    {
      g_autoptr(EvbusEvent) event = spool_test_event ("1", 1000);
      EvbusSpoolDeath death = { event, "refused" };

      evbus_spool_begin (spool);
      evbus_spool_append (spool, event, &route, 1, FALSE);
      g_assert_true (evbus_spool_commit (spool, NULL));
      evbus_spool_settle (spool, route, event->seq, NULL, 0, &change, event->weight, &death, 1);
    }
  evbus_spool_orphan_route (spool, route);
  while (evbus_spool_maintain (spool) || evbus_spool_is_dirty (spool))
    ;
  return route;
}

static void
bind (Reload *self)
{
  evbus_queue_lock (self->queue);
  evbus_queue_bind_locked (self->queue, self->route, self->spool_route);
  evbus_queue_unlock (self->queue);
  self->bound = TRUE;
}

/* Does not wait, where a reload would. */
static gpointer
try_to_bind (gpointer data)
{
  Reload *self = data;

  if (!g_mutex_trylock (&self->budget.claiming))
    return NULL;
  bind (self);
  g_mutex_unlock (&self->budget.claiming);
  return NULL;
}

/* The letters are gone from the disk and the ledger there, and the queue is not told yet. */
static void
on_written (gpointer data)
{
  Reload *self = data;

  if (self->n_told++ > 0)
    g_thread_join (g_thread_new ("reload", try_to_bind, self));
}

static void
test_dead_while_claimed (Fixture       *fixture,
                         gconstpointer  data)
{
  static const EvbusNotifierFuncs funcs = { NULL, NULL };
  g_autoptr(GObject) object = g_object_new (G_TYPE_OBJECT, NULL);
  EvbusNotifier *notifier = evbus_notifier_new (object, &funcs);
  EvbusListener *listener = evbus_listener_new ();
  g_autoptr(EvbusRouteSpec) spec = evbus_route_spec_new ("internal", "*", "glob", NULL, NULL);
  g_autoptr(GError) failure = g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_SPOOL_FAILED, "it did not work once");
  Reload reload = { .queue = evbus_listener_get_queue (listener), .spool_route = make_orphan (fixture->spool) };
  EvbusLedger ledger;

  g_assert_nonnull (spec);
  reload.route = evbus_route_new (spec, reload.queue, notifier);
  evbus_budget_init (&reload.budget, fixture->spool, reload.queue);
  reload.budget.max_bytes = evbus_spool_get_weight (fixture->spool) / 2;
  /* The next commit says that it can be written to again, when all of it is done. */
  evbus_spool_watch (fixture->spool, on_written, &reload, NULL);
  evbus_spool_set_failed (fixture->spool, EVBUS_SPOOL_WRITE, failure);
  g_assert_cmpuint (reload.n_told, ==, 1);

  evbus_budget_keep (&reload.budget);
  g_assert_cmpuint (reload.n_told, ==, 2);
  if (!reload.bound)
    bind (&reload);
  evbus_spool_route_get_ledger (reload.spool_route, &ledger, NULL);
  g_assert_cmpuint (ledger.expired, >, 0);
  g_assert_cmpuint (ledger.dead + ledger.expired, ==, N_LETTERS);
  g_assert_cmpuint (reload.route->ledger.dead, ==, ledger.dead);
  g_assert_cmpuint (reload.route->ledger.expired, ==, ledger.expired);

  evbus_spool_watch (fixture->spool, NULL, NULL, NULL);
  evbus_budget_clear (&reload.budget);
  g_object_unref (reload.route);
  evbus_notifier_close (notifier);
  evbus_notifier_unref (notifier);
  evbus_listener_unref (listener);
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_log_set_writer_func (spool_test_be_silent, NULL, NULL);
  g_test_add ("/budget/dead-while-claimed", Fixture, NULL, spool_test_set_up, test_dead_while_claimed,
              spool_test_tear_down);
  return g_test_run ();
}
