/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* UUIDv7, RFC 9562 section 5.7: 48 bits of milliseconds, the version, 12 bits
 * that hold the fraction of the millisecond (section 6.2, method 3, so that
 * ids of one thread sort by the microsecond), the variant, 62 random bits.
 *
 * Home-made because GLib makes version 4 only, whose ids do not sort. */

#include "evbus-id-private.h"

#include <string.h>
#include <sys/random.h>

#include "evbus-limits-private.h"

/* getrandom() of up to 256 bytes is never interrupted (getrandom(2)). */
#define POOL_SIZE 256

static _Thread_local struct {
  guint  used;
  guint8 bytes[POOL_SIZE];
} pool = { .used = POOL_SIZE };

static guint64
random_bits (void)
{
  guint64 bits;

  if (pool.used + sizeof bits > POOL_SIZE)
    {
      if (getrandom (pool.bytes, POOL_SIZE, 0) != POOL_SIZE)
        {
          /* Only before the kernel's pool is ready, in early boot. */
          for (guint i = 0; i < POOL_SIZE; i += 4)
            {
              guint32 word = g_random_int ();
              memcpy (pool.bytes + i, &word, sizeof word);
            }
        }
      pool.used = 0;
    }

  memcpy (&bits, pool.bytes + pool.used, sizeof bits);
  pool.used += sizeof bits;
  return bits;
}

static char *
append_hex (char    *out,
            guint64  value,
            guint    n_digits)
{
  static const char digits[] = "0123456789abcdef";

  for (guint i = n_digits; i-- > 0;)
    *out++ = digits[(value >> (4 * i)) & 0xf];

  return out;
}

void
evbus_id_generate (gint64  time,
                   char   *id)
{
  guint64 ms = (guint64) time / 1000;
  guint64 fraction = ((guint64) time % 1000) * 4096 / 1000;
  guint64 bits = random_bits ();

  id = append_hex (id, ms >> 16, 8);
  *id++ = '-';
  id = append_hex (id, ms & 0xffff, 4);
  *id++ = '-';
  id = append_hex (id, 0x7000 | fraction, 4);
  *id++ = '-';
  id = append_hex (id, 0x8000 | (bits >> 50), 4);
  *id++ = '-';
  id = append_hex (id, bits & G_GUINT64_CONSTANT (0xffffffffffff), 12);
  *id = '\0';
}

gboolean
evbus_id_is_valid (const char *id)
{
  gsize i;

  for (i = 0; id[i] != '\0'; i++)
    {
      if (i == EVBUS_MAX_ID_BYTES || !g_ascii_isgraph (id[i]))
        return FALSE;
    }

  return i > 0;
}
