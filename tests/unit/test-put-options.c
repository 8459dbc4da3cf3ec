/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "hook-test.h"

#include <string.h>

typedef struct {
  EvbusTestHook *hook;
  EvbusBroker *broker;
  EvbusRoute *route;
} Fixture;

static void
set_up (Fixture       *fixture,
        gconstpointer  data)
{
  fixture->hook = evbus_test_hook_new ("options");
  fixture->broker = evbus_test_broker_new ();
  fixture->route = evbus_test_add_hook (fixture->broker, fixture->hook, "*", data);
  evbus_test_start (fixture->broker);
}

static void
tear_down (Fixture       *fixture,
           gconstpointer  data)
{
  hook_end (fixture->hook, fixture->broker, fixture->route);
}

static char *
put (Fixture     *fixture,
     const char  *options,
     GError     **error)
{
  return evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (7), NULL, options,
                                 NULL, error);
}

static void
must_put (Fixture    *fixture,
          const char *options)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = put (fixture, options, &error);

  g_assert_no_error (error);
  g_assert_nonnull (id);
}

static void
test_none (Fixture       *fixture,
           gconstpointer  data)
{
  must_put (fixture, NULL);
  must_put (fixture, "{}");
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
}

/* The same id, the same answer, no second event: also from other functions'
 * point of view, and whatever the rest of the repeated put is. */
static void
test_id_repeated (Fixture       *fixture,
                  gconstpointer  data)
{
  for (guint i = 0; i < 5; i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = put (fixture, "{'id': <'order-1'>}", &error);

      g_assert_no_error (error);
      g_assert_cmpstr (id, ==, "order-1");
    }
  must_put (fixture, "{'id': <'order-2'>}");
  evbus_test_wait_ledger (fixture->route, "delivered=2");
  evbus_test_assert_ledger (fixture->route, "accepted=2 delivered=2");
}

static gpointer
repeat_ids (gpointer data)
{
  EvbusBroker *broker = data;
  g_autoptr(GMainContext) context = g_main_context_new ();

  g_main_context_push_thread_default (context);
  for (guint i = 0; i < 500; i++)
    {
      g_autofree char *options = g_strdup_printf ("{'id': <'race-%u'>}", i);
      g_autoptr(GError) error = NULL;
      g_autofree char *id = NULL;

      id = evbus_test_put_options (broker, "k", g_variant_new_uint32 (i), NULL, options, NULL,
                                   &error);
      g_assert_no_error (error);
    }
  g_main_context_pop_thread_default (context);
  return NULL;
}

static void
test_id_race (Fixture       *fixture,
              gconstpointer  data)
{
  GThread *threads[4];

  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("repeat", repeat_ids, fixture->broker);
  for (guint i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  evbus_test_wait_ledger (fixture->route, "delivered=500");
  evbus_test_assert_ledger (fixture->route, "accepted=500 delivered=500");
}

/* A put that was refused has used up no id. */
static void
test_id_after_failure (Fixture       *fixture,
                       gconstpointer  data)
{
  g_autoptr(GCancellable) cancellable = g_cancellable_new ();
  g_autoptr(GError) error = NULL;

  g_cancellable_cancel (cancellable);
  g_assert_null (evbus_test_put_options (fixture->broker, "k", g_variant_new_int32 (1), NULL,
                                         "{'id': <'a'>}", cancellable, &error));
  g_assert_error (error, G_IO_ERROR, G_IO_ERROR_CANCELLED);
  g_clear_error (&error);
  g_assert_null (evbus_test_put_options (fixture->broker, "", g_variant_new_int32 (1), NULL,
                                         "{'id': <'b'>}", NULL, &error));
  g_assert_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT);

  must_put (fixture, "{'id': <'a'>}");
  must_put (fixture, "{'id': <'b'>}");
  evbus_test_wait_ledger (fixture->route, "accepted=2 delivered=2");
}

static void
test_content_type (Fixture       *fixture,
                   gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  g_autofree char *id = NULL;
  EvbusEvent *event;
  gsize size;

  id = evbus_test_put_options (fixture->broker, "k", g_variant_new_fixed_array (
                                 G_VARIANT_TYPE_BYTE, "\x00\xff!", 3, 1), NULL,
                               "{'content-type': <'application/x-odd'>}", NULL, &error);
  g_assert_no_error (error);
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == 1);
  event = evbus_test_hook_peek (fixture->hook, 0);
  g_assert_cmpstr (evbus_event_get_content_type (event), ==, "application/x-odd");
  g_assert_cmpmem (evbus_event_get_data (event, &size), 3, "\x00\xff!", 3);
  g_assert_cmpuint (size, ==, 3);
}

