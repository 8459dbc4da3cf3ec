/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-transfer.h"

#include <string.h>

#include "http-url.h"

/* Of the body of an answer this much is kept to be quoted, and so much read. */
#define KEPT_TEXT 2048
#define MAX_ANSWER (256 * 1024)

/* What a large body has needed is not kept for ever. */
#define KEPT_BODY (64 * 1024)

/* ---- called by libcurl ---- */

static size_t
on_data (char   *data,
         size_t  size,
         size_t  n,
         void   *user_data)
{
  HttpTransfer *self = user_data;
  gsize length = size * n;

  self->received += length;
  if (self->text->len < KEPT_TEXT)
    g_string_append_len (self->text, data, MIN (length, KEPT_TEXT - self->text->len));
  return self->received > MAX_ANSWER ? 0 : length;
}

/* libcurl would send a request again by itself, when the connection that it had used before is
 * lost. Whether the first one has arrived nobody knows, and the route is to count it. */
static int
on_send (void *user_data,
         char *remote_address,
         char *local_address,
         int   remote_port,
         int   local_port)
{
  HttpTransfer *self = user_data;
  gboolean again = self->sent;

  self->sent = TRUE;
  return again ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- settings ---- */

typedef struct {
  CURLoption  curl;
  const char *option;
} TextSetting;

static CURLcode
set_texts (CURL         *easy,
           EvbusContext *ctx)
{
  static const TextSetting settings[] = {
    { CURLOPT_CUSTOMREQUEST, "method" },
    { CURLOPT_USERNAME, "authorization.basic.username" },
    { CURLOPT_PASSWORD, "authorization.basic.password" },
    { CURLOPT_XOAUTH2_BEARER, "authorization.bearer" },
    { CURLOPT_CAINFO, "tls.ca_file" },
    { CURLOPT_SSLCERT, "tls.cert_file" },
    { CURLOPT_SSLKEY, "tls.key_file" },
    { CURLOPT_KEYPASSWD, "tls.key_password" },
  };
  const char *proxy = evbus_context_get_string (ctx, "proxy");
  /* An empty one, and no host to which it does not apply: not what the environment says. */
  CURLcode code = curl_easy_setopt (easy, CURLOPT_PROXY, proxy != NULL ? proxy : "");

  if (code == CURLE_OK)
    code = curl_easy_setopt (easy, CURLOPT_NOPROXY, "");
  for (guint i = 0; code == CURLE_OK && i < G_N_ELEMENTS (settings); i++)
    {
      const char *text = evbus_context_get_string (ctx, settings[i].option);

      if (text != NULL)
        code = curl_easy_setopt (easy, settings[i].curl, text);
    }
  /* The authorities of 'tls.ca_file' are instead of the system's. */
  if (code == CURLE_OK && evbus_context_get_string (ctx, "tls.ca_file") != NULL)
    code = curl_easy_setopt (easy, CURLOPT_CAPATH, NULL);
  return code;
}

static CURLcode
set_numbers (CURL         *easy,
             HttpOptions  *options,
             EvbusContext *ctx)
{
  gboolean verify = evbus_context_get_boolean (ctx, "tls.verify");
  gboolean bearer = evbus_context_get_string (ctx, "authorization.bearer") != NULL;
  const struct {
    CURLoption option;
    glong      value;
  } settings[] = {
    { CURLOPT_POST, 1 },
    { CURLOPT_HTTPAUTH, bearer ? CURLAUTH_BEARER : CURLAUTH_BASIC },
    { CURLOPT_TIMEOUT_MS, evbus_context_get_int (ctx, "timeout") / 1000 },
    { CURLOPT_CONNECTTIMEOUT_MS, evbus_context_get_int (ctx, "connect_timeout") / 1000 },
    { CURLOPT_SSL_VERIFYPEER, verify ? 1 : 0 },
    { CURLOPT_SSL_VERIFYHOST, verify ? 2 : 0 },
    { CURLOPT_FOLLOWLOCATION, 0 },
    { CURLOPT_PATH_AS_IS, !evbus_template_is_fixed (options->url) },
    { CURLOPT_TCP_KEEPALIVE, 1 },
    { CURLOPT_NOSIGNAL, 1 },
    /* A server may end a connection of HTTP/2 in the middle of what is under way, and as a rule
     * does after some number of requests. In HTTP/1.1 it says so with an answer. */
    { CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1 },
    /* A name that is being looked up holds up no cancellation. */
    { CURLOPT_QUICK_EXIT, 1 },
  };
  CURLcode code = CURLE_OK;

  for (guint i = 0; code == CURLE_OK && i < G_N_ELEMENTS (settings); i++)
    code = curl_easy_setopt (easy, settings[i].option, settings[i].value);
  return code;
}

static CURLcode
set_own (HttpTransfer *self,
         HttpOptions  *options)
{
  g_autofree char *agent = g_strdup_printf ("evbus/%d.%d.%d", EVBUS_MAJOR_VERSION, EVBUS_MINOR_VERSION,
                                            EVBUS_MICRO_VERSION);
  const struct {
    CURLoption    option;
    gconstpointer value;
  } settings[] = {
    { CURLOPT_PRIVATE, self },
    { CURLOPT_ERRORBUFFER, self->message },
    { CURLOPT_WRITEDATA, self },
    { CURLOPT_PREREQDATA, self },
    { CURLOPT_USERAGENT, agent },
    { CURLOPT_PROTOCOLS_STR, "http,https" },
    { CURLOPT_CONNECT_TO, options->connect_to },
  };
  CURLcode code = curl_easy_setopt (self->easy, CURLOPT_WRITEFUNCTION, on_data);

  if (code == CURLE_OK)
    code = curl_easy_setopt (self->easy, CURLOPT_PREREQFUNCTION, on_send);
  for (guint i = 0; code == CURLE_OK && i < G_N_ELEMENTS (settings); i++)
    code = curl_easy_setopt (self->easy, settings[i].option, settings[i].value);
  return code;
}

HttpTransfer *
http_transfer_new (HttpOptions   *options,
                   EvbusContext  *ctx,
                   GError       **error)
{
  g_autoptr(HttpTransfer) self = g_new0 (HttpTransfer, 1);
  CURLcode code = CURLE_OUT_OF_MEMORY;

  http_headers_init (&self->headers);
  self->indexes = g_array_new (FALSE, FALSE, sizeof (guint));
  self->url = g_string_new (NULL);
  self->body = g_string_new (NULL);
  self->text = g_string_new (NULL);
  self->easy = curl_easy_init ();
  if (self->easy != NULL)
    code = set_texts (self->easy, ctx);
  if (code == CURLE_OK)
    code = set_numbers (self->easy, options, ctx);
  if (code == CURLE_OK)
    code = set_own (self, options);
  if (code == CURLE_OK)
    return g_steal_pointer (&self);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "%s: libcurl cannot be set up: %s",
               options->place, curl_easy_strerror (code));
  return NULL;
}

