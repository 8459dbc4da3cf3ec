/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* What the codes of a connection to NATS come to. */

#include "nats-errors.h"

#include <string.h>

/* What is not here passes: the network, a server that is down or overloaded. */
static const struct {
  natsStatus    status;
  EvbusError    code;
  const char   *way_out;
} statuses[] = {
  { NATS_CONNECTION_AUTH_FAILED, EVBUS_ERROR_BROKEN, "check user and password, token, nkey_seed or credentials" },
  { NATS_NOT_PERMITTED, EVBUS_ERROR_BROKEN, "give the user that permission" },
  { NATS_SSL_ERROR, EVBUS_ERROR_BROKEN, "check the certificates and the options of 'tls'" },
  { NATS_SECURE_CONNECTION_WANTED, EVBUS_ERROR_BROKEN, "the server has no TLS; turn it on there, or leave out 'tls' and tls://" },
  { NATS_SECURE_CONNECTION_REQUIRED, EVBUS_ERROR_BROKEN, "the server wants TLS; set 'tls: {enabled: true}'" },
  { NATS_NO_SERVER_SUPPORT, EVBUS_ERROR_BROKEN, "the server is too old: headers came with NATS 2.2" },
  { NATS_ADDRESS_MISSING, EVBUS_ERROR_BROKEN, "check 'servers'" },
  { NATS_INVALID_ARG, EVBUS_ERROR_BROKEN, "check the options" },
  { NATS_ILLEGAL_STATE, EVBUS_ERROR_BROKEN, "check the options" },
};

/* @text: of nats_GetLastError(); it may begin with the place in libnats. */
const char *
nats_errors_get_text (natsStatus  status,
                      const char *text)
{
  if (text == NULL || *text == '\0')
    return natsStatus_GetText (status);
  if (*text == '(' && strstr (text, "): ") != NULL)
    return strstr (text, "): ") + strlen ("): ");
  return text;
}

void
nats_errors_set (GError     **error,
                 const char  *where,
                 natsStatus   status,
                 const char  *text)
{
  text = nats_errors_get_text (status, text);
  for (guint i = 0; i < G_N_ELEMENTS (statuses); i++)
    if (statuses[i].status == status)
      {
        g_set_error (error, EVBUS_ERROR, statuses[i].code, "%s: %s: %s", where, text, statuses[i].way_out);
        return;
      }
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: %s", where, text);
}

/* Of a subject or a stream that is not there. */
EvbusOutcome
nats_errors_of_address (gboolean fixed)
{
  return fixed ? EVBUS_OUTCOME_BROKEN : EVBUS_OUTCOME_POISON;
}
