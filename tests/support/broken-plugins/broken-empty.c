/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <gmodule.h>

/* A library that libpeas finds no entry in. */
G_MODULE_EXPORT int
evbus_test_no_plugin (void);

G_MODULE_EXPORT int
evbus_test_no_plugin (void)
{
  return 0;
}
