/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <math.h>
#include <string.h>

#include "evbus-nearest-private.h"
#include "evbus-option-private.h"
#include "evbus-secret-private.h"
#include "evbus-template.h"
#include "evbus-units-private.h"
#include "evbus-uri-private.h"

/**
 * EvbusOption:
 *
 * One option of a provider, as its `.plugin` file describes it.
 *
 * Options of nested mappings have names with dots: `connection.host` is the
 * key `host` in the mapping `connection`. Objects of this class are immutable,
 * so any thread may use them.
 *
 * Since: 1.0
 */

G_DEFINE_FINAL_TYPE (EvbusOption, evbus_option, G_TYPE_OBJECT)

typedef GVariant * (* CheckFunc) (EvbusOption     *self,
                                  const EvbusNode *node);

static GVariant *check_string   (EvbusOption *self, const EvbusNode *node);
static GVariant *check_uri      (EvbusOption *self, const EvbusNode *node);
static GVariant *check_boolean  (EvbusOption *self, const EvbusNode *node);
static GVariant *check_integer  (EvbusOption *self, const EvbusNode *node);
static GVariant *check_number   (EvbusOption *self, const EvbusNode *node);
static GVariant *check_duration (EvbusOption *self, const EvbusNode *node);
static GVariant *check_size     (EvbusOption *self, const EvbusNode *node);
static GVariant *check_mapping  (EvbusOption *self, const EvbusNode *node);
static GVariant *check_list     (EvbusOption *self, const EvbusNode *node);
static GVariant *check_any      (EvbusOption *self, const EvbusNode *node);

static const struct {
  const char *name;
  const char *wanted;
  CheckFunc   check;
  gboolean    ranged;
} kinds[] = {
  [EVBUS_OPTION_STRING]   = { "string", "a text", check_string, FALSE },
  [EVBUS_OPTION_URI]      = { "uri", "a URI or a reference to one, as in https://example.com/shop or /shop", check_uri, FALSE },
  [EVBUS_OPTION_BOOLEAN]  = { "boolean", "true or false", check_boolean, FALSE },
  [EVBUS_OPTION_INTEGER]  = { "integer", "an integer", check_integer, TRUE },
  [EVBUS_OPTION_NUMBER]   = { "number", "a number", check_number, TRUE },
  [EVBUS_OPTION_DURATION] = { "duration", "a duration (seconds, or as in 500ms, 30s, 5m, 12h, 7d)", check_duration, TRUE },
  [EVBUS_OPTION_SIZE]     = { "size", "a size (bytes, or as in 64KiB, 16MiB, 1GiB)", check_size, TRUE },
  [EVBUS_OPTION_MAPPING]  = { "mapping", "a mapping", check_mapping, FALSE },
  [EVBUS_OPTION_LIST]     = { "list", "a list", check_list, FALSE },
  [EVBUS_OPTION_ANY]      = { "any", "a value", check_any, FALSE },
};

static void
evbus_option_finalize (GObject *object)
{
  EvbusOption *self = EVBUS_OPTION (object);

  g_free (self->name);
  g_free (self->help);
  g_strfreev (self->choices);
  g_clear_pointer (&self->fallback, g_variant_unref);
  g_clear_pointer (&self->shown, g_variant_unref);

  G_OBJECT_CLASS (evbus_option_parent_class)->finalize (object);
}

static void
evbus_option_class_init (EvbusOptionClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = evbus_option_finalize;
}

static void
evbus_option_init (EvbusOption *self)
{
  self->min = -INFINITY;
  self->max = INFINITY;
}

/* A number is as good a text as any (a password may be 12345), and stands as it
 * was written. A boolean is not: 'no' and 'on' are rarely meant. */
static GVariant *
check_string (EvbusOption     *self,
              const EvbusNode *node)
{
  if (node->kind != EVBUS_NODE_STRING && node->kind != EVBUS_NODE_INTEGER
      && node->kind != EVBUS_NODE_NUMBER)
    return NULL;
  return g_variant_new_string (node->text);
}

static GVariant *
check_uri (EvbusOption     *self,
           const EvbusNode *node)
{
  return node->text != NULL && evbus_uri_is_reference (node->text) ? check_string (self, node) : NULL;
}

