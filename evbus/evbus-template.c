/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-template.h"

#include <string.h>

#include "evbus-error.h"
#include "evbus-nearest-private.h"

/**
 * EvbusTemplate:
 *
 * A text of a profile with places for what an event brings along: a topic, a
 * key, a URL.
 *
 * `{routing_key}`, `{profile}` and `{id}` stand for those of the event; `{{` and `}}` are
 * plain braces. A plugin marks an option as one by `Template=true` in its `.plugin`
 * file, so that mistakes are found when the configuration is checked.
 *
 * Objects of this type are immutable, so any thread may use them.
 *
 * Since: 1.0
 */

typedef const char * (* FieldFunc) (EvbusEvent *event);

static const struct {
  const char *name;
  FieldFunc   get;
} fields[] = {
  { "routing_key", evbus_event_get_routing_key },
  { "profile", evbus_event_get_profile },
  { "id", evbus_event_get_id },
};

typedef struct {
  char      *text;    /* what stands before the field */
  gsize      length;
  FieldFunc  get;     /* NULL at the end */
} Part;

struct _EvbusTemplate
{
  gatomicrefcount  ref_count;
  GArray          *parts;       /* of Part */
};

G_DEFINE_BOXED_TYPE (EvbusTemplate, evbus_template, evbus_template_ref, evbus_template_unref)

static void
clear_part (gpointer data)
{
  g_free (((Part *) data)->text);
}

static FieldFunc
find_field (const char  *name,
            GError     **error)
{
  const char *names[G_N_ELEMENTS (fields) + 1] = { NULL };
  g_autofree char *hint = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
    {
      if (strcmp (name, fields[i].name) == 0)
        return fields[i].get;
      names[i] = fields[i].name;
    }

  hint = evbus_nearest_hint (name, names);
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
               "there is no {%s}%s; there are {routing_key}, {profile} and {id}, and {{ for a brace",
               name, hint);
  return NULL;
}

static void
end_part (EvbusTemplate *self,
          GString       *text,
          FieldFunc      get)
{
  Part part = { g_strndup (text->str, text->len), text->len, get };

  g_array_append_val (self->parts, part);
  g_string_truncate (text, 0);
}

/* @p stands at a brace. Returns what comes after what it begins, NULL on error. */
static const char *
parse_brace (EvbusTemplate  *self,
             GString        *text,
             const char     *p,
             GError        **error)
{
  g_autofree char *name = NULL;
  const char *end;
  FieldFunc get;

  if (p[1] == p[0] || *p == '}')
    {
      g_string_append_c (text, *p);
      return p + (p[1] == p[0] ? 2 : 1);
    }

  end = strchr (p, '}');
  if (end == NULL)
    {
      g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                           "a '{' is never closed; write {{ for a brace");
      return NULL;
    }
  name = g_strndup (p + 1, end - p - 1);
  get = find_field (name, error);
  if (get == NULL)
    return NULL;
  end_part (self, text, get);
  return end + 1;
}

/**
 * evbus_template_new:
 * @text: the text
 * @error: return location for a #GError
 *
 * Reads a template.
 *
 * %EVBUS_ERROR_INVALID_ARGUMENT is returned for a name in braces that is not
 * known, and for a brace that is never closed.
 *
 * Returns: (transfer full): a new template, or %NULL on error
 *
 * Since: 1.0
 */
EvbusTemplate *
evbus_template_new (const char  *text,
                    GError     **error)
{
  g_autoptr(EvbusTemplate) self = NULL;
  g_autoptr(GString) plain = g_string_new (NULL);

  g_return_val_if_fail (text != NULL, NULL);

  self = g_new0 (EvbusTemplate, 1);
  g_atomic_ref_count_init (&self->ref_count);
  self->parts = g_array_new (FALSE, FALSE, sizeof (Part));
  g_array_set_clear_func (self->parts, clear_part);

  while (*text != '\0')
    {
      gsize length = strcspn (text, "{}");

      g_string_append_len (plain, text, length);
      text += length;
      if (*text != '\0' && (text = parse_brace (self, plain, text, error)) == NULL)
        return NULL;
    }
  end_part (self, plain, NULL);

  return g_steal_pointer (&self);
}

