/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "http-body.h"

#include <string.h>

/* What a large body has needed is not kept for ever. */
#define KEPT (64 * 1024)

#define OUTPUT_CHUNK (16 * 1024)

void
http_writer_init (HttpWriter  *self,
                  HttpOptions *options)
{
  self->plain = g_string_new (NULL);
  if (options->compress)
    self->compressor = G_CONVERTER (g_zlib_compressor_new (G_ZLIB_COMPRESSOR_FORMAT_GZIP, -1));
}

void
http_writer_clear (HttpWriter *self)
{
  if (self->plain != NULL)
    g_string_free (self->plain, TRUE);
  self->plain = NULL;
  g_clear_object (&self->compressor);
}

static void
begin (HttpWriter *self)
{
  if (self->plain->allocated_len > KEPT)
    {
      g_string_free (self->plain, TRUE);
      self->plain = g_string_new (NULL);
    }
  g_string_truncate (self->plain, 0);
}

static gboolean
compress (HttpWriter  *self,
          const char  *data,
          gsize        size,
          GString     *output,
          GError     **error)
{
  GConverterResult result = G_CONVERTER_CONVERTED;

  g_converter_reset (self->compressor);
  g_string_truncate (output, 0);
  while (result != G_CONVERTER_FINISHED)
    {
      gsize start = output->len;
      gsize taken = 0;
      gsize made = 0;

      g_string_set_size (output, start + OUTPUT_CHUNK);
      result = g_converter_convert (self->compressor, data, size, output->str + start, OUTPUT_CHUNK,
                                    G_CONVERTER_INPUT_AT_END, &taken, &made, error);
      if (result == G_CONVERTER_ERROR)
        return FALSE;
      g_string_truncate (output, start + made);
      data += taken;
      size -= taken;
    }
  return TRUE;
}

/* @body is the event's own, where it needs no change, or in @scratch, or in @self until
 * the next call. */
gboolean
http_writer_event (HttpWriter   *self,
                   HttpOptions  *options,
                   EvbusEvent   *event,
                   GString      *scratch,
                   const char  **body,
                   gsize        *size,
                   GError      **error)
{
  *body = (const char *) evbus_event_get_data (event, size);
  if (options->mode == HTTP_MODE_STRUCTURED)
    {
      GString *json = options->compress ? self->plain : scratch;

      begin (self);
      g_string_truncate (json, 0);
      if (!evbus_cloud_event_append_json (event, options->source, json, error))
        return FALSE;
      *body = json->str;
      *size = json->len;
    }
  if (!options->compress)
    return TRUE;

  if (!compress (self, *body, *size, scratch, error))
    return FALSE;
  *body = scratch->str;
  *size = scratch->len;
  return TRUE;
}

/* ---- batches ---- */

/* JSON without line breaks, also where the event's own has them. */
static gboolean
append_element (HttpOptions  *options,
                EvbusEvent   *event,
                GString      *string,
                GError      **error)
{
  gsize size;
  const guint8 *data = evbus_event_get_data (event, &size);

  if (options->batch == HTTP_BATCH_CLOUDEVENTS || options->mode == HTTP_MODE_STRUCTURED)
    return evbus_cloud_event_append_json (event, options->source, string, error);
  if (evbus_event_is_json (event))
    return evbus_json_append_compact (string, data, size, error);

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY, "its body is %s, and a batch holds JSON; "
               "'batch: cloudevents' takes any", evbus_event_get_content_type (event));
  return FALSE;
}

/* A body of @n events of the batch. Marks those which cannot be in it, and adds the indexes of
 * those that are to @indexes. @key is the same for the same events. */
gboolean
http_writer_batch (HttpWriter   *self,
                   HttpOptions  *options,
                   EvbusBatch   *batch,
                   guint         first,
                   guint         n,
                   GArray       *indexes,
                   GString      *body,
                   char        **key,
                   GError      **error)
{
  g_autoptr(GChecksum) checksum = g_checksum_new (G_CHECKSUM_SHA256);
  gboolean lines = options->batch == HTTP_BATCH_JSON_LINES;
  GString *string = options->compress ? self->plain : body;

  begin (self);
  g_string_assign (string, lines ? "" : "[");
  for (guint i = first; i < first + n; i++)
    {
      EvbusEvent *event = evbus_batch_get_event (batch, i);
      const char *id = evbus_event_get_id (event);
      g_autoptr(GError) mistake = NULL;
      gsize end = string->len;

      if (indexes->len > 0 && !lines)
        g_string_append_c (string, ',');
      if (!append_element (options, event, string, &mistake))
        {
          g_string_truncate (string, end);
          evbus_batch_fail (batch, i, EVBUS_OUTCOME_POISON, mistake->message);
          continue;
        }
      if (lines)
        g_string_append_c (string, '\n');
      /* With the NUL: no two lists of ids look the same. */
      g_checksum_update (checksum, (const guchar *) id, strlen (id) + 1);
      g_array_append_val (indexes, i);
    }
  if (!lines)
    g_string_append_c (string, ']');

  *key = g_strdup (g_checksum_get_string (checksum));
  return !options->compress || compress (self, string->str, string->len, body, error);
}
