/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The serializer json against json-glib, with the body in serialised form, and
 * as GDBus makes it from a message: there it is a tree, and its serialised form
 * has yet to be made, once for each message.
 */

#include <evbus/evbus.h>
#include <json-glib/json-glib.h>

#include "bench.h"

#define N_BODIES 20000

/* As many are made before the clock starts again: few enough to be still in the
 * processor's cache, as a message is that has just been read. */
#define CHUNK 32

typedef struct
{
  EvbusSerializer *serializer;
  GByteArray      *buffer;
  GVariant        *serialised;
  GBytes          *message;
  guint            n_chunks;
} Json;

typedef gboolean (* Serialize) (Json      *self,
                                GVariant  *body,
                                GError   **error);

static gboolean
serialize_ours (Json      *self,
                GVariant  *body,
                GError   **error)
{
  g_byte_array_set_size (self->buffer, 0);
  return evbus_serializer_serialize (self->serializer, body, self->buffer, error);
}

static gboolean
serialize_json_glib (Json      *self,
                     GVariant  *body,
                     GError   **error)
{
  g_free (json_gvariant_serialize_data (body, NULL));
  return TRUE;
}

/* The body of a call of Put, out of a message that has just arrived. No
 * g_variant_get() with '&': that serialises the message. */
static GVariant *
receive_body (Json    *self,
              GError **error)
{
  g_autoptr (GDBusMessage) message = NULL;
  g_autoptr (GVariant) boxed = NULL;
  gsize size;
  const guint8 *blob = g_bytes_get_data (self->message, &size);

  message = g_dbus_message_new_from_blob ((guchar *) blob, size, G_DBUS_CAPABILITY_FLAGS_NONE, error);
  if (message == NULL)
    return NULL;
  boxed = g_variant_get_child_value (g_dbus_message_get_body (message), 1);
  return g_variant_get_variant (boxed);
}

static gboolean
measure_chunk (Json       *self,
               gboolean    from_messages,
               Serialize   serialize,
               gint64     *spent,
               GError    **error)
{
  GVariant *bodies[CHUNK];
  gboolean success = TRUE;
  gint64 start;
  guint n, i;

  for (n = 0; n < CHUNK; n++)
    {
      bodies[n] = from_messages ? receive_body (self, error) : g_variant_ref (self->serialised);
      if (bodies[n] == NULL)
        break;
    }

  start = g_get_monotonic_time ();
  for (i = 0; success && i < n; i++)
    success = serialize (self, bodies[i], error);
  *spent += g_get_monotonic_time () - start;

  for (i = 0; i < n; i++)
    g_variant_unref (bodies[i]);
  return success && n == CHUNK;
}

static gboolean
measure (Json       *self,
         gboolean    from_messages,
         Serialize   serialize,
         double     *value,
         GError    **error)
{
  gint64 spent = 0;
  guint i;

  for (i = 0; i < self->n_chunks; i++)
    {
      if (!measure_chunk (self, from_messages, serialize, &spent, error))
        return FALSE;
    }
  *value = bench_per_second ((guint64) self->n_chunks * CHUNK, 0, spent);
  return TRUE;
}

static gboolean
ours_serialised (gpointer   data,
                 double    *value,
                 GError   **error)
{
  return measure (data, FALSE, serialize_ours, value, error);
}

static gboolean
json_glib_serialised (gpointer   data,
                      double    *value,
                      GError   **error)
{
  return measure (data, FALSE, serialize_json_glib, value, error);
}

static gboolean
ours_dbus (gpointer   data,
           double    *value,
           GError   **error)
{
  return measure (data, TRUE, serialize_ours, value, error);
}

static gboolean
json_glib_dbus (gpointer   data,
                double    *value,
                GError   **error)
{
  return measure (data, TRUE, serialize_json_glib, value, error);
}

static GBytes *
make_message (void)
{
  g_autoptr (GDBusMessage) message = NULL;
  guchar *blob;
  gsize size;

  message = g_dbus_message_new_method_call ("org.evbus1", "/org/evbus1", "org.evbus1.Broker", "Put");
  g_dbus_message_set_serial (message, 1);
  g_dbus_message_set_body (message, g_variant_new ("(svs)", "order.created", bench_build_body (1), ""));
  blob = g_dbus_message_to_blob (message, &size, G_DBUS_CAPABILITY_FLAGS_NONE, NULL);
  return g_bytes_new_take (blob, size);
}

/* Made of bytes that nobody vouched for, as a body from a file or a socket is. */
static GVariant *
make_serialised (void)
{
  g_autoptr (GVariant) tree = g_variant_ref_sink (bench_build_body (1));
  g_autoptr (GBytes) bytes = g_variant_get_data_as_bytes (tree);

  return g_variant_ref_sink (g_variant_new_from_bytes (G_VARIANT_TYPE_VARDICT, bytes, FALSE));
}

int
main (int    argc,
      char **argv)
{
  Json json = { NULL, };
  Bench serialised = {
    .name = "json-serialised", .unit = "bodies/s", .target = 3.0,
    .ours = ours_serialised, .limit = json_glib_serialised, .data = &json,
  };
  Bench dbus = {
    .name = "json-dbus", .unit = "bodies/s", .target = 1.5,
    .ours = ours_dbus, .limit = json_glib_dbus, .data = &json,
  };

  bench_init (&argc, &argv);
  json.serializer = evbus_serializer_lookup ("json", NULL);
  json.buffer = g_byte_array_new ();
  json.serialised = make_serialised ();
  json.message = make_message ();
  json.n_chunks = bench_scale (N_BODIES / CHUNK);

  bench_run (&serialised);
  bench_run (&dbus);

  g_object_unref (json.serializer);
  g_byte_array_unref (json.buffer);
  g_variant_unref (json.serialised);
  g_bytes_unref (json.message);
  return bench_finish ();
}
