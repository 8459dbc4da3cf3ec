/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>
#include <openssl/crypto.h>

#include "amqp-link.h"

/* All events of a batch are sent, one after the other, while the confirms of the
 * earlier ones come in, and more of them as it is extended. */

#define AMQP_TYPE_INGRESS (amqp_ingress_get_type ())

G_DECLARE_FINAL_TYPE (AmqpIngress, amqp_ingress, AMQP, INGRESS, GObject)

struct _AmqpIngress
{
  GObject      parent_instance;

  AmqpOptions *options;    /* NULL: not open */
  AmqpLink     link;
  AmqpContent  content;
};

static void
clear (AmqpIngress *self)
{
  if (self->options == NULL)
    return;

  amqp_link_clear (&self->link);
  memset (&self->link, 0, sizeof self->link);
  amqp_content_clear (&self->content);
  memset (&self->content, 0, sizeof self->content);
  g_clear_pointer (&self->options, amqp_options_free);
}

static gboolean
amqp_ingress_open (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  AmqpIngress *self = AMQP_INGRESS (ingress);

  clear (self);
  self->options = amqp_options_new (ctx, error);
  if (self->options == NULL)
    return FALSE;

  amqp_link_init (&self->link, self->options);
  amqp_content_init (&self->content, self->options);
  if (!self->options->tls)
    evbus_context_warn_unencrypted (ctx, self->options->host);
  if (self->options->tls && !self->options->verify)
    evbus_context_warn_unverified (ctx, self->options->host);
  return amqp_link_open (&self->link, cancellable, error);
}

static gboolean
send_event (AmqpIngress   *self,
            EvbusBatch    *batch,
            guint          index,
            const GPollFD *wake,
            GCancellable  *cancellable,
            GError       **error)
{
  AmqpLink *link = &self->link;
  g_autoptr(GError) local_error = NULL;
  gboolean ready = FALSE;

  if (!amqp_content_fill (&self->content, evbus_batch_get_event (batch, index),
                          amqp_get_frame_max (link->state), &local_error))
    {
      evbus_batch_fail (batch, index, EVBUS_OUTCOME_POISON, local_error->message);
      return TRUE;
    }

  while (!ready)
    if (!amqp_link_wait (link, wake, TRUE, &ready, error))
      return FALSE;
  if (!amqp_link_publish (link, &self->content, cancellable, error))
    return FALSE;
  amqp_confirms_sent (&link->confirms, link->last_tag, index);
  return TRUE;
}

static gboolean
send_batch (AmqpIngress   *self,
            EvbusBatch    *batch,
            GCancellable  *cancellable,
            GError       **error)
{
  guint n_sent = 0;
  GPollFD wake = { .fd = -1 };
  gboolean woken = g_cancellable_make_pollfd (cancellable, &wake);
  gboolean done = TRUE;
  gboolean ready;

  do
    {
      for (; done && n_sent < evbus_batch_get_n_events (batch); n_sent++)
        done = send_event (self, batch, n_sent, &wake, cancellable, error);
      while (done && evbus_batch_extend (batch) == 0 && self->link.confirms.n_open > 0)
        done = amqp_link_wait (&self->link, &wake, FALSE, &ready, error);
    }
  while (done && n_sent < evbus_batch_get_n_events (batch));

  if (woken)
    g_cancellable_release_fd (cancellable);
  return done;
}

/* What came since the last call may be that the connection is gone: then there is
 * a new one before anything is sent. */
static gboolean
get_ready (AmqpIngress   *self,
           GCancellable  *cancellable,
           GError       **error)
{
  AmqpLink *link = &self->link;

  if (link->state != NULL)
    amqp_link_read (link, NULL);
  if (!amqp_link_open (link, cancellable, error))
    return FALSE;
  if (link->blocked == NULL)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server takes no messages: %s",
               self->options->name, link->blocked);
  return FALSE;
}

static gboolean
amqp_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  AmqpIngress *self = AMQP_INGRESS (ingress);
  gboolean done;

  if (!get_ready (self, cancellable, error))
    return FALSE;

  amqp_confirms_begin (&self->link.confirms, batch);
  done = send_batch (self, batch, cancellable, error);
  amqp_confirms_end (&self->link.confirms);
  return done;
}

static gboolean
amqp_ingress_close (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GError       **error)
{
  AmqpIngress *self = AMQP_INGRESS (ingress);

  amqp_link_close (&self->link);
  clear (self);
  return TRUE;
}

static void
amqp_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = amqp_ingress_open;
  iface->publish = amqp_ingress_publish;
  iface->close = amqp_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (AmqpIngress, amqp_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, amqp_ingress_iface_init))

static void
amqp_ingress_finalize (GObject *object)
{
  clear (AMQP_INGRESS (object));

  G_OBJECT_CLASS (amqp_ingress_parent_class)->finalize (object);
}

static void
amqp_ingress_class_init (AmqpIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = amqp_ingress_finalize;
}

static void
amqp_ingress_init (AmqpIngress *self)
{
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  /* A thread that was given up in the middle of TLS must not find OpenSSL taken down while
   * the process ends. */
  OPENSSL_init_crypto (OPENSSL_INIT_NO_ATEXIT, NULL);
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, AMQP_TYPE_INGRESS);
}
