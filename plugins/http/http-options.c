/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-options.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "http-headers.h"
#include "http-url.h"

static const char * const batches[] = {
  [HTTP_BATCH_EVENT] = "event",
  [HTTP_BATCH_JSON_LINES] = "json_lines",
  [HTTP_BATCH_JSON_ARRAY] = "json_array",
  [HTTP_BATCH_CLOUDEVENTS] = "cloudevents",
};

static const char * const modes[] = {
  [HTTP_MODE_PLAIN] = NULL,
  [HTTP_MODE_BINARY] = "binary",
  [HTTP_MODE_STRUCTURED] = "structured",
};

static guint
find (const char * const *choices,
      guint               n,
      const char         *name)
{
  for (guint i = 0; i < n; i++)
    if (g_strcmp0 (choices[i], name) == 0)
      return i;
  return 0;
}

gboolean
http_options_has_name (HttpOptions *self,
                       const char  *header)
{
  for (guint i = 0; i < self->names->len; i++)
    if (g_ascii_strcasecmp (self->names->pdata[i], header) == 0)
      return TRUE;
  return FALSE;
}

/* ---- headers ---- */

static void
add_header (HttpOptions *self,
            const char  *name,
            const char  *value)
{
  /* This is how libcurl is told of an empty value; with a colon it takes the header out. */
  g_autofree char *line = *value != '\0' ? g_strdup_printf ("%s: %s", name, value) : g_strdup_printf ("%s;", name);

  self->headers = curl_slist_append (self->headers, line);
  explicit_bzero (line, strlen (line));
}

/* By these the length of a request is told, on which its framing rests. */
static gboolean
is_framing (const char *name)
{
  return g_ascii_strcasecmp (name, "content-length") == 0 || g_ascii_strcasecmp (name, "transfer-encoding") == 0 ||
         g_ascii_strcasecmp (name, "connection") == 0;
}

static gboolean
read_headers (HttpOptions   *self,
              EvbusContext  *ctx,
              GError       **error)
{
  g_autoptr(GVariant) mapping = evbus_context_get_option (ctx, "headers");
  gsize n = mapping != NULL ? g_variant_n_children (mapping) : 0;

  for (gsize i = 0; i < n; i++)
    {
      g_autoptr(GVariant) value = NULL;
      g_autofree char *printed = NULL;
      const char *name;
      const char *text;

      g_variant_get_child (mapping, i, "{&sv}", &name, &value);
      if (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
        text = g_variant_get_string (value, NULL);
      else
        text = printed = g_variant_print (value, FALSE);
      if (!http_headers_is_name (name) || is_framing (name))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'headers': '%s' cannot be %s", name,
                       is_framing (name) ? "set; it is part of how the request is framed" : "the name of a header");
          return FALSE;
        }
      if (!http_headers_is_value (text))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'headers': the value of '%s' has a control character",
                       name);
          return FALSE;
        }
      add_header (self, name, text);
      g_ptr_array_add (self->names, g_strdup (name));
    }
  return TRUE;
}

/* ---- checks ---- */

static gboolean
check_tls (HttpOptions   *self,
           EvbusContext  *ctx,
           GError       **error)
{
  static const char * const files[] = { "tls.ca_file", "tls.cert_file", "tls.key_file" };

  if (!self->tls && evbus_context_wants_tls (ctx))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'tls' is given for a 'url' without TLS; write https://");
      return FALSE;
    }
  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    {
      const char *path = evbus_context_get_string (ctx, files[i]);

      if (path == NULL || g_access (path, R_OK) == 0)
        continue;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s': %s cannot be read", files[i], path);
      return FALSE;
    }
  return TRUE;
}

/* One that libcurl cannot use it would quote, and with each request; and where an '@' stands behind
 * the host, it would take a part of a password for the host. */
