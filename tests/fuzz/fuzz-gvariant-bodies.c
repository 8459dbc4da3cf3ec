/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Bodies as they come from the bus: the data is a D-Bus message, whose values
 * are trees that GDBus has made.
 */

#include <evbus/evbus.h>

#include "fuzz.h"
#include "fuzz-body.h"

int
LLVMFuzzerTestOneInput (const uint8_t *data,
                        size_t         size)
{
  g_autoptr(GDBusMessage) message = NULL;
  g_autoptr(GVariant) argument = NULL;
  g_autoptr(GVariant) boxed = NULL;
  GVariant *body;
  gsize i;

  if (size == 0)
    return 0;

  message = g_dbus_message_new_from_blob ((guchar *) data, size, G_DBUS_CAPABILITY_FLAGS_UNIX_FD_PASSING, NULL);
  if (message == NULL || g_dbus_message_get_body (message) == NULL)
    return 0;

  body = g_dbus_message_get_body (message);
  for (i = 0; i < g_variant_n_children (body); i++)
    {
      g_clear_pointer (&argument, g_variant_unref);
      argument = g_variant_get_child_value (body, i);
      if (g_variant_is_of_type (argument, G_VARIANT_TYPE_VARIANT))
        {
          g_clear_pointer (&boxed, g_variant_unref);
          boxed = g_variant_get_variant (argument);
          fuzz_body (boxed);
        }
    }
  fuzz_body (body);
  return 0;
}
