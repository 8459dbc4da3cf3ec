/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>

/* A line for each event, one write for each batch. Nobody at the other end says that it
 * has them: "delivered" is what the kernel took. */

#define TCP_TYPE_INGRESS (tcp_ingress_get_type ())

G_DECLARE_FINAL_TYPE (TcpIngress, tcp_ingress, TCP, INGRESS, GObject)

struct _TcpIngress
{
  GObject            parent_instance;

  GSocketConnection *connection;
  GString           *lines;
};

static gboolean
tcp_ingress_open (EvbusIngress  *ingress,
                  EvbusContext  *ctx,
                  GCancellable  *cancellable,
                  GError       **error)
{
  TcpIngress *self = TCP_INGRESS (ingress);
  g_autoptr(GSocketClient) client = g_socket_client_new ();

  g_clear_object (&self->connection);
  self->connection = g_socket_client_connect_to_host (client, "127.0.0.1",
                                                      (guint16) evbus_context_get_int (ctx, "port"),
                                                      cancellable, error);
  return self->connection != NULL;
}

static gboolean
tcp_ingress_publish (EvbusIngress  *ingress,
                     EvbusContext  *ctx,
                     EvbusBatch    *batch,
                     GCancellable  *cancellable,
                     GError       **error)
{
  TcpIngress *self = TCP_INGRESS (ingress);
  GOutputStream *out = g_io_stream_get_output_stream (G_IO_STREAM (self->connection));
  guint n_events = evbus_batch_get_n_events (batch);

  g_string_truncate (self->lines, 0);
  for (guint i = 0; i < n_events; i++)
    {
      gsize size;
      const guint8 *data = evbus_event_get_data (evbus_batch_get_event (batch, i), &size);

      g_string_append_len (self->lines, (const char *) data, size);
      g_string_append_c (self->lines, '\n');
    }
  if (!g_output_stream_write_all (out, self->lines->str, self->lines->len, NULL, cancellable, error))
    return FALSE;
  evbus_batch_confirm_all (batch);
  return TRUE;
}

static gboolean
tcp_ingress_close (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GError       **error)
{
  g_clear_object (&TCP_INGRESS (ingress)->connection);
  return TRUE;
}

static void
tcp_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = tcp_ingress_open;
  iface->publish = tcp_ingress_publish;
  iface->close = tcp_ingress_close;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (TcpIngress, tcp_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, tcp_ingress_iface_init))

static void
tcp_ingress_finalize (GObject *object)
{
  TcpIngress *self = TCP_INGRESS (object);

  g_clear_object (&self->connection);
  g_string_free (self->lines, TRUE);
  G_OBJECT_CLASS (tcp_ingress_parent_class)->finalize (object);
}

static void
tcp_ingress_class_init (TcpIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = tcp_ingress_finalize;
}

static void
tcp_ingress_init (TcpIngress *self)
{
  self->lines = g_string_new (NULL);
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, TCP_TYPE_INGRESS);
}
