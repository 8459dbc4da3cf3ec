/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbusctl-output.h"

#include "evbusctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static gboolean progress_shown;

/* Why the output could not be written, where that was noticed before its end; 0: it was not. */
static int output_failure;

/* ---- Text that others wrote ---- */

/* Routing keys, bodies and messages come from anybody: what could steer a
 * terminal, or turn a line's reading order, is shown as \uXXXX instead. */
char *
evbusctl_printable (const char *text)
{
  g_autofree char *valid = g_utf8_make_valid (text, -1);
  GString *result = g_string_sized_new (strlen (valid));
  const char *p;

  for (p = valid; *p != '\0'; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);

      if (g_unichar_isprint (c))
        g_string_append_unichar (result, c);
      else
        g_string_append_printf (result, c > 0xffff ? "\\U%08x" : "\\u%04x", c);
    }

  return g_string_free (result, FALSE);
}

/* In columns of a terminal. */
static guint
text_width (const char *text,
            gsize       length)
{
  const char *p;
  guint width = 0;

  for (p = text; p < text + length; p = g_utf8_next_char (p))
    {
      gunichar c = g_utf8_get_char (p);

      if (!g_unichar_iszerowidth (c))
        width += g_unichar_iswide (c) ? 2 : 1;
    }

  return width;
}

/* For a person: the two largest units. */
char *
evbusctl_format_span (gint64 microseconds)
{
  gint64 s = MAX (microseconds, 0) / G_USEC_PER_SEC;

  if (s >= 24 * 3600)
    return g_strdup_printf ("%" G_GINT64_FORMAT " d %" G_GINT64_FORMAT " h", s / (24 * 3600), s / 3600 % 24);
  if (s >= 3600)
    return g_strdup_printf ("%" G_GINT64_FORMAT " h %" G_GINT64_FORMAT " min", s / 3600, s / 60 % 60);
  if (s >= 60)
    return g_strdup_printf ("%" G_GINT64_FORMAT " min %" G_GINT64_FORMAT " s", s / 60, s % 60);

  return g_strdup_printf ("%" G_GINT64_FORMAT " s", s);
}

/* ---- Standard error ---- */

/* Lines after the first are continued as they are: advice, or the mistakes of
 * a configuration, which editors find by their FILE:LINE:COLUMN. */
void
evbusctl_error (const char *format,
                ...)
{
  g_autofree char *message = NULL;
  g_auto(GStrv) lines = NULL;
  va_list args;
  guint i;

  va_start (args, format);
  message = g_strdup_vprintf (format, args);
  va_end (args);

  evbusctl_progress_clear ();
  lines = g_strsplit (g_strchomp (message), "\n", -1);
  for (i = 0; lines[i] != NULL; i++)
    {
      g_autofree char *line = evbusctl_printable (lines[i]);

      fprintf (stderr, "%s%s\n", i == 0 ? "evbusctl: " : "", line);
    }
}

static char *
dup_field (const GLogField *fields,
           gsize            n_fields,
           const char      *key)
{
  for (gsize i = 0; i < n_fields; i++)
    {
      if (strcmp (fields[i].key, key) == 0)
        return fields[i].length < 0 ? g_strdup (fields[i].value) : g_strndup (fields[i].value, fields[i].length);
    }

  return g_strdup ("");
}

/* What the library warns of, as of a plugin that it leaves out, is for the user. The
 * rest is for whoever mends this program. */
GLogWriterOutput
evbusctl_log_writer (GLogLevelFlags   level,
                     const GLogField *fields,
                     gsize            n_fields,
                     gpointer         user_data)
{
  g_autofree char *domain = dup_field (fields, n_fields, "GLIB_DOMAIN");
  g_autofree char *message = NULL;

  if (!g_str_has_prefix (domain, "evbus") || (level & (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE)) == 0)
    return g_log_writer_default (level, fields, n_fields, user_data);

  message = dup_field (fields, n_fields, "MESSAGE");
  evbusctl_error ("%s", message);
  return G_LOG_WRITER_HANDLED;
}

gboolean
evbusctl_progress_wanted (void)
{
  return isatty (STDERR_FILENO);
}

void
evbusctl_progress (guint64 n_events,
                   gint64  since)
{
  double seconds = (g_get_monotonic_time () - since) / (double) G_USEC_PER_SEC;

  fprintf (stderr, "\r%" G_GUINT64_FORMAT " events put, %.0f/s\033[K",
           n_events, seconds > 0 ? n_events / seconds : 0);
  fflush (stderr);
  progress_shown = TRUE;
}

