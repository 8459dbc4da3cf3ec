/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "redis-errors.h"

#include <libintl.h>
#include <string.h>

/* By how the server's words begin: its codes, and of what it calls plainly ERR that
 * which is no passing state. All else is taken for one. */
static const struct {
  const char   *prefix;
  EvbusOutcome  outcome;
  gboolean      address;   /* poison instead, where the name comes from the event */
  const char   *advice;
} replies[] = {
  { "NOAUTH ", EVBUS_OUTCOME_BROKEN, FALSE, "give 'password'" },
  { "WRONGPASS ", EVBUS_OUTCOME_BROKEN, FALSE, "correct 'username' and 'password'" },
  { "NOPERM ", EVBUS_OUTCOME_BROKEN, TRUE, "allow the user that command and that key (ACL SETUSER)" },
  { "DENIED ", EVBUS_OUTCOME_BROKEN, FALSE, "the server is in protected mode: give it a password" },
  { "WRONGTYPE ", EVBUS_OUTCOME_BROKEN, TRUE, "choose another 'stream' or 'command'" },
  { "MOVED ", EVBUS_OUTCOME_BROKEN, FALSE, "name the node of the cluster which has that key as 'host'" },
  { "ERR Protocol error", EVBUS_OUTCOME_POISON, FALSE, "too large: raise proto-max-bulk-len of the server" },
  { "ERR string exceeds ", EVBUS_OUTCOME_POISON, FALSE, "too large: raise proto-max-bulk-len of the server" },
  { "ERR DB index ", EVBUS_OUTCOME_BROKEN, FALSE, "correct 'db'" },
  { "ERR SELECT ", EVBUS_OUTCOME_BROKEN, FALSE, "correct 'db'" },
  { "ERR invalid DB ", EVBUS_OUTCOME_BROKEN, FALSE, "correct 'db'" },
  { "ERR unknown command 'AUTH'", EVBUS_OUTCOME_BROKEN, FALSE, "leave 'password' out" },
  { "ERR unknown command `AUTH`", EVBUS_OUTCOME_BROKEN, FALSE, "leave 'password' out" },
  { "ERR unknown command", EVBUS_OUTCOME_BROKEN, FALSE, "choose another 'command'" },
  { "ERR AUTH ", EVBUS_OUTCOME_BROKEN, FALSE, "correct 'username' and 'password'" },
  { "ERR Client sent AUTH", EVBUS_OUTCOME_BROKEN, FALSE, "leave 'password' out" },
  { "ERR invalid password", EVBUS_OUTCOME_BROKEN, FALSE, "correct 'password'" },
  { "ERR wrong number of arguments for 'auth'", EVBUS_OUTCOME_BROKEN, FALSE, "leave 'username' out" },
  { "ERR The stream has exhausted ", EVBUS_OUTCOME_BROKEN, TRUE, "choose another 'stream'" },
};

static const char unknown[] = "it is tried again";

EvbusOutcome
redis_reply_get_outcome (RedisOptions  *options,
                         const char    *reply,
                         const char   **advice)
{
  for (guint i = 0; i < G_N_ELEMENTS (replies); i++)
    {
      if (!g_str_has_prefix (reply, replies[i].prefix))
        continue;
      *advice = replies[i].advice;
      /* A command that the user may not run is that of every event. */
      if (replies[i].address && !evbus_template_is_fixed (options->stream) && strstr (reply, " to run the '") == NULL)
        return EVBUS_OUTCOME_POISON;
      return replies[i].outcome;
    }

  *advice = unknown;
  return EVBUS_OUTCOME_TRANSIENT;
}

/* That the whole route has to hear of, outside of any event. */
void
redis_set_reply_error (RedisOptions  *options,
                       const char    *reply,
                       GError       **error)
{
  const char *advice;
  EvbusOutcome outcome = redis_reply_get_outcome (options, reply, &advice);

  g_set_error (error, EVBUS_ERROR,
               outcome == EVBUS_OUTCOME_TRANSIENT ? EVBUS_ERROR_TRANSIENT : EVBUS_ERROR_BROKEN,
               "%s: %s: %s", options->place, reply, advice);
}

/* What only a person can mend; everything else about a connection may pass. */
static const struct {
  int         code;
  const char *advice;
} tls_broken[] = {
  { G_TLS_ERROR_UNAVAILABLE, "install glib-networking" },
  { G_TLS_ERROR_BAD_CERTIFICATE, "correct 'tls.ca_file' or 'tls.server_name'" },
  { G_TLS_ERROR_NOT_TLS, "does that port speak TLS?" },
  { G_TLS_ERROR_HANDSHAKE, "the server refuses 'tls.cert_file', or the port does not speak TLS" },
};

/* The alerts by which a server says that it wants a certificate of the client, or another one. */
static const char * const refusals[] = {
  "Handshake failed", "Certificate is bad", "Certificate is not supported", "Certificate was revoked",
  "Certificate is expired", "Unknown certificate", "CA is unknown", "Access was denied", "Certificate is required",
};

/* GIO has no code for an alert, and says its name as GnuTLS does: in the language of the program. */
static gboolean
is_refused (const GError *cause)
{
  for (guint i = 0; g_error_matches (cause, G_TLS_ERROR, G_TLS_ERROR_MISC) && i < G_N_ELEMENTS (refusals); i++)
    if (g_str_has_suffix (cause->message, dgettext ("gnutls30", refusals[i])))
      return TRUE;
  return FALSE;
}

/* Where the server has asked for a certificate, there is none, and then the connection is lost, GIO guesses
 * that it was required. */
static gboolean
is_lost (const GError *cause)
{
  return g_error_matches (cause, G_TLS_ERROR, G_TLS_ERROR_CERTIFICATE_REQUIRED) ||
         g_error_matches (cause, G_TLS_ERROR, G_TLS_ERROR_EOF) ||
         g_error_matches (cause, G_IO_ERROR, G_IO_ERROR_CONNECTION_CLOSED);
}

/* @let_in: whether the server had taken what it was told at the beginning */
void
redis_set_connect_error (RedisOptions  *options,
                         const GError  *cause,
                         gboolean       let_in,
                         GError       **error)
{
  gboolean guessed = g_error_matches (cause, G_TLS_ERROR, G_TLS_ERROR_CERTIFICATE_REQUIRED);
  gboolean wants = options->tls && options->cert_file == NULL && !let_in && is_lost (cause);

  if (cause->domain == EVBUS_ERROR)
    {
      g_propagate_error (error, g_error_copy (cause));
      return;
    }

  for (guint i = 0; cause->domain == G_TLS_ERROR && i < G_N_ELEMENTS (tls_broken); i++)
    {
      if (cause->code != tls_broken[i].code)
        continue;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: %s: %s",
                   options->place, cause->message, tls_broken[i].advice);
      return;
    }

  if (is_refused (cause))
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: %s: the server wants a certificate of the client, or another "
                 "one; give one that it trusts by 'tls.cert_file' and 'tls.key_file'", options->place, cause->message);
  else
    g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s%s", options->place,
                 guessed ? "the connection was lost" : cause->message, wants ? "; the server may want a certificate of "
                 "the client: give one by 'tls.cert_file' and 'tls.key_file'" : "");
}