static void
test_attributes (Fixture       *fixture,
                 gconstpointer  data)
{
  g_autoptr(GVariant) expected = g_variant_ref_sink (g_variant_new_parsed ("{'trace': '00-ab'}"));

  must_put (fixture, "{'attributes': <{'trace': '00-ab'}>, 'id': <'with'>}");
  evbus_test_wait_until (evbus_test_hook_length (fixture->hook) == 1);
  g_assert_cmpvariant (evbus_event_get_attributes (evbus_test_hook_peek (fixture->hook, 0)),
                       expected);
}

/* The age of the event, where the route's own is its seven days. */
static void
test_max_age (Fixture       *fixture,
              gconstpointer  data)
{
  evbus_test_hook_hold (fixture->hook);
  must_put (fixture, NULL);
  evbus_test_wait_until (evbus_test_hook_read (fixture->hook, &fixture->hook->n_waiting) == 1);
  must_put (fixture, "{'max-age': <uint64 20>, 'id': <'old'>}");
  must_put (fixture, "{'max-age': <uint64 600000>, 'id': <'young'>}");
  evbus_test_grow_older (40 * 1000);

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "queued=0");
  evbus_test_assert_ledger (fixture->route, "accepted=3 expired=1 delivered=2");
  g_assert_cmpstr (evbus_event_get_id (evbus_test_hook_peek (fixture->hook, 1)), ==, "young");
}

/* It counts from the put, also before the start. */
static void
test_max_age_early (Fixture       *fixture,
                    gconstpointer  data)
{
  static const char * const options[] = { "{'max-age': <uint64 20>}", NULL };
  g_autoptr(EvbusBroker) broker = evbus_test_broker_new ();
  g_autoptr(EvbusRoute) route = evbus_test_add_hook (broker, fixture->hook, "*", NULL);

  for (guint i = 0; i < G_N_ELEMENTS (options); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = evbus_test_put_options (broker, "k", g_variant_new_int32 (1), NULL, options[i],
                                                    NULL, &error);

      g_assert_no_error (error);
    }
  evbus_test_grow_older (40 * 1000);
  evbus_test_start (broker);
  evbus_test_wait_ledger (route, "queued=0");
  evbus_test_assert_ledger (route, "accepted=2 expired=1 delivered=1");
  evbus_test_stop (broker);
  g_ptr_array_unref (evbus_test_hook_steal (fixture->hook));   /* not of the fixture's broker */
}

static void
test_wait (Fixture       *fixture,
           gconstpointer  data)
{
  must_put (fixture, "{'wait': <'accepted'>}");
  evbus_test_wait_ledger (fixture->route, "accepted=1 delivered=1");
}

/* A put that waited in vain is over: its event is never delivered. */
static void
test_timeout (Fixture       *fixture,
              gconstpointer  data)
{
  g_autoptr(GError) error = NULL;
  gint64 start;

  evbus_test_hook_hold (fixture->hook);
  must_put (fixture, NULL);
  must_put (fixture, NULL);
  start = g_get_monotonic_time ();
  g_assert_null (put (fixture, "{'timeout': <uint32 50>, 'id': <'late'>}", &error));
  evbus_test_assert_error (error, EVBUS_ERROR_QUEUE_FULL, "50 ?ms");
  g_assert_cmpint (g_get_monotonic_time () - start, >=, 50 * 1000);
  evbus_test_assert_ledger (fixture->route, "accepted=2 queued=2");

  evbus_test_hook_release (fixture->hook);
  evbus_test_wait_ledger (fixture->route, "delivered=2");
  must_put (fixture, "{'timeout': <uint32 50>, 'id': <'late'>}");
  evbus_test_wait_ledger (fixture->route, "accepted=3 delivered=3");
}

