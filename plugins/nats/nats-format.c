/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "nats-format.h"

#include <string.h>

#include "nats-errors.h"

/* A line of the protocol has 4 KiB by default, with the reply's subject. */
#define MAX_SUBJECT 2048

/* More than this is not kept. */
#define MAX_BUFFER (1024 * 1024)

typedef enum {
  PLAIN,
  BINARY,
  STRUCTURED,
} Mode;

typedef struct {
  char          *name;
  EvbusTemplate *value;
} Header;

struct _NatsFormat
{
  EvbusTemplate *subject;
  EvbusTemplate *stream;     /* or NULL */
  char          *fixed;      /* the stream's name, where all events have the same, or NULL */
  gboolean       shared;     /* the stream has messages of the same ids from elsewhere */
  GArray        *headers;    /* of Header: the profile's */
  Mode           mode;
  char          *source;     /* of CloudEvents */

  /* Of the message in the making. */
  GString       *text;
  GString       *value;
  GString       *body;
  natsMsg       *msg;
  gsize          size;       /* of its headers, as they are sent */
};

/* ---- settings ---- */

static void
clear_header (gpointer data)
{
  Header *header = data;

  g_free (header->name);
  evbus_template_unref (header->value);
}

static gboolean
is_header_name (const char *name)
{
  if (*name == '\0')
    return FALSE;
  for (; *name != '\0'; name++)
    if (!g_ascii_isgraph (*name) || *name == ':')
      return FALSE;
  return TRUE;
}

static gboolean
read_headers (NatsFormat    *self,
              EvbusContext  *ctx,
              GError       **error)
{
  g_autoptr(GVariant) mapping = evbus_context_get_option (ctx, "headers");
  GVariantIter iter;
  const char *name;
  GVariant *value;

  if (mapping == NULL)
    return TRUE;

  g_variant_iter_init (&iter, mapping);
  while (g_variant_iter_loop (&iter, "{&sv}", &name, &value))
    {
      g_autofree char *text = g_variant_is_of_type (value, G_VARIANT_TYPE_STRING)
                              ? g_variant_dup_string (value, NULL) : g_variant_print (value, FALSE);
      Header header = { NULL, evbus_template_new (text, error) };

      if (header.value == NULL || !is_header_name (name))
        {
          if (header.value != NULL)
            g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'headers': '%s' cannot be the name of a header", name);
          g_clear_pointer (&header.value, evbus_template_unref);
          g_variant_unref (value);
          return FALSE;
        }
      header.name = g_strdup (name);
      g_array_append_val (self->headers, header);
    }
  return TRUE;
}

static gboolean
read_stream (NatsFormat    *self,
             EvbusContext  *ctx,
             GError       **error)
{
  g_autoptr(GString) name = g_string_new (NULL);

  self->stream = evbus_context_get_template (ctx, "stream");
  if (self->stream == NULL || !evbus_template_is_fixed (self->stream))
    return TRUE;

  evbus_template_append (self->stream, NULL, name);
  self->fixed = g_string_free (g_steal_pointer (&name), FALSE);
  /* It becomes one word of a subject. */
  if (*self->fixed != '\0' && strpbrk (self->fixed, ". *>\t\r\n") == NULL)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'stream': '%s' cannot be the name of a stream", self->fixed);
  return FALSE;
}

NatsFormat *
nats_format_new (EvbusContext  *ctx,
                 GError       **error)
{
  g_autoptr(NatsFormat) self = g_new0 (NatsFormat, 1);
  const char *mode = evbus_context_get_string (ctx, "cloudevents");

  self->subject = evbus_context_get_template (ctx, "subject");
  self->source = g_strdup (evbus_context_get_string (ctx, "cloudevents_source"));
  self->mode = mode == NULL ? PLAIN : strcmp (mode, "binary") == 0 ? BINARY : STRUCTURED;
  self->headers = g_array_new (FALSE, FALSE, sizeof (Header));
  g_array_set_clear_func (self->headers, clear_header);
  self->text = g_string_new (NULL);
  self->value = g_string_new (NULL);
  self->body = g_string_new (NULL);

  return read_headers (self, ctx, error) && read_stream (self, ctx, error) ? g_steal_pointer (&self) : NULL;
}

void
nats_format_free (NatsFormat *self)
{
  evbus_template_unref (self->subject);
  g_clear_pointer (&self->stream, evbus_template_unref);
  g_free (self->fixed);
  g_array_unref (self->headers);
  g_free (self->source);
  g_string_free (self->text, TRUE);
  g_string_free (self->value, TRUE);
  g_string_free (self->body, TRUE);
  g_free (self);
}

