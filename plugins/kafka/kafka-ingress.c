/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>
#include <openssl/crypto.h>

#include "kafka-publish.h"

#define KAFKA_TYPE_INGRESS (kafka_ingress_get_type ())

G_DECLARE_FINAL_TYPE (KafkaIngress, kafka_ingress, KAFKA, INGRESS, GObject)

struct _KafkaIngress
{
  GObject      parent_instance;

  KafkaFormat *format;
  KafkaClient *client;   /* NULL: the next publish makes one */
};

static void
clear (KafkaIngress *self)
{
  g_clear_pointer (&self->client, kafka_client_close);
  g_clear_pointer (&self->format, kafka_format_free);
}

static gboolean
ensure_client (KafkaIngress  *self,
               EvbusContext  *ctx,
               GCancellable  *cancellable,
               GError       **error)
{
  if (self->client != NULL && kafka_client_is_good (self->client))
    return TRUE;
  g_clear_pointer (&self->client, kafka_client_close);
  self->client = kafka_client_open (ctx, cancellable, error);
  return self->client != NULL;
}

static gboolean
kafka_ingress_open (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GCancellable  *cancellable,
                    GError       **error)
{
  KafkaIngress *self = KAFKA_INGRESS (ingress);

  clear (self);
  self->format = kafka_format_new (ctx, error);
  return self->format != NULL && ensure_client (self, ctx, cancellable, error);
}

static gboolean
kafka_ingress_publish (EvbusIngress  *ingress,
                       EvbusContext  *ctx,
                       EvbusBatch    *batch,
                       GCancellable  *cancellable,
                       GError       **error)
{
  KafkaIngress *self = KAFKA_INGRESS (ingress);
  gboolean keep;
  gboolean done;

  if (!ensure_client (self, ctx, cancellable, error))
    return FALSE;

  done = kafka_publish (self->client, self->format, batch, &keep, cancellable, error);
  /* What it has not sent yet must not follow the next try. */
  if (!keep)
    g_clear_pointer (&self->client, kafka_client_close);
  return done;
}

static gboolean
kafka_ingress_close (EvbusIngress  *ingress,
                     EvbusContext  *ctx,
                     GError       **error)
{
  clear (KAFKA_INGRESS (ingress));
  return TRUE;
}

static void
kafka_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = kafka_ingress_open;
  iface->publish = kafka_ingress_publish;
  iface->close = kafka_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (KafkaIngress, kafka_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, kafka_ingress_iface_init))

static void
kafka_ingress_finalize (GObject *object)
{
  clear (KAFKA_INGRESS (object));

  G_OBJECT_CLASS (kafka_ingress_parent_class)->finalize (object);
}

static void
kafka_ingress_class_init (KafkaIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = kafka_ingress_finalize;
}

static void
kafka_ingress_init (KafkaIngress *self)
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
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, KAFKA_TYPE_INGRESS);
}
