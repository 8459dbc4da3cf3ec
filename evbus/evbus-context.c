/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "evbus-context-private.h"
#include "evbus-provider-private.h"
#include "evbus-option-private.h"
#include "evbus-schema-private.h"
#include "evbus-secret-private.h"

/**
 * EvbusContext:
 *
 * What a route hands to its ingress: provider, profile pattern, and the
 * options of its entry in the configuration, checked against the provider's
 * table, with the defaults filled in and the secrets read.
 *
 * The name of an option has dots for nesting, as in `connection.host`. A
 * duration is a number of microseconds, a size a number of bytes. The getters
 * convert between the kinds of numbers; for an option that is not set they
 * return %NULL, 0 or %FALSE.
 *
 * The options hold passwords: do not log them. Their memory is cleared once the
 * last reference to the context, and to what [method@Context.get_data] and
 * [method@Context.get_option] gave, is gone.
 *
 * Objects of this class are immutable, so any thread may use them.
 *
 * Since: 1.0
 */

struct _EvbusContext
{
  GObject         parent_instance;

  EvbusRouteSpec *spec;
  EvbusMailbox   *mailbox;
  GVariant       *data;
  guint           warned;   /* atomic, any thread: bits of Warning */
};

/* What is said once for a context. */
typedef enum {
  WARNED_UNENCRYPTED = 1 << 0,
  WARNED_UNVERIFIED  = 1 << 1,
} Warning;

G_DEFINE_FINAL_TYPE (EvbusContext, evbus_context, G_TYPE_OBJECT)

static void
evbus_context_finalize (GObject *object)
{
  EvbusContext *self = EVBUS_CONTEXT (object);

  g_clear_pointer (&self->data, g_variant_unref);
  g_clear_pointer (&self->spec, evbus_route_spec_unref);
  g_clear_object (&self->mailbox);

  G_OBJECT_CLASS (evbus_context_parent_class)->finalize (object);
}

static void
evbus_context_class_init (EvbusContextClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_context_finalize;
}

static void
evbus_context_init (EvbusContext *self)
{
}

/* ---- secrets ---- */

static GVariant *resolve_value (EvbusRouteSpec  *spec,
                                const char      *name,
                                gboolean         secret,
                                GVariant        *value,
                                GCancellable    *cancellable,
                                GError         **error);

static gboolean
is_secret (EvbusRouteSpec *spec,
           const char     *name)
{
  GPtrArray *options = evbus_provider_get_option_array (spec->info);

  for (guint i = 0; i < options->len; i++)
    {
      EvbusOption *option = g_ptr_array_index (options, i);

      if (strcmp (option->name, name) == 0)
        return option->secret;
    }
  return FALSE;
}

/* What is inside a secret mapping or list is secret too. */
static GVariant *
resolve_children (EvbusRouteSpec  *spec,
                  const char      *name,
                  gboolean         secret,
                  GVariant        *value,
                  GCancellable    *cancellable,
                  GError         **error)
{
  gboolean mapping = g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT);
  GVariantBuilder builder;
  gsize n = g_variant_n_children (value);

  g_variant_builder_init (&builder, g_variant_get_type (value));
  for (gsize i = 0; i < n; i++)
    {
      g_autoptr(GVariant) inner = NULL;
      g_autoptr(GVariant) resolved = NULL;
      g_autofree char *path = NULL;
      const char *key = "";

      if (mapping)
        g_variant_get_child (value, i, "{&sv}", &key, &inner);
      else
        g_variant_get_child (value, i, "v", &inner);
      path = mapping && *name != '\0' ? g_strdup_printf ("%s.%s", name, key)
                                      : g_strdup (mapping ? key : name);
      resolved = resolve_value (spec, path, secret || is_secret (spec, path), inner, cancellable, error);
      if (resolved == NULL)
        {
          g_variant_builder_clear (&builder);
          return NULL;
        }
      if (mapping)
        g_variant_builder_add (&builder, "{sv}", key, resolved);
      else
        g_variant_builder_add (&builder, "v", resolved);
    }
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static GVariant *
resolve_value (EvbusRouteSpec  *spec,
               const char      *name,
               gboolean         secret,
               GVariant        *value,
               GCancellable    *cancellable,
               GError         **error)
{
  GVariant *resolved;

  if (secret && evbus_secret_is_reference (value))
    {
      resolved = evbus_secret_resolve (value, cancellable, error);
      if (resolved == NULL)
        g_prefix_error (error, "the secret '%s': ", name);
      return resolved;
    }
  if (g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT) || g_variant_is_of_type (value, G_VARIANT_TYPE ("av")))
    return resolve_children (spec, name, secret, value, cancellable, error);
  return g_variant_ref (value);
}

