/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-options.h"

#include <string.h>

#define PORT     5672
#define PORT_TLS 5671

static void
clear_header (gpointer data)
{
  AmqpHeader *header = data;

  g_free (header->name);
  g_clear_pointer (&header->template, evbus_template_unref);
}

static void
wipe (char *secret)
{
  if (secret != NULL)
    explicit_bzero (secret, strlen (secret));
  g_free (secret);
}

void
amqp_options_free (AmqpOptions *self)
{
  g_free (self->name);
  g_free (self->host);
  g_free (self->login);
  wipe (self->password);
  g_free (self->vhost);
  g_free (self->ca_file);
  g_free (self->cert_file);
  g_free (self->key_file);
  wipe (self->key_password);
  g_free (self->server_name);
  g_free (self->client_id);
  g_clear_pointer (&self->client_properties, g_variant_unref);
  g_clear_pointer (&self->exchange, evbus_template_unref);
  g_free (self->exchange_type);
  g_clear_pointer (&self->routing_key, evbus_template_unref);
  g_free (self->expiration);
  g_clear_pointer (&self->headers, g_array_unref);
  g_free (self->source);
  g_free (self);
}

/* Its path is the virtual host; "/" alone means the one of that name, as for aio_pika. */
static gboolean
read_url (AmqpOptions  *self,
          const char   *text,
          GError      **error)
{
  g_autoptr(GUri) uri = g_uri_parse (text, G_URI_FLAGS_HAS_PASSWORD | G_URI_FLAGS_ENCODED_PATH, NULL);
  const char *scheme = uri != NULL ? g_uri_get_scheme (uri) : "";
  gboolean tls = strcmp (scheme, "amqps") == 0;

  if (!tls && strcmp (scheme, "amqp") != 0)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'connection.url' is no URL of AMQP; it must look like amqp://LOGIN:PASSWORD@HOST:PORT/VIRTUALHOST, "
                           "with what is special in it written as %XX");
      return FALSE;
    }
  if (g_uri_get_query (uri) != NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'connection.url' has parameters after a '?'; "
                           "give them as the options of 'connection' instead");
      return FALSE;
    }

  self->tls = self->tls || tls;
  self->host = g_strdup (g_uri_get_host (uri));
  self->port = MAX (g_uri_get_port (uri), 0);
  self->login = g_strdup (g_uri_get_user (uri));
  self->password = g_strdup (g_uri_get_password (uri));
  self->vhost = g_uri_unescape_string (g_uri_get_path (uri) + (*g_uri_get_path (uri) == '/'), NULL);
  return TRUE;
}

static void
fill_in (char       **text,
         const char  *fallback)
{
  if (*text != NULL && **text != '\0')
    return;
  g_free (*text);
  *text = g_strdup (fallback);
}

/* Who names an authority or a certificate wants TLS, as with the group `tls` of other
 * providers. */
static gboolean
wants_tls (EvbusContext *ctx)
{
  static const char * const implying[] = {
    "connection.ssl_options.cafile", "connection.ssl_options.ca_certs", "connection.ssl_options.certfile",
    "connection.ssl_options.keyfile", "connection.ssl_options.server_name",
  };

  for (guint i = 0; i < G_N_ELEMENTS (implying); i++)
    if (evbus_context_get_string (ctx, implying[i]) != NULL)
      return TRUE;
  return evbus_context_get_boolean (ctx, "connection.ssl");
}

static gboolean
read_address (AmqpOptions   *self,
              EvbusContext  *ctx,
              GError       **error)
{
  const char *url = evbus_context_get_string (ctx, "connection.url");
  const char *colon;

  self->tls = wants_tls (ctx);
  if (url != NULL && *url != '\0' && !read_url (self, url, error))
    return FALSE;

  /* What the URL does not say. */
  fill_in (&self->host, evbus_context_get_string (ctx, "connection.host"));
  fill_in (&self->login, evbus_context_get_string (ctx, "connection.login"));
  fill_in (&self->password, evbus_context_get_string (ctx, "connection.password"));
  fill_in (&self->vhost, evbus_context_get_string (ctx, "connection.virtualhost"));
  if (self->port == 0)
    self->port = evbus_context_get_int (ctx, "connection.port");
  fill_in (&self->host, "localhost");
  fill_in (&self->login, "guest");
  fill_in (&self->password, "guest");
  fill_in (&self->vhost, "/");
  if (self->port == 0)
    self->port = self->tls ? PORT_TLS : PORT;

  colon = strchr (self->host, ':');
  self->name = g_strdup_printf ("%s://%s%s%s:%u/%s", self->tls ? "amqps" : "amqp",
                                colon != NULL ? "[" : "", self->host, colon != NULL ? "]" : "", self->port,
                                strcmp (self->vhost, "/") == 0 ? "" : self->vhost);
  return TRUE;
}

