/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* libmosquitto's own TLS compares the server's certificate with what it connects to, which
 * is an address here: the name was looked up before. So its context is made here. */

#include "mqtt-tls.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

static gboolean
refuse (const MqttOptions  *options,
        const char         *option,
        const char         *file,
        const char         *advice,
        GError            **error)
{
  ERR_clear_error ();
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: '%s': cannot use %s; %s",
               options->place, option, file, advice);
  return FALSE;
}

static gboolean
load_authorities (const MqttOptions  *options,
                  SSL_CTX            *context,
                  GError            **error)
{
  if (options->ca_file == NULL)
    {
      SSL_CTX_set_default_verify_paths (context);
      return TRUE;
    }
  return SSL_CTX_load_verify_file (context, options->ca_file) == 1 ||
         refuse (options, "tls.ca_file", options->ca_file, "it must be readable, and hold certificates (PEM)", error);
}

/* Without one OpenSSL would ask for it, at a terminal. */
static int
give_password (char *buffer,
               int   size,
               int   writing,
               void *data)
{
  const MqttOptions *options = data;
  gsize length = options->key_password != NULL ? strlen (options->key_password) : 0;

  if (length > (gsize) size)
    return -1;
  if (length > 0)
    memcpy (buffer, options->key_password, length);
  return length;
}

static gboolean
load_own (const MqttOptions  *options,
          SSL_CTX            *context,
          GError            **error)
{
  const char *key_file = options->key_file != NULL ? options->key_file : options->cert_file;

  if (options->cert_file == NULL)
    return TRUE;
  SSL_CTX_set_default_passwd_cb (context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata (context, (void *) options);
  if (SSL_CTX_use_certificate_chain_file (context, options->cert_file) != 1)
    return refuse (options, "tls.cert_file", options->cert_file, "it must be readable, and hold a certificate (PEM)", error);
  return (SSL_CTX_use_PrivateKey_file (context, key_file, SSL_FILETYPE_PEM) == 1 &&
          SSL_CTX_check_private_key (context) == 1) ||
         refuse (options, "tls.key_file", key_file,
                 "it must be readable, hold the key of the certificate (PEM), and 'tls.key_password' be right", error);
}

/* The library would give the address. */
static void
on_handshake (const SSL *ssl,
              int        where,
              int        value)
{
  X509_VERIFY_PARAM *expected = SSL_CTX_get0_param (SSL_get_SSL_CTX (ssl));

  if ((where & SSL_CB_HANDSHAKE_START) != 0)
    SSL_set_tlsext_host_name ((SSL *) ssl, X509_VERIFY_PARAM_get0_host (expected, 0));
}

static int
on_verify (int             good,
           X509_STORE_CTX *store)
{
  SSL *ssl = X509_STORE_CTX_get_ex_data (store, SSL_get_ex_data_X509_STORE_CTX_idx ());
  MqttTls *found = SSL_CTX_get_app_data (SSL_get_SSL_CTX (ssl));

  if (!good)
    found->verify_error = X509_STORE_CTX_get_error (store);
  return good;
}

/* Is called only where there is none. */
static int
on_wanted (SSL       *ssl,
           X509     **certificate,
           EVP_PKEY **key)
{
  MqttTls *found = SSL_CTX_get_app_data (SSL_get_SSL_CTX (ssl));

  found->wanted = TRUE;
  return 0;
}

static void
expect_server (const MqttOptions *options,
               SSL_CTX           *context)
{
  X509_VERIFY_PARAM *expected = SSL_CTX_get0_param (context);

  SSL_CTX_set_verify (context, options->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, options->verify ? on_verify : NULL);
  SSL_CTX_set_info_callback (context, on_handshake);
  if (g_hostname_is_ip_address (options->server_name))
    X509_VERIFY_PARAM_set1_ip_asc (expected, options->server_name);
  else
    X509_VERIFY_PARAM_set1_host (expected, options->server_name, 0);
}

/* Returns a context for one connection, NULL on error. @found and @options outlive it. */
SSL_CTX *
mqtt_tls_new (const MqttOptions  *options,
              MqttTls            *found,
              GError            **error)
{
  SSL_CTX *context = SSL_CTX_new (TLS_client_method ());

  SSL_CTX_set_min_proto_version (context, TLS1_2_VERSION);
  /* The library sends the rest of a packet from where that is by then. */
  SSL_CTX_set_mode (context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_app_data (context, found);
  SSL_CTX_set_client_cert_cb (context, on_wanted);
  expect_server (options, context);
  /* The system's authorities are many, and take their time. */
  if (load_own (options, context, error) && load_authorities (options, context, error))
    return context;
  SSL_CTX_free (context);
  return NULL;
}

/* All that the library says of a failure: "OpenSSL Error[0]: error:0A000086:…". */
void
mqtt_tls_take_log (MqttTls    *self,
                   const char *text)
{
  const char *number = strstr (text, "error:");
  unsigned long code = number != NULL ? strtoul (number + strlen ("error:"), NULL, 16) : 0;

  if (code != 0 && ERR_GET_LIB (code) == ERR_LIB_SSL)
    self->reason = ERR_GET_REASON (code);
}

#define NO_TLS "the server does not speak TLS at this port; correct 'port', or leave out 'tls'"
#define OTHER_CERTIFICATE "the server wants a certificate of the client, or another one; " \
                          "give one that it trusts by 'tls.cert_file' and 'tls.key_file'"

static const struct {
  int         reason;
  const char *text;
} reasons[] = {
  { SSL_R_WRONG_VERSION_NUMBER, NO_TLS },
  { SSL_R_HTTP_REQUEST, NO_TLS },
  { SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, OTHER_CERTIFICATE },
  { SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, OTHER_CERTIFICATE },
  { SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE, OTHER_CERTIFICATE },
  { SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, OTHER_CERTIFICATE },
  { SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, OTHER_CERTIFICATE },
  { SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, OTHER_CERTIFICATE },
  { SSL_R_TLSV1_ALERT_UNKNOWN_CA, OTHER_CERTIFICATE },
  { SSL_R_TLSV1_ALERT_ACCESS_DENIED, OTHER_CERTIFICATE },
  { SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, OTHER_CERTIFICATE },
};

/* Returns whether it was for TLS that the connection has ended, by what was verified here or by what
 * the server has said in an alert. */
gboolean
mqtt_tls_explain (const MqttTls      *self,
                  const MqttOptions  *options,
                  GError            **error)
{
  const char *text = NULL;

  if (self->verify_error != X509_V_OK)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "%s: the server's certificate is refused: %s; correct 'tls.ca_file' or 'tls.server_name'",
                   options->place, X509_verify_cert_error_string (self->verify_error));
      return TRUE;
    }
  for (guint i = 0; i < G_N_ELEMENTS (reasons); i++)
    if (reasons[i].reason == self->reason)
      text = reasons[i].text;
  if (text == NULL)
    return FALSE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: %s", options->place, text);
  return TRUE;
}
