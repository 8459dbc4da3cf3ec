/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

/* Registers nothing. */
G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
}
