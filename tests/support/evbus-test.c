/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-test.h"

#include <string.h>

void
evbus_test_wait_step (gint64      deadline,
                      const char *condition,
                      const char *file,
                      int         line)
{
  GMainContext *context = g_main_context_get_thread_default ();
  g_autoptr(GSource) tick = NULL;

  if (g_get_monotonic_time () > deadline)
    g_error ("%s:%d: in vain waited for: %s", file, line, condition);

  if (g_main_context_iteration (context, FALSE))
    return;

  /* Conditions of other threads wake nothing here. */
  tick = g_timeout_source_new (1);
  g_source_set_dummy_callback (tick);
  g_source_attach (tick, context);
  g_main_context_iteration (context, TRUE);
  g_source_destroy (tick);
}

void
evbus_test_grow_older (gint64 microseconds)
{
  gint64 end = g_get_monotonic_time () + microseconds;

  evbus_test_wait_until (g_get_monotonic_time () > end);   /* poll */
}

void
evbus_test_iterate (void)
{
  while (g_main_context_iteration (g_main_context_get_thread_default (), FALSE))
    ;
}

EvbusBroker *
evbus_test_broker_new (void)
{
  EvbusBroker *broker = evbus_broker_new ();

  g_assert_true (EVBUS_IS_BROKER (broker));
  return broker;
}

EvbusRoute *
evbus_test_add_route (EvbusBroker *broker,
                      const char  *provider,
                      const char  *profile,
                      const char  *data)
{
  g_autoptr(GError) error = NULL;
  GVariant *variant = NULL;
  EvbusRoute *route;

  if (data != NULL)
    {
      variant = g_variant_parse (G_VARIANT_TYPE_VARDICT, data, NULL, NULL, &error);
      g_assert_no_error (error);
    }
  route = evbus_broker_add_route (broker, provider, profile, variant, &error);
  g_clear_pointer (&variant, g_variant_unref);
  g_assert_no_error (error);
  g_assert_true (EVBUS_IS_ROUTE (route));
  return route;
}

EvbusRoute *
evbus_test_add_hook (EvbusBroker   *broker,
                     EvbusTestHook *hook,
                     const char    *profile,
                     const char    *delivery)
{
  g_autofree char *data = NULL;

  if (delivery != NULL)
    data = g_strdup_printf ("{'name': <'%s'>, 'delivery': <%s>}", hook->name, delivery);
  else
    data = g_strdup_printf ("{'name': <'%s'>}", hook->name);
  return evbus_test_add_route (broker, "hook", profile, data);
}

void
evbus_test_apply (EvbusBroker *broker,
                  const char  *yaml)
{
  g_autoptr(EvbusProfiles) profiles = NULL;
  g_autoptr(GError) error = NULL;
  gboolean applied;

  profiles = evbus_profiles_new_for_data (yaml, -1, "test.yaml", &error);
  g_assert_no_error (error);
  applied = evbus_broker_apply_profiles (broker, profiles, &error);
  g_assert_no_error (error);
  g_assert_true (applied);
}

void
evbus_test_start (EvbusBroker *broker)
{
  g_autoptr(GError) error = NULL;
  gboolean started = evbus_broker_start (broker, &error);

  g_assert_no_error (error);
  g_assert_true (started);
}

void
evbus_test_store_result (GObject      *source,
                         GAsyncResult *result,
                         gpointer      user_data)
{
  GAsyncResult **stored = user_data;

  g_assert_null (*stored);
  *stored = g_object_ref (result);
}

#define FIRST_ANSWER "evbus-test-first-answer"

/* Every stop of a broker gets the same answer. */
gboolean
evbus_test_stop_finish (EvbusBroker   *broker,
                        GAsyncResult  *result,
                        GError       **error)
{
  g_autoptr(GError) stop_error = NULL;
  gboolean stopped = evbus_broker_stop_finish (broker, result, &stop_error);
  const char *first = g_object_get_data (G_OBJECT (broker), FIRST_ANSWER);
  const char *answer = stopped ? "TRUE" : stop_error->message;

  if (!stopped)
    g_assert_error (stop_error, EVBUS_ERROR, EVBUS_ERROR_TIMED_OUT);
  if (first != NULL)
    g_assert_cmpstr (answer, ==, first);
  else
    g_object_set_data_full (G_OBJECT (broker), FIRST_ANSWER, g_strdup (answer), g_free);

  if (!stopped)
    g_propagate_error (error, g_steal_pointer (&stop_error));
  return stopped;
}

