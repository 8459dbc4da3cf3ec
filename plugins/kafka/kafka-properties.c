/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* From a profile, whose names are those of Python's clients, to librdkafka's properties. */

#include "kafka-properties.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* How long a topic that is not there yet may take to be made by the brokers. */
#define PROPAGATION_MS 5000

/* More than the limit of a batch, and far less than the library's 1 GiB; but there is room
 * for the largest event, and as much again. */
#define QUEUE_KBYTES 65536

/* Without any, the first event of a batch leaves alone, as do some after it, and the rest
 * waits for their answers. So long it takes to hand over a batch, and half as long again; see
 * kafka_client_push(). */
#define LINGER_MS "0.15"

static const struct {
  const char *name;
  const char *value;
} defaults[] = {
  { "linger.ms", LINGER_MS },
  { "socket.nagle.disable", "true" },
  { "socket.keepalive.enable", "true" },
  { "partitioner", "murmur2_random" },
  { "log.queue", "true" },
};

static const struct {
  const char *option;
  const char *name;
  const char *separator;    /* of a list */
} properties[] = {
  { "connection.bootstrap_servers", "bootstrap.servers", "," },
  { "connection.client_id", "client.id", NULL },
  { "connection.acks", "acks", NULL },
  { "connection.compression_type", "compression.type", NULL },
  { "connection.linger_ms", "linger.ms", NULL },
  { "connection.max_batch_size", "batch.size", NULL },
  { "connection.max_request_size", "message.max.bytes", NULL },
  { "connection.request_timeout_ms", "request.timeout.ms", NULL },
  { "connection.retry_backoff_ms", "retry.backoff.ms", NULL },
  { "connection.connections_max_idle_ms", "connections.max.idle.ms", NULL },
  { "connection.sasl_mechanism", "sasl.mechanism", NULL },
  { "connection.sasl_plain_username", "sasl.username", NULL },
  { "connection.sasl_plain_password", "sasl.password", NULL },
  { "connection.sasl_kerberos_service_name", "sasl.kerberos.service.name", NULL },
  { "connection.ssl_cafile", "ssl.ca.location", NULL },
  { "connection.ssl_certfile", "ssl.certificate.location", NULL },
  { "connection.ssl_password", "ssl.key.password", NULL },
  { "connection.ssl_crlfile", "ssl.crl.location", NULL },
  { "connection.ssl_ciphers", "ssl.cipher.suites", NULL },
};

/* What may not be passed through. */
static const struct {
  const char *name;
  const char *reason;
} refused[] = {
  { "delivery.report.only.error", "each event has to be confirmed" },
  { "enabled_events", "each event has to be confirmed" },
  { "transactional.id", "evbus has no transactions; leave it out, since the producer is idempotent without" },
  { "statistics.interval.ms", "nobody reads these statistics; the route has figures of its own" },
  { "log.queue", "the log goes through evbus" },
  { "queuing.strategy", "events keep their order" },
  { "plugin.library.paths", "no code is loaded by a profile" },
  { "test.mock.num.brokers", "events would reach no broker" },
};

/* ---- one property ---- */

/* What the library says of a value may repeat it. */
static gboolean
set (rd_kafka_conf_t *conf,
     const char      *option,
     const char      *name,
     const char      *value,
     GError         **error)
{
  char text[512];

  switch (rd_kafka_conf_set (conf, name, value, text, sizeof text))
    {
    case RD_KAFKA_CONF_OK:
      return TRUE;
    case RD_KAFKA_CONF_UNKNOWN:
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "'%s': librdkafka %s has no property '%s'; correct its name", option, rd_kafka_version_str (), name);
      return FALSE;
    default:
      if (strstr (name, "password") != NULL || strstr (name, "secret") != NULL || strstr (name, "key") != NULL ||
          g_str_has_prefix (name, "sasl."))
        g_strlcpy (text, "librdkafka refuses its value", sizeof text);
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s': property '%s': %s", option, name, text);
      return FALSE;
    }
}

/* NULL: it is neither text nor number, nor true or false. */
static char *
dup_scalar (GVariant *value)
{
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
    return g_variant_dup_string (value, NULL);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_INT64) || g_variant_is_of_type (value, G_VARIANT_TYPE_BOOLEAN) ||
      g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE))
    return g_variant_print (value, FALSE);
  return NULL;
}

static char *
dup_text (GVariant   *value,
          const char *separator)
{
  g_autoptr(GString) joined = NULL;
  GVariantIter iter;
  GVariant *item;

  if (separator == NULL || !g_variant_is_of_type (value, G_VARIANT_TYPE ("av")))
    return dup_scalar (value);

  joined = g_string_new (NULL);
  g_variant_iter_init (&iter, value);
  while (g_variant_iter_loop (&iter, "v", &item))
    {
      g_autofree char *text = dup_scalar (item);

      if (joined->len > 0)
        g_string_append (joined, separator);
      g_string_append (joined, text != NULL ? text : "");
    }
  return g_string_free (g_steal_pointer (&joined), FALSE);
}

