/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>

/* Events go to the mailbox of the route, where consumers take them. */

#define INTERNAL_TYPE_INGRESS (internal_ingress_get_type ())

G_DECLARE_FINAL_TYPE (InternalIngress, internal_ingress, INTERNAL, INGRESS, GObject)

struct _InternalIngress
{
  GObject  parent_instance;

  char    *routing_key;
};

static gboolean
internal_ingress_open (EvbusIngress  *ingress,
                       EvbusContext  *ctx,
                       GCancellable  *cancellable,
                       GError       **error)
{
  InternalIngress *self = INTERNAL_INGRESS (ingress);

  g_free (self->routing_key);
  self->routing_key = g_strdup (evbus_context_get_string (ctx, "routing_key"));
  evbus_mailbox_set_limits (evbus_context_get_mailbox (ctx),
                            evbus_context_get_int (ctx, "max_events"),
                            evbus_context_get_int (ctx, "max_bytes"));
  return TRUE;
}

static gboolean
internal_ingress_publish (EvbusIngress  *ingress,
                          EvbusContext  *ctx,
                          EvbusBatch    *batch,
                          GCancellable  *cancellable,
                          GError       **error)
{
  return evbus_mailbox_push_batch (evbus_context_get_mailbox (ctx), batch,
                                   INTERNAL_INGRESS (ingress)->routing_key,
                                   cancellable, error);
}

static void
internal_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = internal_ingress_open;
  iface->publish = internal_ingress_publish;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (InternalIngress, internal_ingress, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_INGRESS, internal_ingress_iface_init))

static void
internal_ingress_finalize (GObject *object)
{
  g_free (INTERNAL_INGRESS (object)->routing_key);

  G_OBJECT_CLASS (internal_ingress_parent_class)->finalize (object);
}

static void
internal_ingress_class_init (InternalIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = internal_ingress_finalize;
}

static void
internal_ingress_init (InternalIngress *self)
{
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, INTERNAL_TYPE_INGRESS);
}