void
http_transfer_free (HttpTransfer *self)
{
  if (self->easy != NULL)
    curl_easy_cleanup (self->easy);
  http_headers_clear (&self->headers);
  g_array_unref (self->indexes);
  g_string_free (self->url, TRUE);
  g_string_free (self->body, TRUE);
  g_string_free (self->text, TRUE);
  g_free (self);
}

/* ---- requests ---- */

static void
reset (HttpTransfer *self)
{
  self->sent = FALSE;
  self->received = 0;
  self->message[0] = '\0';
  g_array_set_size (self->indexes, 0);
  g_string_truncate (self->text, 0);
  g_string_truncate (self->url, 0);
  if (self->body->allocated_len > KEPT_BODY)
    {
      g_string_free (self->body, TRUE);
      self->body = g_string_new (NULL);
    }
}

static void
set_body (HttpTransfer *self,
          const char   *body,
          gsize         size)
{
  curl_easy_setopt (self->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) size);
  /* An event without a body may have none at all. */
  curl_easy_setopt (self->easy, CURLOPT_POSTFIELDS, size > 0 ? body : "");
}

/* Returns %FALSE with the reason for an event of which no request can be made. */
gboolean
http_transfer_set_event (HttpTransfer  *self,
                         HttpOptions   *options,
                         HttpWriter    *writer,
                         EvbusBatch    *batch,
                         guint          index,
                         char         **reason)
{
  EvbusEvent *event = evbus_batch_get_event (batch, index);
  g_autoptr(GError) error = NULL;
  const char *body;
  gsize size;

  reset (self);
  g_array_append_val (self->indexes, index);
  if (!http_url_append (options, event, self->url, reason))
    return FALSE;
  if (!http_writer_event (writer, options, event, self->body, &body, &size, &error))
    {
      *reason = g_strdup (error->message);
      return FALSE;
    }
  curl_easy_setopt (self->easy, CURLOPT_URL, self->url->str);
  curl_easy_setopt (self->easy, CURLOPT_HTTPHEADER, http_headers_for_event (&self->headers, options, event));
  set_body (self, body, size);
  return TRUE;
}