/* Each refused put names the option, and takes nothing. */
static void
test_bad (Fixture       *fixture,
          gconstpointer  data)
{
  g_autofree char *too_long = g_strnfill (129, 'x');
  g_autofree char *long_id = g_strdup_printf ("{'id': <'%s'>}", too_long);
  g_autofree char *long_type = g_strdup_printf ("{'content-type': <'a/%s%s'>}", too_long, too_long);
  const struct { const char *options, *says; EvbusError code; } cases[] = {
    { "{'idd': <'x'>}", "idd", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'ID': <'x'>}", "ID", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'': <'x'>}", "option", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <7>}", "\\bid\\b", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <''>}", "\\bid\\b", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <'a\\nb'>}", "\\bid\\b", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <'a b'>}", "\\bid\\b", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <'ü'>}", "\\bid\\b", EVBUS_ERROR_INVALID_ARGUMENT },
    { long_id, "\\bid\\b.*128|128.*\\bid\\b", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'content-type': <1>}", "content-type", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'content-type': <''>}", "content-type|content type", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'content-type': <'text/plain'>}", "content-type|\\bay\\b", EVBUS_ERROR_INVALID_BODY },
    { long_type, "content-type|content type", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'attributes': <'x'>}", "attributes", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'attributes': <{'a': <'b'>}>}", "attributes", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'attributes': <{'b': '1', 'a': '1', 'a': '2'}>}", "attribute 'a' is given twice", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'attributes': <{'': '1'}>}", "attribute '' has no name", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'attributes': <{'a b\\n': '1'}>}", "attribute 'a b.n' has a control character", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <'a'>, 'max-age': <uint64 1>, 'id': <'b'>}", "'id' is given twice", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'max-age': <'5m'>}", "max-age", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'max-age': <int32 5>}", "max-age", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'wait': <'deliverd'>}", "wait.*accepted.*delivered", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'wait': <true>}", "wait", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'timeout': <uint64 5>}", "timeout", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'timeout': <-1>}", "timeout", EVBUS_ERROR_INVALID_ARGUMENT },
    { "{'id': <'fine'>, 'time-out': <uint32 1>}", "time-out", EVBUS_ERROR_INVALID_ARGUMENT },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autoptr(GError) error = NULL;
      g_autofree char *id = put (fixture, cases[i].options, &error);

      g_test_message ("%s: %s", cases[i].options, error != NULL ? error->message : id);
      g_assert_null (id);
      evbus_test_assert_error (error, cases[i].code, cases[i].says);
    }
  evbus_test_assert_ledger (fixture->route, "accepted=0");
}

static char *
attributes_text (guint n,
                 guint size)
{
  g_autoptr(GString) text = g_string_new ("{'attributes': <@a{ss} {");
  g_autofree char *value = g_strnfill (size, 'v');

  for (guint i = 0; i < n; i++)
    g_string_append_printf (text, "%s'a%u': '%s'", i > 0 ? ", " : "", i, value);
  g_string_append (text, "}>}");
  return g_string_free (g_steal_pointer (&text), FALSE);
}

static void
test_attribute_limits (Fixture       *fixture,
                       gconstpointer  data)
{
  static const struct { guint n, size; gboolean fits; } cases[] = {
    { 0, 0, TRUE }, { 64, 10, TRUE }, { 65, 10, FALSE },
    { 1, 16000, TRUE }, { 1, 16384, FALSE }, { 60, 300, FALSE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      g_autofree char *options = attributes_text (cases[i].n, cases[i].size);
      g_autoptr(GError) error = NULL;
      g_autofree char *id = put (fixture, options, &error);

      if (cases[i].fits)
        g_assert_no_error (error);
      else
        {
          g_assert_nonnull (error);
          g_assert_true (error->domain == EVBUS_ERROR);
          evbus_test_assert_says (error->message, "attributes");
        }
      g_assert_true ((id != NULL) == cases[i].fits);
    }
  evbus_test_wait_ledger (fixture->route, "accepted=3 delivered=3");
}

int
main (int    argc,
      char **argv)
{
  static const struct {
    const char *path, *delivery;
    void (* run) (Fixture *, gconstpointer);
  } tests[] = {
    { "/put-options/none", NULL, test_none },
    { "/put-options/id/repeated", NULL, test_id_repeated },
    { "/put-options/id/repeated-by-threads", NULL, test_id_race },
    { "/put-options/id/after-failure", NULL, test_id_after_failure },
    { "/put-options/content-type", NULL, test_content_type },
    { "/put-options/attributes/given", NULL, test_attributes },
    { "/put-options/attributes/limits", NULL, test_attribute_limits },
    { "/put-options/max-age/held", NULL, test_max_age },
    { "/put-options/max-age/before-start", NULL, test_max_age_early },
    { "/put-options/wait", NULL, test_wait },
    { "/put-options/timeout", "{'overflow': <'block'>, 'window': <{'events': <2>}>}",
      test_timeout },
    { "/put-options/bad", NULL, test_bad },
  };

  evbus_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, Fixture, tests[i].delivery, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
