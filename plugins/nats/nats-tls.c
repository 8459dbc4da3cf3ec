/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "nats-tls.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>

#include "nats-errors.h"

static gboolean
check (natsStatus   status,
       const char  *option,
       const char  *value,
       GError     **error)
{
  if (status == NATS_OK)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s': %s cannot be used: %s",
               option, value, nats_errors_get_text (status, nats_GetLastError (NULL)));
  return FALSE;
}

/* OpenSSL would ask the terminal for the password of a key. */
static int
give_password (char *buffer,
               int   size,
               int   writing,
               void *password)
{
  gsize length = password != NULL ? strlen (password) : 0;

  if (length > (gsize) size)
    return -1;
  if (length > 0)
    memcpy (buffer, password, length);
  return length;
}

/* The key without its password, as PEM in a buffer that clears itself, or NULL. */
static BIO *
read_key (const char *path,
          const char *password)
{
  BIO *file = BIO_new_file (path, "r");
  BIO *memory = BIO_new (BIO_s_secmem ());
  EVP_PKEY *key = file != NULL ? PEM_read_bio_PrivateKey (file, NULL, give_password, (void *) password) : NULL;

  if (key == NULL || !PEM_write_bio_PrivateKey (memory, key, NULL, NULL, 0, NULL, NULL) ||
      BIO_write (memory, "", 1) != 1)
    g_clear_pointer (&memory, BIO_free);
  EVP_PKEY_free (key);
  BIO_free (file);
  return memory;
}

static gboolean
apply_certificate (EvbusContext  *ctx,
                   natsOptions   *options,
                   const char    *cert_file,
                   GError       **error)
{
  const char *key_file = evbus_context_get_string (ctx, "tls.key_file");
  g_autofree char *certificates = NULL;
  g_autoptr(GError) local_error = NULL;
  BIO *key;
  char *pem;
  gboolean done;

  if (key_file == NULL)
    key_file = cert_file;
  if (!g_file_get_contents (cert_file, &certificates, NULL, &local_error))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'tls.cert_file': %s", local_error->message);
      return FALSE;
    }

  key = read_key (key_file, evbus_context_get_string (ctx, "tls.key_password"));
  if (key == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "'tls.key_file': no key can be read from %s; check the file and 'tls.key_password'", key_file);
      return FALSE;
    }
  BIO_get_mem_data (key, &pem);
  done = check (natsOptions_SetCertificatesChain (options, certificates, pem), "tls.cert_file", cert_file, error);
  BIO_free (key);
  return done;
}

gboolean
nats_tls_apply (EvbusContext  *ctx,
                natsOptions   *options,
                const char    *host,
                GError       **error)
{
  const char *ca_file = evbus_context_get_string (ctx, "tls.ca_file");
  const char *cert_file = evbus_context_get_string (ctx, "tls.cert_file");
  const char *name = evbus_context_get_string (ctx, "tls.server_name");
  gboolean verify = evbus_context_get_boolean (ctx, "tls.verify");

  if (name == NULL)
    name = host;
  if (ca_file != NULL &&
      !check (natsOptions_LoadCATrustedCertificates (options, ca_file), "tls.ca_file", ca_file, error))
    return FALSE;
  if (cert_file != NULL && !apply_certificate (ctx, options, cert_file, error))
    return FALSE;
  /* Without this, whether the name is checked is up to how libnats was built. */
  return check (natsOptions_SetExpectedHostname (options, name), "tls.server_name", name, error) &&
         check (natsOptions_SkipServerVerification (options, !verify), "tls.verify", verify ? "true" : "false", error);
}

/* The alerts by which a server says that it wants a certificate, or another one. */
static const int refusals[] = {
  SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE,
  SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
  SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
  SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED,
  SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
  SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN,
  SSL_R_TLSV1_ALERT_UNKNOWN_CA,
  SSL_R_TLSV1_ALERT_ACCESS_DENIED,
  SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED,
};

gboolean
nats_tls_was_refused (void)
{
  unsigned long error = ERR_peek_last_error ();

  for (guint i = 0; i < G_N_ELEMENTS (refusals); i++)
    if (ERR_GET_LIB (error) == ERR_LIB_SSL && ERR_GET_REASON (error) == refusals[i])
      return TRUE;
  return FALSE;
}
