/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-event-private.h"

#include <string.h>

#include "evbus-id-private.h"

/**
 * EvbusEvent:
 *
 * An event as it was accepted: id, time, routing key, profile, body in
 * serialised form, and optional attributes.
 *
 * Immutable, so any number of threads may read one. Strings, body and header
 * stand in one block of memory, because an event is made for every put and
 * each further allocation shows (a large body that came as [struct@GLib.Bytes]
 * is shared instead of copied).
 *
 * Since: 1.0
 */

G_DEFINE_BOXED_TYPE (EvbusEvent, evbus_event, evbus_event_ref, evbus_event_unref)

/* From here on sharing a GBytes, which costs two atomic operations and keeps
 * the producer's memory, is cheaper than a copy. */
#define SHARE_FROM_BYTES 4096

#define DAY_US       (24 * 60 * 60 * G_TIME_SPAN_SECOND)
#define EPOCH_JULIAN 719163   /* 1970-01-01, as GDate counts days */

static char *
append_string (char        *out,
               const char  *string,
               gsize        length,
               const char **where)
{
  *where = out;
  memcpy (out, string, length + 1);
  return out + length + 1;
}

EvbusEvent *
evbus_event_new (const EvbusEventInit *init)
{
  gsize key_length = init->routing_key_length;
  gsize profile_length = init->profile_length;
  gsize type_length = strlen (init->content_type);
  gsize id_length = init->id != NULL ? strlen (init->id) : EVBUS_ID_LENGTH;
  gsize size = init->size;
  const guint8 *data = init->data;
  gboolean share;
  EvbusEventBlock *block;
  EvbusEvent *self;
  char *out;

  if (init->bytes != NULL)
    data = g_bytes_get_data (init->bytes, &size);
  share = init->bytes != NULL && size >= SHARE_FROM_BYTES;

  self = evbus_event_memory_new (sizeof *self + id_length + key_length + profile_length +
                                 type_length + 4 + (share ? 0 : size), &block);
  self->block = block;
  self->ref_count = 1;
  self->hops = init->hops;
  self->time = init->time != 0 ? init->time : g_get_real_time ();
  self->max_age = init->max_age;
  self->since = 0;
  self->set = NULL;
  self->seq = 0;
  self->has_receipt = FALSE;
  self->followed = FALSE;
  self->known_id = init->id != NULL;
  self->attributes = init->attributes != NULL ? g_variant_ref_sink (init->attributes) : NULL;
  self->bytes = share ? g_bytes_ref (init->bytes) : NULL;
  self->size = size;
  self->weight = EVBUS_EVENT_FIXED_BYTES + id_length + key_length + profile_length + type_length + 4 + size +
                 (self->attributes != NULL ? g_variant_get_size (self->attributes) : 0);

  out = self->storage;
  if (init->id != NULL)
    {
      out = append_string (out, init->id, id_length, &self->id);
    }
  else
    {
      self->id = out;
      evbus_id_generate (self->time, out);
      out += EVBUS_ID_LENGTH + 1;
    }
  out = append_string (out, init->routing_key, key_length, &self->routing_key);
  out = append_string (out, init->profile, profile_length, &self->profile);
  out = append_string (out, init->content_type, type_length, &self->content_type);

  self->data = share ? data : (guint8 *) out;
  if (!share && size > 0)
    memcpy (out, data, size);

  return self;
}

/* The same event, of the same id and time, under another routing key. */
EvbusEvent *
evbus_event_with_routing_key (EvbusEvent *self,
                              const char *routing_key)
{
  return evbus_event_new (&(EvbusEventInit) {
    .id = self->id,
    .routing_key = routing_key,
    .routing_key_length = strlen (routing_key),
    .profile = self->profile,
    .profile_length = strlen (self->profile),
    .content_type = self->content_type,
    .bytes = self->bytes,
    .data = self->data,
    .size = self->size,
    .attributes = self->attributes,
    .time = self->time,
    .max_age = self->max_age,
    .hops = self->hops,
  });
}

/**
 * evbus_event_ref:
 * @self: an event
 *
 * Adds a reference. From any thread.
 *
 * Returns: (transfer full): @self
 *
 * Since: 1.0
 */
EvbusEvent *
evbus_event_ref (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  g_atomic_int_inc (&self->ref_count);
  return self;
}

/**
 * evbus_event_unref:
 * @self: (transfer full): an event
 *
 * Gives a reference back; the last one frees the event. From any thread.
 *
 * Since: 1.0
 */
void
evbus_event_unref (EvbusEvent *self)
{
  g_return_if_fail (self != NULL);

  /* One holder: nobody else can be adding a reference, so the decrement need
   * not be atomic. */
  if (g_atomic_int_get (&self->ref_count) != 1 &&
      !g_atomic_int_dec_and_test (&self->ref_count))
    return;

  g_clear_pointer (&self->attributes, g_variant_unref);
  g_clear_pointer (&self->bytes, g_bytes_unref);
  evbus_event_memory_free (self, self->block);
}

/**
 * evbus_event_get_id:
 * @self: an event
 *
 * The event's id: the one that the producer gave, else a UUIDv7
 * ([RFC 9562](https://www.rfc-editor.org/rfc/rfc9562)). It goes to every
 * destination as its key against duplicates.
 *
 * Returns: (transfer none): 1 to 128 printable ASCII characters
 *
 * Since: 1.0
 */
const char *
evbus_event_get_id (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->id;
}

/**
 * evbus_event_get_time:
 * @self: an event
 *
 * When the event was put, by the wall clock.
 *
 * Returns: microseconds since 1970-01-01 00:00 UTC
 *
 * Since: 1.0
 */
