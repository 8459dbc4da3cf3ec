/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An object a route, which comes and goes with it. What changes is told at most once
 * a second: figures move with every batch. */

#include "evbusd-routes.h"

#include "evbusd-bus.h"
#include "evbusd-pace.h"
#include "evbusd-report.h"

typedef struct {
  EvbusdRoutes           *routes;
  EvbusRoute             *route;
  GDBusInterfaceSkeleton *skeleton;
  char                   *path;
  gboolean                moved;      /* it is to be told */
} Entry;

struct _EvbusdRoutes
{
  GListModel               *model;
  GObject                *(*make) (void);
  GDBusObjectManagerServer *server;
  GHashTable               *entries;  /* EvbusRoute → Entry */
  EvbusdPace               *pace;
  guint64                   n_made;
};

GVariant *
evbusd_routes_ledger (EvbusRoute *route)
{
  EvbusLedger ledger;

  evbus_route_get_ledger (route, &ledger);
  return evbus_ledger_to_variant (&ledger);
}

/* The skeleton finds out by itself what of it is new. */
static void
describe (Entry *entry)
{
  g_autofree char *reason = NULL;
  EvbusRouteState state = evbus_route_get_status (entry->route, &reason);

  g_object_set (entry->skeleton,
                "state", evbusd_report_state_name (state),
                "reason", reason != NULL ? reason : "",
                "ledger", evbusd_routes_ledger (entry->route),
                "queued-bytes", evbus_route_get_queued_bytes (entry->route),
                NULL);
}

static void
tell (gpointer data,
      gpointer unused)
{
  EvbusdRoutes *self = data;
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, self->entries);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    {
      Entry *entry = value;

      if (!entry->moved)
        continue;
      entry->moved = FALSE;
      describe (entry);
      g_dbus_interface_skeleton_flush (entry->skeleton);
    }
}

static void
on_notify (EvbusRoute *route,
           GParamSpec *pspec,
           Entry      *entry)
{
  entry->moved = TRUE;
  evbusd_pace_want (entry->routes->pace);
}

static void
add_entry (EvbusdRoutes *self,
           EvbusRoute   *route)
{
  g_autoptr (GDBusObjectSkeleton) object = NULL;
  Entry *entry = g_new0 (Entry, 1);

  entry->routes = self;
  entry->route = g_object_ref (route);
  entry->skeleton = G_DBUS_INTERFACE_SKELETON (self->make ());
  entry->path = g_strdup_printf (EVBUSD_OBJECT_PATH "/route/%" G_GUINT64_FORMAT, ++self->n_made);
  g_object_set (entry->skeleton,
                "name", evbus_route_get_name (route),
                "provider", evbus_route_get_provider (route),
                "profile", evbus_route_get_profile (route),
                NULL);
  describe (entry);
  g_signal_connect (route, "notify", G_CALLBACK (on_notify), entry);
  g_hash_table_insert (self->entries, route, entry);

  object = g_dbus_object_skeleton_new (entry->path);
  g_dbus_object_skeleton_add_interface (object, entry->skeleton);
  g_dbus_object_manager_server_export (self->server, object);
}

static void
entry_free (gpointer data)
{
  Entry *entry = data;

  g_dbus_object_manager_server_unexport (entry->routes->server, entry->path);
  g_signal_handlers_disconnect_by_data (entry->route, entry);
  g_object_unref (entry->route);
  g_object_unref (entry->skeleton);
  g_free (entry->path);
  g_free (entry);
}

/* A list that is put together anew has most of its routes still: an object lives as
 * long as its route. */
static void
on_items_changed (EvbusdRoutes *self)
{
  g_autoptr (GHashTable) present = g_hash_table_new_full (NULL, NULL, g_object_unref, NULL);
  GHashTableIter iter;
  gpointer route;

  for (guint i = 0; i < g_list_model_get_n_items (self->model); i++)
    g_hash_table_add (present, g_list_model_get_item (self->model, i));

  g_hash_table_iter_init (&iter, self->entries);
  while (g_hash_table_iter_next (&iter, &route, NULL))
    {
      if (!g_hash_table_contains (present, route))
        g_hash_table_iter_remove (&iter);
    }

  for (guint i = 0; i < g_list_model_get_n_items (self->model); i++)
    {
      g_autoptr (EvbusRoute) item = g_list_model_get_item (self->model, i);

      if (!g_hash_table_contains (self->entries, item))
        add_entry (self, item);
    }
}

EvbusdRoutes *
evbusd_routes_new (GDBusConnection *connection,
                   GListModel      *routes,
                   GObject       *(*make) (void))
{
  EvbusdRoutes *self = g_new0 (EvbusdRoutes, 1);

  self->model = routes;
  self->make = make;
  self->server = g_dbus_object_manager_server_new (EVBUSD_OBJECT_PATH);
  self->entries = g_hash_table_new_full (NULL, NULL, NULL, entry_free);
  self->pace = evbusd_pace_new (tell, self);
  g_signal_connect_swapped (routes, "items-changed", G_CALLBACK (on_items_changed), self);
  on_items_changed (self);
  g_dbus_object_manager_server_set_connection (self->server, connection);
  return self;
}

void
evbusd_routes_free (EvbusdRoutes *self)
{
  g_signal_handlers_disconnect_by_data (self->model, self);
  g_hash_table_unref (self->entries);
  g_object_unref (self->server);
  evbusd_pace_free (self->pace);
  g_free (self);
}
