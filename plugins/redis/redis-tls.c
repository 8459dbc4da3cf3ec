/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "redis-tls.h"

#include <sys/socket.h>

static GTlsCertificate *
load_certificate (RedisOptions  *options,
                  EvbusContext  *ctx,
                  GError       **error)
{
  const char *password = evbus_context_get_string (ctx, "tls.key_password");

  if (password != NULL)
    return g_tls_certificate_new_from_file_with_password (options->cert_file, password, error);
  if (options->key_file != NULL)
    return g_tls_certificate_new_from_files (options->cert_file, options->key_file, error);
  return g_tls_certificate_new_from_file (options->cert_file, error);
}

static void
set_file_error (RedisOptions  *options,
                const char    *option,
                const char    *path,
                const GError  *cause,
                GError       **error)
{
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: '%s', %s: %s", options->place, option, path, cause->message);
}

/* Each time anew: they may be put right, or renewed, while the route waits. */
static gboolean
load_files (GTlsConnection  *tls,
            RedisOptions    *options,
            EvbusContext    *ctx,
            GError         **error)
{
  g_autoptr(GTlsDatabase) database = NULL;
  g_autoptr(GTlsCertificate) certificate = NULL;
  g_autoptr(GError) cause = NULL;

  if (options->ca_file != NULL)
    {
      database = g_tls_file_database_new (options->ca_file, &cause);
      if (database == NULL)
        {
          set_file_error (options, "tls.ca_file", options->ca_file, cause, error);
          return FALSE;
        }
      g_tls_connection_set_database (tls, database);
    }

  if (options->key_file != NULL && evbus_context_get_string (ctx, "tls.key_password") != NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: 'tls.key_password' is for a 'tls.cert_file' of PKCS #12, "
                   "which has the key in it; leave 'tls.key_file' out, or give one without a password", options->place);
      return FALSE;
    }
  if (options->cert_file != NULL)
    {
      certificate = load_certificate (options, ctx, &cause);
      if (certificate == NULL)
        {
          set_file_error (options, "tls.cert_file", options->cert_file, cause, error);
          return FALSE;
        }
      g_tls_connection_set_certificate (tls, certificate);
    }
  return TRUE;
}

static const struct {
  GTlsCertificateFlags  flag;
  const char           *text;
} faults[] = {
  { G_TLS_CERTIFICATE_UNKNOWN_CA, "no authority that is trusted has signed it" },
  { G_TLS_CERTIFICATE_BAD_IDENTITY, "it is not for that name" },
  { G_TLS_CERTIFICATE_NOT_ACTIVATED, "it is not valid yet" },
  { G_TLS_CERTIFICATE_EXPIRED, "it has expired" },
  { G_TLS_CERTIFICATE_REVOKED, "it was revoked" },
  { G_TLS_CERTIFICATE_INSECURE, "it is insecure" },
};

typedef struct {
  gboolean              verify;
  GTlsCertificateFlags  errors;
} Judgement;

static gboolean
on_accept_certificate (GTlsConnection       *tls,
                       GTlsCertificate      *certificate,
                       GTlsCertificateFlags  errors,
                       gpointer              data)
{
  Judgement *judgement = data;

  judgement->errors = errors;
  return !judgement->verify;
}

static void
explain (const char            *name,
         GTlsCertificateFlags   errors,
         GError               **error)
{
  GString *text = g_string_new (NULL);

  g_string_append_printf (text, "the certificate of the server '%s' is refused", name);
  for (guint i = 0; i < G_N_ELEMENTS (faults); i++)
    if (errors & faults[i].flag)
      g_string_append_printf (text, "; %s", faults[i].text);

  g_clear_error (error);
  g_set_error_literal (error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE, text->str);
  g_string_free (text, TRUE);
}

/* GIO calls it not TLS when the connection is lost before the handshake is over. Whoever speaks
 * something else has left that to be read, of which GnuTLS takes five bytes. */
static void
look_for_loss (GIOStream  *stream,
               GError    **error)
{
  int fd = g_socket_get_fd (g_socket_connection_get_socket (G_SOCKET_CONNECTION (stream)));
  char byte;

  if (!g_error_matches (*error, G_TLS_ERROR, G_TLS_ERROR_NOT_TLS) ||
      recv (fd, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) > 0)
    return;
  g_clear_error (error);
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED,
                       "the connection was lost before TLS was set up; does that port speak TLS?");
}

/* Puts TLS over @stream. */
gboolean
redis_tls_wrap (GIOStream     **stream,
                RedisOptions   *options,
                EvbusContext   *ctx,
                GCancellable   *cancellable,
                GError        **error)
{
  g_autoptr(GSocketConnectable) identity = g_network_address_new (options->server_name, options->port);
  g_autoptr(GIOStream) tls = NULL;
  Judgement judgement = { .verify = options->verify };
  gulong handler;
  gboolean done;

  tls = g_tls_client_connection_new (*stream, identity, error);
  if (tls == NULL || !load_files (G_TLS_CONNECTION (tls), options, ctx, error))
    return FALSE;

  handler = g_signal_connect (tls, "accept-certificate", G_CALLBACK (on_accept_certificate), &judgement);
  done = g_tls_connection_handshake (G_TLS_CONNECTION (tls), cancellable, error);
  g_signal_handler_disconnect (tls, handler);
  if (!done)
    {
      if (options->verify && judgement.errors != 0)
        explain (options->server_name, judgement.errors, error);
      else
        look_for_loss (*stream, error);
      return FALSE;
    }

  g_object_unref (*stream);
  *stream = g_steal_pointer (&tls);
  return TRUE;
}
