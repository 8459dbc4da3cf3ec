/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The life of the service: start, reload, stop. */

#include "evbusd-daemon.h"

#include <glib-unix.h>

#include "evbusd-bus.h"
#include "evbusd-config.h"
#include "evbusd-exported.h"
#include "evbusd-follow.h"
#include "evbusd-intake.h"
#include "evbusd-memory.h"
#include "evbusd-notify.h"
#include "evbusd-pump.h"
#include "evbusd-report.h"
#include "evbusd-swap.h"
#include "evbusd-watchdog.h"

/* How long (milliseconds) the last messages may take to leave. */
#define FLUSH_MS 1000

/* Where the disk has no room for the spool, it is tried again after so many seconds, then
 * after twice as many, and at last so often: each try may read all of it. */
#define SPACE_RETRY_S 4
#define SPACE_RETRY_MAX_S 64

typedef struct {
  const EvbusdOptions *options;
  GMainLoop           *loop;
  GDBusConnection     *connection;
  EvbusBroker         *broker;
  EvbusdSwap          *swap;
  EvbusdFanout        *fanout;
  EvbusdPump          *pump;
  EvbusdIntake        *intake;
  EvbusdExported      *exported;
  GCancellable        *hurry;
  GCancellable        *opening;    /* while the spool is opened, or NULL */
  guint                space_retry; /* meanwhile: the source of the next try, or 0 */
  guint                space_wait;  /* seconds, of the last one; 0: there was none */
  gboolean             hup;        /* a reload is wanted once that has ended */
  gboolean             stopping;
  int                  status;
} Daemon;

static gboolean
is_system (Daemon *self)
{
  return self->options->bus == G_BUS_TYPE_SYSTEM && self->options->address == NULL;
}

static char *
find_configuration (Daemon *self)
{
  return evbusd_config_find (self->options->config, is_system (self));
}

/* Before the configuration, which may name another one. */
static void
set_default_spool (Daemon *self)
{
  g_autofree char *directory = evbusd_config_find_spool (is_system (self));

  evbus_broker_set_spool_directory (self->broker, directory);
}

/* After the configuration: the command line has the last word. */
static void
set_given_spool (Daemon *self)
{
  g_autofree char *directory = NULL;

  if (self->options->spool != NULL)
    directory = g_canonicalize_filename (self->options->spool, NULL);
  if (directory != NULL || self->options->no_spool)
    evbus_broker_set_spool_directory (self->broker, directory);
}

static gboolean
is_durable (Daemon *self)
{
  g_autofree char *directory = evbus_broker_dup_spool_directory (self->broker);

  return directory != NULL;
}

static void
say_configuration (EvbusProfiles *profiles,
                   const char    *path)
{
  g_message ("%u route(s) from %s", evbus_profiles_get_n_routes (profiles),
             path != NULL ? path : "the embedded default: every event goes to the subscribers");
}

/* A reload that is under way. */
typedef struct {
  Daemon                *daemon;
  EvbusProfiles         *profiles;     /* NULL: there is a mistake in it */
  char                  *path;         /* NULL: the embedded default */
  GDBusMethodInvocation *invocation;   /* NULL: nobody waits for the answer */
} Reload;

/* Takes @error. */
static void
reload_end (Reload    *reload,
            GPtrArray *not_running,
            GError    *error)
{
  if (!reload->daemon->stopping)
    evbusd_notify ("READY=1");
  if (error != NULL)
    {
      g_warning ("the new configuration is not used, the old one stays:\n%s", error->message);
    }
  else
    {
      say_configuration (reload->profiles, reload->path);
      evbusd_exported_set_configuration (reload->daemon->exported, reload->path);
      for (guint i = 0; i < not_running->len; i++)
        g_warning ("after the reload: %s", (char *) not_running->pdata[i]);
    }

  if (reload->invocation != NULL)
    evbusd_exported_answer_reload (reload->invocation, not_running, error);
  g_clear_error (&error);
  g_clear_object (&reload->profiles);
  g_free (reload->path);
  g_free (reload);
}