EvbusContext *
evbus_context_new (EvbusRouteSpec  *spec,
                   EvbusMailbox    *mailbox,
                   GCancellable    *cancellable,
                   GError         **error)
{
  g_autoptr(GVariant) resolved = NULL;
  EvbusContext *self;

  g_return_val_if_fail (spec != NULL && spec->info != NULL, NULL);

  resolved = resolve_value (spec, "", FALSE, spec->data, cancellable, error);
  if (resolved == NULL)
    return NULL;

  self = g_object_new (EVBUS_TYPE_CONTEXT, NULL);
  self->spec = evbus_route_spec_ref (spec);
  self->mailbox = mailbox != NULL ? g_object_ref (mailbox) : NULL;
  self->data = evbus_secret_seal (resolved);
  return self;
}

/* ---- getters ---- */

/**
 * evbus_context_get_provider:
 * @self: a context
 *
 * Gets the provider's own name, also where the configuration uses an alias.
 *
 * Returns: the name
 *
 * Since: 1.0
 */
const char *
evbus_context_get_provider (EvbusContext *self)
{
  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), NULL);

  return self->spec->provider;
}

/**
 * evbus_context_get_profile:
 * @self: a context
 *
 * Gets the profile pattern of the route, as it was written. (The profile that
 * an event was put with is the event's.)
 *
 * Returns: the pattern
 *
 * Since: 1.0
 */
const char *
evbus_context_get_profile (EvbusContext *self)
{
  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), NULL);

  return self->spec->profile;
}

/**
 * evbus_context_get_data:
 * @self: a context
 *
 * Gets all options as nested `a{sv}`.
 *
 * Returns: (transfer none): an `a{sv}`
 *
 * Since: 1.0
 */
GVariant *
evbus_context_get_data (EvbusContext *self)
{
  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), NULL);

  return self->data;
}

/**
 * evbus_context_get_option:
 * @self: a context
 * @name: the name of an option
 *
 * Gets the value of one option.
 *
 * Returns: (transfer full) (nullable): the value, or %NULL if it is not set
 *
 * Since: 1.0
 */
GVariant *
evbus_context_get_option (EvbusContext *self,
                          const char   *name)
{
  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), NULL);
  g_return_val_if_fail (name != NULL, NULL);

  return evbus_schema_lookup (self->data, name);
}

/**
 * evbus_context_get_string:
 * @self: a context
 * @name: the name of an option
 *
 * Gets the text of an option.
 *
 * Returns: (nullable): the text, which lives as long as the context, or %NULL
 *   if it is not set or not a text
 *
 * Since: 1.0
 */
const char *
evbus_context_get_string (EvbusContext *self,
                          const char   *name)
{
  g_autoptr(GVariant) value = evbus_context_get_option (self, name);

  if (value == NULL || !g_variant_is_of_type (value, G_VARIANT_TYPE_STRING))
    return NULL;
  /* A child of a serialised GVariant points into its parent's memory. */
  return g_variant_get_string (value, NULL);
}

/**
 * evbus_context_get_boolean:
 * @self: a context
 * @name: the name of an option
 *
 * Gets a boolean option.
 *
 * Returns: the value, %FALSE if it is not set or not a boolean
 *
 * Since: 1.0
 */
gboolean
evbus_context_get_boolean (EvbusContext *self,
                           const char   *name)
{
  g_autoptr(GVariant) value = evbus_context_get_option (self, name);

  return value != NULL && g_variant_is_of_type (value, G_VARIANT_TYPE_BOOLEAN) && g_variant_get_boolean (value);
}

