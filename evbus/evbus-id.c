/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* UUIDv7, RFC 9562 section 5.7: 48 bits of milliseconds, the version, 12 bits
 * that hold the fraction of the millisecond (section 6.2, method 3, so that
 * ids of one thread sort by the microsecond), the variant, 62 random bits.
 *
 * Home-made because GLib makes version 4 only, whose ids do not sort. The
 * random bits have to be unique, not secret, so a generator of the thread's
 * own serves, seeded from the kernel: SplitMix64 (G. Steele, D. Lea, C. Flood,
 * "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). A
 * getrandom(2) of 256 bytes at a time is half of the cost of an id. */

#include "evbus-id-private.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "evbus-limits-private.h"

/* Counts forks, so that a child does not go on with its parent's numbers. */
static int fork_count = 1;

static _Thread_local struct {
  guint64 state;
  int     fork_count;    /* 0: not seeded */
} generator;

static void
on_fork (void)
{
  fork_count++;
}

static void
seed_generator (void)
{
  static gsize registered = 0;

  if (g_once_init_enter (&registered))
    {
      pthread_atfork (NULL, NULL, on_fork);
      g_once_init_leave (&registered, 1);
    }

  /* Fails only before the kernel's pool is ready, in early boot. */
  if (getrandom (&generator.state, sizeof generator.state, 0) != sizeof generator.state)
    generator.state = ((guint64) g_random_int () << 32) | g_random_int ();
  generator.fork_count = fork_count;
}

static guint64
random_bits (void)
{
  guint64 bits;

  if (G_UNLIKELY (generator.fork_count != fork_count))
    seed_generator ();

  bits = generator.state += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  bits = (bits ^ (bits >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  bits = (bits ^ (bits >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return bits ^ (bits >> 31);
}

/* The two digits of each byte: 00, 01, … ff. */
static const char *
digits_of (guint byte)
{
  static const char digits[] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f"
    "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
    "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f"
    "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
    "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
    "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
    "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

  return digits + 2 * byte;
}

static char *
append_hex (char    *out,
            guint64  value,
            guint    n_bytes)
{
  while (n_bytes-- > 0)
    {
      memcpy (out, digits_of ((value >> (8 * n_bytes)) & 0xff), 2);
      out += 2;
    }

  return out;
}

void
evbus_id_generate (gint64  time,
                   char   *id)
{
  guint64 ms = (guint64) time / 1000;
  guint64 fraction = ((guint64) time % 1000) * 4096 / 1000;
  guint64 bits = random_bits ();

  id = append_hex (id, ms >> 16, 4);
  *id++ = '-';
  id = append_hex (id, ms & 0xffff, 2);
  *id++ = '-';
  id = append_hex (id, 0x7000 | fraction, 2);
  *id++ = '-';
  id = append_hex (id, 0x8000 | (bits >> 50), 2);
  *id++ = '-';
  id = append_hex (id, bits & G_GUINT64_CONSTANT (0xffffffffffff), 6);
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
