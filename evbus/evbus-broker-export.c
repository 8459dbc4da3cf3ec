/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* Dead letters as lines of JSON. All is done on a thread of GTask's: a page of them is read, its
 * lines are written, then the next. So a stream that takes nothing holds that thread and a page,
 * but no lock, and nothing of the spool is open meanwhile. */

#include "evbus-dead-work-private.h"

#include <string.h>

#include "evbus-claim-private.h"
#include "evbus-event-private.h"
#include "evbus-json.h"

/* Lines that are written at once. */
#define CHUNK_BYTES (64 * 1024)

static void
append_member (GString    *lines,
               const char *name,
               const char *text)
{
  g_string_append_printf (lines, ",\"%s\":", name);
  evbus_json_append_string (lines, text, -1);
}

static void
append_time (GString    *lines,
             const char *name,
             gint64      time)
{
  g_string_append_printf (lines, ",\"%s\":\"", name);
  evbus_time_append (time, lines);
  g_string_append_c (lines, '"');
}

static void
append_attributes (GString  *lines,
                   GVariant *attributes)
{
  GVariantIter iter;
  const char *name;
  const char *value;
  const char *before = ",\"attributes\":{";

  if (attributes == NULL || g_variant_n_children (attributes) == 0)
    return;

  g_variant_iter_init (&iter, attributes);
  while (g_variant_iter_next (&iter, "{&s&s}", &name, &value))
    {
      g_string_append (lines, before);
      evbus_json_append_string (lines, name, -1);
      g_string_append_c (lines, ':');
      evbus_json_append_string (lines, value, -1);
      before = ",";
    }
  g_string_append_c (lines, '}');
}

/* What is called JSON and is none, as a body of another type. */
static void
append_body (GString    *lines,
             EvbusEvent *event)
{
  gsize length = lines->len;

  if (evbus_event_is_json (event))
    {
      g_string_append (lines, ",\"body\":");
      if (evbus_json_append_compact (lines, event->data, event->size, NULL))
        return;
      g_string_truncate (lines, length);
    }
  g_string_append (lines, ",\"body_base64\":\"");
  evbus_json_append_base64 (lines, event->data, event->size);
  g_string_append_c (lines, '"');
}

/* As the `file` provider writes it. */
static void
append_event (GString    *lines,
              EvbusEvent *event)
{
  g_string_append (lines, "\"id\":");
  evbus_json_append_string (lines, event->id, -1);
  append_time (lines, "time", event->time);
  append_member (lines, "routing_key", event->routing_key);
  append_member (lines, "profile", event->profile);
  if (strcmp (event->content_type, "application/json") != 0)
    append_member (lines, "content_type", event->content_type);
  append_attributes (lines, event->attributes);
  append_body (lines, event);
  g_string_append_c (lines, ',');
}

/* The event, and what became of it; of one that is damaged what is known. */
static void
append_letter (GString              *lines,
               const EvbusSpoolDead *dead)
{
  g_autofree char *route = evbus_claim_describe (dead->route);

  g_string_append_c (lines, '{');
  if (dead->event != NULL)
    append_event (lines, dead->event);
  g_string_append_printf (lines, "\"number\":%" G_GINT64_FORMAT, dead->number);
  append_member (lines, "route", route);
  append_member (lines, "reason", dead->reason);
  if (dead->event != NULL)
    append_time (lines, "died", dead->died);
  g_string_append (lines, "}\n");
}

/* Counts those that are written to their end. */
static gboolean
write_lines (EvbusDeadWork  *work,
             GString        *lines,
             GCancellable   *cancellable,
             GError        **error)
{
  gsize n_written = 0;
  gboolean done = g_output_stream_write_all (work->stream, lines->str, lines->len, &n_written, cancellable, error);
  const char *end = lines->str + n_written;

  for (const char *at = lines->str; (at = memchr (at, '\n', end - at)) != NULL; at++)
    work->n_done++;
  g_string_truncate (lines, 0);
  return done;
}

static gboolean
write_page (EvbusDeadWork  *work,
            GPtrArray      *letters,
            GString        *lines,
            GCancellable   *cancellable,
            GError        **error)
{
  for (guint i = 0; i < letters->len; i++)
    {
      append_letter (lines, letters->pdata[i]);
      if (lines->len >= CHUNK_BYTES && !write_lines (work, lines, cancellable, error))
        return FALSE;
    }
  return write_lines (work, lines, cancellable, error);
}

/* @more: (out): whether it goes on. */
static gboolean
export_some (GTask         *task,
             GString       *lines,
             gboolean      *more,
             GCancellable  *cancellable,
             GError       **error)
{
  EvbusDeadWork *work = g_task_get_task_data (task);
  g_autoptr(GPtrArray) letters = NULL;

  if (g_cancellable_set_error_if_cancelled (cancellable, error))
    return FALSE;

  letters = evbus_dead_work_read (work, error);
  if (letters == NULL || !write_page (work, letters, lines, cancellable, error))
    return FALSE;

  *more = letters->len > 0 || !evbus_dead_work_has_read (work);
  if (*more)
    evbus_dead_work_report (task);
  return TRUE;
}

