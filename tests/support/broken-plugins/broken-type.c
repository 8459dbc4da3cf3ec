/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <evbus/evbus.h>
#include <libpeas/peas.h>

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

/* What it registers as an ingress is none. */
G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  peas_object_module_register_extension_type (module, EVBUS_TYPE_INGRESS, G_TYPE_CANCELLABLE);
}
