/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* org.evbus1.Manager: dead letters and orphaned routes. Each call is answered once
 * the broker has done its part; meanwhile it keeps its invocation. */

#include "evbusd-dead.h"

/* A reason may quote what a server said; D-Bus wants UTF-8. */
static void
return_error (GDBusMethodInvocation *invocation,
              GError                *error)
{
  g_autofree char *text = g_utf8_make_valid (error->message, -1);

  g_dbus_method_invocation_return_error_literal (invocation, error->domain, error->code, text);
  g_error_free (error);
}

static const char *
name_or_null (const char *name)
{
  return *name != '\0' ? name : NULL;
}

static GVariant *
attributes_of (EvbusEvent *event)
{
  GVariant *attributes = evbus_event_get_attributes (event);

  return attributes != NULL ? attributes : g_variant_new ("a{ss}", NULL);
}

static void
add_letter (GVariantBuilder *builder,
            EvbusDeadLetter *letter,
            gboolean         with_body)
{
  EvbusEvent *event = evbus_dead_letter_get_event (letter);
  g_autoptr (GBytes) body = evbus_event_get_body (event);

  g_variant_builder_open (builder, G_VARIANT_TYPE (with_body ? "(xsxssxsssa{ss}ay)" : "(xsxssxssst)"));
  g_variant_builder_add (builder, "x", evbus_dead_letter_get_number (letter));
  g_variant_builder_add (builder, "s", evbus_dead_letter_get_route (letter));
  g_variant_builder_add (builder, "x", evbus_dead_letter_get_time (letter));
  g_variant_builder_add (builder, "s", evbus_dead_letter_get_reason (letter));
  g_variant_builder_add (builder, "s", evbus_event_get_id (event));
  g_variant_builder_add (builder, "x", evbus_event_get_time (event));
  g_variant_builder_add (builder, "s", evbus_event_get_routing_key (event));
  g_variant_builder_add (builder, "s", evbus_event_get_profile (event));
  g_variant_builder_add (builder, "s", evbus_event_get_content_type (event));
  if (with_body)
    {
      g_variant_builder_add_value (builder, attributes_of (event));
      g_variant_builder_add_value (builder, g_variant_new_from_bytes (G_VARIANT_TYPE_BYTESTRING, body, TRUE));
    }
  else
    {
      g_variant_builder_add (builder, "t", (guint64) g_bytes_get_size (body));
    }
  g_variant_builder_close (builder);
}

static void
answer_list (GObject      *broker,
             GAsyncResult *result,
             gpointer      data)
{
  GDBusMethodInvocation *invocation = data;
  gboolean with_body = g_str_equal (g_dbus_method_invocation_get_method_name (invocation), "ReadDead");
  g_autoptr (GPtrArray) letters = NULL;
  GVariantBuilder builder;
  GError *error = NULL;

  letters = evbus_broker_list_dead_finish (EVBUS_BROKER (broker), result, &error);
  if (letters == NULL)
    {
      return_error (invocation, error);
      return;
    }

  g_variant_builder_init (&builder, G_VARIANT_TYPE (with_body ? "a(xsxssxsssa{ss}ay)" : "a(xsxssxssst)"));
  for (guint i = 0; i < letters->len; i++)
    add_letter (&builder, letters->pdata[i], with_body);
  g_dbus_method_invocation_return_value (invocation, g_variant_new ("(@*)", g_variant_builder_end (&builder)));
}

static gboolean
on_list (gpointer               skeleton,
         GDBusMethodInvocation *invocation,
         const char            *route,
         gint64                 after,
         guint                  max,
         EvbusBroker           *broker)
{
  evbus_broker_list_dead_async (broker, name_or_null (route), after, max, NULL, answer_list, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
answer_count (GDBusMethodInvocation *invocation,
              guint64                count,
              GError                *error)
{
  if (error != NULL)
    return_error (invocation, error);
  else
    g_dbus_method_invocation_return_value (invocation, g_variant_new ("(t)", count));
}

static void
answer_replay (GObject      *broker,
               GAsyncResult *result,
               gpointer      data)
{
  GError *error = NULL;
  guint64 count;

  evbus_broker_replay_dead_finish (EVBUS_BROKER (broker), result, &count, &error);
  answer_count (data, count, error);
}

static gboolean
on_replay (gpointer               skeleton,
           GDBusMethodInvocation *invocation,
           const char            *route,
           GVariant              *numbers,
           const char            *profile,
           EvbusBroker           *broker)
{
  gsize n;
  const gint64 *values = g_variant_get_fixed_array (numbers, &n, sizeof (gint64));

  evbus_broker_replay_dead_async (broker, name_or_null (route), values, n, name_or_null (profile),
                                  NULL, NULL, NULL, NULL, answer_replay, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
answer_drop (GObject      *broker,
             GAsyncResult *result,
             gpointer      data)
{
  GError *error = NULL;
  guint64 count;

  evbus_broker_drop_dead_finish (EVBUS_BROKER (broker), result, &count, &error);
  answer_count (data, count, error);
}

static gboolean
on_drop (gpointer               skeleton,
         GDBusMethodInvocation *invocation,
         const char            *route,
         GVariant              *numbers,
         EvbusBroker           *broker)
{
  gsize n;
  const gint64 *values = g_variant_get_fixed_array (numbers, &n, sizeof (gint64));

  evbus_broker_drop_dead_async (broker, name_or_null (route), values, n,
                                NULL, NULL, NULL, NULL, answer_drop, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
answer_forget (GObject      *broker,
               GAsyncResult *result,
               gpointer      data)
{
  GError *error = NULL;

  if (evbus_broker_forget_route_finish (EVBUS_BROKER (broker), result, &error))
    g_dbus_method_invocation_return_value (data, NULL);
  else
    return_error (data, error);
}

static gboolean
on_forget (gpointer               skeleton,
           GDBusMethodInvocation *invocation,
           const char            *route,
           EvbusBroker           *broker)
{
  evbus_broker_forget_route_async (broker, route, NULL, answer_forget, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

void
evbusd_dead_connect (gpointer     manager,
                     EvbusBroker *broker)
{
  const struct {
    const char *signal;
    GCallback   handler;
  } handlers[] = {
    { "handle-list-dead", G_CALLBACK (on_list) },
    { "handle-read-dead", G_CALLBACK (on_list) },
    { "handle-replay-dead", G_CALLBACK (on_replay) },
    { "handle-drop-dead", G_CALLBACK (on_drop) },
    { "handle-forget-route", G_CALLBACK (on_forget) },
  };

  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect (manager, handlers[i].signal, handlers[i].handler, broker);
}