/* Python's truth: true, 1, "1"; though not a word for no. */
static gboolean
is_set (EvbusContext *ctx,
        const char   *name)
{
  static const char * const words[] = { "", "0", "false", "no", "off", NULL };
  const char *text = evbus_context_get_string (ctx, name);
  g_autofree char *word = g_ascii_strdown (text != NULL ? text : "", -1);

  return evbus_context_get_boolean (ctx, name) || evbus_context_get_int (ctx, name) != 0 ||
         !g_strv_contains (words, word);
}

static void
read_tls (AmqpOptions  *self,
          EvbusContext *ctx)
{
  const char *ca_file = evbus_context_get_string (ctx, "connection.ssl_options.cafile");
  g_autoptr(GVariant) cert_reqs = evbus_context_get_option (ctx, "connection.ssl_options.cert_reqs");

  if (ca_file == NULL)
    ca_file = evbus_context_get_string (ctx, "connection.ssl_options.ca_certs");
  self->ca_file = g_strdup (ca_file);
  self->cert_file = g_strdup (evbus_context_get_string (ctx, "connection.ssl_options.certfile"));
  self->key_file = g_strdup (evbus_context_get_string (ctx, "connection.ssl_options.keyfile"));
  self->key_password = g_strdup (evbus_context_get_string (ctx, "connection.ssl_options.keyfile_password"));
  self->server_name = g_strdup (evbus_context_get_string (ctx, "connection.ssl_options.server_name"));
  fill_in (&self->server_name, self->host);
  self->verify = !is_set (ctx, "connection.ssl_options.no_verify_ssl") &&
                 (cert_reqs == NULL || g_variant_get_int64 (cert_reqs) != 0);
}

gboolean
amqp_options_convert (GVariant           *value,
                      amqp_field_value_t *field)
{
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_BOOLEAN))
    {
      field->kind = AMQP_FIELD_KIND_BOOLEAN;
      field->value.boolean = g_variant_get_boolean (value);
    }
  else if (g_variant_is_of_type (value, G_VARIANT_TYPE_INT64))
    {
      field->kind = AMQP_FIELD_KIND_I64;
      field->value.i64 = g_variant_get_int64 (value);
    }
  else if (g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE))
    {
      field->kind = AMQP_FIELD_KIND_F64;
      field->value.f64 = g_variant_get_double (value);
    }
  else
    return FALSE;
  return TRUE;
}

static gboolean
is_scalar (GVariant *value)
{
  amqp_field_value_t field;

  return g_variant_is_of_type (value, G_VARIANT_TYPE_STRING) || amqp_options_convert (value, &field);
}

/* Of a mapping. */
static gboolean
check_scalars (GVariant    *values,
               const char  *option,
               GError     **error)
{
  GVariantIter iter;
  const char *name;
  GVariant *value;

  g_variant_iter_init (&iter, values);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      gboolean fine = is_scalar (value);

      g_variant_unref (value);
      if (fine && *name != '\0' && strlen (name) <= G_MAXUINT8)
        continue;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "'%s.%s': a name has 1 to 255 bytes, and its value is a text, a number, true or false",
                   option, name);
      return FALSE;
    }
  return TRUE;
}

gboolean
amqp_options_is_copy_header (const char *name)
{
  return strcmp (name, "CC") == 0 || strcmp (name, "BCC") == 0;
}

