/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

/* A destination that behaves as its option `mode` says. What it confirms goes
 * to the route's mailbox, where a test reads it. */

#define SINK_TYPE_INGRESS (sink_ingress_get_type ())

G_DECLARE_FINAL_TYPE (SinkIngress, sink_ingress, SINK, INGRESS, GObject)

struct _SinkIngress
{
  GObject parent_instance;

  gint64 n_publishes;
  gint64 n_offered;     /* to mode_confirm() with the option `flaky` */
};

typedef gboolean (* SinkMode) (SinkIngress   *self,
                               EvbusContext  *ctx,
                               EvbusBatch    *batch,
                               GCancellable  *cancellable,
                               GError       **error);

/* Fails the event, if an option says so. */
static gboolean
refuse (SinkIngress  *self,
        EvbusContext *ctx,
        EvbusBatch   *batch,
        guint         i)
{
  const char *poison_key = evbus_context_get_string (ctx, "poison_key");
  const char *key = evbus_event_get_routing_key (evbus_batch_get_event (batch, i));
  gint64 flaky = evbus_context_get_int (ctx, "flaky");

  if (g_strcmp0 (key, poison_key) == 0)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, "the routing key is that of poison_key");
  else if (flaky > 0 && ++self->n_offered % flaky == 0)
    evbus_batch_fail (batch, i, EVBUS_OUTCOME_TRANSIENT, "the sink is flaky");
  else
    return FALSE;
  return TRUE;
}

/* A line in one write: a kill tears none. */
static gboolean
record (EvbusContext  *ctx,
        EvbusEvent    *event,
        GError       **error)
{
  const char *path = evbus_context_get_string (ctx, "record");
  g_autofree char *line = g_strdup_printf ("%s\n", evbus_event_get_id (event));
  gboolean done;
  int fd;

  if (path == NULL)
    return TRUE;
  fd = g_open (path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  done = fd >= 0 && write (fd, line, strlen (line)) == (gssize) strlen (line);
  if (fd >= 0)
    close (fd);
  if (!done)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "the sink cannot write %s", path);
  return done;
}

static gboolean
mode_confirm (SinkIngress   *self,
              EvbusContext  *ctx,
              EvbusBatch    *batch,
              GCancellable  *cancellable,
              GError       **error)
{
  EvbusMailbox *mailbox = evbus_context_get_mailbox (ctx);
  guint i;

  if (evbus_context_get_string (ctx, "poison_key") == NULL && evbus_context_get_string (ctx, "record") == NULL &&
      evbus_context_get_int (ctx, "flaky") == 0)
    return evbus_mailbox_push_batch (mailbox, batch, NULL, cancellable, error);

  for (i = 0; i < evbus_batch_get_n_events (batch); i++)
    {
      EvbusEvent *event = evbus_batch_get_event (batch, i);

      if (refuse (self, ctx, batch, i))
        continue;
      if (!evbus_mailbox_push (mailbox, event, NULL, cancellable, error) || !record (ctx, event, error))
        return FALSE;
      evbus_batch_confirm (batch, i);
    }

  return TRUE;
}

static gboolean
fail_with (EvbusError   code,
           GError     **error)
{
  g_set_error (error, EVBUS_ERROR, code, "the sink is told to fail");
  return FALSE;
}

static gboolean
mode_transient (SinkIngress   *self,
                EvbusContext  *ctx,
                EvbusBatch    *batch,
                GCancellable  *cancellable,
                GError       **error)
{
  return fail_with (EVBUS_ERROR_TRANSIENT, error);
}

static gboolean
mode_broken (SinkIngress   *self,
             EvbusContext  *ctx,
             EvbusBatch    *batch,
             GCancellable  *cancellable,
             GError       **error)
{
  return fail_with (EVBUS_ERROR_BROKEN, error);
}

static gboolean
mode_poison (SinkIngress   *self,
             EvbusContext  *ctx,
             EvbusBatch    *batch,
             GCancellable  *cancellable,
             GError       **error)
{
  return fail_with (EVBUS_ERROR_POISON, error);
}

static gboolean
mode_unmarked (SinkIngress   *self,
               EvbusContext  *ctx,
               EvbusBatch    *batch,
               GCancellable  *cancellable,
               GError       **error)
{
  return TRUE;
}

