/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* An event as bytes on the disk, and back. */

#include <string.h>

#include "evbus-clock-private.h"
#include "evbus-record-private.h"
#include "evbus-limits-private.h"

/* Of the steady clock, of the boot time. */
#define AHEAD G_TIME_SPAN_DAY

static EvbusEvent *
make_event (const guint8 *data,
            gsize         size,
            GVariant     *attributes)
{
  EvbusEventInit init = {
    .id = "order-17/A+b~!",
    .routing_key = "ünïcode ☃", .routing_key_length = strlen ("ünïcode ☃"),
    .profile = "orders", .profile_length = 6,
    .content_type = "application/x-bytes",
    .data = data, .size = size,
    .attributes = attributes,
    .max_age = 12345678,
    .hops = 3,
  };

  return evbus_event_new (&init);
}

static GByteArray *
encode (EvbusEvent      *event,
        EvbusRecordKind  kind)
{
  GByteArray *record = g_byte_array_new ();
  EvbusRecordInfo info = {
    .kind = kind, .place = 4711, .seq = 123456789012, .ahead = AHEAD, .died = 987654321,
    .reason = "because", .reason_length = 7,
  };

  evbus_record_append (record, event, &info);
  return record;
}

static void
assert_same (EvbusEvent *event,
             EvbusEvent *other)
{
  g_assert_cmpstr (event->id, ==, other->id);
  g_assert_cmpstr (event->routing_key, ==, other->routing_key);
  g_assert_cmpstr (event->profile, ==, other->profile);
  g_assert_cmpstr (event->content_type, ==, other->content_type);
  g_assert_cmpmem (event->data, event->size, other->data, other->size);
  g_assert_cmpint (event->time, ==, other->time);
  g_assert_cmpint (event->max_age, ==, other->max_age);
  g_assert_cmpuint (event->hops, ==, other->hops);
  g_assert_cmpuint (event->weight, ==, other->weight);
  if (event->attributes != NULL)
    g_assert_cmpvariant (event->attributes, other->attributes);
  else
    g_assert_null (other->attributes);
}

static void
test_round_trip (void)
{
  static const gsize sizes[] = { 0, 1, 200, 4095, 4096, 1024 * 1024 };
  static const char *const attributes[] = { NULL, "@a{ss} {}", "{'a': '1', 'traceparent': 'ü'}" };

  for (guint i = 0; i < G_N_ELEMENTS (sizes) * G_N_ELEMENTS (attributes) * 2; i++)
    {
      gsize size = sizes[i / 6];
      const char *text = attributes[i / 2 % 3];
      EvbusRecordKind kind = i % 2 ? EVBUS_RECORD_EVENT : EVBUS_RECORD_DEAD;
      g_autofree guint8 *body = g_malloc (size + 1);
      g_autoptr(EvbusEvent) event = NULL, back = NULL;
      g_autoptr(GByteArray) record = NULL;
      EvbusRecordInfo info;

      for (gsize j = 0; j < size; j++)
        body[j] = (guint8) (j * 7 + i);
      event = make_event (body, size, text != NULL ? g_variant_new_parsed (text) : NULL);
      record = encode (event, kind);

      g_assert_cmpuint (evbus_record_check (record->data, record->len, &info), ==, record->len);
      g_assert_cmpint (info.kind, ==, kind);
      g_assert_cmpuint (info.place, ==, 4711);
      g_assert_cmpint (info.seq, ==, 123456789012);
      g_assert_cmpuint (info.weight, ==, event->weight);
      if (kind == EVBUS_RECORD_EVENT)
        g_assert_cmpuint (record->len, ==, event->weight);
      if (kind == EVBUS_RECORD_DEAD)
        {
          g_assert_cmpint (info.died, ==, 987654321);
          g_assert_cmpmem (info.reason, info.reason_length, "because", 7);
        }
      back = evbus_record_parse (record->data, record->len, 0, evbus_clock_get_boot_time (), NULL);
      g_assert_nonnull (back);
      g_assert_cmpint (back->seq, ==, 123456789012);
      if (text == NULL || !g_str_equal (text, "@a{ss} {}"))
        assert_same (event, back);
    }
}

