/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <string.h>

#include "evbus-delivery-private.h"
#include "evbus-error.h"
#include "evbus-provider-private.h"
#include "evbus-route-spec-private.h"
#include "evbus-schema-private.h"
#include "evbus-units-private.h"

/* The plugin does not see how its route delivers. */
static GVariant *
without_delivery (GVariant *data)
{
  GVariantBuilder builder;
  GVariantIter iter;
  GVariant *value;
  const char *key;

  g_variant_builder_init (&builder, G_VARIANT_TYPE_VARDICT);
  g_variant_iter_init (&iter, data);
  while (g_variant_iter_loop (&iter, "{&sv}", &key, &value))
    if (strcmp (key, "delivery") != 0)
      g_variant_builder_add (&builder, "{sv}", key, value);
  return g_variant_ref_sink (g_variant_builder_end (&builder));
}

static gint
compare_strings (gconstpointer a,
                 gconstpointer b)
{
  return strcmp (*(const char * const *) a, *(const char * const *) b);
}

/* A mapping says the same in whatever order its keys stand. */
static void
append_canonical (GString  *text,
                  GVariant *value)
{
  g_autoptr(GPtrArray) keys = NULL;
  GVariantIter iter;
  GVariant *child;
  const char *key;

  if (!g_variant_is_of_type (value, G_VARIANT_TYPE_VARDICT) && !g_variant_is_of_type (value, G_VARIANT_TYPE ("av")))
    {
      g_variant_print_string (value, text, TRUE);
      return;
    }

  g_variant_iter_init (&iter, value);
  if (g_variant_is_of_type (value, G_VARIANT_TYPE ("av")))
    {
      g_string_append_c (text, '[');
      while (g_variant_iter_next (&iter, "v", &child))
        {
          append_canonical (text, child);
          g_string_append_c (text, ',');
          g_variant_unref (child);
        }
      g_string_append_c (text, ']');
      return;
    }

  keys = g_ptr_array_new ();
  while (g_variant_iter_next (&iter, "{&sv}", &key, &child))
    {
      g_ptr_array_add (keys, (char *) key);
      g_variant_unref (child);
    }
  g_ptr_array_sort (keys, compare_strings);
  g_string_append_c (text, '{');
  for (guint i = 0; i < keys->len; i++)
    {
      g_autoptr(GVariant) member = g_variant_lookup_value (value, g_ptr_array_index (keys, i), NULL);
      g_autofree char *quoted = g_strescape (g_ptr_array_index (keys, i), NULL);

      g_string_append_printf (text, "\"%s\":", quoted);
      append_canonical (text, member);
      g_string_append_c (text, ',');
    }
  g_string_append_c (text, '}');
}

static char *
compute_digest (EvbusRouteSpec *self)
{
  const EvbusDelivery *d = &self->delivery;
  g_autoptr(GString) text = g_string_new (NULL);
  const char *names[] = {
    self->provider,
    self->profile,
    evbus_matcher_get_plugin (self->matcher),
    self->info != NULL ? evbus_provider_get_filename (self->info) : "",
    d->name != NULL ? d->name : "",
  };
  const gint64 numbers[] = {
    d->batch_events, d->batch_bytes, d->linger, d->in_flight, d->window_events, d->window_bytes,
    d->timeout, d->retry_min, d->retry_max, d->max_age, d->overflow,
    d->spool_bytes, d->dead_letters,
  };
  char *digest;

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    g_string_append_printf (text, "%" G_GSIZE_FORMAT ":%s,", strlen (names[i]), names[i]);
  for (guint i = 0; i < G_N_ELEMENTS (numbers); i++)
    g_string_append_printf (text, "%" G_GINT64_FORMAT ",", numbers[i]);
  append_canonical (text, self->data);

  digest = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text->str, text->len);
  /* There may be a secret in it. */
  explicit_bzero (text->str, text->len);
  return digest;
}

/* Borrowed, of objects that live longer. */
static GPtrArray *
options_for (EvbusProvider *info)
{
  GPtrArray *options = g_ptr_array_new ();

  if (info != NULL)
    g_ptr_array_extend (options, evbus_provider_get_option_array (info), NULL, NULL);
  g_ptr_array_extend (options, evbus_delivery_get_options (), NULL, NULL);
  return options;
}

static const EvbusNode *
find_node (const EvbusNode *data,
           const char      *name)
{
  g_auto(GStrv) segments = g_strsplit (name, ".", -1);

  for (gsize i = 0; segments[i] != NULL; i++)
    data = evbus_node_lookup (data, segments[i]);
  return data;
}

/* Of what the profile itself says: where a default is longer, nobody has counted on it. */
static void
warn_of_timeouts (EvbusRouteSpec  *self,
                  GPtrArray       *options,
                  const EvbusNode *data,
                  GVariant        *checked,
                  EvbusReport     *report)
{
  g_autofree char *limit = evbus_format_duration (self->delivery.timeout);

  for (guint i = 0; i < options->len; i++)
    {
      const EvbusOption *option = options->pdata[i];
      const EvbusNode *node = option->within_publish ? find_node (data, option->name) : NULL;
      g_autoptr(GVariant) value = node != NULL ? evbus_schema_lookup (checked, option->name) : NULL;
      g_autofree char *given = NULL;

      if (value == NULL || g_variant_get_int64 (value) <= self->delivery.timeout)
        continue;
      given = evbus_format_duration (g_variant_get_int64 (value));
      evbus_report_warning (report, &node->place, "'%s' (%s) is never reached, since 'delivery.timeout' (%s) ends it; "
                            "raise that as well", option->name, given, limit);
    }
}