static gboolean
read_headers (AmqpOptions   *self,
              EvbusContext  *ctx,
              GError       **error)
{
  g_autoptr(GVariant) values = evbus_context_get_option (ctx, "headers");
  GVariantIter iter;
  const char *name;
  GVariant *value;

  self->headers = g_array_new (FALSE, TRUE, sizeof (AmqpHeader));
  g_array_set_clear_func (self->headers, clear_header);
  if (values == NULL)
    return TRUE;
  if (!check_scalars (values, "headers", error))
    return FALSE;

  g_variant_iter_init (&iter, values);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &value))
    {
      AmqpHeader header = { .name = g_strdup (name) };

      if (amqp_options_is_copy_header (name))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                       "'headers.%s': RabbitMQ takes a list of routing keys there, which cannot be given; "
                       "bind another queue to the exchange instead", name);
          g_free (header.name);
          g_variant_unref (value);
          return FALSE;
        }
      if (!amqp_options_convert (value, &header.value))
        header.template = evbus_template_new (g_variant_get_string (value, NULL), NULL);
      g_array_append_val (self->headers, header);
      g_variant_unref (value);
    }
  return TRUE;
}

/* Whether all that decides which queues take an event is the profile's. */
static gboolean
is_fixed_address (const AmqpOptions *self,
                  EvbusContext      *ctx)
{
  const char *exchange = evbus_context_get_string (ctx, "exchange");
  /* The default one is of no other. */
  const char *type = exchange != NULL && *exchange != '\0' ? evbus_context_get_string (ctx, "exchange_type") : "direct";

  if (!evbus_template_is_fixed (self->exchange))
    return FALSE;
  if (strcmp (type, "fanout") == 0)
    return TRUE;
  /* Some headers are always the event's own. */
  return strcmp (type, "headers") != 0 && evbus_template_is_fixed (self->routing_key);
}

static gboolean
read_target (AmqpOptions   *self,
             EvbusContext  *ctx,
             GError       **error)
{
  self->exchange = evbus_context_get_template (ctx, "exchange");
  if (self->exchange == NULL)
    self->exchange = evbus_template_new ("", NULL);
  self->routing_key = evbus_context_get_template (ctx, "routing_key");
  if (self->routing_key == NULL)
    self->routing_key = evbus_template_new ("{routing_key}", NULL);
  self->fixed_address = is_fixed_address (self, ctx);

  if (!evbus_context_get_boolean (ctx, "declare"))
    return TRUE;
  if (!evbus_template_is_fixed (self->exchange) || *evbus_context_get_string (ctx, "exchange") == '\0')
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                           "'declare' needs an 'exchange' that is the same for all events");
      return FALSE;
    }
  self->exchange_type = g_strdup (evbus_context_get_string (ctx, "exchange_type"));
  return TRUE;
}

static void
read_message (AmqpOptions  *self,
              EvbusContext *ctx)
{
  g_autoptr(GVariant) expiration = evbus_context_get_option (ctx, "expiration");
  g_autoptr(GVariant) priority = evbus_context_get_option (ctx, "priority");
  const char *form = evbus_context_get_string (ctx, "cloudevents");

  self->persistent = evbus_context_get_boolean (ctx, "persistent");
  self->mandatory = evbus_context_get_boolean (ctx, "mandatory");
  if (expiration != NULL)
    self->expiration = g_strdup_printf ("%" G_GINT64_FORMAT, g_variant_get_int64 (expiration) / 1000);
  self->priority = priority != NULL ? g_variant_get_int64 (priority) : -1;
  self->form = form == NULL ? AMQP_FORM_PLAIN
               : strcmp (form, "binary") == 0 ? AMQP_FORM_BINARY : AMQP_FORM_STRUCTURED;
  self->source = g_strdup (evbus_context_get_string (ctx, "cloudevents_source"));
}

AmqpOptions *
amqp_options_new (EvbusContext  *ctx,
                  GError       **error)
{
  g_autoptr(AmqpOptions) self = g_new0 (AmqpOptions, 1);

  self->client_id = evbus_context_dup_client_id (ctx);
  self->client_properties = evbus_context_get_option (ctx, "connection.client_properties");
  self->heartbeat = (evbus_context_get_int (ctx, "connection.heartbeat") + G_USEC_PER_SEC - 1) / G_USEC_PER_SEC;
  self->timeout = MIN (evbus_context_get_int (ctx, "timeout"), evbus_context_get_timeout (ctx));
  read_message (self, ctx);
  if (!read_address (self, ctx, error) || !read_target (self, ctx, error) || !read_headers (self, ctx, error))
    return NULL;
  read_tls (self, ctx);
  if (self->client_properties != NULL &&
      !check_scalars (self->client_properties, "connection.client_properties", error))
    return NULL;

  return g_steal_pointer (&self);
}