/* ---- headers ---- */

static void
set_header (NatsFormat *self,
            const char *name,
            const char *value)
{
  natsMsgHeader_Set (self->msg, name, value);
  self->size += strlen (name) + strlen (value) + strlen (": \r\n");
}

/* A value is one line. */
static void
set_text_header (NatsFormat *self,
                 const char *name,
                 const char *value)
{
  const char *p;

  for (p = value; *p != '\0' && !g_ascii_iscntrl (*p); p++)
    ;
  if (*p != '\0')
    {
      g_string_assign (self->value, value);
      for (gsize i = 0; i < self->value->len; i++)
        if (g_ascii_iscntrl (self->value->str[i]))
          self->value->str[i] = ' ';
      value = self->value->str;
    }
  set_header (self, name, value);
}

/* The attributes of an event are its producer's, who must not steer the server
 * with them (`Nats-Rollup: all` empties a stream), nor pass for us. */
static gboolean
is_free_name (const char *name)
{
  static const char * const taken[] = { "nats-", "evbus-", "ce-", "content-type" };

  for (guint i = 0; i < G_N_ELEMENTS (taken); i++)
    if (g_ascii_strncasecmp (name, taken[i], strlen (taken[i])) == 0)
      return FALSE;
  return is_header_name (name);
}

static void
set_attributes (NatsFormat *self,
                EvbusEvent *event)
{
  GVariant *attributes = evbus_event_get_attributes (event);
  GVariantIter iter;
  const char *name;
  const char *value;

  if (attributes == NULL)
    return;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    if (is_free_name (name))
      set_text_header (self, name, value);
}

static void
set_plain (NatsFormat *self,
           EvbusEvent *event)
{
  g_string_truncate (self->text, 0);
  evbus_event_append_time (event, self->text);
  set_header (self, "evbus-id", evbus_event_get_id (event));
  set_text_header (self, "evbus-routing-key", evbus_event_get_routing_key (event));
  set_text_header (self, "evbus-profile", evbus_event_get_profile (event));
  set_header (self, "evbus-time", self->text->str);
  set_text_header (self, "Content-Type", evbus_event_get_content_type (event));
}

/* With the escapes that CloudEvents' binding of NATS asks for. */
static void
set_cloud_attribute (const char *name,
                     const char *value,
                     gpointer    user_data)
{
  NatsFormat *self = user_data;

  g_string_assign (self->text, "ce-");
  g_string_append (self->text, name);
  g_string_truncate (self->value, 0);
  for (; *value != '\0'; value++)
    if (g_ascii_isgraph (*value) && *value != '"' && *value != '%')
      g_string_append_c (self->value, *value);
    else
      g_string_append_printf (self->value, "%%%02X", (guchar) *value);
  set_header (self, self->text->str, self->value->str);
}

static void
set_binary (NatsFormat *self,
            EvbusEvent *event)
{
  evbus_cloud_event_foreach (event, self->source, set_cloud_attribute, self);
  set_cloud_attribute ("datacontenttype", evbus_event_get_content_type (event), self);
}

static void
set_structured (NatsFormat *self,
                EvbusEvent *event)
{
  set_header (self, "Content-Type", "application/cloudevents+json; charset=utf-8");
}

static void
set_trace (const char *name,
           const char *value,
           gpointer    user_data)
{
  set_text_header (user_data, name, value);
}

/* By which a stream knows what it has had. */
static void
set_message_id (NatsFormat *self,
                EvbusEvent *event)
{
  if (!self->shared)
    {
      set_header (self, "Nats-Msg-Id", evbus_event_get_id (event));
      return;
    }
  g_string_assign (self->text, evbus_event_get_id (event));
  g_string_append_c (self->text, ' ');
  evbus_template_append (self->subject, event, self->text);
  set_text_header (self, "Nats-Msg-Id", self->text->str);
}

static void
set_headers (NatsFormat *self,
             EvbusEvent *event)
{
  static void (* const set[]) (NatsFormat *, EvbusEvent *) = {
    [PLAIN] = set_plain,
    [BINARY] = set_binary,
    [STRUCTURED] = set_structured,
  };

  self->size = strlen ("NATS/1.0\r\n\r\n");
  /* Each takes precedence over those before it. */
  if (self->mode == PLAIN)
    set_attributes (self, event);
  else
    evbus_cloud_event_foreach_trace (event, set_trace, self);
  for (guint i = 0; i < self->headers->len; i++)
    {
      const Header *header = &g_array_index (self->headers, Header, i);

      g_string_truncate (self->text, 0);
      evbus_template_append (header->value, event, self->text);
      set_text_header (self, header->name, self->text->str);
    }
  set[self->mode] (self, event);
  if (self->stream != NULL)
    {
      g_string_truncate (self->text, 0);
      evbus_template_append (self->stream, event, self->text);
      set_text_header (self, "Nats-Expected-Stream", self->text->str);
    }
  set_message_id (self, event);
}

