/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-url.h"

#include <string.h>

/* Longer ones are refused by most servers. */
#define MAX_URL 8000

static gboolean
set_error (GError     **error,
           const char  *text)
{
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, text);
  return FALSE;
}

/* libcurl verifies the name that stands in the URL: so 'tls.server_name' stands there, and
 * it is told apart where to connect to and what host to ask for. */
static char *
rename_host (HttpOptions *options,
             GUri        *uri,
             const char  *authority,
             const char  *server_name,
             const char  *rest,
             char       **host_header)
{
  gboolean ip6 = strchr (options->host, ':') != NULL;
  int port = g_uri_get_port (uri) > 0 ? g_uri_get_port (uri) : 443;
  g_autofree char *rule = g_strdup_printf (ip6 ? "%s:%d:[%s]:%d" : "%s:%d:%s:%d",
                                           server_name, port, options->host, port);

  options->connect_to = curl_slist_append (NULL, rule);
  *host_header = g_strdup (authority);
  return g_strdup_printf ("https://%s:%d%s", server_name, port, rest);
}

/* The part that says whom to talk to has to be plain: an event must not choose it. */
static GUri *
parse_authority (const char  *scheme,
                 const char  *authority,
                 GError     **error)
{
  g_autofree char *start = g_strdup_printf ("%s://%s/", scheme, authority);
  g_autoptr(GUri) uri = NULL;

  if (strchr (authority, '@') != NULL)
    {
      set_error (error, "'url' names a user or a password; give 'authorization' instead");
      return NULL;
    }
  if (strpbrk (authority, "{}") != NULL)
    {
      set_error (error, "'url' has braces in its host, which an event cannot choose; name the host");
      return NULL;
    }
  uri = g_uri_parse (start, G_URI_FLAGS_NONE, NULL);
  if (uri != NULL && g_uri_get_host (uri) != NULL && *g_uri_get_host (uri) != '\0')
    return g_steal_pointer (&uri);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'url': '%s' is no host and port", authority);
  return NULL;
}

gboolean
http_url_read (HttpOptions   *options,
               EvbusContext  *ctx,
               char         **host_header,
               GError       **error)
{
  const char *text = evbus_context_get_string (ctx, "url");
  const char *server_name = evbus_context_get_string (ctx, "tls.server_name");
  gsize scheme_length = strcspn (text, ":");
  g_autofree char *scheme = g_ascii_strdown (text, scheme_length);
  g_autofree char *authority = NULL;
  g_autofree char *renamed = NULL;
  g_autoptr(GUri) uri = NULL;
  gsize length;

  options->tls = strcmp (scheme, "https") == 0;
  if ((!options->tls && strcmp (scheme, "http") != 0) || strncmp (text + scheme_length, "://", 3) != 0)
    return set_error (error, "'url' must begin with http:// or https://");
  text += scheme_length + 3;
  length = strcspn (text, "/?#");
  authority = g_strndup (text, length);
  uri = parse_authority (scheme, authority, error);
  if (uri == NULL)
    return FALSE;

  options->host = g_strdup (g_uri_get_host (uri));
  options->place = g_strdup_printf ("%s://%s", scheme, authority);
  if (options->tls && server_name != NULL)
    renamed = rename_host (options, uri, authority, server_name, text + length, host_header);
  options->url = evbus_template_new (renamed != NULL ? renamed : evbus_context_get_string (ctx, "url"), NULL);
  /* One out of a secret was not checked with the configuration, and is not quoted. */
  return options->url != NULL ||
         set_error (error, "'url' has braces of which nothing can be made; there are {routing_key}, {profile} and {id}");
}

/* What the server would take for a way out of the place that the template has for it. */
static gboolean
has_dots (const char *url)
{
  const char *p = strstr (url, "://") + 3;
  const char *end = p + strcspn (p, "?#");

  for (p += strcspn (p, "/?#"); p < end && *p == '/';)
    {
      gsize length = strcspn (++p, "/?#");

      if ((length == 1 || length == 2) && strncmp (p, "..", length) == 0)
        return TRUE;
      p += length;
    }
  return FALSE;
}

/* Returns %FALSE with the reason for an event that makes no URL. */
gboolean
http_url_append (HttpOptions  *options,
                 EvbusEvent   *event,
                 GString      *url,
                 char        **reason)
{
  gboolean fixed = evbus_template_is_fixed (options->url);

  evbus_template_append_escaped (options->url, event, url);
  if (!fixed && has_dots (url->str))
    {
      *reason = g_strdup_printf ("%s: the event makes a URL with '.' or '..' in its path", options->place);
      return FALSE;
    }
  if (!fixed && url->len > MAX_URL)
    {
      *reason = g_strdup_printf ("%s: the event makes a URL that is too long", options->place);
      return FALSE;
    }
  return TRUE;
}
