/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>
#include <openssl/crypto.h>

#include "nats-publish.h"

#define NATS_TYPE_INGRESS (nats_ingress_get_type ())

G_DECLARE_FINAL_TYPE (NatsIngress, nats_ingress, NATS, INGRESS, GObject)

struct _NatsIngress
{
  GObject     parent_instance;

  GPtrArray  *servers;   /* of NatsServer, in the order in which they are tried */
  NatsFormat *format;
  NatsLink   *link;      /* or NULL */
  guint64     sequence;  /* of messages */
};

/* ---- the connection ---- */

static void
shuffle (GPtrArray *servers)
{
  for (guint i = servers->len - 1; i > 0; i--)
    {
      guint j = g_random_int_range (0, i + 1);
      gpointer server = servers->pdata[i];

      servers->pdata[i] = servers->pdata[j];
      servers->pdata[j] = server;
    }
}

/* Of several that refuse us for different reasons, one that waiting does not mend
 * says more. */
static void
keep_error (GError **kept,
            GError  *error)
{
  if (*kept != NULL && g_error_matches (*kept, EVBUS_ERROR, EVBUS_ERROR_BROKEN))
    g_error_free (error);
  else
    {
      g_clear_error (kept);
      *kept = error;
    }
}

static gboolean
connect_once (NatsIngress   *self,
              EvbusContext  *ctx,
              GCancellable  *cancellable,
              GError       **error)
{
  g_autoptr(GError) kept = NULL;

  for (guint i = 0; i < self->servers->len && !g_cancellable_is_cancelled (cancellable); i++)
    {
      GError *local_error = NULL;

      self->link = nats_link_open (ctx, self->servers->pdata[i], cancellable, &local_error);
      if (self->link != NULL)
        return TRUE;
      keep_error (&kept, local_error);
    }

  if (kept != NULL)
    g_propagate_error (error, g_steal_pointer (&kept));
  else
    g_cancellable_set_error_if_cancelled (cancellable, error);
  return FALSE;
}

static gboolean
wait (gint64        pause,
      GCancellable *cancellable)
{
  GPollFD fd;

  if (!g_cancellable_make_pollfd (cancellable, &fd))
    {
      g_usleep (pause);
      return TRUE;
    }
  g_poll (&fd, 1, pause / 1000);
  g_cancellable_release_fd (cancellable);
  return !g_cancellable_is_cancelled (cancellable);
}

static gboolean
ensure_link (NatsIngress   *self,
             EvbusContext  *ctx,
             GCancellable  *cancellable,
             GError       **error)
{
  gint64 max_again = evbus_context_get_int (ctx, "max_reconnect");

  if (self->link != NULL && nats_link_is_open (self->link))
    return TRUE;
  g_clear_pointer (&self->link, nats_link_close);

  for (gint64 i = 0; ; i++)
    {
      g_autoptr(GError) local_error = NULL;

      if (connect_once (self, ctx, cancellable, &local_error))
        return TRUE;
      if (i >= max_again || g_error_matches (local_error, EVBUS_ERROR, EVBUS_ERROR_BROKEN) ||
          !wait (evbus_context_get_int (ctx, "reconnect_wait"), cancellable))
        {
          g_propagate_error (error, g_steal_pointer (&local_error));
          return FALSE;
        }
    }
}

/* ---- the interface ---- */

static void
clear (NatsIngress *self)
{
  g_clear_pointer (&self->link, nats_link_close);
  g_clear_pointer (&self->format, nats_format_free);
  g_clear_pointer (&self->servers, g_ptr_array_unref);
}

static gboolean
nats_ingress_open (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  NatsIngress *self = NATS_INGRESS (ingress);

  clear (self);
  self->servers = nats_options_read_servers (ctx, error);
  if (self->servers == NULL)
    return FALSE;
  if (evbus_context_get_boolean (ctx, "randomize"))
    shuffle (self->servers);
  self->format = nats_format_new (ctx, error);

  return self->format != NULL && ensure_link (self, ctx, cancellable, error);
}

static gboolean
nats_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  NatsIngress *self = NATS_INGRESS (ingress);
  NatsPublish publish = { NULL, self->format, batch, cancellable, self->sequence };
  gboolean done;
  gulong guard;

  if (!ensure_link (self, ctx, cancellable, error))
    return FALSE;

  publish.link = self->link;
  guard = nats_link_guard (self->link, cancellable);
  if (evbus_context_get_boolean (ctx, "jetstream"))
    done = nats_publish_stored (&publish, error);
  else
    done = nats_publish_core (&publish, error);
  /* It may have been extended. */
  self->sequence += evbus_batch_get_n_events (batch);
  g_cancellable_disconnect (cancellable, guard);
  nats_format_trim (self->format);

  /* What libnats has not sent yet must not follow the next try. */
  if (!done)
    g_clear_pointer (&self->link, nats_link_close);
  return done;
}

static gboolean
nats_ingress_close (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GError       **error)
{
  clear (NATS_INGRESS (ingress));
  return TRUE;
}

static void
nats_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = nats_ingress_open;
  iface->publish = nats_ingress_publish;
  iface->close = nats_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (NatsIngress, nats_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, nats_ingress_iface_init))

static void
nats_ingress_finalize (GObject *object)
{
  clear (NATS_INGRESS (object));

  G_OBJECT_CLASS (nats_ingress_parent_class)->finalize (object);
}

static void
nats_ingress_class_init (NatsIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = nats_ingress_finalize;
}

static void
nats_ingress_init (NatsIngress *self)
{
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  /* A thread that still connects, and that nobody waits for any more, must not find
   * OpenSSL taken down while the process ends. */
  OPENSSL_init_crypto (OPENSSL_INIT_NO_ATEXIT, NULL);
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, NATS_TYPE_INGRESS);
}
