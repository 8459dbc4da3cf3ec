/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>
#include <openssl/crypto.h>

#include "mqtt-connect.h"
#include "mqtt-publish.h"

#define MQTT_TYPE_INGRESS (mqtt_ingress_get_type ())

G_DECLARE_FINAL_TYPE (MqttIngress, mqtt_ingress, MQTT, INGRESS, GObject)

struct _MqttIngress
{
  GObject      parent_instance;

  MqttOptions *options;    /* NULL: not open */
  MqttLink    *link;       /* NULL: the next publish makes one */
  MqttMessage  message;
};

static void
clear (MqttIngress *self)
{
  g_clear_pointer (&self->link, mqtt_link_close);
  g_clear_pointer (&self->options, mqtt_options_free);
}

static gboolean
mqtt_ingress_open (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  MqttIngress *self = MQTT_INGRESS (ingress);

  clear (self);
  self->options = mqtt_options_new (ctx, error);
  if (self->options == NULL)
    return FALSE;
  if (self->options->password != NULL && !self->options->tls)
    evbus_context_warn_unencrypted (ctx, self->options->host);
  self->link = mqtt_connect (self->options, cancellable, error);
  return self->link != NULL;
}

/* What came since the last call may be that the connection is gone: then there is a new
 * one before anything is sent. */
static gboolean
get_ready (MqttIngress   *self,
           GCancellable  *cancellable,
           GError       **error)
{
  if (self->link != NULL && !mqtt_link_pump (self->link, 0, NULL, NULL))
    g_clear_pointer (&self->link, mqtt_link_free);
  if (self->link == NULL)
    self->link = mqtt_connect (self->options, cancellable, error);
  return self->link != NULL;
}

static gboolean
mqtt_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  MqttIngress *self = MQTT_INGRESS (ingress);

  if (!get_ready (self, cancellable, error))
    return FALSE;
  if (mqtt_publish (self->link, &self->message, batch, cancellable, error))
    return TRUE;

  /* What the library has not sent yet, or would send again, goes with it. */
  g_clear_pointer (&self->link, mqtt_link_free);
  return FALSE;
}

static gboolean
mqtt_ingress_close (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GError       **error)
{
  clear (MQTT_INGRESS (ingress));
  return TRUE;
}

static void
mqtt_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = mqtt_ingress_open;
  iface->publish = mqtt_ingress_publish;
  iface->close = mqtt_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (MqttIngress, mqtt_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, mqtt_ingress_iface_init))

static void
mqtt_ingress_finalize (GObject *object)
{
  MqttIngress *self = MQTT_INGRESS (object);

  clear (self);
  mqtt_message_clear (&self->message);

  G_OBJECT_CLASS (mqtt_ingress_parent_class)->finalize (object);
}

static void
mqtt_ingress_class_init (MqttIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = mqtt_ingress_finalize;
}

static void
mqtt_ingress_init (MqttIngress *self)
{
  mqtt_message_init (&self->message);
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  /* A route that was given up in the middle of TLS must not find OpenSSL taken down while
   * the process ends. */
  OPENSSL_init_crypto (OPENSSL_INIT_NO_ATEXIT, NULL);
  mosquitto_lib_init ();
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, MQTT_TYPE_INGRESS);
}
