/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus.h"

G_DEFINE_INTERFACE (EvbusSerializer, evbus_serializer, G_TYPE_OBJECT)

static void
evbus_serializer_default_init (EvbusSerializerInterface *iface)
{
}

EvbusSerializer *
evbus_serializer_lookup (const char  *name,
                         GError     **error)
{
  return NULL;
}

const char *
evbus_serializer_get_content_type (EvbusSerializer *self)
{
  return NULL;
}

gboolean
evbus_serializer_serialize (EvbusSerializer  *self,
                            GVariant         *body,
                            GByteArray       *buffer,
                            GError          **error)
{
  return FALSE;
}

GBytes *
evbus_serializer_to_bytes (EvbusSerializer  *self,
                           GVariant         *body,
                           GError          **error)
{
  return NULL;
}
