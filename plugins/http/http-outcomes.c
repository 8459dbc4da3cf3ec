/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-outcomes.h"

#include <string.h>

#include "http-excerpt.h"

/* Statuses that the server may answer with; the others are none. */
#define MAX_STATUS 600

typedef enum {
  UNKNOWN,     /* goes by the class */
  DELIVERED,
  RETRY,
  BROKEN,
  POISON,
  OF_URL,      /* poison where the URL comes from the event, else broken */
  OF_TYPE,     /* poison where the content type comes from the event, else broken */
} Meaning;

struct _HttpOutcomes
{
  guint8   meanings[MAX_STATUS];   /* Meaning */
  gboolean own_type;               /* whether the content type is ours, not the event's */
  gboolean fixed_url;
};

static const struct {
  const char *name;
  Meaning     meaning;
} names[] = {
  { "delivered", DELIVERED },
  { "retry", RETRY },
  { "broken", BROKEN },
  { "poison", POISON },
};

/* The first digit of a status. */
static const Meaning classes[] = { RETRY, RETRY, DELIVERED, OF_URL, POISON, RETRY };

static const char try_again[] = "it is tried again";

static const struct {
  int         status;
  Meaning     meaning;
  const char *advice;
} statuses[] = {
  { 401, BROKEN, "correct 'authorization'" },
  { 402, BROKEN, "the account has to be paid for" },
  { 403, OF_URL, "allow it to whom 'authorization' names" },
  { 404, OF_URL, "correct 'url'" },
  { 405, OF_URL, "choose another 'method' or 'url'" },
  { 407, BROKEN, "give the proxy's user and password in 'proxy'" },
  { 408, RETRY, try_again },
  { 409, RETRY, "it is tried again; if it means that the event is there already, say so in 'responses'" },
  { 410, OF_URL, "correct 'url'" },
  { 411, BROKEN, "the server takes no length; ask its owner" },
  { 413, POISON, "too large for the server" },
  { 414, OF_URL, "'url' is too long" },
  { 415, OF_TYPE, "the server does not take that content type" },
  { 421, RETRY, try_again },
  { 423, RETRY, try_again },
  { 424, RETRY, try_again },
  { 425, RETRY, try_again },
  { 426, BROKEN, "the server wants another version of HTTP" },
  { 429, RETRY, try_again },
  { 451, OF_URL, "the server may not take it, by law" },
};

/* What a server says by its text alone. (nginx, without a certificate of the client.) */
static const struct {
  int         status;
  const char *text;
  const char *advice;
} texts[] = {
  { 400, "SSL certificate", "give 'tls.cert_file' and 'tls.key_file' as the server wants them" },
  { 400, "plain HTTP request was sent to HTTPS port", "write https:// in 'url'" },
};

/* ---- the profile's own ---- */

static gboolean
read_meaning (GVariant *value,
              Meaning  *meaning)
{
  const char *name = g_variant_is_of_type (value, G_VARIANT_TYPE_STRING) ? g_variant_get_string (value, NULL) : "";

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (strcmp (name, names[i].name) == 0)
      {
        *meaning = names[i].meaning;
        return TRUE;
      }
  return FALSE;
}

/* "409", or "4xx" for those which have no meaning of their own. */
static gboolean
set_meaning (HttpOutcomes *self,
             const char   *key,
             Meaning       meaning)
{
  if (strlen (key) != 3 || key[0] < '1' || key[0] > '5')
    return FALSE;
  if (g_ascii_strcasecmp (key + 1, "xx") == 0)
    {
      for (int status = (key[0] - '0') * 100, end = status + 100; status < end; status++)
        if (self->meanings[status] == UNKNOWN)
          self->meanings[status] = meaning;
      return TRUE;
    }
  if (!g_ascii_isdigit (key[1]) || !g_ascii_isdigit (key[2]))
    return FALSE;
  self->meanings[atoi (key)] = meaning;
  return TRUE;
}

