/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Who signs with an nkey also names its public half, which libnats does not make
 * out of the seed. Both are base32 of one or two bytes that say what it is, 32
 * bytes, and a CRC-16 (XMODEM): https://github.com/nats-io/nkeys. */

#include "nats-nkey.h"

#include <evbus/evbus.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define KEY_BYTES 32
#define SEED_BYTES (2 + KEY_BYTES + 2)
#define PUBLIC_BYTES (1 + KEY_BYTES + 2)

/* 'S' and 'U' in base32. */
#define PREFIX_SEED (18 << 3)
#define PREFIX_USER (20 << 3)

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static guint16
crc16 (const guint8 *data,
       gsize         length)
{
  guint16 crc = 0;

  for (gsize i = 0; i < length; i++)
    {
      crc ^= data[i] << 8;
      for (int bit = 0; bit < 8; bit++)
        crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
    }
  return crc;
}

/* Returns whether @text is exactly @length bytes. */
static gboolean
decode (const char *text,
        guint8     *data,
        gsize       length)
{
  guint bits = 0;
  guint n_bits = 0;
  gsize at = 0;

  for (; *text != '\0'; text++)
    {
      const char *p = strchr (alphabet, *text);

      if (p == NULL)
        return FALSE;
      bits = (bits << 5 | (p - alphabet)) & 0xfff;
      n_bits += 5;
      if (n_bits < 8)
        continue;
      if (at == length)
        return FALSE;
      n_bits -= 8;
      data[at++] = bits >> n_bits;
    }
  return at == length;
}

static char *
encode (const guint8 *data,
        gsize         length)
{
  GString *text = g_string_new (NULL);
  guint bits = 0;
  guint n_bits = 0;

  for (gsize i = 0; i < length; i++)
    {
      bits = (bits << 8 | data[i]) & 0xfff;
      for (n_bits += 8; n_bits >= 5; n_bits -= 5)
        g_string_append_c (text, alphabet[bits >> (n_bits - 5) & 31]);
    }
  if (n_bits > 0)
    g_string_append_c (text, alphabet[bits << (5 - n_bits) & 31]);
  return g_string_free (text, FALSE);
}

static gboolean
make_public (const guint8 *private,
             guint8       *public)
{
  EVP_PKEY *key = EVP_PKEY_new_raw_private_key (EVP_PKEY_ED25519, NULL, private, KEY_BYTES);
  size_t length = KEY_BYTES;
  gboolean done = key != NULL && EVP_PKEY_get_raw_public_key (key, public, &length) == 1;

  EVP_PKEY_free (key);
  return done;
}

/* Returns the public key of a user's @seed, NULL on error. */
char *
nats_nkey_get_public (const char  *seed,
                      GError     **error)
{
  guint8 raw[SEED_BYTES] = { 0 };
  guint8 public[PUBLIC_BYTES] = { PREFIX_USER };
  gboolean valid;
  guint16 crc;

  valid = decode (seed, raw, sizeof raw) &&
          crc16 (raw, SEED_BYTES - 2) == (raw[SEED_BYTES - 2] | raw[SEED_BYTES - 1] << 8) &&
          (raw[0] & 0xf8) == PREFIX_SEED && ((raw[0] & 7) << 5 | (raw[1] & 0xf8) >> 3) == PREFIX_USER &&
          make_public (raw + 2, public + 1);
  OPENSSL_cleanse (raw, sizeof raw);
  if (!valid)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'nkey_seed' is not the seed of a user's nkey; it begins with SU and has 58 characters");
      return NULL;
    }

  crc = crc16 (public, 1 + KEY_BYTES);
  public[PUBLIC_BYTES - 2] = crc & 0xff;
  public[PUBLIC_BYTES - 1] = crc >> 8;
  return encode (public, sizeof public);
}