static void
wipe (char *text)
{
  if (text != NULL)
    explicit_bzero (text, strlen (text));
  g_free (text);
}

static gboolean
set_value (rd_kafka_conf_t *conf,
           const char      *option,
           const char      *name,
           GVariant        *value,
           const char      *separator,
           GError         **error)
{
  char *text = dup_text (value, separator);
  gboolean done;

  if (text == NULL)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN,
                   "'%s': the value of '%s' must be a text, a number, true or false", option, name);
      return FALSE;
    }
  done = set (conf, option, name, text, error);
  wipe (text);
  return done;
}

/* The value, empty if it has none. */
char *
kafka_properties_get (const rd_kafka_conf_t *conf,
                      const char            *name)
{
  size_t size = 0;
  char *text;

  if (rd_kafka_conf_get (conf, name, NULL, &size) != RD_KAFKA_CONF_OK)
    return g_strdup ("");
  text = g_malloc0 (size + 1);
  rd_kafka_conf_get (conf, name, text, &size);
  return text;
}

/* ---- groups of them ---- */

static gboolean
has (EvbusContext *ctx,
     const char   *option)
{
  return evbus_context_get_string (ctx, option) != NULL;
}

static gboolean
set_security (rd_kafka_conf_t  *conf,
              EvbusContext     *ctx,
              GError          **error)
{
  const char *protocol = evbus_context_get_string (ctx, "connection.security_protocol");
  const char *key = evbus_context_get_string (ctx, "connection.ssl_keyfile");
  gboolean ssl = key != NULL || has (ctx, "connection.ssl_cafile") || has (ctx, "connection.ssl_certfile") ||
                 has (ctx, "connection.ssl_crlfile") || has (ctx, "connection.ssl_ciphers") ||
                 has (ctx, "connection.ssl_password");
  gboolean sasl = has (ctx, "connection.sasl_mechanism") || has (ctx, "connection.sasl_plain_username");

  if (key == NULL)
    key = evbus_context_get_string (ctx, "connection.ssl_certfile");
  if (key != NULL && !set (conf, "connection.ssl_keyfile", "ssl.key.location", key, error))
    return FALSE;
  if (protocol == NULL)
    protocol = ssl ? (sasl ? "sasl_ssl" : "ssl") : (sasl ? "sasl_plaintext" : "plaintext");

  return (!sasl || has (ctx, "connection.sasl_mechanism") ||
          set (conf, "connection.sasl_mechanism", "sasl.mechanism", "PLAIN", error)) &&
         set (conf, "connection.security_protocol", "security.protocol", protocol, error) &&
         set (conf, "connection.ssl_check_hostname", "ssl.endpoint.identification.algorithm",
              evbus_context_get_boolean (ctx, "connection.ssl_check_hostname") ? "https" : "none", error);
}

/* What the library says of a file that is not there names no file. */
static gboolean
check_files (EvbusContext  *ctx,
             GError       **error)
{
  static const char * const files[] = {
    "connection.ssl_cafile", "connection.ssl_certfile", "connection.ssl_keyfile", "connection.ssl_crlfile",
  };

  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    {
      const char *path = evbus_context_get_string (ctx, files[i]);

      if (path == NULL || access (path, R_OK) == 0)
        continue;
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'%s': %s: %s", files[i], path, g_strerror (errno));
      return FALSE;
    }
  return TRUE;
}

static gboolean
set_options (rd_kafka_conf_t  *conf,
             EvbusContext     *ctx,
             GError          **error)
{
  for (guint i = 0; i < G_N_ELEMENTS (properties); i++)
    {
      g_autoptr(GVariant) value = evbus_context_get_option (ctx, properties[i].option);

      if (value != NULL && !set_value (conf, properties[i].option, properties[i].name, value,
                                       properties[i].separator, error))
        return FALSE;
    }
  return check_files (ctx, error) && set_security (conf, ctx, error);
}

static gboolean
set_passed_through (rd_kafka_conf_t  *conf,
                    GVariant         *values,
                    GError          **error)
{
  GVariantIter iter;
  const char *name;
  GVariant *inner;

  g_variant_iter_init (&iter, values);
  while (g_variant_iter_next (&iter, "{&sv}", &name, &inner))
    {
      g_autoptr(GVariant) value = inner;

      for (guint i = 0; i < G_N_ELEMENTS (refused); i++)
        if (strcmp (refused[i].name, name) == 0)
          {
            g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'rdkafka': the property '%s' cannot be set: %s",
                         name, refused[i].reason);
            return FALSE;
          }
      if (!set_value (conf, "rdkafka", name, value, NULL, error))
        return FALSE;
    }
  return TRUE;
}

/* ---- all of it ---- */

static gboolean
set_defaults (rd_kafka_conf_t  *conf,
              EvbusContext     *ctx,
              gint64            timeout_ms,
              GError          **error)
{
  g_autofree char *client_id = evbus_context_dup_client_id (ctx);
  g_autofree char *propagation = g_strdup_printf ("%" G_GINT64_FORMAT, MIN (PROPAGATION_MS, timeout_ms / 4));

  for (guint i = 0; i < G_N_ELEMENTS (defaults); i++)
    if (!set (conf, "rdkafka", defaults[i].name, defaults[i].value, error))
      return FALSE;
  return set (conf, "connection.client_id", "client.id", client_id, error) &&
         set (conf, "rdkafka", "topic.metadata.propagation.max.ms", propagation, error);
}