static gboolean
read_responses (HttpOutcomes  *self,
                EvbusContext  *ctx,
                gboolean       classes_only,
                GError       **error)
{
  g_autoptr(GVariant) mapping = evbus_context_get_option (ctx, "responses");
  gsize n = mapping != NULL ? g_variant_n_children (mapping) : 0;

  for (gsize i = 0; i < n; i++)
    {
      g_autoptr(GVariant) value = NULL;
      const char *key;
      Meaning meaning;

      g_variant_get_child (mapping, i, "{&sv}", &key, &value);
      if (classes_only != g_str_has_suffix (key, "xx"))
        continue;
      if (read_meaning (value, &meaning) && set_meaning (self, key, meaning))
        continue;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'responses': '%s' must be a status as 409, or a class "
                   "as 4xx, and its value delivered, retry, broken or poison", key);
      return FALSE;
    }
  return TRUE;
}

/* A class that the profile names counts for all of it but the statuses which the profile
 * names as well; the table comes after both. */
HttpOutcomes *
http_outcomes_new (EvbusContext  *ctx,
                   gboolean       fixed_url,
                   gboolean       own_type,
                   GError       **error)
{
  g_autoptr(HttpOutcomes) self = g_new0 (HttpOutcomes, 1);

  self->fixed_url = fixed_url;
  self->own_type = own_type;
  if (!read_responses (self, ctx, FALSE, error) || !read_responses (self, ctx, TRUE, error))
    return NULL;
  for (guint i = 0; i < G_N_ELEMENTS (statuses); i++)
    if (self->meanings[statuses[i].status] == UNKNOWN)
      self->meanings[statuses[i].status] = statuses[i].meaning;
  return g_steal_pointer (&self);
}

void
http_outcomes_free (HttpOutcomes *self)
{
  g_free (self);
}

/* ---- a status ---- */

static Meaning
get_meaning (HttpOutcomes *self,
             glong         status)
{
  Meaning meaning = UNKNOWN;

  if (status <= 0 || status >= MAX_STATUS)
    return RETRY;
  meaning = self->meanings[status];
  if (meaning == UNKNOWN)
    meaning = classes[status / 100];
  if (meaning == OF_URL)
    return self->fixed_url ? BROKEN : POISON;
  if (meaning == OF_TYPE)
    return self->own_type ? BROKEN : POISON;
  return meaning;
}

static const char *
get_advice (glong   status,
            Meaning meaning)
{
  for (guint i = 0; i < G_N_ELEMENTS (statuses); i++)
    if (statuses[i].status == status)
      return statuses[i].advice;
  return meaning == RETRY ? try_again : meaning == BROKEN ? "ask the server's owner" : "the server refuses the event";
}

static EvbusOutcome
as_outcome (Meaning meaning)
{
  return meaning == BROKEN ? EVBUS_OUTCOME_BROKEN
         : meaning == POISON ? EVBUS_OUTCOME_POISON : EVBUS_OUTCOME_TRANSIENT;
}

/* Of the place that a redirect leads to, what cannot be secret. */
static char *
describe_redirect (const char *location)
{
  g_autoptr(GUri) uri = location != NULL ? g_uri_parse (location, G_URI_FLAGS_PARSE_RELAXED, NULL) : NULL;

  if (uri == NULL || g_uri_get_host (uri) == NULL)
    return g_strdup ("a redirect, which is not followed; correct 'url'");
  return g_strdup_printf ("a redirect to %s://%s, which is not followed; correct 'url'",
                          g_uri_get_scheme (uri), g_uri_get_host (uri));
}

