/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-headers.h"

#include <string.h>

/* RFC 9110, a token. */
gboolean
http_headers_is_name (const char *name)
{
  if (*name == '\0')
    return FALSE;
  for (; *name != '\0'; name++)
    if (!g_ascii_isalnum (*name) && strchr ("!#$%&'*+-.^_`|~", *name) == NULL)
      return FALSE;
  return TRUE;
}

gboolean
http_headers_is_value (const char *value)
{
  for (; *value != '\0'; value++)
    if (g_ascii_iscntrl (*value) && *value != '\t')
      return FALSE;
  return TRUE;
}

void
http_headers_init (HttpHeaders *self)
{
  self->text = g_string_new (NULL);
  self->starts = g_array_new (FALSE, FALSE, sizeof (gsize));
  self->nodes = g_array_new (FALSE, FALSE, sizeof (struct curl_slist));
  self->line = g_string_new (NULL);
}

void
http_headers_clear (HttpHeaders *self)
{
  g_string_free (self->text, TRUE);
  g_array_unref (self->starts);
  g_array_unref (self->nodes);
  g_string_free (self->line, TRUE);
}

/* ---- lines ---- */

static void
start_line (HttpHeaders *self,
            const char  *name,
            gboolean     empty)
{
  gsize start = self->text->len;

  g_array_append_val (self->starts, start);
  g_string_append (self->text, name);
  /* See add_header() of http-options.c. */
  g_string_append (self->text, empty ? ";" : ": ");
}

static void
end_line (HttpHeaders *self)
{
  g_string_append_c (self->text, '\0');
}

/* A control character becomes a space: a value is one line. */
static void
add (HttpHeaders *self,
     HttpOptions *options,
     const char  *name,
     const char  *value)
{
  if (options->names->len > 0 && http_options_has_name (options, name))
    return;
  start_line (self, name, *value == '\0');
  for (; *value != '\0'; value++)
    g_string_append_c (self->text, g_ascii_iscntrl (*value) ? ' ' : *value);
  end_line (self);
}

static void
reset (HttpHeaders *self)
{
  g_string_truncate (self->text, 0);
  g_array_set_size (self->starts, 0);
}

/* The list, of which the profile's headers are the end. */
static struct curl_slist *
link_up (HttpHeaders       *self,
         struct curl_slist *rest)
{
  guint n = self->starts->len;
  struct curl_slist *nodes;

  g_array_set_size (self->nodes, n);
  nodes = (struct curl_slist *) (gpointer) self->nodes->data;
  for (guint i = 0; i < n; i++)
    {
      nodes[i].data = self->text->str + g_array_index (self->starts, gsize, i);
      nodes[i].next = i + 1 < n ? &nodes[i + 1] : rest;
    }
  return n > 0 ? nodes : rest;
}

/* ---- of an event ---- */

/* The attributes of an event are its producer's, who must not steer a server or a proxy with
 * them, nor pass for us. What begins so means something in HTTP. */
static gboolean
is_free_name (const char *name)
{
  static const char * const taken[] = {
    "accept", "access-control-", "authorization", "cache-control", "ce-", "connection", "content-", "cookie", "date",
    "evbus-", "expect", "forwarded", "from", "host", "http2-settings", "idempotency-key", "if-", "keep-alive",
    "max-forwards", "origin", "pragma", "proxy-", "range", "referer", "sec-", "set-cookie", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "via", "x-forwarded-", "x-http-", "x-original-", "x-real-",
  };

  for (guint i = 0; i < G_N_ELEMENTS (taken); i++)
    {
      gsize length = strlen (taken[i]);

      if (g_ascii_strncasecmp (name, taken[i], length) == 0 && (name[length] == '\0' || taken[i][length - 1] == '-'))
        return FALSE;
    }
  return http_headers_is_name (name);
}

static void
add_plain (HttpHeaders *self,
           HttpOptions *options,
           EvbusEvent  *event)
{
  GVariant *attributes = evbus_event_get_attributes (event);
  GVariantIter iter;
  const char *name;
  const char *value;

  add (self, options, "evbus-id", evbus_event_get_id (event));
  add (self, options, "evbus-routing-key", evbus_event_get_routing_key (event));
  add (self, options, "evbus-profile", evbus_event_get_profile (event));
  g_string_truncate (self->line, 0);
  evbus_event_append_time (event, self->line);
  add (self, options, "evbus-time", self->line->str);
  if (attributes == NULL)
    return;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    if (is_free_name (name))
      add (self, options, name, value);
}

/* With the escapes of CloudEvents' binding of HTTP, section 3.1.3.2. */
static void
add_cloud_attribute (const char *name,
                     const char *value,
                     gpointer    user_data)
{
  HttpHeaders *self = user_data;

  g_string_assign (self->line, "ce-");
  g_string_append (self->line, name);
  start_line (self, self->line->str, *value == '\0');
  for (; *value != '\0'; value++)
    if (g_ascii_isgraph (*value) && *value != '"' && *value != '%')
      g_string_append_c (self->text, *value);
    else
      g_string_append_printf (self->text, "%%%02X", (guchar) *value);
  end_line (self);
}

typedef struct {
  HttpHeaders *headers;
  HttpOptions *options;
} Request;

/* The trace belongs to the request as well, by whatever name the event has it. */
static void
add_trace (const char *name,
           const char *value,
           gpointer    user_data)
{
  const Request *request = user_data;

  add (request->headers, request->options, name, value);
}

/* The list lives until the next call. */
struct curl_slist *
http_headers_for_event (HttpHeaders *self,
                        HttpOptions *options,
                        EvbusEvent  *event)
{
  const char *type = evbus_event_get_content_type (event);

  reset (self);
  if (options->mode == HTTP_MODE_PLAIN)
    add_plain (self, options, event);
  else
    evbus_cloud_event_foreach_trace (event, add_trace, &(Request) { self, options });
  if (options->mode == HTTP_MODE_BINARY)
    evbus_cloud_event_foreach (event, options->source, add_cloud_attribute, self);
  if (options->mode == HTTP_MODE_STRUCTURED)
    type = "application/cloudevents+json; charset=utf-8";
  add (self, options, "Content-Type", *type != '\0' ? type : "application/octet-stream");
  if (options->compress)
    add (self, options, "Content-Encoding", "gzip");
  add (self, options, "Idempotency-Key", evbus_event_get_id (event));
  return link_up (self, options->headers);
}

struct curl_slist *
http_headers_for_batch (HttpHeaders *self,
                        HttpOptions *options,
                        const char  *key)
{
  static const char * const types[] = {
    [HTTP_BATCH_JSON_LINES] = "application/x-ndjson",
    [HTTP_BATCH_JSON_ARRAY] = "application/json",
    [HTTP_BATCH_CLOUDEVENTS] = "application/cloudevents-batch+json; charset=utf-8",
  };

  reset (self);
  add (self, options, "Content-Type", types[options->batch]);
  if (options->compress)
    add (self, options, "Content-Encoding", "gzip");
  add (self, options, "Idempotency-Key", key);
  return link_up (self, options->headers);
}