/* It waits since when it was put, by a clock that nobody can set. */
static void
test_age (void)
{
  EvbusClockMark now = { .boot = 7, .boot_time = G_TIME_SPAN_HOUR, .wall_time = 50 * G_TIME_SPAN_DAY };
  g_autoptr(EvbusEvent) event = NULL, back = NULL, again = NULL;
  g_autoptr(GByteArray) record = NULL, second = NULL;

  evbus_clock_fake (&now);
  event = make_event ((const guint8 *) "x", 1, NULL);
  g_assert_cmpint (event->since, ==, 0);
  record = encode (event, EVBUS_RECORD_EVENT);

  now.boot_time += G_TIME_SPAN_MINUTE;
  now.wall_time += G_TIME_SPAN_DAY;
  evbus_clock_fake (&now);
  back = evbus_record_parse (record->data, record->len, AHEAD, now.boot_time, NULL);
  g_assert_cmpint (back->since, ==, G_TIME_SPAN_HOUR);
  second = encode (back, EVBUS_RECORD_DEAD);
  again = evbus_record_parse (second->data, second->len, AHEAD, now.boot_time, NULL);
  g_assert_cmpint (again->since, ==, back->since);
  g_assert_cmpint (again->time, ==, back->time);
  g_clear_pointer (&again, evbus_event_unref);

  /* In another boot, before which an hour and ten seconds have gone by. */
  now.boot = 8;
  now.boot_time = 10 * G_TIME_SPAN_SECOND;
  evbus_clock_fake (&now);
  again = evbus_record_parse (record->data, record->len, AHEAD + 2 * G_TIME_SPAN_HOUR, now.boot_time, NULL);
  g_assert_cmpint (again->since, ==, - G_TIME_SPAN_HOUR);
  g_clear_pointer (&again, evbus_event_unref);

  /* Nothing is put in the future. */
  again = evbus_record_parse (record->data, record->len, 0, now.boot_time, NULL);
  g_assert_cmpint (again->since, ==, now.boot_time);
  evbus_clock_fake (NULL);
}

/* Each byte changed, each length: nothing is taken for a record. */
static void
test_damaged (void)
{
  g_autoptr(EvbusEvent) event = make_event ((const guint8 *) "a body", 6, g_variant_new_parsed ("{'a': '1'}"));
  g_autoptr(GByteArray) record = encode (event, EVBUS_RECORD_DEAD);

  for (guint i = 0; i < record->len; i++)
    {
      g_autofree guint8 *part = g_memdup2 (record->data, i + 1);

      g_assert_null (i + 1 < record->len ? evbus_record_parse (part, i + 1, 0, 0, NULL) : NULL);
      for (guint bit = 0; bit < 8; bit++)
        {
          record->data[i] ^= 1 << bit;
          g_assert_null (evbus_record_parse (record->data, record->len, 0, 0, NULL));
          record->data[i] ^= 1 << bit;
        }
    }
}

static guint32
crc_of (const guint8 *data,
        gsize         size)
{
  guint32 crc = 0xffffffff;

  for (gsize i = 0; i < size; i++)
    {
      crc ^= data[i];
      for (guint bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
  return ~crc;
}

/* Any bytes with a checksum that is right. */
static void
test_any_bytes (void)
{
  g_autoptr(EvbusEvent) event = make_event ((const guint8 *) "a body", 6, g_variant_new_parsed ("{'a': '1'}"));

  for (guint i = 0; i < 200000; i++)
    {
      g_autoptr(GByteArray) record = encode (event, i % 2 ? EVBUS_RECORD_EVENT : EVBUS_RECORD_DEAD);
      g_autofree guint8 *exact = NULL;
      g_autoptr(EvbusEvent) back = NULL;
      guint n = (guint) g_test_rand_int_range (1, 4);
      guint size = record->len;
      guint32 value;

      for (guint j = 0; j < n; j++)
        record->data[g_test_rand_int_range (12, (gint32) record->len)] = (guint8) g_test_rand_int_range (0, 256);
      if (i % 5 == 0)
        size = (guint) g_test_rand_int_range (64, (gint32) record->len + 1);
      value = GUINT32_TO_LE (size);
      memcpy (record->data + 4, &value, 4);
      value = GUINT32_TO_LE (crc_of (record->data + 12, size - 12));
      memcpy (record->data + 8, &value, 4);

      /* In a block of its own, so that a sanitizer sees a read beyond. */
      exact = g_memdup2 (record->data, size);
      back = evbus_record_parse (exact, size, 0, 0, NULL);
      if (back == NULL)
        continue;
      g_assert_true (g_utf8_validate (back->routing_key, -1, NULL));
      g_assert_cmpuint (strlen (back->id), >, 0);
      g_assert_cmpuint (back->hops, <=, EVBUS_MAX_HOPS);
    }
}

int
main (int    argc,
      char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/record/round-trip", test_round_trip);
  g_test_add_func ("/record/age", test_age);
  g_test_add_func ("/record/damaged", test_damaged);
  g_test_add_func ("/record/any-bytes", test_any_bytes);
  return g_test_run ();
}