/**
 * evbus_template_ref:
 * @self: a template
 *
 * Takes a reference.
 *
 * Returns: (transfer full): @self
 *
 * Since: 1.0
 */
EvbusTemplate *
evbus_template_ref (EvbusTemplate *self)
{
  g_return_val_if_fail (self != NULL, NULL);

  g_atomic_ref_count_inc (&self->ref_count);
  return self;
}

/**
 * evbus_template_unref:
 * @self: (transfer full): a template
 *
 * Drops a reference.
 *
 * Since: 1.0
 */
void
evbus_template_unref (EvbusTemplate *self)
{
  g_return_if_fail (self != NULL);

  if (!g_atomic_ref_count_dec (&self->ref_count))
    return;
  g_array_unref (self->parts);
  g_free (self);
}

/**
 * evbus_template_is_fixed:
 * @self: a template
 *
 * Tells whether it comes out the same for all events. An address that the
 * destination does not know is then a fault of the configuration
 * (%EVBUS_OUTCOME_BROKEN), else one of the event (%EVBUS_OUTCOME_POISON).
 *
 * Returns: %TRUE if nothing of the event is in it
 *
 * Since: 1.0
 */
gboolean
evbus_template_is_fixed (EvbusTemplate *self)
{
  g_return_val_if_fail (self != NULL, TRUE);

  return self->parts->len == 1;
}

static void
append_plain (GString    *string,
              const char *text)
{
  g_string_append (string, text);
}

static void
append_escaped (GString    *string,
                const char *text)
{
  g_string_append_uri_escaped (string, text, NULL, FALSE);
}

static void
append_with (EvbusTemplate  *self,
             EvbusEvent     *event,
             GString        *string,
             void          (*append) (GString *, const char *))
{
  for (guint i = 0; i < self->parts->len; i++)
    {
      const Part *part = &g_array_index (self->parts, Part, i);

      g_string_append_len (string, part->text, part->length);
      if (part->get != NULL)
        append (string, part->get (event));
    }
}

/**
 * evbus_template_append:
 * @self: a template
 * @event: (nullable): an event; may be %NULL for a template that is fixed
 * @string: where to
 *
 * Appends the text for @event.
 *
 * Since: 1.0
 */
void
evbus_template_append (EvbusTemplate *self,
                       EvbusEvent    *event,
                       GString       *string)
{
  g_return_if_fail (self != NULL && string != NULL);
  g_return_if_fail (event != NULL || evbus_template_is_fixed (self));

  append_with (self, event, string, append_plain);
}

/**
 * evbus_template_append_escaped:
 * @self: a template
 * @event: (nullable): an event; may be %NULL for a template that is fixed
 * @string: where to
 *
 * Appends the text for @event, in which what the event brings along is escaped as a part of a
 * URL: everything but letters, digits and `-._~` becomes `%XX`. So an event cannot lead out of the
 * place that the template has for it, except by being `..`, which a plugin has to refuse.
 *
 * Since: 1.0
 */
void
evbus_template_append_escaped (EvbusTemplate *self,
                               EvbusEvent    *event,
                               GString       *string)
{
  g_return_if_fail (self != NULL && string != NULL);
  g_return_if_fail (event != NULL || evbus_template_is_fixed (self));

  append_with (self, event, string, append_escaped);
}

/**
 * evbus_template_expand:
 * @self: a template
 * @event: (nullable): an event; may be %NULL for a template that is fixed
 *
 * Makes the text for @event.
 *
 * Returns: (transfer full): the text
 *
 * Since: 1.0
 */
char *
evbus_template_expand (EvbusTemplate *self,
                       EvbusEvent    *event)
{
  GString *string;

  g_return_val_if_fail (self != NULL, NULL);
  g_return_val_if_fail (event != NULL || evbus_template_is_fixed (self), NULL);

  string = g_string_new (NULL);
  evbus_template_append (self, event, string);
  return g_string_free (string, FALSE);
}