static gboolean
is_given (GVariant   *passed,
          const char *name)
{
  g_autoptr(GVariant) value = passed != NULL ? g_variant_lookup_value (passed, name, NULL) : NULL;

  return value != NULL;
}

/* With fewer acknowledgements the broker numbers nothing: then what is tried again keeps
 * its place only if it is alone. */
static gboolean
set_order (rd_kafka_conf_t  *conf,
           GVariant         *passed,
           GError          **error)
{
  g_autofree char *acks = kafka_properties_get (conf, "acks");
  g_autofree char *idempotent = NULL;

  if (!is_given (passed, "enable.idempotence") && strcmp (acks, "-1") == 0 &&
      !set (conf, "rdkafka", "enable.idempotence", "true", error))
    return FALSE;

  idempotent = kafka_properties_get (conf, "enable.idempotence");
  return strcmp (idempotent, "true") == 0 ||
         is_given (passed, "max.in.flight") || is_given (passed, "max.in.flight.requests.per.connection") ||
         set (conf, "rdkafka", "max.in.flight", "1", error);
}

static gboolean
set_queue (rd_kafka_conf_t  *conf,
           GVariant         *passed,
           GError          **error)
{
  g_autofree char *largest = kafka_properties_get (conf, "message.max.bytes");
  gint64 kbytes = MAX (QUEUE_KBYTES, g_ascii_strtoll (largest, NULL, 10) / 1024 * 2);
  g_autofree char *text = g_strdup_printf ("%" G_GINT64_FORMAT, kbytes);

  return is_given (passed, "queue.buffering.max.kbytes") ||
         set (conf, "rdkafka", "queue.buffering.max.kbytes", text, error);
}

/* What the library tries ends before the publish, which is extended for a tenth of its time
 * at most. */
static gboolean
set_timeout (rd_kafka_conf_t  *conf,
             GVariant         *passed,
             gint64            timeout_ms,
             GError          **error)
{
  g_autofree char *longest = g_strdup_printf ("%" G_GINT64_FORMAT, MAX (timeout_ms * 8 / 10, 1));
  g_autofree char *given = NULL;
  gint64 given_ms;

  if (!is_given (passed, "message.timeout.ms") && !is_given (passed, "delivery.timeout.ms"))
    return set (conf, "rdkafka", "message.timeout.ms", longest, error);

  given = kafka_properties_get (conf, "message.timeout.ms");
  given_ms = g_ascii_strtoll (given, NULL, 10);
  if (given_ms > 0 && given_ms <= timeout_ms)
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_BROKEN, "'rdkafka': 'message.timeout.ms' is %s, but has to be between 1 and "
               "%" G_GINT64_FORMAT ", the time of a publish; raise 'delivery: {timeout}' for more", given, timeout_ms);
  return FALSE;
}

rd_kafka_conf_t *
kafka_properties_new (EvbusContext  *ctx,
                      GError       **error)
{
  g_autoptr(GVariant) passed = evbus_context_get_option (ctx, "rdkafka");
  gint64 timeout_ms = evbus_context_get_timeout (ctx) / 1000;
  rd_kafka_conf_t *conf = rd_kafka_conf_new ();

  if (set_defaults (conf, ctx, timeout_ms, error) && set_options (conf, ctx, error) &&
      (passed == NULL || set_passed_through (conf, passed, error)) &&
      set_order (conf, passed, error) && set_queue (conf, passed, error) && set_timeout (conf, passed, timeout_ms, error))
    {
      rd_kafka_conf_set_events (conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
      return conf;
    }

  rd_kafka_conf_destroy (conf);
  return NULL;
}

static gboolean
is_text (const rd_kafka_conf_t *conf,
         const char            *property,
         const char            *text)
{
  g_autofree char *value = kafka_properties_get (conf, property);

  return value != NULL && g_ascii_strcasecmp (value, text) == 0;
}

/* PLAIN sends the password as it is. A certificate, or a name in it, that is not verified can be
 * anybody's. */
KafkaRisks
kafka_properties_get_risks (const rd_kafka_conf_t *conf)
{
  gboolean tls = is_text (conf, "security.protocol", "ssl") || is_text (conf, "security.protocol", "sasl_ssl");
  KafkaRisks risks = 0;

  if (is_text (conf, "security.protocol", "sasl_plaintext") && is_text (conf, "sasl.mechanism", "PLAIN"))
    risks |= KAFKA_RISK_UNENCRYPTED;
  if (tls && (is_text (conf, "enable.ssl.certificate.verification", "false") ||
              is_text (conf, "ssl.endpoint.identification.algorithm", "none")))
    risks |= KAFKA_RISK_UNVERIFIED;
  return risks;
}
