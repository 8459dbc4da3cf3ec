/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Events as commands of the Redis protocol. hiredis' own formatter makes an allocation
 * of each command; here all commands of a batch go into one buffer. */

#include "redis-command.h"

#include <string.h>

#define STRUCTURED_TYPE "application/cloudevents+json; charset=utf-8"

#define LITERAL(buffer, text) g_string_append_len ((buffer), (text), sizeof (text) - 1)

/* printf() would take longer than all the rest. */
static void
append_header (GString *buffer,
               char     type,
               gsize    number)
{
  char digits[24];
  char *end = digits + sizeof digits;
  char *p = end;

  *--p = '\n';
  *--p = '\r';
  do
    *--p = '0' + number % 10;
  while ((number /= 10) != 0);
  *--p = type;
  g_string_append_len (buffer, p, end - p);
}

static void
append_bulk (GString       *buffer,
             gconstpointer  data,
             gsize          size)
{
  append_header (buffer, '$', size);
  g_string_append_len (buffer, data, size);
  LITERAL (buffer, "\r\n");
}

static void
append_text (GString    *buffer,
             const char *text)
{
  append_bulk (buffer, text, strlen (text));
}

/* The fields that each entry of a stream has. */
static const char * const own_fields[] = {
  "id", "time", "routing_key", "profile", "content_type", "body", NULL
};

#define N_OWN_FIELDS (G_N_ELEMENTS (own_fields) - 1)

static guint
count_attributes (GVariant *attributes)
{
  GVariantIter iter;
  const char *name;
  guint n = 0;

  if (attributes == NULL)
    return 0;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, NULL))
    n += !g_strv_contains (own_fields, name);
  return n;
}

static void
append_attributes (GString  *buffer,
                   GVariant *attributes)
{
  GVariantIter iter;
  const char *name;
  const char *value;

  if (attributes == NULL)
    return;
  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    {
      if (g_strv_contains (own_fields, name))
        continue;
      append_text (buffer, name);
      append_text (buffer, value);
    }
}

static void
append_maxlen (GString      *buffer,
               RedisOptions *options)
{
  char digits[24];

  LITERAL (buffer, "$6\r\nMAXLEN\r\n");
  if (options->approximate)
    LITERAL (buffer, "$1\r\n~\r\n");
  append_text (buffer, (g_snprintf (digits, sizeof digits, "%" G_GINT64_FORMAT, options->maxlen), digits));
}

static void
append_xadd (RedisWriter   *self,
             RedisOptions  *options,
             EvbusEvent    *event,
             gconstpointer  body,
             gsize          body_size)
{
  GVariant *attributes = evbus_event_get_attributes (event);
  GString *out = self->out;
  gsize n_items = 3 + 2 * (N_OWN_FIELDS + count_attributes (attributes));

  if (options->maxlen > 0)
    n_items += options->approximate ? 3 : 2;

  append_header (out, '*', n_items);
  LITERAL (out, "$4\r\nXADD\r\n");
  append_bulk (out, self->stream->str, self->stream->len);
  if (options->maxlen > 0)
    append_maxlen (out, options);
  LITERAL (out, "$1\r\n*\r\n$2\r\nid\r\n");
  append_text (out, evbus_event_get_id (event));
  LITERAL (out, "$4\r\ntime\r\n");
  g_string_truncate (self->time, 0);
  evbus_event_append_time (event, self->time);
  append_bulk (out, self->time->str, self->time->len);
  LITERAL (out, "$11\r\nrouting_key\r\n");
  append_text (out, evbus_event_get_routing_key (event));
  LITERAL (out, "$7\r\nprofile\r\n");
  append_text (out, evbus_event_get_profile (event));
  LITERAL (out, "$12\r\ncontent_type\r\n");
  append_text (out, options->structured ? STRUCTURED_TYPE : evbus_event_get_content_type (event));
  LITERAL (out, "$4\r\nbody\r\n");
  append_bulk (out, body, body_size);
  append_attributes (out, attributes);
}

/* The password is in one of them once, of which no copy is to be left behind by growing. */
#define BUFFER_SIZE (16 * 1024)

/* A buffer that one large event made larger than this is not kept. */
#define MAX_BUFFER (1024 * 1024)

void
redis_writer_init (RedisWriter *self)
{
  self->out = g_string_sized_new (BUFFER_SIZE);
  self->stream = g_string_new (NULL);
  self->body = g_string_sized_new (BUFFER_SIZE);
  self->time = g_string_new (NULL);
}

void
redis_writer_clear (RedisWriter *self)
{
  g_string_free (self->out, TRUE);
  g_string_free (self->stream, TRUE);
  g_string_free (self->body, TRUE);
  g_string_free (self->time, TRUE);
}

static void
trim_buffer (GString **buffer)
{
  if ((*buffer)->allocated_len <= MAX_BUFFER)
    return;
  g_string_free (*buffer, TRUE);
  *buffer = g_string_sized_new (BUFFER_SIZE);
}

void
redis_writer_trim (RedisWriter *self)
{
  trim_buffer (&self->out);
  trim_buffer (&self->body);
}

void
redis_writer_append_command (RedisWriter         *self,
                             const char * const  *words)
{
  append_header (self->out, '*', g_strv_length ((char **) words));
  for (guint i = 0; words[i] != NULL; i++)
    append_text (self->out, words[i]);
}

/* FALSE: no retry will make a message of it; nothing is appended. */
gboolean
redis_writer_append_event (RedisWriter   *self,
                           RedisOptions  *options,
                           EvbusEvent    *event,
                           GError       **error)
{
  gsize size;
  gconstpointer data = evbus_event_get_data (event, &size);

  if (options->structured)
    {
      g_string_truncate (self->body, 0);
      if (!evbus_cloud_event_append_json (event, options->source, self->body, error))
        return FALSE;
      data = self->body->str;
      size = self->body->len;
    }

  g_string_truncate (self->stream, 0);
  evbus_template_append (options->stream, event, self->stream);
  if (options->command == REDIS_COMMAND_XADD)
    {
      append_xadd (self, options, event, data, size);
      return TRUE;
    }

  if (options->command == REDIS_COMMAND_PUBLISH)
    LITERAL (self->out, "*3\r\n$7\r\nPUBLISH\r\n");
  else
    LITERAL (self->out, "*3\r\n$5\r\nRPUSH\r\n");
  append_bulk (self->out, self->stream->str, self->stream->len);
  append_bulk (self->out, data, size);
  return TRUE;
}