static void
run_export (GTask        *task,
            gpointer      source,
            gpointer      data,
            GCancellable *cancellable)
{
  EvbusDeadWork *work = data;
  g_autoptr(GString) lines = g_string_new (NULL);
  GError *error = NULL;
  gboolean more = TRUE;

  while (more && error == NULL)
    export_some (task, lines, &more, cancellable, &error);
  if (error != NULL || !g_output_stream_flush (work->stream, cancellable, &error))
    g_task_return_error (task, error);
  else
    evbus_dead_work_return (task);
}

/**
 * evbus_broker_export_dead_async:
 * @self: a broker
 * @route: (nullable): only dead letters of this route, as in
 *   [method@Broker.list_dead_async]; or %NULL for those of all
 * @numbers: (nullable) (array length=n_numbers): their numbers; %NULL: all that there
 *   are now
 * @n_numbers: how many
 * @stream: where to; nobody else may use it until this is done
 * @progress: (nullable) (scope notified) (closure progress_data) (destroy progress_free):
 *   called now and then with how many are done, of how many
 * @progress_data: for @progress
 * @progress_free: (nullable): frees @progress_data
 * @cancellable: (nullable): ends the work, also while it waits for @stream, if that can be
 *   cancelled
 * @callback: (scope async): called when it is done
 * @user_data: for @callback
 *
 * Writes dead letters as lines of JSON: all of a route, or of all routes, by their
 * age, or those with the numbers given, in that order. They stay as they are. Each line is one object: of the event
 * `id`, `time`, `routing_key`, `profile`, `content_type` (unless it is `application/json`),
 * `attributes` (if there are any), `body`, or `body_base64` where that is no JSON; of the
 * letter `number`, `route`, `reason` and `died`. Of one whose record is damaged there are `number`, `route` and
 * `reason` alone. One that is gone when its turn comes is left out.
 *
 * The letters are read and written bit by bit in a thread, so that @stream may block.
 * It is flushed in the end, and not closed. Where a writing failed or was cancelled
 * it may end within a line.
 *
 * Since: 1.0
 */
void
evbus_broker_export_dead_async (EvbusBroker           *self,
                                const char            *route,
                                const gint64          *numbers,
                                gsize                  n_numbers,
                                GOutputStream         *stream,
                                GFileProgressCallback  progress,
                                gpointer               progress_data,
                                GDestroyNotify         progress_free,
                                GCancellable          *cancellable,
                                GAsyncReadyCallback    callback,
                                gpointer               user_data)
{
  g_autoptr(GTask) task = NULL;
  EvbusDeadWork *work;

  g_return_if_fail (EVBUS_IS_BROKER (self));
  g_return_if_fail (n_numbers == 0 || numbers != NULL);
  g_return_if_fail (G_IS_OUTPUT_STREAM (stream));
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  task = evbus_dead_task_new (self, cancellable, callback, user_data, evbus_broker_export_dead_async);
  if (!evbus_dead_task_begin (task, EVBUS_DEAD_EXPORT, route, numbers, n_numbers,
                              progress, progress_data, progress_free))
    return;
  work = g_task_get_task_data (task);
  work->stream = g_object_ref (stream);
  g_task_run_in_thread (task, run_export);
}

/**
 * evbus_broker_export_dead_finish:
 * @self: a broker
 * @result: what the callback was given
 * @n_exported: (out) (optional): how many whole lines were written, also where there is
 *   an error
 * @error: return location for a #GError
 *
 * Finishes [method@Broker.export_dead_async].
 *
 * Errors: %EVBUS_ERROR_NOT_FOUND if the broker has no spool, or was not started yet, or
 * there is no such route; also, once the others are written, if there is no such number;
 * %EVBUS_ERROR_INVALID_ARGUMENT if several routes are called so; %EVBUS_ERROR_SPOOL_FAILED,
 * %G_IO_ERROR_CANCELLED, and those of the stream.
 *
 * Returns: %TRUE if all were
 *
 * Since: 1.0
 */
gboolean
evbus_broker_export_dead_finish (EvbusBroker   *self,
                                 GAsyncResult  *result,
                                 guint64       *n_exported,
                                 GError       **error)
{
  g_return_val_if_fail (EVBUS_IS_BROKER (self), FALSE);
  g_return_val_if_fail (g_task_is_valid (result, self), FALSE);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_export_dead_async), FALSE);

  return evbus_dead_task_finish (result, n_exported, error);
}
