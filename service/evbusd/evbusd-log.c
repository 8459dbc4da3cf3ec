/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Where log messages go: with all their fields to the journal where standard
 * error is connected to it, else one readable line each to standard error. */

#include "evbusd-log.h"

#include <stdio.h>
#include <string.h>

static gboolean verbose_log;

/* The fields a person wants to see beside the message. */
static const struct {
  const char *field;
  const char *label;
} shown[] = {
  { "EVBUS_ROUTE", "route" },
  { "EVBUS_PROFILE", "profile" },
  { "EVBUS_EVENT_ID", "event" },
  { "EVBUS_SENDER", "sender" },
};

static const struct {
  GLogLevelFlags  level;
  const char     *word;
} levels[] = {
  { G_LOG_LEVEL_ERROR, "fatal" },
  { G_LOG_LEVEL_CRITICAL, "critical" },
  { G_LOG_LEVEL_WARNING, "warning" },
  { G_LOG_LEVEL_MESSAGE, NULL },
  { G_LOG_LEVEL_INFO, "info" },
  { G_LOG_LEVEL_DEBUG, "debug" },
};

static char *
dup_value (const GLogField *field)
{
  if (field->length < 0)
    return g_strdup (field->value);

  return g_strndup (field->value, field->length);
}

static char *
dup_field (const GLogField *fields,
           gsize            n_fields,
           const char      *key)
{
  for (gsize i = 0; i < n_fields; i++)
    {
      if (strcmp (fields[i].key, key) == 0)
        return dup_value (&fields[i]);
    }

  return NULL;
}

/* Text of a client must neither start a line of its own nor speak to the
 * terminal. What evbus itself logs in several lines stays so, indented. */
static void
append_clean (GString    *line,
              const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);

  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);

      if (c == '\n')
        g_string_append (line, "\n  ");
      else if (g_unichar_iscntrl (c))
        g_string_append_printf (line, "\\x%02x", c);
      else
        g_string_append_unichar (line, c);
    }
}

static void
append_level (GString        *line,
              GLogLevelFlags  level)
{
  for (guint i = 0; i < G_N_ELEMENTS (levels); i++)
    {
      if ((level & levels[i].level) != 0 && levels[i].word != NULL)
        g_string_append_printf (line, "%s: ", levels[i].word);
    }
}

static char *
format_line (GLogLevelFlags   level,
             const GLogField *fields,
             gsize            n_fields)
{
  GString *line = g_string_new (NULL);
  g_autofree char *domain = dup_field (fields, n_fields, "GLIB_DOMAIN");
  g_autofree char *message = dup_field (fields, n_fields, "MESSAGE");

  g_string_append (line, domain != NULL ? domain : "evbusd");
  g_string_append (line, ": ");
  append_level (line, level);
  append_clean (line, message != NULL ? message : "");

  for (guint i = 0; i < G_N_ELEMENTS (shown); i++)
    {
      g_autofree char *value = dup_field (fields, n_fields, shown[i].field);

      if (value != NULL)
        {
          g_string_append_printf (line, " [%s ", shown[i].label);
          append_clean (line, value);
          g_string_append_c (line, ']');
        }
    }

  g_string_append_c (line, '\n');
  return g_string_free (line, FALSE);
}

static gboolean
is_wanted (GLogLevelFlags   level,
           const GLogField *fields,
           gsize            n_fields)
{
  g_autofree char *domain = NULL;

  if (verbose_log || (level & (G_LOG_LEVEL_INFO | G_LOG_LEVEL_DEBUG)) == 0)
    return TRUE;

  domain = dup_field (fields, n_fields, "GLIB_DOMAIN");
  return !g_log_writer_default_would_drop (level, domain);
}

static GLogWriterOutput
write_to_stderr (GLogLevelFlags   level,
                 const GLogField *fields,
                 gsize            n_fields,
                 gpointer         user_data)
{
  g_autofree char *line = NULL;

  if (!is_wanted (level, fields, n_fields))
    return G_LOG_WRITER_HANDLED;

  line = format_line (level, fields, n_fields);
  fputs (line, stderr);
  fflush (stderr);
  return G_LOG_WRITER_HANDLED;
}

static GLogWriterOutput
write_to_journal (GLogLevelFlags   level,
                  const GLogField *fields,
                  gsize            n_fields,
                  gpointer         user_data)
{
  if (!is_wanted (level, fields, n_fields))
    return G_LOG_WRITER_HANDLED;

  if (g_log_writer_journald (level, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED)
    return G_LOG_WRITER_HANDLED;

  return write_to_stderr (level, fields, n_fields, NULL);
}

void
evbusd_log_init (gboolean verbose)
{
  gboolean journal = g_log_writer_is_journald (fileno (stderr));

  verbose_log = verbose;
  g_log_set_writer_func (journal ? write_to_journal : write_to_stderr, NULL, NULL);
}
