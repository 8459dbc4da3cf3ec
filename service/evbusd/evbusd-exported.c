/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The object on the bus. The methods that put are not here: the intake has
 * answered them before GDBus looks for an object. */

#include "evbusd-exported.h"

#include "evbusd-bus.h"
#include "evbusd-control.h"
#include "evbusd-dbus.h"
#include "evbusd-dead.h"
#include "evbusd-pace.h"
#include "evbusd-report.h"
#include "evbusd-routes.h"

struct _EvbusdExported
{
  EvbusdBroker  *broker_skeleton;
  EvbusdManager *manager_skeleton;
  EvbusBroker   *broker;
  EvbusdFanout  *fanout;
  EvbusdRoutes  *routes;
  EvbusdDead    *dead;
  EvbusdPace    *pace;      /* of the totals */
  EvbusdReload   reload;
  gpointer       reload_data;
};

/* A message may quote a file, and a file may hold anything; D-Bus wants UTF-8. */
static void
return_error (GDBusMethodInvocation *invocation,
              const GError          *error)
{
  g_autofree char *text = g_utf8_make_valid (error->message, -1);

  g_dbus_method_invocation_return_error_literal (invocation, error->domain, error->code, text);
}

static gboolean
on_subscribe (EvbusdBroker          *skeleton,
              GDBusMethodInvocation *invocation,
              GVariant              *options,
              EvbusdExported        *self)
{
  g_autoptr (GError) error = NULL;
  guint64 number;

  number = evbusd_fanout_subscribe (self->fanout, g_dbus_method_invocation_get_sender (invocation), options, &error);
  if (number == 0)
    return_error (invocation, error);
  else
    evbusd_broker_complete_subscribe (skeleton, invocation, number);

  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean
on_unsubscribe (EvbusdBroker          *skeleton,
                GDBusMethodInvocation *invocation,
                guint64                number,
                EvbusdExported        *self)
{
  g_autoptr (GError) error = NULL;

  if (evbusd_fanout_unsubscribe (self->fanout, g_dbus_method_invocation_get_sender (invocation), number, &error))
    evbusd_broker_complete_unsubscribe (skeleton, invocation);
  else
    return_error (invocation, error);

  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
add_route (GVariantBuilder *builder,
           EvbusRoute      *route)
{
  g_autofree char *reason = NULL;
  EvbusRouteState state = evbus_route_get_status (route, &reason);

  g_variant_builder_open (builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (builder, "{sv}", "name", g_variant_new_string (evbus_route_get_name (route)));
  g_variant_builder_add (builder, "{sv}", "provider", g_variant_new_string (evbus_route_get_provider (route)));
  g_variant_builder_add (builder, "{sv}", "profile", g_variant_new_string (evbus_route_get_profile (route)));
  g_variant_builder_add (builder, "{sv}", "state", g_variant_new_string (evbusd_report_state_name (state)));
  g_variant_builder_add (builder, "{sv}", "reason", g_variant_new_string (reason != NULL ? reason : ""));
  g_variant_builder_add (builder, "{sv}", "ledger", evbusd_routes_ledger (route));
  g_variant_builder_add (builder, "{sv}", "queued-bytes", g_variant_new_uint64 (evbus_route_get_queued_bytes (route)));
  g_variant_builder_close (builder);
}

/* How many are called so. */
static GHashTable *
count_names (GListModel *routes,
             GPtrArray  *orphans)
{
  g_autoptr (GHashTable) counts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  guint n_routes = g_list_model_get_n_items (routes);

  for (guint i = 0; i < n_routes + orphans->len; i++)
    {
      g_autoptr (EvbusRoute) route = g_list_model_get_item (routes, i);
      const char *name = route != NULL ? evbus_route_get_name (route)
                                       : evbus_orphan_get_name (orphans->pdata[i - n_routes]);
      guint n = GPOINTER_TO_UINT (g_hash_table_lookup (counts, name));

      g_hash_table_insert (counts, g_strdup (name), GUINT_TO_POINTER (n + 1));
    }
  return g_steal_pointer (&counts);
}

/* What it is called on a command line: by its key where its name is not enough. */
static char *
quote_orphan (GHashTable  *counts,
              EvbusOrphan *orphan)
{
  const char *name = evbus_orphan_get_name (orphan);

  if (GPOINTER_TO_UINT (g_hash_table_lookup (counts, name)) > 1)
    return g_shell_quote (evbus_orphan_get_key (orphan));
  return g_strdup_printf ("\"%s\"", name);
}

static void
add_orphan (GVariantBuilder *builder,
            EvbusOrphan     *orphan,
            GHashTable      *counts)
{
  const char *name = evbus_orphan_get_name (orphan);
  g_autofree char *quoted = quote_orphan (counts, orphan);
  EvbusLedger ledger;

  evbus_orphan_get_ledger (orphan, &ledger);
  g_variant_builder_open (builder, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (builder, "{sv}", "name", g_variant_new_string (name));
  g_variant_builder_add (builder, "{sv}", "provider", g_variant_new_string (name));
  g_variant_builder_add (builder, "{sv}", "profile", g_variant_new_string (""));
  g_variant_builder_add (builder, "{sv}", "key", g_variant_new_string (evbus_orphan_get_key (orphan)));
  g_variant_builder_add (builder, "{sv}", "state", g_variant_new_string ("orphaned"));
  g_variant_builder_add (builder, "{sv}", "reason",
                         g_variant_new_printf ("no entry of the configuration goes on with it; so that one with a name "
                                               "does: evbusctl name-orphan %s NAME; to drop what it has: "
                                               "evbusctl forget %s", quoted, quoted));
  g_variant_builder_add (builder, "{sv}", "ledger", evbus_ledger_to_variant (&ledger));
  g_variant_builder_close (builder);
}

static gboolean
on_list_routes (EvbusdManager         *skeleton,
                GDBusMethodInvocation *invocation,
                EvbusdExported        *self)
{
  GListModel *routes = evbus_broker_get_routes (self->broker);
  g_autoptr (GPtrArray) orphans = evbus_broker_list_orphans (self->broker);
  g_autoptr (GHashTable) counts = count_names (routes, orphans);
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("aa{sv}"));
  for (guint i = 0; i < g_list_model_get_n_items (routes); i++)
    {
      g_autoptr (EvbusRoute) route = g_list_model_get_item (routes, i);

      add_route (&builder, route);
    }
  for (guint i = 0; i < orphans->len; i++)
    add_orphan (&builder, orphans->pdata[i], counts);

  evbusd_manager_complete_list_routes (skeleton, invocation, g_variant_builder_end (&builder));
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static GVariant *
get_totals (EvbusdExported *self)
{
  EvbusLedger ledger;

  evbus_broker_get_ledger (self->broker, &ledger);
  return evbus_ledger_to_variant (&ledger);
}

static gboolean
on_get_ledger (EvbusdManager         *skeleton,
               GDBusMethodInvocation *invocation,
               EvbusdExported        *self)
{
  evbusd_manager_complete_get_ledger (skeleton, invocation, get_totals (self));
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static void
tell_totals (gpointer data,
             gpointer unused)
{
  EvbusdExported *self = data;

  evbusd_manager_set_ledger (self->manager_skeleton, get_totals (self));
  g_dbus_interface_skeleton_flush (G_DBUS_INTERFACE_SKELETON (self->manager_skeleton));
}

/* Both in one signal. */
static void
tell_spool (EvbusdExported *self)
{
  g_autoptr (GEnumClass) names = g_type_class_ref (EVBUS_TYPE_SPOOL_CONDITION);
  GEnumValue *condition = g_enum_get_value (names, evbus_broker_get_spool_condition (self->broker));
  g_autofree char *note = evbus_broker_dup_spool_note (self->broker);
  g_autofree char *text = g_utf8_make_valid (note != NULL ? note : "", -1);

  g_object_set (self->manager_skeleton, "spool-condition", condition->value_nick, "spool-note", text, NULL);
}

static GVariant *
explanations_to_variant (GPtrArray *explanations)
{
  GVariantBuilder builder;

  g_variant_builder_init (&builder, G_VARIANT_TYPE ("a(ssbs)"));
  for (guint i = 0; i < explanations->len; i++)
    {
      EvbusExplanation *explanation = explanations->pdata[i];
      EvbusRoute *route = evbus_explanation_get_route (explanation);

      g_variant_builder_add (&builder, "(ssbs)",
                             evbus_route_get_provider (route),
                             evbus_route_get_profile (route),
                             evbus_explanation_get_matches (explanation),
                             evbus_explanation_get_reason (explanation));
    }

  return g_variant_builder_end (&builder);
}

static gboolean
on_explain (EvbusdManager         *skeleton,
            GDBusMethodInvocation *invocation,
            const char            *profile,
            EvbusdExported        *self)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) explanations = NULL;

  explanations = evbus_broker_explain (self->broker, profile, &error);
  if (explanations == NULL)
    return_error (invocation, error);
  else
    evbusd_manager_complete_explain (skeleton, invocation, explanations_to_variant (explanations));

  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

static gboolean
on_reload (EvbusdManager         *skeleton,
           GDBusMethodInvocation *invocation,
           EvbusdExported        *self)
{
  self->reload (self->reload_data, invocation);
  return G_DBUS_METHOD_INVOCATION_HANDLED;
}

void
evbusd_exported_answer_reload (GDBusMethodInvocation *invocation,
                               GPtrArray             *not_running,
                               const GError          *error)
{
  GVariantBuilder lines;

  if (error != NULL)
    {
      return_error (invocation, error);
      return;
    }

  /* A reason is UTF-8 already. */
  g_variant_builder_init (&lines, G_VARIANT_TYPE_STRING_ARRAY);
  for (guint i = 0; i < not_running->len; i++)
    g_variant_builder_add (&lines, "s", (char *) not_running->pdata[i]);
  g_dbus_method_invocation_return_value (invocation, g_variant_new ("(as)", &lines));
}

static void
connect_handlers (EvbusdExported *self)
{
  const struct {
    gpointer    skeleton;
    const char *signal;
    GCallback   handler;
  } handlers[] = {
    { self->broker_skeleton, "handle-subscribe", G_CALLBACK (on_subscribe) },
    { self->broker_skeleton, "handle-unsubscribe", G_CALLBACK (on_unsubscribe) },
    { self->manager_skeleton, "handle-list-routes", G_CALLBACK (on_list_routes) },
    { self->manager_skeleton, "handle-get-ledger", G_CALLBACK (on_get_ledger) },
    { self->manager_skeleton, "handle-explain", G_CALLBACK (on_explain) },
    { self->manager_skeleton, "handle-reload", G_CALLBACK (on_reload) },
  };

  for (guint i = 0; i < G_N_ELEMENTS (handlers); i++)
    g_signal_connect (handlers[i].skeleton, handlers[i].signal, handlers[i].handler, self);
}

EvbusdExported *
evbusd_exported_new (GDBusConnection  *connection,
                     EvbusBroker      *broker,
                     EvbusdFanout     *fanout,
                     EvbusdReload      reload,
                     gpointer          user_data,
                     GError          **error)
{
  g_autoptr (EvbusdExported) self = g_new0 (EvbusdExported, 1);

  self->broker_skeleton = evbusd_broker_skeleton_new ();
  self->manager_skeleton = evbusd_manager_skeleton_new ();
  self->broker = broker;
  self->fanout = fanout;
  self->reload = reload;
  self->reload_data = user_data;
  connect_handlers (self);
  self->dead = evbusd_dead_new (self->manager_skeleton, broker);
  evbusd_control_connect (self->manager_skeleton, broker);

  g_object_bind_property (broker, "serializer", self->broker_skeleton, "serializer", G_BINDING_SYNC_CREATE);
  evbusd_manager_set_version (self->manager_skeleton, EVBUS_VERSION_S);
  evbusd_manager_set_start_time (self->manager_skeleton, g_get_real_time ());
  evbusd_manager_set_ledger (self->manager_skeleton, get_totals (self));
  tell_spool (self);

  if (!g_dbus_interface_skeleton_export (G_DBUS_INTERFACE_SKELETON (self->broker_skeleton), connection,
                                         EVBUSD_OBJECT_PATH, error) ||
      !g_dbus_interface_skeleton_export (G_DBUS_INTERFACE_SKELETON (self->manager_skeleton), connection,
                                         EVBUSD_OBJECT_PATH, error))
    return NULL;

  self->pace = evbusd_pace_new (tell_totals, self);
  g_signal_connect_swapped (broker, "notify::ledger", G_CALLBACK (evbusd_pace_want), self->pace);
  g_signal_connect_swapped (broker, "notify::spool-condition", G_CALLBACK (tell_spool), self);
  g_signal_connect_swapped (broker, "notify::spool-note", G_CALLBACK (tell_spool), self);
  self->routes = evbusd_routes_new (connection, evbus_broker_get_routes (broker),
                                    (GObject *(*) (void)) evbusd_route_skeleton_new);
  return g_steal_pointer (&self);
}

/* @path: NULL for the embedded default. */
void
evbusd_exported_set_configuration (EvbusdExported *self,
                                   const char     *path)
{
  evbusd_manager_set_configuration (self->manager_skeleton, path != NULL ? path : "");
}

/* "": the embedded default. */
const char *
evbusd_exported_get_configuration (EvbusdExported *self)
{
  return evbusd_manager_get_configuration (self->manager_skeleton);
}

static void
skeleton_free (gpointer skeleton)
{
  if (g_dbus_interface_skeleton_get_connection (skeleton) != NULL)
    g_dbus_interface_skeleton_unexport (skeleton);
  g_object_unref (skeleton);
}

void
evbusd_exported_free (EvbusdExported *self)
{
  g_clear_pointer (&self->routes, evbusd_routes_free);
  g_signal_handlers_disconnect_by_data (self->broker, self);
  if (self->pace != NULL)
    g_signal_handlers_disconnect_by_data (self->broker, self->pace);
  g_clear_pointer (&self->pace, evbusd_pace_free);
  skeleton_free (self->broker_skeleton);
  skeleton_free (self->manager_skeleton);
  g_clear_pointer (&self->dead, evbusd_dead_free);
  g_free (self);
}