/* For @n events; those which cannot be in it are marked, and there may be none left. */
gboolean
http_transfer_set_batch (HttpTransfer  *self,
                         HttpOptions   *options,
                         HttpWriter    *writer,
                         EvbusBatch    *batch,
                         guint          first,
                         guint          n,
                         GError       **error)
{
  g_autofree char *key = NULL;

  reset (self);
  if (!http_writer_batch (writer, options, batch, first, n, self->indexes, self->body, &key, error))
    return FALSE;
  evbus_template_append_escaped (options->url, NULL, self->url);
  curl_easy_setopt (self->easy, CURLOPT_URL, self->url->str);
  curl_easy_setopt (self->easy, CURLOPT_HTTPHEADER, http_headers_for_batch (&self->headers, options, key));
  set_body (self, self->body->str, self->body->len);
  return TRUE;
}

/* ---- answers ---- */

/* The status has been said; nobody wants to know how the text that follows it would have ended. */
static gboolean
ends_in_body (CURLcode code)
{
  static const CURLcode codes[] = {
    CURLE_WRITE_ERROR, CURLE_PARTIAL_FILE, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_OPERATION_TIMEDOUT,
  };

  for (guint i = 0; i < G_N_ELEMENTS (codes); i++)
    if (code == codes[i])
      return TRUE;
  return FALSE;
}

void
http_transfer_get_answer (HttpTransfer *self,
                          CURLcode      code,
                          HttpAnswer   *answer)
{
  char *location = NULL;

  *answer = (HttpAnswer) { .code = code, .message = self->message, .text = self->text->str };
  curl_easy_getinfo (self->easy, CURLINFO_RESPONSE_CODE, &answer->status);
  curl_easy_getinfo (self->easy, CURLINFO_HTTP_CONNECTCODE, &answer->proxy);
  curl_easy_getinfo (self->easy, CURLINFO_REDIRECT_URL, &location);
  answer->location = location;
  if (answer->status >= 200 && ends_in_body (code))
    answer->code = CURLE_OK;
  if (code == CURLE_ABORTED_BY_CALLBACK)
    answer->message = "the connection was lost before the answer had come";
}

/* Microseconds after which the server wants to be asked again. */
gint64
http_transfer_get_delay (HttpTransfer *self)
{
  curl_off_t seconds = 0;

  curl_easy_getinfo (self->easy, CURLINFO_RETRY_AFTER, &seconds);
  return CLAMP (seconds, 0, G_TIME_SPAN_DAY / G_USEC_PER_SEC) * G_USEC_PER_SEC;
}