static GVariant *
check_boolean (EvbusOption     *self,
               const EvbusNode *node)
{
  return node->kind == EVBUS_NODE_BOOLEAN ? g_variant_new_boolean (node->boolean) : NULL;
}

static GVariant *
check_integer (EvbusOption     *self,
               const EvbusNode *node)
{
  return node->kind == EVBUS_NODE_INTEGER ? g_variant_new_int64 (node->integer) : NULL;
}

static GVariant *
check_number (EvbusOption     *self,
              const EvbusNode *node)
{
  if (node->kind == EVBUS_NODE_INTEGER)
    return g_variant_new_double (node->integer);
  if (node->kind == EVBUS_NODE_NUMBER && isfinite (node->number))
    return g_variant_new_double (node->number);
  return NULL;
}

static GVariant *
check_duration (EvbusOption     *self,
                const EvbusNode *node)
{
  gint64 microseconds;
  gboolean valid = FALSE;

  if (node->kind == EVBUS_NODE_INTEGER)
    valid = evbus_duration_from_seconds (node->integer, &microseconds);
  else if (node->kind == EVBUS_NODE_NUMBER)
    valid = evbus_duration_from_seconds (node->number, &microseconds);
  else if (node->kind == EVBUS_NODE_STRING)
    valid = evbus_parse_duration (node->text, &microseconds);
  return valid ? g_variant_new_int64 (microseconds) : NULL;
}

static GVariant *
check_size (EvbusOption     *self,
            const EvbusNode *node)
{
  gint64 bytes;

  if (node->kind == EVBUS_NODE_INTEGER && node->integer >= 0)
    return g_variant_new_int64 (node->integer);
  if (node->kind == EVBUS_NODE_STRING && evbus_parse_size (node->text, &bytes))
    return g_variant_new_int64 (bytes);
  return NULL;
}

static GVariant *
check_mapping (EvbusOption     *self,
               const EvbusNode *node)
{
  return node->kind == EVBUS_NODE_MAPPING ? evbus_node_to_variant (node) : NULL;
}

static GVariant *
check_list (EvbusOption     *self,
            const EvbusNode *node)
{
  return node->kind == EVBUS_NODE_SEQUENCE ? evbus_node_to_variant (node) : NULL;
}

static GVariant *
check_any (EvbusOption     *self,
           const EvbusNode *node)
{
  return evbus_node_to_variant (node);
}

static void
report_kind (EvbusOption     *self,
             const EvbusNode *node,
             EvbusReport     *report)
{
  g_autofree char *given = evbus_node_describe (node, self->secret);
  const char *hint = "";

  if (self->kind == EVBUS_OPTION_STRING && node->kind == EVBUS_NODE_BOOLEAN)
    hint = "; put it into quotes if the text is meant";
  else if (kinds[self->kind].ranged && self->kind != EVBUS_OPTION_DURATION
           && node->kind == EVBUS_NODE_STRING)
    {
      g_autoptr(EvbusNode) plain = evbus_node_new_scalar (NULL, node->text, TRUE);

      if (plain->kind == EVBUS_NODE_INTEGER || plain->kind == EVBUS_NODE_NUMBER)
        hint = "; leave out the quotes";
    }
  else if (self->kind == EVBUS_OPTION_LIST && node->text != NULL)
    hint = "; put it into brackets: [ ]";
  evbus_report_error (report, &node->place, "'%s' must be %s, not %s%s",
                      self->name, kinds[self->kind].wanted, given, hint);
}

static gboolean
check_choices (EvbusOption     *self,
               const EvbusNode *node,
               EvbusReport     *report)
{
  g_autofree char *all = NULL;
  g_autofree char *given = NULL;
  g_autofree char *hint = NULL;

  if (self->choices == NULL || g_strv_contains ((const char * const *) self->choices, node->text))
    return TRUE;

  all = g_strjoinv (", ", self->choices);
  given = evbus_node_describe (node, self->secret);
  hint = evbus_nearest_hint (node->text, (const char * const *) self->choices);
  evbus_report_error (report, &node->place, "'%s' must be one of %s, not %s%s", self->name, all, given, hint);
  return FALSE;
}