/**
 * evbus_context_get_int:
 * @self: a context
 * @name: the name of an option
 *
 * Gets an option of the kind integer, duration (in microseconds) or size (in
 * bytes), or the whole part of a number.
 *
 * Returns: the value, 0 if it is not set or not a number
 *
 * Since: 1.0
 */
gint64
evbus_context_get_int (EvbusContext *self,
                       const char   *name)
{
  g_autoptr(GVariant) value = evbus_context_get_option (self, name);
  double number;

  if (value != NULL && g_variant_is_of_type (value, G_VARIANT_TYPE_INT64))
    return g_variant_get_int64 (value);
  if (value == NULL || !g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE))
    return 0;
  /* Past the range, or no number at all, a cast would be undefined. */
  number = g_variant_get_double (value);
  return isnan (number) ? 0 : (gint64) CLAMP (number, -9.2e18, 9.2e18);
}

/**
 * evbus_context_get_double:
 * @self: a context
 * @name: the name of an option
 *
 * Gets an option of the kind number, integer, duration (in microseconds) or
 * size (in bytes).
 *
 * Returns: the value, 0 if it is not set or not a number
 *
 * Since: 1.0
 */
double
evbus_context_get_double (EvbusContext *self,
                          const char   *name)
{
  g_autoptr(GVariant) value = evbus_context_get_option (self, name);

  if (value != NULL && g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE))
    return g_variant_get_double (value);
  if (value != NULL && g_variant_is_of_type (value, G_VARIANT_TYPE_INT64))
    return g_variant_get_int64 (value);
  return 0;
}

/**
 * evbus_context_get_template:
 * @self: a context
 * @name: the name of an option that has `Template=true`
 *
 * Gets an option as a template, which expands to what an event brings along.
 *
 * Returns: (transfer full) (nullable): the template, or %NULL if it is not set
 *
 * Since: 1.0
 */
EvbusTemplate *
evbus_context_get_template (EvbusContext *self,
                            const char   *name)
{
  const char *text = evbus_context_get_string (self, name);

  /* It was checked with the configuration. */
  return text != NULL ? evbus_template_new (text, NULL) : NULL;
}

/**
 * evbus_context_has_secret:
 * @self: a context
 * @name: the name of an option that has `Secret=true`
 *
 * Gets whether the profile refers to a secret in this option, as `{file: …}`, or in anything
 * inside of it. What a reference stands for is a secret, also where its name does not sound like one.
 *
 * Returns: whether there is a reference
 *
 * Since: 1.0
 */
gboolean
evbus_context_has_secret (EvbusContext *self,
                          const char   *name)
{
  g_autoptr(GVariant) value = NULL;

  g_return_val_if_fail (EVBUS_IS_CONTEXT (self) && name != NULL, FALSE);

  value = is_secret (self->spec, name) ? evbus_schema_lookup (self->spec->data, name) : NULL;
  return value != NULL && evbus_secret_has_reference (value);
}

/**
 * evbus_context_get_timeout:
 * @self: a context
 *
 * Gets the time that a call of the ingress has before it is cancelled, the route's
 * `delivery: {timeout: …}`. What a client library tries by itself must end sooner.
 *
 * Returns: the time in microseconds
 *
 * Since: 1.0
 */
gint64
evbus_context_get_timeout (EvbusContext *self)
{
  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), 0);

  return self->spec->delivery.timeout;
}

/**
 * evbus_context_dup_client_id:
 * @self: a context
 *
 * Makes a name by which the route can introduce itself to a destination that tells
 * its clients apart. It stays the same over restarts, and differs from route to
 * route, user to user and machine to machine: `evbus-` and 16 hexadecimal digits,
 * which every protocol takes. Equal entries of a configuration have different ones.
 *
 * Two processes of one user with the same route get the same name, and so do equal
 * routes that were made by [method@Broker.add_route].
 *
 * Returns: (transfer full): the name
 *
 * Since: 1.0
 */
