/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <libpeas/peas.h>

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

/* Makes the file EVBUS_TEST_GATE, waits until somebody has removed it, and then registers
 * nothing. */
G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  const char *gate = g_getenv ("EVBUS_TEST_GATE");

  g_assert_true (g_file_set_contents (gate, "", 0, NULL));
  while (g_file_test (gate, G_FILE_TEST_EXISTS))
    g_usleep (1000);  /* poll */
}
