/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* GDBus answers a call under its connection's lock where that was made on its worker
 * thread: whoever then calls anything of the connection waits for itself, for ever. A
 * watch of g_bus_watch_name() does, if it was given up before its first answer. So this
 * one does nothing with the answer but to have it looked at later. */

#include "evbusd-watch.h"

struct _EvbusdWatch
{
  int              ref_count;      /* all of it: the worker's thread */
  GDBusConnection *connection;
  GMainContext    *context;
  guint            subscription;
  EvbusdGone       gone;           /* NULL: it was freed, or told */
  gpointer         user_data;
};

static void
unref (gpointer data)
{
  EvbusdWatch *self = data;

  if (--self->ref_count > 0)
    return;

  g_main_context_unref (self->context);
  g_object_unref (self->connection);
  g_free (self);
}

static void
tell (EvbusdWatch *self)
{
  EvbusdGone gone = g_steal_pointer (&self->gone);

  if (gone != NULL)
    gone (self->user_data);
}

static gboolean
on_later (gpointer user_data)
{
  tell (user_data);
  return G_SOURCE_REMOVE;
}

/* Maybe under the lock. */
static void
on_answer (GObject      *source,
           GAsyncResult *result,
           gpointer      user_data)
{
  g_autoptr (GVariant) answer = g_dbus_connection_call_finish (G_DBUS_CONNECTION (source), result, NULL);
  g_autoptr (GSource) later = NULL;
  EvbusdWatch *self = user_data;
  gboolean has_owner = TRUE;

  if (answer != NULL)
    g_variant_get (answer, "(b)", &has_owner);
  if (has_owner)
    {
      unref (self);
      return;
    }

  later = g_idle_source_new ();
  g_source_set_priority (later, G_PRIORITY_DEFAULT);
  g_source_set_callback (later, on_later, self, unref);
  g_source_attach (later, self->context);
}

static void
on_owner_changed (GDBusConnection *connection,
                  const char      *sender,
                  const char      *path,
                  const char      *interface,
                  const char      *signal,
                  GVariant        *parameters,
                  gpointer         user_data)
{
  const char *owner;

  if (!g_variant_is_of_type (parameters, G_VARIANT_TYPE ("(sss)")))
    return;
  g_variant_get (parameters, "(&s&s&s)", NULL, NULL, &owner);
  if (*owner == '\0')
    tell (user_data);
}

/* @gone is called once, unless the watch is freed before. */
EvbusdWatch *
evbusd_watch_new (GDBusConnection *connection,
                  const char      *name,
                  EvbusdGone       gone,
                  gpointer         user_data)
{
  EvbusdWatch *self = g_new0 (EvbusdWatch, 1);

  self->ref_count = 3;       /* the caller's, the subscription's, the call's */
  self->connection = g_object_ref (connection);
  self->context = g_main_context_ref_thread_default ();
  self->gone = gone;
  self->user_data = user_data;
  self->subscription = g_dbus_connection_signal_subscribe (connection, "org.freedesktop.DBus", "org.freedesktop.DBus",
                                                           "NameOwnerChanged", "/org/freedesktop/DBus", name,
                                                           G_DBUS_SIGNAL_FLAGS_NONE, on_owner_changed, self, unref);
  g_dbus_connection_call (connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                          "NameHasOwner", g_variant_new ("(s)", name), G_VARIANT_TYPE ("(b)"), G_DBUS_CALL_FLAGS_NONE,
                          -1, NULL, on_answer, self);
  return self;
}

void
evbusd_watch_free (EvbusdWatch *self)
{
  self->gone = NULL;
  g_dbus_connection_signal_unsubscribe (self->connection, self->subscription);
  unref (self);
}
