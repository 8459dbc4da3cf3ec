/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* A plugin with nothing but a serializer: the body as text, in capitals. */

#include <evbus/evbus.h>
#include <libpeas/peas.h>

#define SHOUT_TYPE_SERIALIZER (shout_serializer_get_type ())
G_DECLARE_FINAL_TYPE (ShoutSerializer, shout_serializer, SHOUT, SERIALIZER, GObject)

struct _ShoutSerializer
{
  GObject parent_instance;
};

static const char *
shout_get_content_type (EvbusSerializer *serializer)
{
  return "text/x-shout";
}

static gboolean
shout_serialize (EvbusSerializer  *serializer,
                 GVariant         *body,
                 GByteArray       *buffer,
                 GError          **error)
{
  g_autofree char *text = g_variant_print (body, FALSE);

  for (char *p = text; *p != '\0'; p++)
    {
      guint8 c = g_ascii_toupper (*p);

      g_byte_array_append (buffer, &c, 1);
    }
  return TRUE;
}

static void
shout_serializer_iface_init (EvbusSerializerInterface *iface)
{
  iface->get_content_type = shout_get_content_type;
  iface->serialize = shout_serialize;
}

G_DEFINE_FINAL_TYPE_WITH_CODE (ShoutSerializer, shout_serializer, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_SERIALIZER, shout_serializer_iface_init))

static void
shout_serializer_class_init (ShoutSerializerClass *klass)
{
}

static void
shout_serializer_init (ShoutSerializer *self)
{
}

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module);

G_MODULE_EXPORT void
peas_register_types (PeasObjectModule *module)
{
  g_autoptr(EvbusSerializer) serializer = g_object_new (SHOUT_TYPE_SERIALIZER, NULL);

  evbus_serializer_register ("shout", serializer, NULL);
}
