/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A start that finds two parts of the spool, and two entries of which either could be either:
 * they begin anew, and a person says by a name which is which. */

#include "durable-test.h"

#define PLACE "hook 'd*'"
#define BOTH "hook: [{'d*': {name: durable}}, {'d*': {name: other}}]\n"
#define MINE "hook: [{'d*': {name: durable, delivery: {batch: 2}}}, {'d*': {name: other, delivery: {batch: 2}}}, " \
             "{'x*': {name: other, delivery: {name: mine}}}]\n"
/* The entry of `durable` is changed once more. */
#define EDITED "hook: [{'d*': {name: durable, delivery: {batch: 3}}}, {'d*': {name: other, delivery: {batch: 2}}}, " \
               "{'x*': {name: other, delivery: {name: mine}}}]\n"
#define NAMED "hook: [{'d*': {name: durable, delivery: {batch: 2, name: left}}}, " \
              "{'d*': {name: other, delivery: {batch: 2, name: right}}}, {'x*': {name: other, delivery: {name: mine}}}]\n"

typedef struct {
  Fixture base;
  EvbusTestHook *other;
} Doubt;

static void
begin (Doubt      *self,
       const char *yaml)
{
  self->base.broker = durable_new_broker (&self->base);
  evbus_test_apply (self->base.broker, yaml);
  evbus_test_start (self->base.broker);
}

