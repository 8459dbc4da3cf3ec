/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* `generate`: random events, to see a configuration at work or under load. */

#include "evbusctl.h"
#include "evbusctl-bus.h"
#include "evbusctl-output.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>

#define BATCH_EVENTS   100u
#define WINDOW_BATCHES 8u
#define TICK_MS        200u

static double rate = 1;
static gint64 count;
static char *profile;
static char *routing_key;

const GOptionEntry evbusctl_generate_entries[] = {
  { "rate", 'r', 0, G_OPTION_ARG_DOUBLE, &rate, "Events per second (1); 0: as fast as they are taken", "N" },
  { "count", 'n', 0, G_OPTION_ARG_INT64, &count, "End after so many events (never)", "N" },
  { "profile", 'p', 0, G_OPTION_ARG_FILENAME, &profile, "Their profile (default)", "PROFILE" },
  { "key", 'k', 0, G_OPTION_ARG_FILENAME, &routing_key, "Their routing key (evbusctl.generate)", "KEY" },
  { NULL }
};

typedef struct {
  EvbusctlBus *bus;
  GMainLoop *loop;
  gint64 started;
  guint64 n_sent;
  guint64 n_put;
  guint in_flight;
  guint send_source;
  gboolean stopping;
  int status;
} Generator;

static void send_due (Generator *self);

static GVariant *
random_body (guint64 sequence)
{
  static const char * const levels[] = { "debug", "info", "notice", "warning", "error" };
  GVariantBuilder body;

  g_variant_builder_init (&body, G_VARIANT_TYPE_VARDICT);
  g_variant_builder_add (&body, "{sv}", "sequence", g_variant_new_uint64 (sequence));
  g_variant_builder_add (&body, "{sv}", "level",
                         g_variant_new_string (levels[g_random_int_range (0, G_N_ELEMENTS (levels))]));
  g_variant_builder_add (&body, "{sv}", "value", g_variant_new_double (g_random_double_range (0, 100)));
  g_variant_builder_add (&body, "{sv}", "flag", g_variant_new_boolean (g_random_boolean ()));
  g_variant_builder_add (&body, "{sv}", "number", g_variant_new_int32 (g_random_int_range (0, 1000000)));

  return g_variant_builder_end (&body);
}

static void
generator_stop (Generator *self,
                int        status)
{
  g_clear_handle_id (&self->send_source, g_source_remove);
  self->stopping = TRUE;
  if (self->status == EVBUSCTL_OK)
    self->status = status;
}

static void
on_put (GObject      *source,
        GAsyncResult *result,
        gpointer      user_data)
{
  Generator *self = user_data;
  g_autoptr(GError) error = NULL;
  g_auto(GStrv) ids = NULL;

  ids = evbusctl_bus_put_many_finish (self->bus, result, &error);
  self->in_flight--;
  if (ids != NULL)
    self->n_put += g_strv_length (ids);
  else if (self->status == EVBUSCTL_OK)
    generator_stop (self, evbusctl_bus_report (error));

  send_due (self);
}

static void
send_batch (Generator *self,
            guint      n_events)
{
  GVariantBuilder events;
  guint i;

  g_variant_builder_init (&events, G_VARIANT_TYPE ("a(svs)"));
  for (i = 0; i < n_events; i++)
    g_variant_builder_add (&events, "(svs)", routing_key, random_body (self->n_sent++), profile);

  self->in_flight++;
  evbusctl_bus_put_many_async (self->bus, g_variant_builder_end (&events), evbusctl_bus_get_timeout (), NULL,
                               on_put, self);
}

/* How many events should be under way or put by now. */
static guint64
events_due (Generator *self)
{
  double seconds = (g_get_monotonic_time () - self->started) / (double) G_USEC_PER_SEC;
  guint64 due = G_MAXUINT64;

  if (rate > 0 && seconds * rate < 1e18)
    due = (guint64) (seconds * rate) + 1;

  return count > 0 ? MIN (due, (guint64) count) : due;
}

static gboolean
on_due (gpointer user_data)
{
  Generator *self = user_data;

  self->send_source = 0;
  send_due (self);

  return G_SOURCE_REMOVE;
}

static void
send_due (Generator *self)
{
  guint64 due = events_due (self);

  while (!self->stopping && self->n_sent < due && self->in_flight < WINDOW_BATCHES)
    send_batch (self, MIN (due - self->n_sent, BATCH_EVENTS));

  if (count > 0 && self->n_sent >= (guint64) count)
    generator_stop (self, EVBUSCTL_OK);

  if (self->stopping && self->in_flight == 0)
    {
      g_main_loop_quit (self->loop);
    }
  else if (!self->stopping && self->in_flight < WINDOW_BATCHES && self->send_source == 0)
    {
      double next = self->started / 1e3 + self->n_sent / rate * 1e3 - g_get_monotonic_time () / 1e3;

      /* One wake-up for what is due within 10 ms, not one an event. */
      self->send_source = g_timeout_add (CLAMP (next, 10, 60 * 1000), on_due, self);
    }
}

static gboolean
on_signal (gpointer user_data)
{
  Generator *self = user_data;

  generator_stop (self, EVBUSCTL_OK);
  send_due (self);

  return G_SOURCE_REMOVE;
}

static gboolean
on_tick (gpointer user_data)
{
  Generator *self = user_data;

  evbusctl_progress (self->n_put, self->started);

  return G_SOURCE_CONTINUE;
}

static gboolean
check_options (GError **error)
{
  if (!(rate >= 0 && rate <= 1e9))
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "--rate: a number of events per second from 0 to 1000000000 is wanted");
  else if (count < 0)
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                 "--count: a number of events is wanted, or 0 for no end");
  else
    return TRUE;

  return FALSE;
}

int
evbusctl_generate (char **arguments)
{
  g_autoptr(EvbusctlBus) bus = NULL;
  g_autoptr(GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autoptr(GError) error = NULL;
  Generator self = { NULL };
  double seconds;

  if (!check_options (&error))
    {
      evbusctl_error ("generate: %s", error->message);
      return EVBUSCTL_USAGE;
    }

  if (profile == NULL)
    profile = g_strdup ("");
  if (routing_key == NULL)
    routing_key = g_strdup ("evbusctl.generate");
  if (!evbusctl_check_text ("routing key", routing_key, &error) ||
      !evbusctl_check_text ("profile", profile, &error))
    return evbusctl_bus_report (error);

  bus = evbusctl_bus_open (&error);
  if (bus == NULL)
    return evbusctl_bus_report (error);

  self.bus = bus;
  self.loop = loop;
  self.started = g_get_monotonic_time ();
  g_unix_signal_add (SIGINT, on_signal, &self);
  g_unix_signal_add (SIGTERM, on_signal, &self);
  if (evbusctl_progress_wanted ())
    g_timeout_add (TICK_MS, on_tick, &self);

  send_due (&self);
  g_main_loop_run (loop);

  seconds = (g_get_monotonic_time () - self.started) / (double) G_USEC_PER_SEC;
  evbusctl_progress_clear ();
  printf ("%" G_GUINT64_FORMAT " events put in %.1f s (%.0f/s)\n",
          self.n_put, seconds, self.n_put / seconds);

  return self.status;
}