static gboolean
check_proxy (EvbusContext  *ctx,
             GError       **error)
{
  static const char * const schemes[] = { "http", "https", "socks4", "socks4a", "socks5", "socks5h", NULL };
  const char *proxy = evbus_context_get_string (ctx, "proxy");
  const char *start = proxy != NULL ? strstr (proxy, "://") : NULL;
  char *scheme = NULL, *host = NULL, *password = NULL;
  CURLU *url;
  gboolean good;

  if (proxy == NULL || *proxy == '\0')
    return TRUE;
  start = start != NULL ? start + strlen ("://") : proxy;
  url = curl_url ();
  good = strchr (start + strcspn (start, "/?#"), '@') == NULL &&
         curl_url_set (url, CURLUPART_URL, proxy, CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME) == CURLUE_OK &&
         curl_url_get (url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && g_strv_contains (schemes, scheme);
  if (good && !g_str_equal (scheme, "https") && curl_url_get (url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
      curl_url_get (url, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK)
    evbus_context_warn_unencrypted (ctx, host);
  curl_free (scheme);
  curl_free (host);
  curl_free (password);
  curl_url_cleanup (url);
  if (good)
    return TRUE;
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                       "'proxy' must look like http://USER:PASSWORD@HOST:PORT, or https:// or socks5:// and the like, "
                       "with what is special in the password written as %XX");
  return FALSE;
}

static gboolean
check_batch (HttpOptions  *self,
             GError      **error)
{
  if (self->batch == HTTP_BATCH_EVENT)
    return TRUE;
  if (self->mode == HTTP_MODE_BINARY)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'cloudevents: binary' is for one event a request, and "
                   "'batch: %s' for many; choose 'structured' or 'batch: event'", batches[self->batch]);
      return FALSE;
    }
  if (evbus_template_is_fixed (self->url))
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'url' depends on the event, and 'batch: %s' sends many "
               "to one place; choose 'batch: event' or leave {…} out", batches[self->batch]);
  return FALSE;
}

/* What a reference stands for, and headers whose names are those of secrets. */
static gboolean
has_secret (HttpOptions  *self,
            EvbusContext *ctx)
{
  static const char * const names[] = { "Authorization", "Cookie", "X-Api-Key", "Api-Key", "X-Auth-Token" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (http_options_has_name (self, names[i]))
      return TRUE;
  return evbus_context_has_secret (ctx, "headers") || evbus_context_has_secret (ctx, "url");
}

static gboolean
check_authorization (HttpOptions   *self,
                     EvbusContext  *ctx,
                     GError       **error)
{
  const char *username = evbus_context_get_string (ctx, "authorization.basic.username");
  const char *password = evbus_context_get_string (ctx, "authorization.basic.password");
  const char *bearer = evbus_context_get_string (ctx, "authorization.bearer");

  if (bearer != NULL && (username != NULL || password != NULL))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'authorization' has both 'basic' and 'bearer'; give one of them");
      return FALSE;
    }
  if (bearer != NULL && !http_headers_is_value (bearer))
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'authorization.bearer' has a control character");
      return FALSE;
    }
  if (!self->tls && (password != NULL || bearer != NULL || has_secret (self, ctx)))
    evbus_context_warn_unencrypted (ctx, self->host);
  if (self->tls && !evbus_context_get_boolean (ctx, "tls.verify"))
    evbus_context_warn_unverified (ctx, self->host);
  return TRUE;
}

HttpOptions *
http_options_new (EvbusContext  *ctx,
                  GError       **error)
{
  g_autoptr(HttpOptions) self = g_new0 (HttpOptions, 1);
  g_autofree char *host_header = NULL;

  self->names = g_ptr_array_new_with_free_func (g_free);
  self->batch = find (batches, G_N_ELEMENTS (batches), evbus_context_get_string (ctx, "batch"));
  self->mode = find (modes, G_N_ELEMENTS (modes), evbus_context_get_string (ctx, "cloudevents"));
  self->source = g_strdup (evbus_context_get_string (ctx, "cloudevents_source"));
  self->compress = evbus_context_get_string (ctx, "compression") != NULL;
  self->in_flight = evbus_context_get_int (ctx, "in_flight");

  if (!http_url_read (self, ctx, &host_header, error) || !read_headers (self, ctx, error) ||
      !check_tls (self, ctx, error) || !check_proxy (ctx, error) || !check_batch (self, error) ||
      !check_authorization (self, ctx, error))
    return NULL;
  if (host_header != NULL && !http_options_has_name (self, "Host"))
    add_header (self, "Host", host_header);
  /* To be asked first whether a body may come costs a round trip, or a second where
   * the server does not know of it. */
  self->headers = curl_slist_append (self->headers, "Expect:");

  self->outcomes = http_outcomes_new (ctx, evbus_template_is_fixed (self->url),
                                      self->batch != HTTP_BATCH_EVENT || self->mode == HTTP_MODE_STRUCTURED ||
                                      http_options_has_name (self, "Content-Type"), error);
  return self->outcomes != NULL ? g_steal_pointer (&self) : NULL;
}

void
http_options_free (HttpOptions *self)
{
  g_clear_pointer (&self->url, evbus_template_unref);
  g_free (self->host);
  g_free (self->place);
  curl_slist_free_all (self->connect_to);
  curl_slist_free_all (self->headers);
  g_ptr_array_unref (self->names);
  g_free (self->source);
  g_clear_pointer (&self->outcomes, http_outcomes_free);
  g_free (self);
}