static gboolean
check_range (EvbusOption     *self,
             const EvbusNode *node,
             GVariant        *value,
             EvbusReport     *report)
{
  g_autofree char *range = NULL;
  double amount;

  if (!kinds[self->kind].ranged)
    return TRUE;
  amount = g_variant_is_of_type (value, G_VARIANT_TYPE_DOUBLE) ? g_variant_get_double (value)
                                                               : (double) g_variant_get_int64 (value);
  if (amount >= self->min && amount <= self->max)
    return TRUE;

  range = evbus_option_describe_range (self);
  evbus_report_error (report, &node->place, "'%s' must be %s, not %s", self->name, range, node->text);
  return FALSE;
}

/* Those of a mapping or a list too. */
static gboolean
check_templates (EvbusOption     *self,
                 const EvbusNode *node,
                 EvbusReport     *report)
{
  g_autoptr(EvbusTemplate) template = NULL;
  g_autoptr(GError) error = NULL;
  gboolean good = TRUE;

  for (guint i = 0; node->values != NULL && i < node->values->len; i++)
    good = check_templates (self, g_ptr_array_index (node->values, i), report) && good;
  if (node->kind != EVBUS_NODE_STRING)
    return good;

  template = evbus_template_new (node->text, &error);
  if (template == NULL)
    evbus_report_error (report, &node->place, "'%s': %s", self->name, error->message);
  return template != NULL;
}

GVariant *
evbus_option_check (EvbusOption     *self,
                    const EvbusNode *node,
                    EvbusReport     *report)
{
  g_autoptr(GVariant) value = NULL;

  if (self->secret && self->kind == EVBUS_OPTION_STRING && node->kind == EVBUS_NODE_MAPPING)
    {
      value = evbus_secret_check_reference (self->name, node, report);
      return value != NULL ? g_variant_ref_sink (g_steal_pointer (&value)) : NULL;
    }

  value = kinds[self->kind].check (self, node);
  if (value == NULL)
    {
      report_kind (self, node, report);
      return NULL;
    }
  g_variant_ref_sink (value);
  if (!check_choices (self, node, report) || !check_range (self, node, value, report))
    return NULL;
  if (self->template && !check_templates (self, node, report))
    return NULL;
  if (self->secret && !self->inlined && !evbus_secret_check_inline (self->name, node, report))
    return NULL;
  return g_steal_pointer (&value);
}

static char *
format_amount (EvbusOption *self,
               double       amount)
{
  if (self->kind == EVBUS_OPTION_DURATION)
    return evbus_format_duration (amount);
  if (self->kind == EVBUS_OPTION_SIZE)
    return evbus_format_size (amount);
  return g_strdup_printf ("%.15g", amount);
}

void
evbus_option_set_fallback (EvbusOption *self,
                           GVariant    *value)
{
  self->fallback = g_variant_ref_sink (value);
  if (self->kind == EVBUS_OPTION_DURATION || self->kind == EVBUS_OPTION_SIZE)
    self->shown = g_variant_ref_sink (g_variant_new_take_string (format_amount (self, g_variant_get_int64 (value))));
  else
    self->shown = g_variant_ref (self->fallback);
}

EvbusOption *
evbus_option_new_from_def (const EvbusOptionDef *def)
{
  EvbusOption *self = g_object_new (EVBUS_TYPE_OPTION, NULL);

  self->name = g_strdup (def->name);
  self->help = g_strdup (def->help);
  self->kind = def->kind;
  self->choices = def->choices != NULL ? g_strsplit (def->choices, ";", -1) : NULL;
  if (kinds[self->kind].ranged)
    {
      self->min = def->min;
      self->max = def->max;
      evbus_option_set_fallback (self, g_variant_new_int64 (def->fallback));
    }
  else if (self->kind == EVBUS_OPTION_BOOLEAN)
    evbus_option_set_fallback (self, g_variant_new_boolean (def->fallback));
  else if (self->choices != NULL)
    evbus_option_set_fallback (self, g_variant_new_string (self->choices[def->fallback]));
  return self;
}

