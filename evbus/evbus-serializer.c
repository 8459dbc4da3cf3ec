/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-serializer-private.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-json-writer-private.h"
#include "evbus-msgpack-private.h"
#include "evbus-number-private.h"
#include "evbus-variant-walk-private.h"

/**
 * EvbusSerializer:
 *
 * Turns the body of an event into bytes when it is put.
 *
 * | name | content type | what it makes of a body |
 * | --- | --- | --- |
 * | `json` (default) | `application/json` | JSON on one line: dictionaries become objects (keys that are not strings become their text), arrays, tuples and `ay` arrays, an empty maybe `null`, a variant its value; doubles are the shortest that read back the same. A not-a-number or an infinity is refused |
 * | `gvariant` | `application/x-gvariant` | the body boxed as a variant (type `v`), in normal form and little endian, so that its type travels with it: `g_variant_new_from_bytes (G_VARIANT_TYPE_VARIANT, …)` reads it, after g_variant_byteswap() on a big-endian machine |
 * | `msgpack` | `application/vnd.msgpack` | MessagePack: `ay` becomes bin, dictionaries become maps with keys of their own type, an empty maybe nil |
 * | `str` | `text/plain;charset=utf-8` | a string as it is, any other basic value as its plain text, a container as GVariant text, which g_variant_parse() reads |
 *
 * A program adds others with [func@Serializer.register], a plugin does so when it is
 * loaded: `[Evbus] Serializer=NAME` in its `.plugin` file says of which name.
 *
 * All of them, also the added ones, refuse a body with a handle (type `h`), with a key twice in one
 * dictionary, or nested deeper than 64 containers. Each array, tuple, maybe and
 * variant counts as one container, a dictionary together with its entries too.
 * Data that was not vouched for is brought to normal form first.
 *
 * The methods may be called from any thread, and an implementation must allow
 * that.
 *
 * Since: 1.0
 */

/**
 * EvbusSerializerInterface:
 * @parent_iface: the parent
 * @get_content_type: returns the content type of what it makes
 * @serialize: appends the bytes of the body to the buffer; what it has appended
 *   when it fails is taken back by the caller
 * @to_bytes: returns the bytes of the body
 *
 * What a serializer implements: one of @serialize, which copies nothing, and
 * @to_bytes, which other languages can implement too. The body is in normal form, and
 * has no handle in it, no key twice in a dictionary and not too much nesting.
 *
 * Since: 1.0
 */

G_DEFINE_INTERFACE (EvbusSerializer, evbus_serializer, G_TYPE_OBJECT)

typedef gboolean (* SerializeFunc) (GVariant    *body,
                                    GByteArray  *buffer,
                                    GError     **error);

typedef struct
{
  const char    *name;
  const char    *content_type;
  SerializeFunc  serialize;
} Format;

#define EVBUS_TYPE_BUILTIN_SERIALIZER (evbus_builtin_serializer_get_type ())
G_DECLARE_FINAL_TYPE (EvbusBuiltinSerializer, evbus_builtin_serializer,
                      EVBUS, BUILTIN_SERIALIZER, GObject)

/* One of the formats below. */
struct _EvbusBuiltinSerializer
{
  GObject       parent_instance;
  const Format *format;
};

static void evbus_builtin_serializer_iface_init (EvbusSerializerInterface *iface);

G_DEFINE_FINAL_TYPE_WITH_CODE (EvbusBuiltinSerializer, evbus_builtin_serializer, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (EVBUS_TYPE_SERIALIZER,
                                                      evbus_builtin_serializer_iface_init))

/* What the formats other than JSON, which checks as it writes, begin with. */
static GVariant *
begin_checked (GVariant  *body,
               GError   **error)
{
  g_autoptr(GVariant) held = evbus_walk_begin (body);

  if (!evbus_walk_check (held, error))
    return NULL;
  return g_steal_pointer (&held);
}