char *
evbus_context_dup_client_id (EvbusContext *self)
{
  g_autofree char *machine = NULL;
  g_autofree char *text = NULL;
  g_autofree char *digest = NULL;
  g_autofree char *ordinal = NULL;
  EvbusRouteSpec *spec;

  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), NULL);

  spec = self->spec;
  /* The machine's id is not for the network, machine-id(5); its digest may be. */
  if (!g_file_get_contents ("/etc/machine-id", &machine, NULL, NULL))
    machine = g_strdup (g_get_host_name ());
  ordinal = spec->ordinal > 0 ? g_strdup_printf (" %u", spec->ordinal + 1) : g_strdup ("");
  text = spec->delivery.name != NULL
         ? g_strdup_printf ("%s\n%d\n%s\n%s", machine, (int) getuid (), spec->provider, spec->delivery.name)
         : g_strdup_printf ("%s\n%d\n%s\n%s\n%s%s", machine, (int) getuid (), spec->provider, spec->profile,
                            spec->digest, ordinal);
  digest = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
  return g_strdup_printf ("evbus-%.16s", digest);
}

/**
 * evbus_context_wants_tls:
 * @self: a context
 *
 * Gets whether the options of the group `tls` ask for TLS: `tls.enabled`, or one that
 * makes sense with TLS alone, `tls.ca_file`, `tls.cert_file`, `tls.key_file` or
 * `tls.server_name`. So no connection is plain by oversight.
 *
 * Returns: whether TLS is wanted
 *
 * Since: 1.0
 */
gboolean
evbus_context_wants_tls (EvbusContext *self)
{
  static const char * const implying[] = { "tls.ca_file", "tls.cert_file", "tls.key_file", "tls.server_name" };

  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), FALSE);

  for (guint i = 0; i < G_N_ELEMENTS (implying); i++)
    if (evbus_context_get_string (self, implying[i]) != NULL)
      return TRUE;
  return evbus_context_get_boolean (self, "tls.enabled");
}

/* Nobody stands between a program and this machine itself. */
static void
warn_of (EvbusContext *self,
         Warning       what,
         const char   *before,
         const char   *host,
         const char   *after)
{
  g_autoptr(GInetAddress) address = g_inet_address_new_from_string (host);

  if (address != NULL ? g_inet_address_get_is_loopback (address)
                      : *host == '\0' || *host == '/' || g_ascii_strcasecmp (host, "localhost") == 0)
    return;
  if ((g_atomic_int_or (&self->warned, what) & what) != 0)
    return;
  g_log_structured (G_LOG_DOMAIN, G_LOG_LEVEL_WARNING,
                    "MESSAGE", "%s profile '%s': %s %s%s", self->spec->provider, self->spec->profile, before, host, after);
}

/**
 * evbus_context_warn_unencrypted:
 * @self: a context
 * @host: the host of the destination
 *
 * Logs a warning that a password goes to @host unencrypted, unless that is this
 * machine itself. A plugin calls it before it opens such a connection; it is logged
 * once for a context.
 *
 * Since: 1.0
 */
void
evbus_context_warn_unencrypted (EvbusContext *self,
                                const char   *host)
{
  g_return_if_fail (EVBUS_IS_CONTEXT (self) && host != NULL);

  warn_of (self, WARNED_UNENCRYPTED, "the password goes to", host, " unencrypted; turn on TLS");
}

/**
 * evbus_context_warn_unverified:
 * @self: a context
 * @host: the host of the destination
 *
 * Logs a warning that a connection with TLS to @host takes any certificate, so that
 * an impostor could be at its other end, unless that is this machine itself. A plugin
 * calls it before it opens such a connection; it is logged once for a context.
 *
 * Since: 1.0
 */
void
evbus_context_warn_unverified (EvbusContext *self,
                               const char   *host)
{
  g_return_if_fail (EVBUS_IS_CONTEXT (self) && host != NULL);

  warn_of (self, WARNED_UNVERIFIED, "nothing proves that it is", host,
           " at the other end of TLS: its certificate is not verified");
}

/**
 * evbus_context_get_mailbox:
 * @self: a context
 *
 * Gets the route's mailbox, into which a plugin may push events for consumers
 * in this process.
 *
 * Returns: (transfer none): the mailbox
 *
 * Since: 1.0
 */
EvbusMailbox *
evbus_context_get_mailbox (EvbusContext *self)
{
  g_return_val_if_fail (EVBUS_IS_CONTEXT (self), NULL);

  return self->mailbox;
}
