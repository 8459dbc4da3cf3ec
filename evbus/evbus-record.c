/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* All numbers are little-endian:
 *
 *      0  magic "EVR1"
 *      4  u32  length of the whole
 *      8  u32  CRC32 of all that follows
 *     12  u8   kind
 *     13  u8   hops
 *     14  u8   bytes of the id, then of routing key, profile, content type
 *     18  u16  bytes of the attributes
 *     20  u32  place: set of routes, or route
 *     24  i64  sequence number
 *     32  i64  time of the put by the wall clock
 *     40  i64  the same by the spool's steady clock
 *     48  u64  0; in format 1 the boot, and before it the boot time
 *     56  i64  max_age
 *     64  id, routing key, profile, content type, each with a NUL; attributes
 *         (a{ss}); of a dead letter i64 died, u32 bytes of the reason, reason; body
 */

#include "evbus-record-private.h"

#include <string.h>
#include <zlib.h>

#include "evbus-clock-private.h"
#include "evbus-id-private.h"
#include "evbus-limits-private.h"

#define FIXED EVBUS_EVENT_FIXED_BYTES
#define DEAD_FIXED 12u

static guint16
get_u16 (const guint8 *data)
{
  guint16 value;

  memcpy (&value, data, sizeof value);
  return GUINT16_FROM_LE (value);
}

static guint32
get_u32 (const guint8 *data)
{
  guint32 value;

  memcpy (&value, data, sizeof value);
  return GUINT32_FROM_LE (value);
}

static gint64
get_i64 (const guint8 *data)
{
  gint64 value;

  memcpy (&value, data, sizeof value);
  return GINT64_FROM_LE (value);
}

static void
put_u16 (guint8  *out,
         guint16  value)
{
  value = GUINT16_TO_LE (value);
  memcpy (out, &value, sizeof value);
}

static void
put_u32 (guint8  *out,
         guint32  value)
{
  value = GUINT32_TO_LE (value);
  memcpy (out, &value, sizeof value);
}

static void
put_i64 (guint8 *out,
         gint64  value)
{
  value = GINT64_TO_LE (value);
  memcpy (out, &value, sizeof value);
}

static guint8 *
put_string (guint8     *out,
            const char *string,
            gsize       length)
{
  memcpy (out, string, length + 1);
  return out + length + 1;
}

void
evbus_record_append (GByteArray            *array,
                     EvbusEvent            *event,
                     const EvbusRecordInfo *info)
{
  const char *strings[] = { event->id, event->routing_key, event->profile, event->content_type };
  gsize attributes = event->attributes != NULL ? g_variant_get_size (event->attributes) : 0;
  gboolean dead = info->kind == EVBUS_RECORD_DEAD;
  gint64 since = event->since != 0 ? event->since : evbus_clock_get_boot_time ();
  gsize length = event->weight + (dead ? DEAD_FIXED + info->reason_length : 0);
  gsize start = array->len;
  guint8 *record, *out;

  g_byte_array_set_size (array, start + length);
  record = array->data + start;

  put_u32 (record, EVBUS_RECORD_MAGIC);
  put_u32 (record + 4, length);
  record[12] = info->kind;
  record[13] = event->hops;
  put_u16 (record + 18, attributes);
  put_u32 (record + 20, info->place);
  put_i64 (record + 24, info->seq);
  put_i64 (record + 32, event->time);
  put_i64 (record + 40, since + info->ahead);
  put_i64 (record + 48, 0);
  put_i64 (record + 56, event->max_age);

  out = record + FIXED;
  for (guint i = 0; i < G_N_ELEMENTS (strings); i++)
    {
      gsize bytes = strlen (strings[i]);

      record[14 + i] = bytes;
      out = put_string (out, strings[i], bytes);
    }
  if (attributes > 0)
    g_variant_store (event->attributes, out);
  out += attributes;
  if (dead)
    {
      put_i64 (out, info->died);
      put_u32 (out + 8, info->reason_length);
      memcpy (out + DEAD_FIXED, info->reason, info->reason_length);
      out += DEAD_FIXED + info->reason_length;
    }
  if (event->size > 0)
    memcpy (out, event->data, event->size);

  put_u32 (record + 8, crc32 (0, record + EVBUS_RECORD_PREFIX, length - EVBUS_RECORD_PREFIX));
}

/* When it was put, by the steady clock. Below 0, or beyond all times, it is nonsense, of
 * which a difference might overflow. In format 1 there was none but the wall clock, with whose time the
 * steady one began. */