/* ---- messages ---- */

gboolean
nats_format_fixes_subject (NatsFormat *self)
{
  return evbus_template_is_fixed (self->subject);
}

/* Of subject and stream, whether both are the profile's. */
gboolean
nats_format_is_fixed (NatsFormat *self)
{
  return nats_format_fixes_subject (self) &&
         (self->stream == NULL || evbus_template_is_fixed (self->stream));
}

/* Returns the stream that the profile names for all events, or NULL. */
const char *
nats_format_get_stream (NatsFormat *self)
{
  return self->fixed;
}

/* From now on an event's id and its subject are one id together. */
void
nats_format_share_stream (NatsFormat *self)
{
  self->shared = TRUE;
}

gboolean
nats_format_shares_stream (NatsFormat *self)
{
  return self->shared;
}

/* The text lives until the next call. */
const char *
nats_format_get_subject (NatsFormat *self,
                         EvbusEvent *event)
{
  g_string_truncate (self->text, 0);
  evbus_template_append (self->subject, event, self->text);
  return self->text->str;
}

/* Tokens with dots between them; none is empty, and those of wildcards are for
 * subscribers. */
static gboolean
is_subject (const char *subject)
{
  const char *p = subject;

  for (;;)
    {
      gsize length = strcspn (p, ".");

      if (length == 0 || (length == 1 && (*p == '*' || *p == '>')))
        return FALSE;
      for (gsize i = 0; i < length; i++)
        if (g_ascii_iscntrl (p[i]) || p[i] == ' ')
          return FALSE;
      if (p[length] == '\0')
        return p + length - subject <= MAX_SUBJECT;
      p += length + 1;
    }
}

static gboolean
get_body (NatsFormat  *self,
          EvbusEvent  *event,
          const char **body,
          gsize       *size,
          char       **reason)
{
  g_autoptr(GError) error = NULL;

  if (self->mode != STRUCTURED)
    {
      *body = (const char *) evbus_event_get_data (event, size);
      return TRUE;
    }

  g_string_truncate (self->body, 0);
  if (!evbus_cloud_event_append_json (event, self->source, self->body, &error))
    {
      *reason = g_strdup (error->message);
      return FALSE;
    }
  *body = self->body->str;
  *size = self->body->len;
  return TRUE;
}

static gboolean
fits (gsize   size,
      gsize   max_payload,
      char  **reason)
{
  if (size <= max_payload)
    return TRUE;
  *reason = g_strdup_printf ("too large: it has %" G_GSIZE_FORMAT " bytes, and the server takes %" G_GSIZE_FORMAT,
                             size, max_payload);
  return FALSE;
}

/* After a batch. */
void
nats_format_trim (NatsFormat *self)
{
  if (self->body->allocated_len <= MAX_BUFFER)
    return;
  g_string_free (self->body, TRUE);
  self->body = g_string_new (NULL);
}

/* Returns a message, or NULL with what is to come of the event. */
natsMsg *
nats_format_make (NatsFormat    *self,
                  EvbusEvent    *event,
                  const char    *reply,
                  gsize          max_payload,
                  EvbusOutcome  *outcome,
                  char         **reason)
{
  const char *subject = nats_format_get_subject (self, event);
  const char *body;
  gsize size;

  if (!is_subject (subject))
    {
      *outcome = nats_errors_of_address (nats_format_fixes_subject (self));
      *reason = g_strdup_printf ("'%s' cannot be a subject", subject);
      return NULL;
    }

  *outcome = EVBUS_OUTCOME_POISON;
  if (!get_body (self, event, &body, &size, reason) || !fits (size, max_payload, reason))
    return NULL;
  if (natsMsg_Create (&self->msg, subject, reply, body, size) != NATS_OK)
    {
      *outcome = EVBUS_OUTCOME_TRANSIENT;
      *reason = g_strdup ("there is no memory for it");
      return NULL;
    }

  set_headers (self, event);
  if (!fits (size + self->size, max_payload, reason))
    g_clear_pointer (&self->msg, natsMsg_Destroy);
  return g_steal_pointer (&self->msg);
}