static gboolean
mode_nonsense (SinkIngress   *self,
               EvbusContext  *ctx,
               EvbusBatch    *batch,
               GCancellable  *cancellable,
               GError       **error)
{
  guint n_events = evbus_batch_get_n_events (batch);

  evbus_batch_confirm (batch, n_events);
  evbus_batch_confirm (batch, G_MAXUINT);
  evbus_batch_fail (batch, n_events + 7, EVBUS_OUTCOME_BROKEN, "out of range");
  evbus_batch_fail (batch, 0, (EvbusOutcome) 42, NULL);
  evbus_batch_confirm (batch, 0);
  evbus_batch_fail (batch, 0, EVBUS_OUTCOME_POISON, "twice");
  return TRUE;
}

typedef struct {
  GMutex   mutex;
  GCond    cond;
  gboolean cancelled;
} Wait;

static void
on_cancelled (GCancellable *cancellable,
              Wait         *wait)
{
  g_mutex_lock (&wait->mutex);
  wait->cancelled = TRUE;
  g_cond_signal (&wait->cond);
  g_mutex_unlock (&wait->mutex);
}

/* Until @cancellable fires, or for the life of the process without one. Not
 * with a cancellable's GSource: GLib 2.74 leaks one that is destroyed while
 * another thread cancels. */
static void
wait_for (GCancellable *cancellable,
          gint64        end_time)
{
  Wait wait = { .cancelled = FALSE };
  gulong handler = 0;

  g_mutex_init (&wait.mutex);
  g_cond_init (&wait.cond);
  if (cancellable != NULL)
    handler = g_cancellable_connect (cancellable, G_CALLBACK (on_cancelled), &wait, NULL);

  g_mutex_lock (&wait.mutex);
  while (!wait.cancelled)
    {
      if (end_time < 0)
        g_cond_wait (&wait.cond, &wait.mutex);
      else if (!g_cond_wait_until (&wait.cond, &wait.mutex, end_time))
        break;
    }
  g_mutex_unlock (&wait.mutex);

  g_cancellable_disconnect (cancellable, handler);
  g_mutex_clear (&wait.mutex);
  g_cond_clear (&wait.cond);
}

static gboolean
mode_hang (SinkIngress   *self,
           EvbusContext  *ctx,
           EvbusBatch    *batch,
           GCancellable  *cancellable,
           GError       **error)
{
  wait_for (NULL, -1);
  return TRUE;
}

static gboolean
mode_block (SinkIngress   *self,
            EvbusContext  *ctx,
            EvbusBatch    *batch,
            GCancellable  *cancellable,
            GError       **error)
{
  wait_for (cancellable, -1);
  return !g_cancellable_set_error_if_cancelled (cancellable, error);
}

static gboolean
mode_fail_first (SinkIngress   *self,
                 EvbusContext  *ctx,
                 EvbusBatch    *batch,
                 GCancellable  *cancellable,
                 GError       **error)
{
  if (self->n_publishes <= evbus_context_get_int (ctx, "count"))
    return fail_with (EVBUS_ERROR_TRANSIENT, error);

  return mode_confirm (self, ctx, batch, cancellable, error);
}

static const struct {
  const char *name;
  SinkMode    mode;
} modes[] = {
  { "confirm", mode_confirm },
  { "transient", mode_transient },
  { "broken", mode_broken },
  { "poison", mode_poison },
  { "hang", mode_hang },
  { "block", mode_block },
  { "unmarked", mode_unmarked },
  { "nonsense", mode_nonsense },
  { "fail-first", mode_fail_first },
};

static gboolean
sink_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  SinkIngress *self = SINK_INGRESS (ingress);
  gint64 delay = evbus_context_get_int (ctx, "delay_ms");
  guint i;

  self->n_publishes++;
  if (delay > 0)
    wait_for (cancellable, g_get_monotonic_time () + delay * 1000);

  for (i = 0; i < G_N_ELEMENTS (modes); i++)
    {
      if (g_strcmp0 (modes[i].name, evbus_context_get_string (ctx, "mode")) == 0)
        return modes[i].mode (self, ctx, batch, cancellable, error);
    }

  g_assert_not_reached ();
}

static void
sink_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->publish = sink_ingress_publish;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (SinkIngress, sink_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, sink_ingress_iface_init))

static void
sink_ingress_class_init (SinkIngressClass *klass)
{
}

static void
sink_ingress_init (SinkIngress *self)
{
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, SINK_TYPE_INGRESS);
}