gboolean
evbus_option_kind_from_name (const char      *name,
                             EvbusOptionKind *kind)
{
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (g_strcmp0 (name, kinds[i].name) == 0)
      {
        *kind = i;
        return TRUE;
      }
  return FALSE;
}

gboolean
evbus_option_has_range (EvbusOption *self)
{
  return kinds[self->kind].ranged;
}

/**
 * evbus_option_get_name:
 * @self: an option
 *
 * Gets the name, with dots for nesting: `connection.host`.
 *
 * Returns: the name
 *
 * Since: 1.0
 */
const char *
evbus_option_get_name (EvbusOption *self)
{
  g_return_val_if_fail (EVBUS_IS_OPTION (self), NULL);

  return self->name;
}

/**
 * evbus_option_get_kind:
 * @self: an option
 *
 * Gets the type of the value: `string`, `uri`, `boolean`, `integer`, `number`,
 * `duration`, `size`, `mapping`, `list` or `any`.
 *
 * Returns: the type's name
 *
 * Since: 1.0
 */
const char *
evbus_option_get_kind (EvbusOption *self)
{
  g_return_val_if_fail (EVBUS_IS_OPTION (self), NULL);

  return kinds[self->kind].name;
}

/**
 * evbus_option_get_help:
 * @self: an option
 *
 * Gets the one line of help.
 *
 * Returns: the help, empty if there is none
 *
 * Since: 1.0
 */
const char *
evbus_option_get_help (EvbusOption *self)
{
  g_return_val_if_fail (EVBUS_IS_OPTION (self), NULL);

  return self->help;
}

/**
 * evbus_option_describe_range:
 * @self: an option
 *
 * Describes which values are allowed, for people: `between 1 and 65535`,
 * `at least 1KiB`, `one of never, batch`.
 *
 * Returns: (transfer full) (nullable): the description, or %NULL where any
 *   value of the type will do
 *
 * Since: 1.0
 */
char *
evbus_option_describe_range (EvbusOption *self)
{
  g_autofree char *min = NULL;
  g_autofree char *max = NULL;

  g_return_val_if_fail (EVBUS_IS_OPTION (self), NULL);

  if (self->choices != NULL)
    {
      g_autofree char *all = g_strjoinv (", ", self->choices);

      return g_strconcat ("one of ", all, NULL);
    }
  min = isfinite (self->min) ? format_amount (self, self->min) : NULL;
  max = isfinite (self->max) ? format_amount (self, self->max) : NULL;
  if (min != NULL && max != NULL)
    return g_strdup_printf ("between %s and %s", min, max);
  if (min != NULL)
    return g_strdup_printf ("at least %s", min);
  return max != NULL ? g_strdup_printf ("at most %s", max) : NULL;
}

/**
 * evbus_option_get_default:
 * @self: an option
 *
 * Gets the value that holds where a profile gives none, as one would write it:
 * durations and sizes are texts such as `30s` and `64MiB`. (A plugin gets them
 * from its [class@Context] as microseconds and bytes.)
 *
 * Returns: (transfer none) (nullable): the default, or %NULL if there is none
 *
 * Since: 1.0
 */
GVariant *
evbus_option_get_default (EvbusOption *self)
{
  g_return_val_if_fail (EVBUS_IS_OPTION (self), NULL);

  return self->shown;
}

/**
 * evbus_option_get_required:
 * @self: an option
 *
 * Tells whether each profile must give a value.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
evbus_option_get_required (EvbusOption *self)
{
  g_return_val_if_fail (EVBUS_IS_OPTION (self), FALSE);

  return self->required;
}

/**
 * evbus_option_get_secret:
 * @self: an option
 *
 * Tells whether the value is a secret, which a profile had better refer to
 * than hold: `{file: PATH}`, `{env: NAME}`, `{credential: NAME}` or `{keyring: {ATTRIBUTE: VALUE}}`.
 *
 * Returns: %TRUE if so
 *
 * Since: 1.0
 */
gboolean
evbus_option_get_secret (EvbusOption *self)
{
  g_return_val_if_fail (EVBUS_IS_OPTION (self), FALSE);

  return self->secret;
}