static gint64
get_put (const guint8 *data)
{
  return CLAMP (get_i64 (data + (get_i64 (data + 48) == 0 ? 40 : 32)), 0, G_MAXINT64 / 2);
}

gsize
evbus_record_check (const guint8    *data,
                    gsize            size,
                    EvbusRecordInfo *info)
{
  gsize length, variable;

  if (size < FIXED || get_u32 (data) != EVBUS_RECORD_MAGIC)
    return 0;
  length = get_u32 (data + 4);
  if (length < FIXED || length > size ||
      get_u32 (data + 8) != crc32 (0, data + EVBUS_RECORD_PREFIX, length - EVBUS_RECORD_PREFIX))
    return 0;

  variable = FIXED + data[14] + data[15] + data[16] + data[17] + 4 + get_u16 (data + 18);
  if (variable > length || (data[12] != EVBUS_RECORD_EVENT && data[12] != EVBUS_RECORD_DEAD))
    return 0;

  if (info != NULL)
    {
      memset (info, 0, sizeof *info);
      info->kind = data[12];
      info->place = get_u32 (data + 20);
      info->seq = get_i64 (data + 24);
      info->put = get_put (data);
    }
  if (data[12] == EVBUS_RECORD_DEAD)
    {
      gsize reason;

      if (variable + DEAD_FIXED > length)
        return 0;
      reason = get_u32 (data + variable + 8);
      if (reason > length - variable - DEAD_FIXED)
        return 0;
      if (info != NULL)
        {
          info->died = get_i64 (data + variable);
          info->reason = (const char *) data + variable + DEAD_FIXED;
          info->reason_length = reason;
        }
      variable += DEAD_FIXED + reason;
    }
  if (info != NULL)
    {
      info->size = length - variable;
      info->weight = length - (info->kind == EVBUS_RECORD_DEAD ? DEAD_FIXED + info->reason_length : 0);
    }
  return length;
}

/* The four strings: each ends where the record says. An id that is valid is ASCII. */
static gboolean
get_strings (const guint8 *data,
             const char   *strings[4])
{
  const char *at = (const char *) data + FIXED;

  for (guint i = 0; i < 4; i++)
    {
      gsize length = data[14 + i];

      if (memchr (at, '\0', length + 1) != at + length ||
          !(i == 0 ? evbus_id_is_valid (at) : g_utf8_validate_len (at, length, NULL)))
        return FALSE;
      strings[i] = at;
      at += length + 1;
    }
  return TRUE;
}

static GVariant *
get_attributes (const guint8 *data,
                const char   *after)
{
  gsize size = get_u16 (data + 18);
  g_autoptr(GBytes) bytes = g_bytes_new (after, size);
  GVariant *attributes = g_variant_new_from_bytes (G_VARIANT_TYPE ("a{ss}"), bytes, FALSE);

  if (g_variant_is_normal_form (attributes))
    return attributes;
  g_variant_unref (g_variant_ref_sink (attributes));
  return NULL;
}

/* The same by the boot time: before the boot, that is below 0. One that is still to
 * come is nonsense. */
static gint64
get_since (const guint8 *data,
           gint64        ahead,
           gint64        now)
{
  return MIN (get_put (data) - ahead, now);
}

EvbusEvent *
evbus_record_parse (const guint8    *data,
                    gsize            size,
                    gint64           ahead,
                    gint64           now,
                    EvbusRecordInfo *info)
{
  const char *strings[4];
  EvbusRecordInfo own;
  EvbusEventInit init = { 0 };
  const char *after;
  gsize length;
  EvbusEvent *event;

  if (info == NULL)
    info = &own;
  length = evbus_record_check (data, size, info);
  if (length == 0 || !get_strings (data, strings))
    return NULL;

  after = strings[3] + data[17] + 1;
  if (get_u16 (data + 18) > 0)
    {
      init.attributes = get_attributes (data, after);
      if (init.attributes == NULL)
        return NULL;
    }
  init.id = strings[0];
  init.routing_key = strings[1];
  init.routing_key_length = data[15];
  init.profile = strings[2];
  init.profile_length = data[16];
  init.content_type = strings[3];
  init.size = info->size;
  init.data = data + length - init.size;
  init.time = get_i64 (data + 32);
  init.max_age = get_i64 (data + 56);
  init.hops = MIN (data[13], EVBUS_MAX_HOPS);

  event = evbus_event_new (&init);
  event->seq = info->seq;
  event->since = get_since (data, ahead, now);
  return event;
}