static void
on_swapped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Reload *reload = user_data;
  g_autoptr (GPtrArray) not_running = NULL;
  GError *error = NULL;

  not_running = evbusd_swap_finish (reload->daemon->swap, result, &error);
  reload_end (reload, not_running, error);
}

/* One that was there is not given up for the embedded default because somebody
 * has its file open, or moved it away for a moment. */
static EvbusProfiles *
load_again (Daemon      *self,
            const char  *path,
            GError     **error)
{
  const char *used = evbusd_exported_get_configuration (self->exported);

  if (path != NULL || used[0] == '\0')
    return evbusd_config_load (path, error);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
               "%s: the configuration in use is not there any more; put it back, or start the service "
               "again to do without", used);
  return NULL;
}

/* Checks the whole configuration before anything changes. */
static void
start_reload (gpointer               user_data,
              GDBusMethodInvocation *invocation)
{
  Daemon *self = user_data;
  Reload *reload = g_new0 (Reload, 1);
  GError *error = NULL;

  reload->daemon = self;
  reload->invocation = invocation;
  if (self->stopping || self->opening != NULL)
    {
      reload_end (reload, NULL, g_error_new_literal (EVBUS_ERROR, EVBUS_ERROR_CLOSED, "the service does not run"));
      return;
    }

  evbusd_notify_reloading ();
  reload->path = find_configuration (self);
  reload->profiles = load_again (self, reload->path, &error);
  if (reload->profiles == NULL)
    reload_end (reload, NULL, error);
  else
    evbusd_swap_async (self->swap, reload->profiles, on_swapped, reload);
}

static gboolean
on_sighup (gpointer user_data)
{
  Daemon *self = user_data;

  self->hup = self->opening != NULL;
  if (!self->hup)
    start_reload (self, NULL);
  return G_SOURCE_CONTINUE;
}

static gboolean
on_flush_timeout (gpointer user_data)
{
  g_cancellable_cancel (user_data);
  return G_SOURCE_REMOVE;
}

static void
on_flushed (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  Daemon *self = user_data;

  g_dbus_connection_flush_finish (G_DBUS_CONNECTION (source), result, NULL);
  g_main_loop_quit (self->loop);
}

/* A bus that does not read must not keep the process. */
static gboolean
flush_and_quit (gpointer user_data)
{
  Daemon *self = user_data;
  g_autoptr (GCancellable) cancellable = g_cancellable_new ();

  g_timeout_add_full (G_PRIORITY_DEFAULT, FLUSH_MS, on_flush_timeout, g_object_ref (cancellable), g_object_unref);
  g_dbus_connection_flush (self->connection, cancellable, on_flushed, self);
  return G_SOURCE_REMOVE;
}

static void
on_stopped (GObject      *source,
            GAsyncResult *result,
            gpointer      user_data)
{
  g_autoptr (GError) error = NULL;
  Daemon *self = user_data;
  EvbusLedger ledger;

  if (!evbus_broker_stop_finish (self->broker, result, &error))
    g_warning ("%s", error->message);

  evbusd_pump_flush (self->pump);
  evbus_broker_get_ledger (self->broker, &ledger);
  g_message ("stopped: %" G_GUINT64_FORMAT " accepted, %" G_GUINT64_FORMAT " delivered, "
             "%" G_GUINT64_FORMAT " not delivered (%" G_GUINT64_FORMAT " dead, %" G_GUINT64_FORMAT " expired, "
             "%" G_GUINT64_FORMAT " dropped, %" G_GUINT64_FORMAT " queued)", ledger.accepted, ledger.delivered,
             ledger.accepted - ledger.delivered, ledger.dead, ledger.expired, ledger.dropped, ledger.queued);
  evbusd_intake_settle (self->intake, flush_and_quit, self);
}

/* Puts are refused from now on, and what was accepted is delivered while the
 * time given for that lasts. Asked again: it lasts no longer. */
