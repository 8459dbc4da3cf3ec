/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The provider `hook`: an ingress whose open, publish and close are functions
 * of the test program itself (evbus-test-hook.h), which exports them. So a test
 * says in its own file what its destination does. */

#include <evbus/evbus.h>
#include <libpeas/peas.h>

#include "../evbus-test-hook.h"

#define HOOK_TYPE_INGRESS (hook_ingress_get_type ())
G_DECLARE_FINAL_TYPE (HookIngress, hook_ingress, HOOK, INGRESS, GObject)

struct _HookIngress
{
  GObject parent_instance;
};

static void hook_ingress_iface_init (EvbusIngressInterface *iface);

G_DEFINE_DYNAMIC_TYPE_EXTENDED (HookIngress, hook_ingress, G_TYPE_OBJECT, 0,
                                G_IMPLEMENT_INTERFACE_DYNAMIC (EVBUS_TYPE_INGRESS,
                                                               hook_ingress_iface_init))

/* Resolved when called: only a program that links the test support has them. */
extern typeof (evbus_test_ingress_made) evbus_test_ingress_made __attribute__((weak));
extern typeof (evbus_test_ingress_freed) evbus_test_ingress_freed __attribute__((weak));
extern typeof (evbus_test_hook_open) evbus_test_hook_open __attribute__((weak));
extern typeof (evbus_test_hook_publish) evbus_test_hook_publish __attribute__((weak));
extern typeof (evbus_test_hook_close) evbus_test_hook_close __attribute__((weak));

static gboolean
hook_ingress_open (EvbusIngress  *ingress,
                   EvbusContext  *ctx,
                   GCancellable  *cancellable,
                   GError       **error)
{
  if (evbus_test_hook_open == NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_PLUGIN,
                           "The provider “hook” works in test programs alone");
      return FALSE;
    }
  return evbus_test_hook_open (ingress, ctx, cancellable, error);
}

static gboolean
hook_ingress_publish (EvbusIngress  *ingress,
                      EvbusContext  *ctx,
                      EvbusBatch    *batch,
                      GCancellable  *cancellable,
                      GError       **error)
{
  return evbus_test_hook_publish (ingress, ctx, batch, cancellable, error);
}

static gboolean
hook_ingress_close (EvbusIngress  *ingress,
                    EvbusContext  *ctx,
                    GError       **error)
{
  return evbus_test_hook_close (ingress, ctx, error);
}

static void
hook_ingress_iface_init (EvbusIngressInterface *iface)
{
  iface->open = hook_ingress_open;
  iface->publish = hook_ingress_publish;
  iface->close = hook_ingress_close;
}

static void
hook_ingress_finalize (GObject *object)
{
  if (evbus_test_ingress_freed != NULL)
    evbus_test_ingress_freed ();

  G_OBJECT_CLASS (hook_ingress_parent_class)->finalize (object);
}

static void
hook_ingress_class_init (HookIngressClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = hook_ingress_finalize;
}

static void
hook_ingress_class_finalize (HookIngressClass *klass)
{
}

static void
hook_ingress_init (HookIngress *self)
{
  if (evbus_test_ingress_made != NULL)
    evbus_test_ingress_made ();
}

G_MODULE_EXPORT void peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  hook_ingress_register_type (G_TYPE_MODULE (module));
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, HOOK_TYPE_INGRESS);
}