static void
check_data (EvbusRouteSpec   *self,
            EvbusNode        *data,
            const EvbusPlace *place,
            EvbusReport      *report)
{
  g_autoptr(GPtrArray) options = options_for (self->info);
  g_autoptr(GVariant) checked = NULL;

  if (data != NULL && data->kind != EVBUS_NODE_MAPPING && data->kind != EVBUS_NODE_NULL)
    {
      g_autofree char *given = evbus_node_describe (data, TRUE);

      evbus_report_error (report, &data->place, "the data of a profile must be a mapping, or nothing, not %s", given);
      return;
    }
  if (data != NULL)
    evbus_delivery_expand (data);
  checked = evbus_schema_check (options, self->info == NULL, data, place, report);
  evbus_delivery_read (checked, place, &self->delivery, report);
  warn_of_timeouts (self, options, data, checked, report);
  self->data = without_delivery (checked);
}

static void
find_provider (EvbusRouteSpec   *self,
               GPtrArray        *providers,
               const char       *name,
               const EvbusPlace *place,
               EvbusReport      *report)
{
  g_autoptr(GError) error = NULL;
  EvbusProvider *info = evbus_provider_find (providers, name, &error);

  if (info != NULL)
    {
      self->info = g_object_ref (info);
      self->provider = g_strdup (evbus_provider_get_name (info));
      return;
    }
  self->provider = g_strdup (name);
  if (g_error_matches (error, EVBUS_ERROR, EVBUS_ERROR_NO_PROVIDER))
    self->missing = g_strdup (error->message);
  else
    evbus_report_error (report, place, "%s", error->message);
}

EvbusRouteSpec *
evbus_route_spec_build (GPtrArray        *providers,
                        const char       *provider,
                        const char       *profile,
                        const char       *match_plugin,
                        EvbusNode        *data,
                        const EvbusPlace *place,
                        EvbusReport      *report)
{
  g_autoptr(EvbusRouteSpec) self = g_new0 (EvbusRouteSpec, 1);
  guint errors = report->errors->len + report->left_out;
  g_autoptr(GError) error = NULL;

  g_atomic_ref_count_init (&self->ref_count);
  self->profile = g_strdup (profile);
  self->where = evbus_place_to_string (place);
  evbus_report_set_subject (report, "%s profile '%s'", provider, profile);

  find_provider (self, providers, provider, place, report);
  self->matcher = evbus_matcher_new (match_plugin, profile, &error);
  if (self->matcher == NULL)
    evbus_report_error (report, place, "%s", error->message);
  /* Against the options of which provider, where it is a mistake? */
  if (self->info != NULL || self->missing != NULL)
    check_data (self, data, place, report);
  evbus_report_set_subject (report, NULL);

  if (report->errors->len + report->left_out > errors)
    return NULL;
  self->digest = compute_digest (self);
  return g_steal_pointer (&self);
}

EvbusRouteSpec *
evbus_route_spec_new (const char  *provider,
                      const char  *profile,
                      const char  *match_plugin,
                      GVariant    *data,
                      GError     **error)
{
  g_autoptr(GPtrArray) providers = NULL;
  g_autoptr(EvbusReport) report = NULL;
  g_autoptr(EvbusRouteSpec) self = NULL;
  g_autoptr(EvbusNode) node = NULL;

  g_return_val_if_fail (provider != NULL, NULL);
  g_return_val_if_fail (data == NULL || g_variant_is_of_type (data, G_VARIANT_TYPE_VARDICT), NULL);

  if (profile == NULL || *profile == '\0')
    profile = "default";
  if (!g_utf8_validate (profile, -1, NULL))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG,
                   "a profile of provider '%s' is not valid UTF-8", provider);
      return NULL;
    }
  if (match_plugin == NULL)
    match_plugin = "glob";
  if (data != NULL)
    {
      node = evbus_node_new_from_variant (data, error);
      if (node == NULL)
        {
          g_prefix_error (error, "%s profile '%s': ", provider, profile);
          return NULL;
        }
    }

  providers = evbus_provider_scan ();
  report = evbus_report_new ();
  self = evbus_route_spec_build (providers, provider, profile, match_plugin, node, NULL, report);
  if (!evbus_report_finish (report, error))
    return NULL;
  if (self->missing != NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_NO_PROVIDER, self->missing);
      return NULL;
    }
  return g_steal_pointer (&self);
}

EvbusRouteSpec *
evbus_route_spec_ref (EvbusRouteSpec *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

void
evbus_route_spec_unref (EvbusRouteSpec *self)
{
  g_return_if_fail (self != NULL);

  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;
  g_free (self->provider);
  g_free (self->profile);
  g_free (self->where);
  g_clear_pointer (&self->matcher, evbus_matcher_free);
  g_clear_object (&self->info);
  g_free (self->missing);
  g_clear_pointer (&self->data, g_variant_unref);
  g_free (self->delivery.name);
  g_free (self->digest);
  g_free (self);
}