static void
stop (Daemon     *self,
      int         status,
      const char *reason)
{
  if (self->stopping)
    {
      g_message ("%s; stopping at once", reason);
      g_cancellable_cancel (self->hurry);
      return;
    }

  self->stopping = TRUE;
  self->status = status;
  g_log (G_LOG_DOMAIN, status == 0 ? G_LOG_LEVEL_MESSAGE : G_LOG_LEVEL_WARNING,
         "%s; delivering what was accepted, for at most %u ms", reason,
         evbus_broker_get_stop_timeout (self->broker));
  evbusd_notify ("STOPPING=1");
  if (self->space_retry != 0)
    {
      g_clear_handle_id (&self->space_retry, g_source_remove);
      g_clear_object (&self->opening);
    }
  if (self->opening != NULL)
    g_cancellable_cancel (self->opening);
  else
    evbus_broker_stop_async (self->broker, self->hurry, on_stopped, self);
}

static gboolean
on_sigterm (gpointer user_data)
{
  stop (user_data, 0, "asked to stop");
  return G_SOURCE_CONTINUE;
}

static void
on_bus_closed (GDBusConnection *connection,
               gboolean         remote_peer_vanished,
               GError          *error,
               Daemon          *self)
{
  if (!self->stopping)
    stop (self, 1, "the bus is gone");
}

static void
on_name_lost (GDBusConnection *connection,
              const char      *sender,
              const char      *path,
              const char      *interface,
              const char      *signal,
              GVariant        *parameters,
              gpointer         user_data)
{
  Daemon *self = user_data;

  if (!self->stopping)
    stop (self, 1, "the name " EVBUSD_BUS_NAME " is lost");
}

/* Before the name is ours: whoever sees it may send a signal. */
static void
watch_signals (Daemon *self)
{
  g_unix_signal_add (SIGTERM, on_sigterm, self);
  g_unix_signal_add (SIGINT, on_sigterm, self);
  g_unix_signal_add (SIGHUP, on_sighup, self);
}

static void
watch_bus (Daemon *self)
{
  g_signal_connect (self->connection, "closed", G_CALLBACK (on_bus_closed), self);
  g_dbus_connection_signal_subscribe (self->connection, "org.freedesktop.DBus", "org.freedesktop.DBus", "NameLost",
                                      "/org/freedesktop/DBus", EVBUSD_BUS_NAME, G_DBUS_SIGNAL_FLAGS_NO_MATCH_RULE,
                                      on_name_lost, self, NULL);
}

static void
fail_to_start (Daemon       *self,
               const GError *error)
{
  g_log (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "cannot start: %s", error->message);
  self->status = 1;
  g_main_loop_quit (self->loop);
}

/* That takes long where it has to be recovered. */
static void
on_spool_progress (Daemon *self)
{
  g_autofree char *note = evbus_broker_dup_spool_note (self->broker);

  if (evbus_broker_get_spool_condition (self->broker) == EVBUS_SPOOL_CONDITION_OPENING && note != NULL)
    evbusd_notify_starting (note);
}

static void open_spool (Daemon *self);

static gboolean
on_space_retry (gpointer user_data)
{
  Daemon *self = user_data;

  self->space_retry = 0;
  open_spool (self);
  return G_SOURCE_REMOVE;
}

/* A start that has failed would have to be made by a person, once there is space. Said
 * once: the next tries end alike. */
static void
wait_for_space (Daemon       *self,
                const GError *error)
{
  if (self->space_wait == 0)
    g_log (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
           "cannot start yet: %s; make room on the disk, and it goes on", error->message);
  self->space_wait = CLAMP (self->space_wait * 2, SPACE_RETRY_S, SPACE_RETRY_MAX_S);
  evbusd_notify_starting ("no room for the spool on its disk");
  self->space_retry = g_timeout_add_seconds (self->space_wait, on_space_retry, self);
}

/* The routes are opened only once the name is ours: a second evbusd must not
 * touch what the first one writes to. */