static gboolean
serialize_gvariant (GVariant    *body,
                    GByteArray  *buffer,
                    GError     **error)
{
  g_autoptr(GVariant) held = NULL;
  g_autoptr(GVariant) swapped = NULL;
  const char *type;

  held = begin_checked (body, error);
  if (held == NULL)
    return FALSE;

  type = g_variant_get_type_string (held);
  swapped = G_BYTE_ORDER == G_BIG_ENDIAN ? g_variant_byteswap (held) : g_variant_ref (held);

  /* The serialised form of the variant that would box it, without making one. */
  g_byte_array_append (buffer, g_variant_get_data (swapped), g_variant_get_size (swapped));
  g_byte_array_append (buffer, (const guint8 *) "", 1);
  g_byte_array_append (buffer, (const guint8 *) type, strlen (type));
  return TRUE;
}

static gboolean
serialize_msgpack (GVariant    *body,
                   GByteArray  *buffer,
                   GError     **error)
{
  g_autoptr(GVariant) held = begin_checked (body, error);

  return held != NULL && evbus_msgpack_write (held, buffer, error);
}

static char *
plain_text (GVariant *value)
{
  g_autoptr(GVariant) inner = NULL;
  char number[EVBUS_NUMBER_SIZE];

  switch (g_variant_classify (value))
    {
    case G_VARIANT_CLASS_STRING:
    case G_VARIANT_CLASS_OBJECT_PATH:
    case G_VARIANT_CLASS_SIGNATURE:
      return g_variant_dup_string (value, NULL);
    case G_VARIANT_CLASS_BYTE:
      return g_strdup_printf ("%u", g_variant_get_byte (value));
    case G_VARIANT_CLASS_DOUBLE:
      if (g_variant_get_double (value) - g_variant_get_double (value) != 0)
        break;          /* not finite */
      evbus_number_from_double (number, g_variant_get_double (value));
      return g_strdup (number);
    case G_VARIANT_CLASS_VARIANT:
      inner = g_variant_get_variant (value);
      return plain_text (inner);
    default:
      break;
    }
  return g_variant_print (value, FALSE);
}

static gboolean
serialize_str (GVariant    *body,
               GByteArray  *buffer,
               GError     **error)
{
  g_autoptr(GVariant) held = NULL;
  g_autofree char *text = NULL;

  held = begin_checked (body, error);
  if (held == NULL)
    return FALSE;

  text = plain_text (held);
  g_byte_array_append (buffer, (const guint8 *) text, strlen (text));
  return TRUE;
}

static const Format formats[] = {
  { "json", "application/json", evbus_json_writer_write },
  { "gvariant", "application/x-gvariant", serialize_gvariant },
  { "msgpack", "application/vnd.msgpack", serialize_msgpack },
  { "str", "text/plain;charset=utf-8", serialize_str },
};

static const char *
builtin_get_content_type (EvbusSerializer *serializer)
{
  return EVBUS_BUILTIN_SERIALIZER (serializer)->format->content_type;
}

static gboolean
builtin_serialize (EvbusSerializer  *serializer,
                   GVariant         *body,
                   GByteArray       *buffer,
                   GError          **error)
{
  return EVBUS_BUILTIN_SERIALIZER (serializer)->format->serialize (body, buffer, error);
}

static void
evbus_builtin_serializer_iface_init (EvbusSerializerInterface *iface)
{
  iface->get_content_type = builtin_get_content_type;
  iface->serialize = builtin_serialize;
}

static void
evbus_builtin_serializer_class_init (EvbusBuiltinSerializerClass *klass)
{
}

static void
evbus_builtin_serializer_init (EvbusBuiltinSerializer *self)
{
}

/* For those that implement the other one. */
static gboolean
serialize_by_bytes (EvbusSerializer  *self,
                    GVariant         *body,
                    GByteArray       *buffer,
                    GError          **error)
{
  GBytes *(* to_bytes) (EvbusSerializer *, GVariant *, GError **) = EVBUS_SERIALIZER_GET_IFACE (self)->to_bytes;
  g_autoptr(GBytes) bytes = to_bytes != NULL ? to_bytes (self, body, error) : NULL;
  gconstpointer data;
  gsize size;

  if (bytes == NULL)
    return FALSE;

  data = g_bytes_get_data (bytes, &size);
  if (size > 0)
    g_byte_array_append (buffer, data, size);
  return TRUE;
}

static void
evbus_serializer_default_init (EvbusSerializerInterface *iface)
{
  iface->serialize = serialize_by_bytes;
}

