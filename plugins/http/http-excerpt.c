/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-excerpt.h"

#include <string.h>

#define MAX_LENGTH 200

/* Shorter ones stand in many a text by chance. */
#define MIN_SECRET 4
/* A part of a path; and what stands between the parts of a URL. */
#define MIN_PART 8
#define PARTS "/?#&=;{}"

static const char * const secrets[] = { "authorization.basic.password", "authorization.bearer", "proxy" };

static gboolean
repeats (const char *text,
         const char *secret)
{
  return secret != NULL && strlen (secret) >= MIN_SECRET && strstr (text, secret) != NULL;
}

/* Servers that show the request in their page are none to be quoted, nor libcurl where it
 * quotes 'proxy'. */
static gboolean
has_secret (const char   *text,
            EvbusContext *ctx)
{
  g_autoptr(GVariant) headers = evbus_context_get_option (ctx, "headers");
  const char *username = evbus_context_get_string (ctx, "authorization.basic.username");
  const char *password = evbus_context_get_string (ctx, "authorization.basic.password");
  g_autofree char *both = g_strdup_printf ("%s:%s", username != NULL ? username : "", password != NULL ? password : "");
  g_autofree char *encoded = g_base64_encode ((const guchar *) both, strlen (both));
  const char *proxy = evbus_context_get_string (ctx, "proxy");
  g_autoptr(GUri) uri = proxy != NULL ? g_uri_parse (proxy, G_URI_FLAGS_HAS_PASSWORD, NULL) : NULL;
  gboolean found = repeats (text, encoded) || (uri != NULL && repeats (text, g_uri_get_password (uri)));
  GVariantIter iter;
  GVariant *value;

  explicit_bzero (both, strlen (both));
  explicit_bzero (encoded, strlen (encoded));
  for (guint i = 0; i < G_N_ELEMENTS (secrets); i++)
    found = found || repeats (text, evbus_context_get_string (ctx, secrets[i]));
  if (headers == NULL)
    return found;
  g_variant_iter_init (&iter, headers);
  while (g_variant_iter_loop (&iter, "{&sv}", NULL, &value))
    found = found || (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING) &&
                      repeats (text, g_variant_get_string (value, NULL)));
  return found;
}

/* Takes a part of a URL out of @text, as it stands there or decoded. */
static void
redact (GString    *text,
        const char *part,
        gsize       length)
{
  g_autofree char *plain = g_strndup (part, length);
  g_autofree char *decoded = g_uri_unescape_string (plain, NULL);

  g_string_replace (text, plain, "…", 0);
  if (decoded != NULL && *decoded != '\0')
    g_string_replace (text, decoded, "…", 0);
}

/* The path of a webhook is often its secret, and so is what stands in a query. Many servers
 * repeat it when they do not know it. */
static void
redact_url (GString    *text,
            const char *url)
{
  const char *start = strstr (url, "://");
  const char *query = strchr (url, '?');
  gsize length;

  if (start == NULL)
    return;
  start += strlen ("://");
  for (const char *p = start + strcspn (start, "/?#"); *p != '\0'; p += length)
    {
      p += strspn (p, PARTS);
      length = strcspn (p, PARTS);
      if (length >= (query != NULL && p > query ? MIN_SECRET : MIN_PART) && p[-1] != '{')
        redact (text, p, length);
    }
}

/* Appends what can be read of a line of HTML: what stands outside of its tags. */
static void
append_visible (GString    *string,
                const char *line,
                gsize       length)
{
  gboolean inside = FALSE;

  for (gsize i = 0; i < length && string->len < MAX_LENGTH; i++)
    {
      guchar c = line[i];

      if (c == '<' || (inside && c == '>'))
        inside = c == '<';
      else if (!inside)
        g_string_append_c (string, g_ascii_iscntrl (c) ? ' ' : c);
    }
}

/* Returns: (transfer full): the first line of @text that says something, or "" */
static char *
find_line (const char *text)
{
  g_autoptr(GString) string = g_string_new (NULL);
  gboolean html = g_str_has_prefix (text, "<");

  while (*text != '\0')
    {
      gsize length = strcspn (text, "\n");

      if (html)
        append_visible (string, text, length);
      else
        for (gsize i = 0; i < length && string->len < MAX_LENGTH; i++)
          g_string_append_c (string, g_ascii_iscntrl (text[i]) ? ' ' : text[i]);
      g_strstrip (string->str);
      if (*string->str != '\0')
        return g_utf8_make_valid (string->str, -1);
      g_string_truncate (string, 0);
      text += length + (text[length] == '\n');
    }
  return g_strdup ("");
}

/* Returns: (transfer full): what of @text may be told, or "" */
char *
http_excerpt_new (const char   *text,
                  EvbusContext *ctx)
{
  g_autoptr(GString) redacted = NULL;

  if (has_secret (text, ctx))
    return g_strdup ("(a text that repeats a secret)");
  redacted = g_string_new (text);
  redact_url (redacted, evbus_context_get_string (ctx, "url"));
  return find_line (redacted->str);
}