static void
on_spool_open (GObject      *source,
               GAsyncResult *result,
               gpointer      user_data)
{
  g_autoptr (GError) error = NULL;
  Daemon *self = user_data;
  gboolean opened = evbus_broker_open_spool_finish (self->broker, result, &error);

  g_signal_handlers_disconnect_by_func (self->broker, on_spool_progress, self);
  if (!opened && !self->stopping && g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_SPOOL_FULL))
    {
      wait_for_space (self, error);
      return;
    }
  g_clear_object (&self->opening);
  if (self->stopping)
    {
      evbus_broker_stop_async (self->broker, self->hurry, on_stopped, self);
      return;
    }
  if (!opened || !evbusd_bus_own_name (self->connection, &error) || !evbus_broker_start (self->broker, &error))
    {
      fail_to_start (self, error);
      return;
    }

  evbusd_watchdog_start (self->broker, self->intake);
  g_message ("evbusd " EVBUS_VERSION_S " is ready on the bus as %s",
             g_dbus_connection_get_unique_name (self->connection));
  evbusd_notify ("READY=1");
  if (self->hup)
    start_reload (self, NULL);
}

/* Not on the bus before the spool is open: who calls waits for the name, or has the bus
 * start a service that is starting already. */
static void
open_spool (Daemon *self)
{
  if (self->opening == NULL)
    self->opening = g_cancellable_new ();
  g_signal_connect_swapped (self->broker, "notify::spool-note", G_CALLBACK (on_spool_progress), self);
  evbus_broker_open_spool_async (self->broker, self->opening, on_spool_open, self);
}

static gboolean
start (Daemon  *self,
       GError **error)
{
  g_autofree char *path = find_configuration (self);
  g_autoptr (EvbusProfiles) profiles = NULL;

  set_default_spool (self);
  profiles = evbusd_config_load (path, error);
  if (profiles == NULL || !evbus_broker_apply_profiles (self->broker, profiles, error))
    return FALSE;
  say_configuration (profiles, path);
  set_given_spool (self);

  self->connection = evbusd_bus_connect (self->options->bus, self->options->address, error);
  if (self->connection == NULL)
    return FALSE;

  self->fanout = evbusd_fanout_new (self->connection);
  self->pump = evbusd_pump_new (evbus_broker_get_routes (self->broker), self->fanout);
  self->exported = evbusd_exported_new (self->connection, self->broker, self->fanout, start_reload, self, error);
  if (self->exported == NULL)
    return FALSE;

  evbusd_exported_set_configuration (self->exported, path);
  self->intake = evbusd_intake_new (self->connection, self->broker, is_durable (self));
  evbusd_report_watch (self->broker);
  evbusd_follow_watch (self->broker, self->connection);
  evbusd_memory_watch (evbus_broker_get_routes (self->broker));

  watch_signals (self);
  watch_bus (self);
  if (!evbusd_bus_check_free (self->connection, error))
    return FALSE;
  open_spool (self);
  return TRUE;
}

static void
clear (Daemon *self)
{
  g_clear_pointer (&self->intake, evbusd_intake_free);
  g_clear_pointer (&self->exported, evbusd_exported_free);
  g_clear_pointer (&self->pump, evbusd_pump_free);
  g_clear_pointer (&self->fanout, evbusd_fanout_free);
  g_clear_pointer (&self->swap, evbusd_swap_free);
  g_clear_object (&self->broker);
  g_clear_object (&self->connection);
  g_clear_object (&self->hurry);
  g_clear_pointer (&self->loop, g_main_loop_unref);
}

/* Returns the exit status. */
int
evbusd_daemon_run (const EvbusdOptions *options)
{
  g_autoptr (GError) error = NULL;
  Daemon self = { options };

  evbusd_memory_init ();
  self.loop = g_main_loop_new (NULL, FALSE);
  self.hurry = g_cancellable_new ();
  self.broker = evbus_broker_new ();
  self.swap = evbusd_swap_new (self.broker);

  if (start (&self, &error))
    g_main_loop_run (self.loop);
  else
    fail_to_start (&self, error);

  clear (&self);
  return self.status;
}
