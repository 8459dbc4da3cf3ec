/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-error.h"
#include "evbus-report-private.h"

/* A file of nothing but errors must not become a message of megabytes. */
#define MAX_ERRORS 200

EvbusReport *
evbus_report_new (void)
{
  EvbusReport *self = g_new0 (EvbusReport, 1);

  self->errors = g_ptr_array_new_with_free_func (g_free);
  self->warnings = g_ptr_array_new_with_free_func (g_free);
  return self;
}

void
evbus_report_free (EvbusReport *self)
{
  g_return_if_fail (self != NULL);

  g_ptr_array_unref (self->errors);
  g_ptr_array_unref (self->warnings);
  g_free (self->subject);
  g_free (self);
}

void
evbus_report_set_subject (EvbusReport *self,
                          const char  *format,
                          ...)
{
  va_list args;

  g_clear_pointer (&self->subject, g_free);
  if (format == NULL)
    return;
  va_start (args, format);
  self->subject = g_strdup_vprintf (format, args);
  va_end (args);
}

char *
evbus_place_to_string (const EvbusPlace *place)
{
  if (place == NULL || place->file == NULL)
    return NULL;
  if (place->line == 0)
    return g_strdup (place->file);
  return g_strdup_printf ("%s:%u:%u", place->file, place->line, place->column);
}

static void add_line (EvbusReport      *self,
                      GPtrArray        *lines,
                      const EvbusPlace *place,
                      const char       *format,
                      va_list           args) G_GNUC_PRINTF (4, 0);

static void
add_line (EvbusReport      *self,
          GPtrArray        *lines,
          const EvbusPlace *place,
          const char       *format,
          va_list           args)
{
  g_autofree char *where = evbus_place_to_string (place);
  GString *line = g_string_new (NULL);

  if (where != NULL)
    g_string_append_printf (line, "%s: ", where);
  if (self->subject != NULL)
    g_string_append_printf (line, "%s: ", self->subject);
  g_string_append_vprintf (line, format, args);
  g_ptr_array_add (lines, g_string_free (line, FALSE));
}

void
evbus_report_error (EvbusReport      *self,
                    const EvbusPlace *place,
                    const char       *format,
                    ...)
{
  va_list args;

  if (self->errors->len == MAX_ERRORS)
    {
      self->left_out++;
      return;
    }
  va_start (args, format);
  add_line (self, self->errors, place, format, args);
  va_end (args);
}

void
evbus_report_warning (EvbusReport      *self,
                      const EvbusPlace *place,
                      const char       *format,
                      ...)
{
  va_list args;

  va_start (args, format);
  add_line (self, self->warnings, place, format, args);
  va_end (args);
}

gboolean
evbus_report_finish (EvbusReport  *self,
                     GError      **error)
{
  GString *message;

  if (self->errors->len == 0)
    return TRUE;

  message = g_string_new (NULL);
  for (guint i = 0; i < self->errors->len; i++)
    g_string_append_printf (message, "%s%s", i > 0 ? "\n" : "",
                            (const char *) g_ptr_array_index (self->errors, i));
  if (self->left_out > 0)
    g_string_append_printf (message, "\nand %u more problems", self->left_out);
  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_CONFIG, message->str);
  g_string_free (message, TRUE);
  return FALSE;
}