void
evbus_test_stop (EvbusBroker *broker)
{
  gboolean again = g_object_get_data (G_OBJECT (broker), FIRST_ANSWER) != NULL;
  g_autoptr(GAsyncResult) result = NULL;
  g_autoptr(GError) error = NULL;

  evbus_broker_stop_async (broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  if (!evbus_test_stop_finish (broker, result, &error) && !again)
    g_assert_no_error (error);
  evbus_test_assert_balance (broker);
}

void
evbus_test_stop_leaving (EvbusBroker *broker)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_broker_set_stop_timeout (broker, 100);
  evbus_broker_stop_async (broker, NULL, evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  evbus_test_stop_finish (broker, result, NULL);
  evbus_test_assert_balance (broker);
}

void
evbus_test_stop_anyhow (EvbusBroker *broker)
{
  g_autoptr(GAsyncResult) result = NULL;
  gint64 start = g_get_monotonic_time ();

  evbus_broker_stop_async (broker, NULL, evbus_test_store_result, &result);
  g_assert_null (result);
  evbus_test_wait_until (result != NULL);
  g_assert_cmpint (g_get_monotonic_time () - start, <, 4 * G_USEC_PER_SEC);
  evbus_test_stop_finish (broker, result, NULL);
  evbus_test_assert_balance (broker);
}

char *
evbus_test_put (EvbusBroker *broker,
                const char  *routing_key,
                const char  *text,
                const char  *profile)
{
  g_autoptr(GBytes) body = g_bytes_new (text, strlen (text));
  g_autoptr(GError) error = NULL;
  char *id;

  id = evbus_producer_put_bytes_nowait (EVBUS_PRODUCER (broker), routing_key, body,
                                        "text/plain", profile, &error);
  g_assert_no_error (error);
  g_assert_nonnull (id);
  return id;
}

void
evbus_test_put_numbers (EvbusBroker *broker,
                        const char  *profile,
                        guint        first,
                        guint        n)
{
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *text = g_strdup_printf ("%u", first + i);
      g_autofree char *id = evbus_test_put (broker, "number", text, profile);
    }
}

char *
evbus_test_put_options (EvbusBroker   *broker,
                        const char    *routing_key,
                        GVariant      *body,
                        const char    *profile,
                        const char    *options,
                        GCancellable  *cancellable,
                        GError       **error)
{
  g_autoptr(GAsyncResult) result = NULL;
  GVariant *variant = NULL;

  if (options != NULL)
    {
      g_autoptr(GError) mistake = NULL;

      variant = g_variant_parse (G_VARIANT_TYPE_VARDICT, options, NULL, NULL, &mistake);
      g_assert_no_error (mistake);
    }
  evbus_producer_put_with_options_async (EVBUS_PRODUCER (broker), routing_key, body, profile,
                                         variant, cancellable,
                                         evbus_test_store_result, &result);
  g_clear_pointer (&variant, g_variant_unref);
  evbus_test_wait_until (result != NULL);
  return evbus_producer_put_with_options_finish (EVBUS_PRODUCER (broker), result, error);
}

char **
evbus_test_put_many (EvbusBroker  *broker,
                     GVariant     *events,
                     GError      **error)
{
  g_autoptr(GAsyncResult) result = NULL;

  evbus_producer_put_many_async (EVBUS_PRODUCER (broker), events, NULL,
                                 evbus_test_store_result, &result);
  evbus_test_wait_until (result != NULL);
  return evbus_producer_put_many_finish (EVBUS_PRODUCER (broker), result, error);
}

guint
evbus_test_event_number (EvbusEvent *event)
{
  gsize size;
  const guint8 *data = evbus_event_get_data (event, &size);
  g_autofree char *text = g_strndup ((const char *) data, size);
  guint64 number;

  g_assert_true (g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT, &number, NULL));
  return (guint) number;
}

void
evbus_test_assert_says (const char *message,
                        const char *fragment)
{
  g_assert_nonnull (message);
  g_assert_true (g_utf8_validate (message, -1, NULL));
  if (!g_regex_match_simple (fragment, message, G_REGEX_CASELESS, 0))
    g_error ("the message “%s” does not say “%s”", message, fragment);
}

gboolean
evbus_test_status_is (EvbusRoute      *route,
                      EvbusRouteState  state,
                      const char      *fragment)
{
  g_autofree char *reason = NULL;

  if (evbus_route_get_status (route, &reason) != state)
    return FALSE;
  if (reason == NULL || fragment == NULL)
    return reason == fragment;
  return g_regex_match_simple (fragment, reason, G_REGEX_CASELESS, 0);
}