/* Whatever is queued is a route's or an orphan's. */
static void
assert_balance (Doubt *self)
{
  GListModel *routes = evbus_broker_get_routes (self->base.broker);
  g_autoptr(GPtrArray) orphans = evbus_broker_list_orphans (self->base.broker);
  guint64 queued = 0;
  EvbusLedger ledger;

  for (guint i = 0; i < g_list_model_get_n_items (routes); i++)
    {
      g_autoptr(EvbusRoute) route = g_list_model_get_item (routes, i);

      evbus_route_get_ledger (route, &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
      queued += ledger.queued;
    }
  for (guint i = 0; i < orphans->len; i++)
    {
      evbus_orphan_get_ledger (orphans->pdata[i], &ledger);
      g_assert_true (evbus_ledger_balances (&ledger));
      queued += ledger.queued;
    }
  evbus_broker_get_ledger (self->base.broker, &ledger);
  g_assert_true (evbus_ledger_balances (&ledger));
  g_assert_cmpuint (ledger.queued, ==, queued);
}

static void
end (Doubt *self)
{
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  assert_balance (self);
  evbus_broker_set_stop_timeout (self->base.broker, 0);
  evbus_broker_stop_async (self->base.broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_test_stop_finish (self->base.broker, result, &error);
  g_assert_no_error (error);
  g_clear_object (&self->base.broker);
}

/* `durable` has 0 to 79 still to deliver, `other` 50 to 79; then the entries of both are changed while
 * nothing runs. */
static void
set_up (Doubt         *self,
        gconstpointer  data)
{
  durable_set_up_folder (&self->base);
  self->other = evbus_test_hook_new ("other");
  begin (self, BOTH);
  evbus_test_hook_hold (self->base.hook);
  durable_put (&self->base, 50);
  evbus_test_wait_ledger (self->base.broker, "accepted=100 delivered=50 queued=50");
  evbus_test_hook_hold (self->other);
  durable_put (&self->base, 30);
  evbus_test_wait_ledger (self->base.broker, "accepted=160 delivered=50 queued=110");
  end (self);
  evbus_test_hook_release (self->base.hook);
  evbus_test_hook_release (self->other);
  evbus_test_clear_logs ();
  begin (self, MINE);
}

static void
tear_down (Doubt         *self,
           gconstpointer  data)
{
  evbus_test_hook_release (self->other);
  evbus_test_hook_release (self->base.hook);
  end (self);
  durable_tear_down (&self->base, data);
  evbus_test_hook_free (self->other);
}

static void
assert_note (Doubt      *self,
             const char *expected)
{
  g_autofree char *note = NULL;

  g_assert_cmpint (evbus_broker_get_spool_condition (self->base.broker), ==, EVBUS_SPOOL_CONDITION_INTACT);
  note = evbus_broker_dup_spool_note (self->base.broker);
  if (expected == NULL)
    g_assert_null (note);
  else
    evbus_test_assert_says (note, expected);
}

static EvbusRoute *
route_at (Doubt *self,
          guint  index)
{
  return g_list_model_get_item (evbus_broker_get_routes (self->base.broker), index);
}

static guint
count_orphans (Doubt *self)
{
  g_autoptr(GPtrArray) orphans = evbus_broker_list_orphans (self->base.broker);

  return orphans->len;
}

/* The key of the orphan that has so much. */
static char *
find_orphan (Doubt   *self,
             guint64  n_queued)
{
  g_autoptr(GPtrArray) orphans = evbus_broker_list_orphans (self->base.broker);

  for (guint i = 0; i < orphans->len; i++)
    {
      EvbusLedger ledger;

      evbus_orphan_get_ledger (orphans->pdata[i], &ledger);
      if (ledger.queued == n_queued)
        return g_strdup (evbus_orphan_get_key (orphans->pdata[i]));
    }
  g_assert_not_reached ();
}

static void
try_name (Doubt       *self,
          const char  *orphan,
          const char  *name,
          GError     **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  gboolean done;

  evbus_broker_name_orphan_async (self->base.broker, orphan, name, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  done = evbus_broker_name_orphan_finish (self->base.broker, result, error);
  g_assert_true (done == (*error == NULL));
}

static void
name (Doubt      *self,
      const char *orphan,
      const char *name)
{
  g_autoptr(GError) error = NULL;

  try_name (self, orphan, name, &error);
  g_assert_no_error (error);
}

static void
name_both (Doubt *self)
{
  g_autofree char *left = find_orphan (self, 80);
  g_autofree char *right = find_orphan (self, 30);

  name (self, left, "left");
  name (self, right, "right");
}

/* It has got those from @first on, @n of them, as the events from number @at on; and then no more. */
static void
assert_took (EvbusTestHook *hook,
             guint          at,
             guint          first,
             guint          n)
{
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (evbus_test_event_number (evbus_test_hook_peek (hook, at + i)), ==, first + i);
}

/* Ten events more, which go to the new routes alone. */
static void
put_meanwhile (Doubt *self)
{
  durable_put (&self->base, 10);
  evbus_test_wait_ledger (self->base.broker, "accepted=180 delivered=70 queued=110");
  g_assert_cmpuint (evbus_test_hook_length (self->base.hook), ==, 10);
  assert_took (self->base.hook, 0, 80, 10);
  g_assert_cmpuint (evbus_test_hook_length (self->other), ==, 60);
  assert_took (self->other, 50, 80, 10);
}

/* Each has its own backlog, in order, and then what is new. */
static void
assert_all_delivered (Doubt *self)
{
  durable_put (&self->base, 10);
  evbus_test_wait_ledger (self->base.broker, "accepted=200 delivered=200");
  g_assert_cmpuint (evbus_test_hook_length (self->base.hook), ==, 100);
  assert_took (self->base.hook, 10, 0, 80);
  assert_took (self->base.hook, 90, 90, 10);
  g_assert_cmpuint (evbus_test_hook_length (self->other), ==, 100);
  assert_took (self->other, 0, 0, 50);
  assert_took (self->other, 60, 50, 30);
  assert_took (self->other, 90, 90, 10);
  assert_balance (self);
  g_assert_cmpuint (count_orphans (self), ==, 0);
  assert_note (self, NULL);
}

static void
assert_reload_refused (Doubt      *self,
                       const char *yaml)
{
  g_autoptr(EvbusProfiles) profiles = evbus_profiles_new_for_data (yaml, -1, "refused", NULL);
  g_autoptr(GError) error = NULL;

  g_assert_nonnull (profiles);
  g_assert_false (evbus_broker_apply_profiles (self->base.broker, profiles, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_INVALID_CONFIG, "refused:.*could belong to more than one.*name-orphan");
}

static void
test_named (Doubt         *self,
            gconstpointer  data)
{
  g_autofree char *left = find_orphan (self, 80);
  g_autofree char *right = find_orphan (self, 30);
  g_autofree char *said = g_strdup_printf ("%s: it is in doubt*test*:1:*, *test*:1:*%s (*30 queued*name-orphan*", PLACE, right);
  g_autofree char *said_too = g_strdup_printf ("*%s (80 queued, 0 dead)*", left);

  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*it is in doubt*", NULL, NULL), ==, 1);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, said_too, NULL, NULL), ==, 1);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, said, NULL, NULL), ==, 1);
  assert_note (self, "in doubt.* 2 of its orphans.*name-orphan");
  put_meanwhile (self);
  assert_reload_refused (self, NAMED);

  name (self, left, "left");
  assert_note (self, "in doubt.* 1 of its orphans");
  name (self, right, "right");
  assert_note (self, NULL);
  evbus_test_assert_ledger (self->base.broker, "accepted=180 delivered=70 queued=110");
  evbus_test_apply (self->base.broker, NAMED);
  assert_all_delivered (self);
}

/* The names are kept, and a start goes by them as a reload does. */
static void
test_restart (Doubt         *self,
              gconstpointer  data)
{
  put_meanwhile (self);
  name_both (self);
  end (self);
  evbus_test_clear_logs ();
  begin (self, MINE);
  evbus_test_assert_ledger (self->base.broker, "accepted=180 delivered=70 queued=110");
  g_assert_cmpuint (count_orphans (self), ==, 2);
  end (self);

  begin (self, NAMED);
  assert_all_delivered (self);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*in doubt*", NULL, NULL), ==, 0);
}

/* It is known through restarts, until each has a name. */
static void
test_remembered (Doubt         *self,
                 gconstpointer  data)
{
  g_autofree char *left = find_orphan (self, 80);
  g_autofree char *right = find_orphan (self, 30);

  put_meanwhile (self);
  end (self);
  evbus_test_clear_logs ();
  begin (self, MINE);
  assert_note (self, "in doubt.* 2 of its orphans.*name-orphan");
  name (self, left, "left");
  assert_note (self, "in doubt.* 1 of its orphans");
  end (self);
  begin (self, MINE);
  assert_note (self, "in doubt.* 1 of its orphans");
  name (self, right, "right");
  end (self);
  begin (self, MINE);
  assert_note (self, NULL);
  g_assert_cmpuint (count_orphans (self), ==, 2);
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*in doubt*", NULL, NULL), ==, 0);
  evbus_test_apply (self->base.broker, NAMED);
  assert_all_delivered (self);
}

/* What an entry has since is its own, also if it is changed: by a start, and by a reload. */
static void
test_edited (Doubt         *self,
             gconstpointer  data)
{
  g_autoptr(EvbusRoute) before = route_at (self, 0);
  g_autoptr(EvbusRoute) after = NULL;

  evbus_route_pause (before);
  durable_put (&self->base, 10);
  evbus_test_wait_ledger (self->base.broker, "accepted=180 delivered=60 queued=120");
  end (self);
  evbus_test_clear_logs ();
  begin (self, EDITED);
  evbus_test_wait_ledger (self->base.broker, "accepted=180 delivered=70 queued=110");
  g_assert_cmpuint (evbus_test_count_logs (G_LOG_LEVEL_WARNING, "*in doubt*", NULL, NULL), ==, 0);
  assert_note (self, "in doubt.* 2 of its orphans");

  after = route_at (self, 0);
  evbus_route_pause (after);
  durable_put (&self->base, 5);
  evbus_test_wait_ledger (self->base.broker, "accepted=190 delivered=75 queued=115");
  evbus_test_apply (self->base.broker, MINE);
  g_clear_object (&after);
  after = route_at (self, 0);
  evbus_route_resume (after);   /* it is paused as the one was whose place it has */
  evbus_test_wait_ledger (self->base.broker, "accepted=190 delivered=80 queued=110");
  g_assert_cmpuint (evbus_test_hook_length (self->base.hook), ==, 15);
  assert_took (self->base.hook, 0, 80, 15);
  g_assert_cmpuint (count_orphans (self), ==, 2);
}

/* One start after the other leaves them where they are; the file from before resolves it, too. */
static void
test_old_file (Doubt         *self,
               gconstpointer  data)
{
  put_meanwhile (self);
  end (self);
  begin (self, MINE);
  evbus_test_assert_ledger (self->base.broker, "accepted=180 delivered=70 queued=110");
  g_assert_cmpuint (count_orphans (self), ==, 2);
  assert_note (self, "in doubt.* 2 of its orphans");
  evbus_test_apply (self->base.broker, BOTH);
  assert_all_delivered (self);
}

/* What an entry had in the meantime is not mixed with it: it is an orphan, which can be named in its turn. */
static void
test_meanwhile (Doubt         *self,
                gconstpointer  data)
{
  g_autoptr(EvbusRoute) before = route_at (self, 0);
  g_autoptr(EvbusRoute) after = NULL;
  g_autofree char *key = NULL;

  evbus_route_pause (before);
  durable_put (&self->base, 10);
  evbus_test_wait_ledger (self->base.broker, "accepted=180 delivered=60 queued=120");
  name_both (self);
  evbus_test_apply (self->base.broker, NAMED);
  after = route_at (self, 0);
  evbus_route_resume (after);   /* it is paused as the one was whose place it has */
  evbus_test_wait_ledger (self->base.broker, "accepted=180 delivered=170 queued=10");
  g_assert_cmpuint (count_orphans (self), ==, 1);
  key = find_orphan (self, 10);
  evbus_test_assert_says (key, "^at:hook d\\* ");

  name (self, PLACE, "late");
  evbus_test_apply (self->base.broker, "hook: [{'nobody': {name: durable, delivery: {name: late}}}]\n");
  evbus_test_wait_ledger (self->base.broker, "accepted=180 delivered=180");
  g_assert_cmpuint (evbus_test_hook_length (self->base.hook), ==, 90);
  assert_took (self->base.hook, 0, 0, 80);
  assert_took (self->base.hook, 80, 80, 10);
}

static void
test_refusals (Doubt         *self,
               gconstpointer  data)
{
  g_autofree char *left = find_orphan (self, 80);
  g_autofree char *right = find_orphan (self, 30);
  g_autofree char *long_name = g_strnfill (256, 'n');
  const struct {
    const char *orphan;
    const char *name;
    EvbusError code;
    const char *says;
  } cases[] = {
    { "nobody", "left", EVBUS_ERROR_NOT_FOUND, "no route \"nobody\"" },
    { PLACE, "left", EVBUS_ERROR_INVALID_ARGUMENT, "(?s)several.*give the key.*at:hook d\\* " },
    { "mine", "left", EVBUS_ERROR_INVALID_ARGUMENT, "\"mine\" is in use" },
    { left, "mine", EVBUS_ERROR_EXISTS, "\"mine\" is taken by a route that is in use.*another name" },
    { left, "hook 'd*'", EVBUS_ERROR_EXISTS, "is taken by" },
    { left, "taken", EVBUS_ERROR_EXISTS, "\"taken\" is taken by another orphan" },
    { left, "", EVBUS_ERROR_INVALID_ARGUMENT, "empty" },
    { left, "\xff", EVBUS_ERROR_INVALID_ARGUMENT, "UTF-8" },
    { left, long_name, EVBUS_ERROR_INVALID_ARGUMENT, "256 bytes.*255" },
  };

  name (self, right, "taken");
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;

      try_name (self, cases[i].orphan, cases[i].name, &error);
      evbus_test_assert_error (error, cases[i].code, cases[i].says);
    }
  g_free (g_steal_pointer (&right));
  right = find_orphan (self, 30);
  g_assert_cmpstr (right, ==, "name:taken");
  name (self, "taken", "taken");   /* the one it has */
  name (self, "taken", "right");
  name (self, left, "left");
  evbus_test_apply (self->base.broker, NAMED);
  evbus_test_wait_ledger (self->base.broker, "accepted=160 delivered=160");
}

static void
test_ends (Doubt         *self,
           gconstpointer  data)
{
  g_autoptr(EvbusBroker) none = evbus_test_broker_new ();
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GAsyncResult) cancelled = NULL;
  g_autoptr(GAsyncResult) without = NULL;
  g_autoptr(GError) error = NULL;
  g_autofree char *left = find_orphan (self, 80);
  g_autofree char *same = NULL;

  g_cancellable_cancel (cancellable);
  evbus_broker_name_orphan_async (self->base.broker, left, "left", cancellable, evbus_test_store_result, &cancelled);
  evbus_test_wait_until (cancelled != NULL);
  g_assert_false (evbus_broker_name_orphan_finish (self->base.broker, cancelled, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  same = find_orphan (self, 80);
  g_assert_cmpstr (same, ==, left);

  evbus_test_start (none);
  evbus_broker_name_orphan_async (none, left, "left", NULL, evbus_test_store_result, &without);
  evbus_test_wait_until (without != NULL);
  g_assert_false (evbus_broker_name_orphan_finish (none, without, &error));
  evbus_test_assert_error (error, EVBUS_ERROR_NOT_FOUND, "need a spool");
  evbus_test_stop (none);
}

int
main (int    argc,
      char **argv)
{
  evbus_test_init (&argc, &argv);

#define ADD(name, test) g_test_add ("/durable/doubt/" name, Doubt, NULL, set_up, test, tear_down)
  ADD ("named", test_named);
  ADD ("restart", test_restart);
  ADD ("remembered", test_remembered);
  ADD ("edited", test_edited);
  ADD ("old-file", test_old_file);
  ADD ("meanwhile", test_meanwhile);
  ADD ("refusals", test_refusals);
  ADD ("ends", test_ends);

  return g_test_run ();
}