void
evbusctl_progress_of (guint64 n_done,
                      guint64 n_total)
{
  fprintf (stderr, "\r%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT "\033[K", n_done, n_total);
  fflush (stderr);
  progress_shown = TRUE;
}

void
evbusctl_progress_clear (void)
{
  if (!progress_shown)
    return;

  fputs ("\r\033[K", stderr);
  fflush (stderr);
  progress_shown = FALSE;
}

/* ---- Standard output ---- */

static gboolean
want_style (void)
{
  static int wanted = -1;

  if (wanted < 0)
    {
      const char *no_color = g_getenv ("NO_COLOR");

      wanted = isatty (STDOUT_FILENO) &&
               (no_color == NULL || *no_color == '\0') &&
               g_strcmp0 (g_getenv ("TERM"), "dumb") != 0;
    }

  return wanted;
}

/* What is piped or stored is never cut or wrapped. */
static guint
output_width (void)
{
  struct winsize size;

  if (!isatty (STDOUT_FILENO))
    return G_MAXUINT;
  if (ioctl (STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;

  return 80;
}

static void
put_styled (EvbusctlStyle  style,
            const char    *text)
{
  static const char * const sequences[] = {
    [EVBUSCTL_BOLD] = "\033[1m",
    [EVBUSCTL_GOOD] = "\033[32m",
    [EVBUSCTL_WAIT] = "\033[33m",
    [EVBUSCTL_BAD] = "\033[31m",
  };

  if (style == EVBUSCTL_PLAIN || !want_style ())
    fputs (text, stdout);
  else
    fprintf (stdout, "%s%s\033[0m", sequences[style], text);
}

void
evbusctl_print (EvbusctlStyle  style,
                const char    *format,
                ...)
{
  g_autofree char *text = NULL;
  va_list args;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);

  put_styled (style, text);
}

/* Breaks @text between words so that it fits behind @indent columns; the first
 * line starts where the cursor is. */
static void
put_wrapped (guint       indent,
             const char *text)
{
  guint width = output_width ();
  g_auto(GStrv) words = g_strsplit (text, " ", -1);
  guint column = indent;
  guint i;

  if (width == G_MAXUINT || width < indent + 20)
    {
      fputs (text, stdout);
      return;
    }

  for (i = 0; words[i] != NULL; i++)
    {
      guint word = text_width (words[i], strlen (words[i]));

      if (i > 0 && column + 1 + word > width)
        {
          fprintf (stdout, "\n%*s", (int) indent, "");
          column = indent;
        }
      else if (i > 0)
        {
          fputc (' ', stdout);
          column++;
        }

      fputs (words[i], stdout);
      column += word;
    }
}

/* A paragraph for each line of @text. */
void
evbusctl_print_text (guint       indent,
                     const char *text)
{
  g_auto(GStrv) lines = g_strsplit (text, "\n", -1);
  guint i;

  for (i = 0; lines[i] != NULL && (lines[i + 1] != NULL || *lines[i] != '\0'); i++)
    {
      g_autofree char *line = evbusctl_printable (lines[i]);

      fprintf (stdout, "%*s", (int) indent, "");
      put_wrapped (indent, line);
      fputc ('\n', stdout);
    }
}

/* One line. */
gboolean
evbusctl_print_json (GVariant  *value,
                     GError   **error)
{
  g_autoptr(GVariant) owned = g_variant_ref_sink (value);
  g_autoptr(EvbusSerializer) serializer = NULL;
  g_autoptr(GByteArray) buffer = g_byte_array_new ();

  serializer = evbus_serializer_lookup ("json", error);
  if (serializer == NULL || !evbus_serializer_serialize (serializer, owned, buffer, error))
    return FALSE;

  fwrite (buffer->data, 1, buffer->len, stdout);
  fputc ('\n', stdout);

  return TRUE;
}

/* FALSE: to go on is useless; evbusctl_close_stdout() says why. */
gboolean
evbusctl_write (const char *data,
                gsize       size)
{
  if (fwrite (data, 1, size, stdout) == size)
    return TRUE;

  output_failure = errno;
  return FALSE;
}

/* The end of every command: an answer that could not be written is a failure,
 * unless its reader had simply seen enough. */
int
evbusctl_close_stdout (int status)
{
  gboolean failed = ferror (stdout) != 0;
  int code = output_failure != 0 ? output_failure : errno;

  evbusctl_progress_clear ();
  if (fflush (stdout) != 0)
    {
      failed = TRUE;
      code = errno;
    }

  if (!failed || code == EPIPE)
    return status;

  evbusctl_error ("cannot write the output: %s", g_strerror (code));

  return status != EVBUSCTL_OK ? status : EVBUSCTL_FAILED;
}

/* ---- Tables ---- */

typedef struct {
  char *text;
  EvbusctlStyle style;
  gboolean is_note;
} Cell;

struct _EvbusctlTable
{
  const EvbusctlColumn *columns;
  guint n_columns;
  GArray *cells;
};

static void
cell_clear (gpointer data)
{
  g_free (((Cell *) data)->text);
}

/* @columns must live as long as the table. */
EvbusctlTable *
evbusctl_table_new (const EvbusctlColumn *columns,
                    guint                 n_columns)
{
  EvbusctlTable *self = g_new0 (EvbusctlTable, 1);

  self->columns = columns;
  self->n_columns = n_columns;
  self->cells = g_array_new (FALSE, FALSE, sizeof (Cell));
  g_array_set_clear_func (self->cells, cell_clear);

  return self;
}

void
evbusctl_table_free (EvbusctlTable *self)
{
  g_array_unref (self->cells);
  g_free (self);
}

/* Fills the rows from left to right. */
void
evbusctl_table_cell (EvbusctlTable *self,
                     EvbusctlStyle  style,
                     const char    *text)
{
  Cell cell = { evbusctl_printable (text), style, FALSE };

  g_array_append_val (self->cells, cell);
}

/* A line of its own under the row just filled. */
void
evbusctl_table_note (EvbusctlTable *self,
                     const char    *text)
{
  Cell cell = { evbusctl_printable (text), EVBUSCTL_PLAIN, TRUE };

  g_array_append_val (self->cells, cell);
}

static void
measure_columns (EvbusctlTable *self,
                 guint         *widths)
{
  guint column = 0;
  guint i;

  for (i = 0; i < self->n_columns; i++)
    widths[i] = strlen (self->columns[i].title);

  for (i = 0; i < self->cells->len; i++)
    {
      const Cell *cell = &g_array_index (self->cells, Cell, i);

      if (cell->is_note)
        continue;
      widths[column] = MAX (widths[column], text_width (cell->text, strlen (cell->text)));
      column = (column + 1) % self->n_columns;
    }
}

/* @gap: the spaces due before the next text; none are printed at a line's end. */
static void
print_cell (EvbusctlTable *self,
            const guint   *widths,
            guint          column,
            EvbusctlStyle  style,
            const char    *text,
            guint         *gap)
{
  gboolean last = column == self->n_columns - 1;
  guint padding = widths[column] - text_width (text, strlen (text));
  guint indent = 0;
  guint i;

  for (i = 0; i < column; i++)
    indent += widths[i] + 2;

  if (self->columns[column].right)
    *gap += padding;
  if (*text != '\0')
    {
      fprintf (stdout, "%*s", (int) *gap, "");
      *gap = 0;
    }

  if (last && style == EVBUSCTL_PLAIN)
    put_wrapped (indent, text);
  else
    put_styled (style, text);

  if (!self->columns[column].right)
    *gap += padding;
  *gap += 2;

  if (last)
    {
      fputc ('\n', stdout);
      *gap = 0;
    }
}

void
evbusctl_table_print (EvbusctlTable *self)
{
  g_autofree guint *widths = g_new (guint, self->n_columns);
  guint column = 0;
  guint gap = 0;
  guint i;

  measure_columns (self, widths);

  for (i = 0; i < self->n_columns; i++)
    print_cell (self, widths, i, EVBUSCTL_BOLD, self->columns[i].title, &gap);

  for (i = 0; i < self->cells->len; i++)
    {
      const Cell *cell = &g_array_index (self->cells, Cell, i);

      if (cell->is_note)
        {
          fputs ("    ", stdout);
          put_wrapped (4, cell->text);
          fputc ('\n', stdout);
          continue;
        }

      print_cell (self, widths, column, cell->style, cell->text, &gap);
      column = (column + 1) % self->n_columns;
    }
}
