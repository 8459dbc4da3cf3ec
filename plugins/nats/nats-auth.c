/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* How the route introduces itself to a server. */

#include "nats-auth.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "nats-errors.h"
#include "nats-nkey.h"

/* libnats puts what it is given into JSON as it is. */
char *
nats_auth_escape (const char *text)
{
  g_autoptr(GString) quoted = g_string_new (NULL);
  char *escaped;

  evbus_json_append_string (quoted, text, -1);
  escaped = g_strndup (quoted->str + 1, quoted->len - 2);
  OPENSSL_cleanse (quoted->str, quoted->len);
  return escaped;
}

static void
clear_secret (char *secret)
{
  if (secret != NULL)
    OPENSSL_cleanse (secret, strlen (secret));
  g_free (secret);
}

static natsStatus
apply_user (EvbusContext  *ctx,
            natsOptions   *options,
            const char    *user,
            GError       **error)
{
  const char *password = evbus_context_get_string (ctx, "password");
  g_autofree char *escaped = nats_auth_escape (user);
  char *secret = nats_auth_escape (password != NULL ? password : "");
  natsStatus status = natsOptions_SetUserInfo (options, escaped, secret);

  clear_secret (secret);
  return status;
}

static natsStatus
apply_token (EvbusContext  *ctx,
             natsOptions   *options,
             const char    *token,
             GError       **error)
{
  char *secret = nats_auth_escape (token);
  natsStatus status = natsOptions_SetToken (options, secret);

  clear_secret (secret);
  return status;
}

/* @closure: the context, which outlives the options: see NatsLink. */
static natsStatus
sign (char          **custom_error,
      unsigned char **signature,
      int            *length,
      const char     *nonce,
      void           *closure)
{
  return nats_Sign (evbus_context_get_string (closure, "nkey_seed"), nonce, signature, length);
}

static natsStatus
apply_nkey (EvbusContext  *ctx,
            natsOptions   *options,
            const char    *seed,
            GError       **error)
{
  g_autofree char *public = nats_nkey_get_public (seed, error);

  return public != NULL ? natsOptions_SetNKey (options, public, sign, ctx) : NATS_INVALID_ARG;
}

static natsStatus
apply_credentials (EvbusContext  *ctx,
                   natsOptions   *options,
                   const char    *path,
                   GError       **error)
{
  g_autofree char *contents = NULL;
  gsize length;

  /* libnats tells a file that is not there from a network that is down by text alone. */
  if (!g_file_get_contents (path, &contents, &length, error))
    {
      if (error != NULL && *error != NULL)
        {
          g_autofree char *reason = g_strdup ((*error)->message);

          g_clear_error (error);
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'credentials': %s", reason);
        }
      return NATS_NOT_FOUND;
    }
  OPENSSL_cleanse (contents, length);
  return natsOptions_SetUserCredentialsFromFiles (options, path, NULL);
}

static const struct {
  const char   *option;
  natsStatus (* apply) (EvbusContext  *ctx,
                        natsOptions   *options,
                        const char    *value,
                        GError       **error);
  gboolean      plain;    /* it goes over the wire as it is */
} forms[] = {
  { "user", apply_user, TRUE },
  { "token", apply_token, TRUE },
  { "nkey_seed", apply_nkey, FALSE },
  { "credentials", apply_credentials, FALSE },
};

gboolean
nats_auth_apply (EvbusContext  *ctx,
                 natsOptions   *options,
                 const char    *host,
                 gboolean       tls,
                 GError       **error)
{
  const char *given = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (forms); i++)
    {
      const char *value = evbus_context_get_string (ctx, forms[i].option);
      natsStatus status;

      if (value == NULL)
        continue;
      if (given != NULL)
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                       "'%s' and '%s' are both set; leave one out", given, forms[i].option);
          return FALSE;
        }
      given = forms[i].option;
      status = forms[i].apply (ctx, options, value, error);
      if (status != NATS_OK)
        {
          if (error != NULL && *error == NULL)
            g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s' cannot be used: %s",
                         given, nats_errors_get_text (status, nats_GetLastError (NULL)));
          return FALSE;
        }
      if (forms[i].plain && !tls)
        evbus_context_warn_unencrypted (ctx, host);
    }
  return TRUE;
}