gint64
evbus_event_get_time (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->time;
}

/**
 * evbus_event_get_routing_key:
 * @self: an event
 *
 * The routing key as it was put.
 *
 * Returns: (transfer none): 1 to 255 bytes of UTF-8
 *
 * Since: 1.0
 */
const char *
evbus_event_get_routing_key (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->routing_key;
}

/**
 * evbus_event_get_profile:
 * @self: an event
 *
 * The profile's name as it was put, "default" if none was given.
 *
 * Returns: (transfer none): 1 to 255 bytes of UTF-8
 *
 * Since: 1.0
 */
const char *
evbus_event_get_profile (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->profile;
}

/**
 * evbus_event_get_content_type:
 * @self: an event
 *
 * The media type of the body, such as "application/json": that of the
 * serializer, or the one given with a body that was serialised already.
 *
 * Returns: (transfer none): at most 255 bytes of printable ASCII
 *
 * Since: 1.0
 */
const char *
evbus_event_get_content_type (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->content_type;
}

/**
 * evbus_event_get_body:
 * @self: an event
 *
 * The serialised body. The bytes are not copied; they keep the event alive.
 *
 * Returns: (transfer full): the body
 *
 * Since: 1.0
 */
GBytes *
evbus_event_get_body (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  if (self->bytes != NULL)
    return g_bytes_ref (self->bytes);

  return g_bytes_new_with_free_func (self->data, self->size,
                                     (GDestroyNotify) evbus_event_unref,
                                     evbus_event_ref (self));
}

/**
 * evbus_event_get_data: (skip)
 * @self: an event
 * @size: (out) (optional): where to put the number of bytes
 *
 * The serialised body, for C: valid as long as the event, and not terminated
 * by a NUL.
 *
 * Returns: (transfer none) (array length=size): the body
 *
 * Since: 1.0
 */
const guint8 *
evbus_event_get_data (EvbusEvent *self,
                      gsize      *size)
{
  g_return_val_if_fail (self != NULL, NULL);

  if (size != NULL)
    *size = self->size;
  return self->data;
}

/**
 * evbus_event_is_json:
 * @self: an event
 *
 * Tells whether the content type says that the body is JSON: `application/json`, or
 * one that ends in `+json` (RFC 6839), whatever its parameters.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
evbus_event_is_json (EvbusEvent *self)
{
  gsize length;

  g_return_val_if_fail (self != NULL, FALSE);

  length = strcspn (self->content_type, "; ");
  if (length == strlen ("application/json"))
    return g_ascii_strncasecmp (self->content_type, "application/json", length) == 0;

  return length > strlen ("+json") &&
         g_ascii_strncasecmp (self->content_type + length - strlen ("+json"), "+json", strlen ("+json")) == 0;
}

static void
write_digits (char  *at,
              guint  n_digits,
              guint  value)
{
  while (n_digits-- > 0)
    {
      at[n_digits] = '0' + value % 10;
      value /= 10;
    }
}

void
evbus_time_append (gint64   time,
                   GString *string)
{
  char text[] = "0000-00-00T00:00:00.000000Z";
  gint64 days;
  guint second;
  GDate date;

  time = CLAMP (time, G_GINT64_CONSTANT (-62135596800000000), G_GINT64_CONSTANT (253402300799999999));
  days = (time - (time < 0 ? DAY_US - 1 : 0)) / DAY_US;
  time -= days * DAY_US;
  second = (guint) (time / G_USEC_PER_SEC);

  g_date_clear (&date, 1);
  g_date_set_julian (&date, (guint32) (days + EPOCH_JULIAN));
  write_digits (text, 4, g_date_get_year (&date));
  write_digits (text + 5, 2, g_date_get_month (&date));
  write_digits (text + 8, 2, g_date_get_day (&date));
  write_digits (text + 11, 2, second / 3600);
  write_digits (text + 14, 2, second / 60 % 60);
  write_digits (text + 17, 2, second % 60);
  write_digits (text + 20, 6, (guint) (time % G_USEC_PER_SEC));
  g_string_append_len (string, text, sizeof text - 1);
}

/**
 * evbus_event_append_time:
 * @self: an event
 * @string: where to
 *
 * Appends the time at which the event was put, as RFC 3339 has it, in UTC with
 * microseconds: `2026-11-23T18:58:41.802852Z`. Years end at 9999.
 *
 * Since: 1.0
 */
void
evbus_event_append_time (EvbusEvent *self,
                         GString    *string)
{
  g_return_if_fail (self != NULL && string != NULL);

  evbus_time_append (self->time, string);
}

/**
 * evbus_event_get_attributes:
 * @self: an event
 *
 * What the producer gave along with the body, such as `traceparent`.
 *
 * Returns: (transfer none) (nullable): a dictionary of strings, `a{ss}`
 *
 * Since: 1.0
 */
GVariant *
evbus_event_get_attributes (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  return self->attributes;
}

/**
 * evbus_event_get_hops:
 * @self: an event
 *
 * How many events stand between this one and one that was put for its own
 * sake: 0 for the latter, 1 for an event put while that one was handled, and
 * so on. A put that would exceed 8 fails with %EVBUS_ERROR_HOP_LIMIT, which
 * cuts a loop.
 *
 * Returns: 0 to 8
 *
 * Since: 1.0
 */
guint
evbus_event_get_hops (EvbusEvent *self)
{
  g_return_val_if_fail (self != NULL, 0);

  return self->hops;
}
