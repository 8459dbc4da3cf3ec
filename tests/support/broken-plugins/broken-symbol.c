/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>

/* Does not load: nobody has this function. */
void evbus_test_function_that_does_not_exist (void);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  evbus_test_function_that_does_not_exist ();
}
