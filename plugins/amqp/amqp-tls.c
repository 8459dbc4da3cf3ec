/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-tls.h"

#include <amqp_ssl_socket.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static gboolean
refuse (const AmqpOptions  *options,
        const char         *option,
        const char         *file,
        const char         *advice,
        GError            **error)
{
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: 'connection.ssl_options.%s': cannot use %s; %s",
               options->name, option, file, advice);
  return FALSE;
}

/* The library has no default for this. */
static gboolean
load_authorities (const AmqpOptions  *options,
                  amqp_socket_t      *socket,
                  GError            **error)
{
  if (options->ca_file == NULL)
    {
      SSL_CTX_set_default_verify_paths (amqp_ssl_socket_get_context (socket));
      return TRUE;
    }
  if (amqp_ssl_socket_set_cacert (socket, options->ca_file) == AMQP_STATUS_OK)
    return TRUE;
  return refuse (options, "cafile", options->ca_file, "it must be readable, and hold certificates (PEM)", error);
}

static gboolean
load_own (const AmqpOptions  *options,
          amqp_socket_t      *socket,
          GError            **error)
{
  const char *key_file = options->key_file != NULL ? options->key_file : options->cert_file;

  if (options->cert_file == NULL)
    return TRUE;
  /* Without a password OpenSSL would ask for one, at a terminal. */
  amqp_ssl_socket_set_key_passwd (socket, options->key_password != NULL ? options->key_password : "");
  if (amqp_ssl_socket_set_key (socket, options->cert_file, key_file) == AMQP_STATUS_OK)
    return TRUE;
  return refuse (options, "certfile", options->cert_file,
                 "it and 'keyfile' must be readable, belong together (PEM), and 'keyfile_password' be right", error);
}

/* The library would give the name that it connects to. */
static void
on_handshake (const SSL *ssl,
              int        where,
              int        value)
{
  X509_VERIFY_PARAM *expected = SSL_CTX_get0_param (SSL_get_SSL_CTX (ssl));

  if ((where & SSL_CB_HANDSHAKE_START) != 0)
    SSL_set_tlsext_host_name ((SSL *) ssl, X509_VERIFY_PARAM_get0_host (expected, 0));
}

/* Is called only where there is none. Of the context's data it matters whether there are any. */
static int
on_certificate_wanted (SSL       *ssl,
                       X509     **certificate,
                       EVP_PKEY **key)
{
  SSL_CTX *context = SSL_get_SSL_CTX (ssl);

  SSL_CTX_set_app_data (context, context);
  return 0;
}

/* The library's own comparison knows no addresses, and no other name than the host's. */
static void
expect_server (const AmqpOptions *options,
               amqp_socket_t     *socket)
{
  SSL_CTX *context = amqp_ssl_socket_get_context (socket);
  X509_VERIFY_PARAM *expected = SSL_CTX_get0_param (context);

  amqp_ssl_socket_set_verify_peer (socket, options->verify);
  amqp_ssl_socket_set_verify_hostname (socket, FALSE);
  SSL_CTX_set_info_callback (context, on_handshake);
  SSL_CTX_set_client_cert_cb (context, on_certificate_wanted);
  if (g_hostname_is_ip_address (options->server_name))
    X509_VERIFY_PARAM_set1_ip_asc (expected, options->server_name);
  else
    X509_VERIFY_PARAM_set1_host (expected, options->server_name, 0);
}

amqp_socket_t *
amqp_tls_socket_new (const AmqpOptions        *options,
                     amqp_connection_state_t   state,
                     GError                  **error)
{
  amqp_socket_t *socket = amqp_ssl_socket_new (state);

  if (socket == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: TLS cannot be set up", options->name);
      return NULL;
    }

  expect_server (options, socket);
  if (!load_authorities (options, socket, error) || !load_own (options, socket, error))
    return NULL;
  return socket;
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

/* A server may want a certificate and do without. */
gboolean
amqp_tls_certificate_wanted (amqp_connection_state_t state)
{
  return SSL_CTX_get_app_data (amqp_ssl_socket_get_context (amqp_get_socket (state))) != NULL;
}

gboolean
amqp_tls_certificate_refused (void)
{
  unsigned long error = ERR_peek_last_error ();

  for (guint i = 0; i < G_N_ELEMENTS (refusals); i++)
    if (ERR_GET_LIB (error) == ERR_LIB_SSL && ERR_GET_REASON (error) == refusals[i])
      return TRUE;
  return FALSE;
}
