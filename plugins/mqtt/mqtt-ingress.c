/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>
#include <openssl/crypto.h>

#include "mqtt-connect.h"
#include "mqtt-publish.h"

/* So many connections in a row, each taken by the server, may end on an event. */
#define MAX_ENDED 5

/* A limit below this is one that somebody has set on purpose. Until an event was taken nothing else
 * tells one that is too large from a server in trouble, or one that does not let the user publish. */
#define ALWAYS_TAKEN (64 * 1024)

#define MQTT_TYPE_INGRESS (mqtt_ingress_get_type ())

G_DECLARE_FINAL_TYPE (MqttIngress, mqtt_ingress, MQTT, INGRESS, GObject)

struct _MqttIngress
{
  GObject      parent_instance;

  MqttOptions *options;    /* NULL: not open */
  MqttLink    *link;       /* NULL: the next publish makes one */
  MqttMessage  message;

  /* By MQTT 3.1.1 alone: */
  gsize        largest;    /* of the events that were acknowledged */
  char        *suspect;    /* the event on which connections end, or NULL */
  guint        n_ended;    /* how many have */
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
  if (self->options->tls && !self->options->verify)
    evbus_context_warn_unverified (ctx, self->options->host);
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

/* A server of MQTT 3.1.1 has no word for an event that is too large, nor for a user who may not publish,
 * and ends the connection. Whether connections do so again and again on this event, which is alone. */
static gboolean
is_suspect (MqttIngress  *self,
            EvbusBatch   *batch,
            const GError *error)
{
  const char *id;

  if (self->options->v5 || evbus_batch_get_n_events (batch) != 1 || mqtt_link_is_open (self->link) ||
      self->link->is_silent || !g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT))
    return FALSE;

  id = evbus_event_get_id (evbus_batch_get_event (batch, 0));
  if (g_strcmp0 (self->suspect, id) != 0)
    {
      g_free (self->suspect);
      self->suspect = g_strdup (id);
      self->n_ended = 0;
    }
  self->n_ended = MIN (self->n_ended + 1, MAX_ENDED);
  return self->n_ended == MAX_ENDED;
}

/* Only one that is larger than all that were taken can be too large. */
static void
judge_suspect (MqttIngress  *self,
               GError      **error)
{
  gsize size = self->message.size;
  gsize taken = self->largest > 0 ? self->largest : ALWAYS_TAKEN;

  g_clear_error (error);
  if (size > taken)
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_POISON,
                 "%s: %d connections ended on it, as when an event is too large for the server; raise its limit, or "
                 "speak MQTT 5", self->options->place, MAX_ENDED);
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT,
                 "%s: %d connections in a row ended on one event of %" G_GSIZE_FORMAT " bytes: the server does not let "
                 "the user publish there, or the event is too large for it; its log may tell, and MQTT 5 does",
                 self->options->place, MAX_ENDED, size);
}

static gboolean
mqtt_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  MqttIngress *self = MQTT_INGRESS (ingress);
  gsize largest;

  if (!get_ready (self, cancellable, error))
    return FALSE;
  if (mqtt_publish (self->link, &self->message, batch, &largest, cancellable, error))
    {
      self->largest = MAX (self->largest, largest);
      return TRUE;
    }

  if (is_suspect (self, batch, error != NULL ? *error : NULL))
    judge_suspect (self, error);
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
  g_free (self->suspect);

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