static void
judge_status (HttpOutcomes     *self,
              const char       *place,
              EvbusContext     *ctx,
              const HttpAnswer *answer,
              HttpVerdict      *verdict)
{
  Meaning meaning = get_meaning (self, answer->status);
  g_autofree char *excerpt = NULL;
  g_autofree char *redirect = NULL;
  const char *advice;

  verdict->delivered = meaning == DELIVERED;
  if (verdict->delivered)
    return;

  advice = get_advice (answer->status, meaning);
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    if (meaning == POISON && answer->status == texts[i].status && strstr (answer->text, texts[i].text) != NULL)
      {
        meaning = BROKEN;
        advice = texts[i].advice;
      }
  if (answer->status / 100 == 3 && answer->status != 304)
    advice = redirect = describe_redirect (answer->location);

  excerpt = http_excerpt_new (answer->text, ctx);
  verdict->outcome = as_outcome (meaning);
  verdict->reason = *excerpt != '\0' ? g_strdup_printf ("%s: %ld: %s: %s", place, answer->status, excerpt, advice)
                                     : g_strdup_printf ("%s: %ld: %s", place, answer->status, advice);
}

/* ---- no status ---- */

/* What only a person can mend; everything else about a connection may pass. With a text, where
 * libcurl's message has it. */
static const struct {
  CURLcode    code;
  const char *text;
  Meaning     meaning;
  const char *advice;
} codes[] = {
  { CURLE_URL_MALFORMAT, NULL, OF_URL, "correct 'url'" },
  { CURLE_PEER_FAILED_VERIFICATION, NULL, BROKEN, "correct 'tls.ca_file' or 'tls.server_name'" },
  { CURLE_SSL_ISSUER_ERROR, NULL, BROKEN, "correct 'tls.ca_file'" },
  { CURLE_SSL_CACERT_BADFILE, NULL, BROKEN, "correct 'tls.ca_file'" },
  { CURLE_SSL_CERTPROBLEM, NULL, BROKEN, "correct 'tls.cert_file', 'tls.key_file' or 'tls.key_password'" },
  { CURLE_SSL_CONNECT_ERROR, "alert", BROKEN, "the server refuses 'tls.cert_file', or has no such TLS" },
  { CURLE_SSL_CONNECT_ERROR, "error:", BROKEN, "does that port speak TLS?" },
  /* With TLS 1.3 the refusal comes after the handshake. */
  { CURLE_RECV_ERROR, "alert", BROKEN, "give 'tls.cert_file' and 'tls.key_file' as the server wants them" },
  { CURLE_SEND_ERROR, "alert", BROKEN, "give 'tls.cert_file' and 'tls.key_file' as the server wants them" },
};

static void
judge_code (HttpOutcomes     *self,
            const char       *place,
            EvbusContext     *ctx,
            const HttpAnswer *answer,
            HttpVerdict      *verdict)
{
  const char *message = *answer->message != '\0' ? answer->message : curl_easy_strerror (answer->code);
  g_autofree char *excerpt = http_excerpt_new (message, ctx);

  verdict->outcome = EVBUS_OUTCOME_TRANSIENT;
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    {
      if (answer->code != codes[i].code || (codes[i].text != NULL && strstr (message, codes[i].text) == NULL))
        continue;
      verdict->outcome = codes[i].meaning == OF_URL && !self->fixed_url ? EVBUS_OUTCOME_POISON : EVBUS_OUTCOME_BROKEN;
      verdict->reason = g_strdup_printf ("%s: %s: %s", place, excerpt, codes[i].advice);
      return;
    }
  verdict->reason = g_strdup_printf ("%s: %s", place, excerpt);
}

void
http_outcomes_judge (HttpOutcomes     *self,
                     const char       *place,
                     EvbusContext     *ctx,
                     const HttpAnswer *answer,
                     HttpVerdict      *verdict)
{
  *verdict = (HttpVerdict) { 0 };
  if (answer->code == CURLE_OK)
    {
      judge_status (self, place, ctx, answer, verdict);
      return;
    }
  if (answer->proxy >= 400)
    {
      Meaning meaning = answer->proxy < 500 && answer->proxy != 408 && answer->proxy != 429 ? BROKEN : RETRY;

      verdict->outcome = as_outcome (meaning);
      verdict->reason = g_strdup_printf ("%s: the proxy answers %ld: %s", place, answer->proxy,
                                         get_advice (answer->proxy, meaning));
      return;
    }
  judge_code (self, place, ctx, answer, verdict);
}