static EvbusSerializer *
get_builtin (gsize index)
{
  static EvbusBuiltinSerializer *instances[G_N_ELEMENTS (formats)];
  EvbusBuiltinSerializer *self;

  if (g_once_init_enter (&instances[index]))
    {
      self = g_object_new (EVBUS_TYPE_BUILTIN_SERIALIZER, NULL);
      self->format = &formats[index];
      g_once_init_leave (&instances[index], self);
    }
  return g_object_ref (EVBUS_SERIALIZER (instances[index]));
}

EvbusSerializer *
evbus_serializer_lookup_builtin (const char *name)
{
  for (gsize i = 0; i < G_N_ELEMENTS (formats); i++)
    {
      if (strcmp (name, formats[i].name) == 0)
        return get_builtin (i);
    }

  return NULL;
}

void
evbus_serializer_list_builtin (GPtrArray *names)
{
  for (gsize i = 0; i < G_N_ELEMENTS (formats); i++)
    g_ptr_array_add (names, (gpointer) formats[i].name);
}

/**
 * evbus_serializer_get_content_type:
 * @self: a serializer
 *
 * The content type of what it makes, which events carry to their receivers.
 *
 * Returns: (transfer none) (nullable): a media type, as `application/json`; %NULL for
 *   one that was not registered
 *
 * Since: 1.0
 */
const char *
evbus_serializer_get_content_type (EvbusSerializer *self)
{
  g_return_val_if_fail (EVBUS_IS_SERIALIZER (self), NULL);

  return EVBUS_IS_BUILTIN_SERIALIZER (self) ? builtin_get_content_type (self)
                                            : evbus_serializer_get_registered_type (self);
}

/**
 * evbus_serializer_serialize:
 * @self: a serializer
 * @body: any value; a floating reference is taken
 * @buffer: what to append to
 * @error: return location for a #GError
 *
 * Appends the bytes of a body to a buffer.
 *
 * Returns: %TRUE on success; otherwise %FALSE with @error set, mostly to
 *   %EVBUS_ERROR_INVALID_BODY with the way to the value that is at fault, and
 *   @buffer as it was
 *
 * Since: 1.0
 */
gboolean
evbus_serializer_serialize (EvbusSerializer  *self,
                            GVariant         *body,
                            GByteArray       *buffer,
                            GError          **error)
{
  g_autoptr(GVariant) held = NULL;
  g_autoptr(GVariant) checked = NULL;
  g_autoptr(GError) local_error = NULL;
  guint before;

  g_return_val_if_fail (EVBUS_IS_SERIALIZER (self), FALSE);
  g_return_val_if_fail (body != NULL, FALSE);
  g_return_val_if_fail (buffer != NULL, FALSE);

  held = g_variant_ref_sink (body);
  before = buffer->len;
  if (EVBUS_IS_BUILTIN_SERIALIZER (self))
    checked = g_variant_ref (held);
  else
    checked = begin_checked (held, &local_error);
  if (checked != NULL && EVBUS_SERIALIZER_GET_IFACE (self)->serialize (self, checked, buffer, &local_error))
    return TRUE;

  g_byte_array_set_size (buffer, before);
  if (local_error == NULL)
    g_set_error (&local_error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                 "the serializer %s failed without saying why", G_OBJECT_TYPE_NAME (self));
  g_propagate_error (error, g_steal_pointer (&local_error));
  return FALSE;
}

/**
 * evbus_serializer_to_bytes:
 * @self: a serializer
 * @body: any value; a floating reference is taken
 * @error: return location for a #GError
 *
 * Like [method@Evbus.Serializer.serialize], into bytes of its own.
 *
 * Returns: (transfer full): the bytes, or %NULL with @error set
 *
 * Since: 1.0
 */
GBytes *
evbus_serializer_to_bytes (EvbusSerializer  *self,
                           GVariant         *body,
                           GError          **error)
{
  g_autoptr(GByteArray) buffer = g_byte_array_new ();

  if (!evbus_serializer_serialize (self, body, buffer, error))
    return NULL;
  return g_byte_array_free_to_bytes (g_steal_pointer (&buffer));
}
