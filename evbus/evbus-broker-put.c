/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker as a producer: what is put is checked and serialised here, in
 * the caller's thread, and then handed to the queue. */

#include "evbus-broker-private.h"

#include <string.h>

#include "evbus-cause-private.h"
#include "evbus-error.h"
#include "evbus-json-private.h"
#include "evbus-limits-private.h"
#include "evbus-put-options-private.h"

#define DEFAULT_CONTENT_TYPE "application/octet-stream"

/* A thread's buffer for serialising is kept, unless a body made it large. */
#define KEEP_BUFFER_BYTES (64u * 1024u)

static EvbusEvent *
make_event (EvbusBroker            *self,
            const EvbusPutOptions  *options,
            EvbusEventInit         *init,
            GError                **error)
{
  gsize max_bytes = (gsize) g_atomic_pointer_get (&self->event_bytes);
  EvbusEvent *event;

  init->hops = evbus_cause_next_hops ();
  if (init->hops > EVBUS_MAX_HOPS)
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_HOP_LIMIT,
                   "this event was caused by a chain of %u others, which looks like a loop",
                   init->hops);
      return NULL;
    }

  init->id = options->id;
  init->attributes = options->attributes;
  init->max_age = MIN (options->max_age, G_MAXINT64 / 2000) * 1000;
  event = evbus_event_new (init);
  if (event->weight <= max_bytes)
    return event;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
               "the event has %" G_GSIZE_FORMAT " bytes with its routing key and profile, and may have %" G_GSIZE_FORMAT,
               event->weight, max_bytes);
  evbus_event_unref (event);
  return NULL;
}

static gboolean
is_json (const char *content_type)
{
  static const char json[] = "application/json";

  return g_ascii_strncasecmp (content_type, json, strlen (json)) == 0 &&
         strchr ("; ", content_type[strlen (json)]) != NULL;
}

/* Of a body that is serialised already, which may not be what it says. What is
 * no JSON is for the destination to judge. */
static EvbusEvent *
make_given_event (EvbusBroker            *self,
                  const EvbusPutOptions  *options,
                  EvbusEventInit         *init,
                  GError                **error)
{
  EvbusEvent *event = make_event (self, options, init, error);

  if (event == NULL || !is_json (event->content_type) ||
      evbus_json_check_body (event->data, event->size, error))
    return event;

  evbus_event_unref (event);
  return NULL;
}

static void
free_buffer (gpointer buffer)
{
  g_byte_array_unref (buffer);
}

static GPrivate buffer_key = G_PRIVATE_INIT (free_buffer);

static GByteArray *
get_buffer ( void)
{
  GByteArray *buffer = g_private_get (&buffer_key);

  if (buffer == NULL)
    {
      buffer = g_byte_array_new ();
      g_private_set (&buffer_key, buffer);
    }
  g_byte_array_set_size (buffer, 0);

  return buffer;
}

static EvbusEvent *
event_from_variant (EvbusBroker            *self,
                    const char             *routing_key,
                    GVariant               *body,
                    const char             *profile,
                    const EvbusPutOptions  *options,
                    GError                **error)
{
  EvbusSerializer *serializer = g_atomic_pointer_get (&self->serializer);
  EvbusEventInit init = { 0 };
  GByteArray *buffer;
  EvbusEvent *event = NULL;

  if (!evbus_broker_init_names (&init, routing_key, profile, error))
    return NULL;

  if (options->content_type != NULL)
    {
      g_autoptr(GBytes) bytes = NULL;

      if (!g_variant_is_of_type (body, G_VARIANT_TYPE_BYTESTRING))
        {
          g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_BODY,
                       "with option 'content-type' the body must be bytes (ay), not %s",
                       g_variant_get_type_string (body));
          return NULL;
        }
      bytes = g_variant_get_data_as_bytes (body);
      init.content_type = options->content_type;
      init.bytes = bytes;
      return make_given_event (self, options, &init, error);
    }

  buffer = get_buffer ();
  if (evbus_serializer_serialize (serializer, body, buffer, error))
    {
      init.content_type = evbus_serializer_get_content_type (serializer);
      init.data = buffer->data;
      init.size = buffer->len;
      event = make_event (self, options, &init, error);
    }
  if (buffer->len > KEEP_BUFFER_BYTES)
    g_private_replace (&buffer_key, NULL);

  return event;
}

static EvbusEvent *
event_from_bytes (EvbusBroker  *self,
                  const char   *routing_key,
                  GBytes       *body,
                  const char   *content_type,
                  const char   *profile,
                  GError      **error)
{
  static const EvbusPutOptions no_options = EVBUS_PUT_NO_OPTIONS;
  EvbusEventInit init = { 0 };

  if (content_type == NULL)
    content_type = DEFAULT_CONTENT_TYPE;
  if (!evbus_broker_init_names (&init, routing_key, profile, error) ||
      !evbus_put_check_content_type (content_type, error))
    return NULL;

  init.content_type = content_type;
  init.bytes = body;
  return make_given_event (self, &no_options, &init, error);
}

/* Takes over @event, which may be NULL with @error set. */
static char *
put_event_nowait (EvbusBroker  *self,
                  EvbusEvent   *event,
                  GError      **error)
{
  EvbusPut put = { 0 };
  char *id;

  if (event == NULL)
    return NULL;

  /* Accepted, it may be gone before this function returns. */
  id = g_strdup (event->id);
  put.events = &event;
  put.n_events = 1;
  put.weight = event->weight;
  if (!evbus_queue_try_put (self->queue, &put, error))
    g_clear_pointer (&id, g_free);
  if (event != NULL)
    evbus_event_unref (event);

  return id;
}

static char *
put_nowait (EvbusProducer  *producer,
            const char     *routing_key,
            GVariant       *body,
            const char     *profile,
            GError        **error)
{
  static const EvbusPutOptions no_options = EVBUS_PUT_NO_OPTIONS;
  EvbusBroker *self = EVBUS_BROKER (producer);
  EvbusEvent *event;

  g_variant_ref_sink (body);
  event = event_from_variant (self, routing_key, body, profile, &no_options, error);
  g_variant_unref (body);

  return put_event_nowait (self, event, error);
}

static char *
put_bytes_nowait (EvbusProducer  *producer,
                  const char     *routing_key,
                  GBytes         *body,
                  const char     *content_type,
                  const char     *profile,
                  GError        **error)
{
  EvbusBroker *self = EVBUS_BROKER (producer);

  return put_event_nowait (self, event_from_bytes (self, routing_key, body, content_type,
                                                   profile, error), error);
}

static GTask *
new_task (EvbusBroker         *self,
          GCancellable        *cancellable,
          GAsyncReadyCallback  callback,
          gpointer             user_data,
          gpointer             tag)
{
  GTask *task = g_task_new (self, cancellable, callback, user_data);

  /* Cancelled after it was accepted, it is still accepted. */
  g_task_set_check_cancellable (task, FALSE);
  g_task_set_source_tag (task, tag);
  return task;
}

/* Takes over @events and @result. */
static void
put_events (EvbusBroker            *self,
            GTask                  *task,
            EvbusEvent            **events,
            guint                   n_events,
            const EvbusPutOptions  *options,
            gpointer                result,
            GDestroyNotify          free_result)
{
  g_autoptr(EvbusPut) put = evbus_put_new (task, events, n_events, result, free_result);
  GCancellable *cancellable = g_task_get_cancellable (task);
  GError *error = NULL;

  put->has_id = options->id != NULL;
  put->timeout = options->timeout;
  put->at_once = options->wait == EVBUS_WAIT_ACCEPTED;
  put->to_be_delivered = options->wait == EVBUS_WAIT_DELIVERED;
  put->follower = g_strdup (options->follower);

  if (g_cancellable_set_error_if_cancelled (cancellable, &error))
    evbus_put_answer (put, error);
  else
    evbus_queue_put (self->queue, put);
}

/* Takes over @event and @error, of which one is NULL. */
static void
put_event (EvbusBroker           *self,
           GTask                 *task,
           EvbusEvent            *event,
           const EvbusPutOptions *options,
           GError                *error)
{
  EvbusEvent **events;

  if (event == NULL)
    {
      g_task_return_error (task, error);
      return;
    }

  events = g_new (EvbusEvent *, 1);
  events[0] = event;
  put_events (self, task, events, 1, options, g_strdup (event->id), g_free);
}

void
evbus_broker_put_event_async (EvbusBroker         *self,
                              EvbusEvent          *event,
                              GCancellable        *cancellable,
                              GAsyncReadyCallback  callback,
                              gpointer             user_data)
{
  static const EvbusPutOptions no_options = EVBUS_PUT_NO_OPTIONS;
  g_autoptr(GTask) task = new_task (self, cancellable, callback, user_data, evbus_broker_put_event_async);

  put_event (self, task, event, &no_options, NULL);
}

static gboolean
read_options (EvbusBroker      *self,
              EvbusPutOptions  *options,
              GVariant         *dict,
              GPtrArray        *values,
              GError          **error)
{
  g_autofree char *directory = NULL;

  if (dict == NULL)
    return TRUE;
  if (!evbus_put_options_read (options, dict, values, error))
    return FALSE;
  if (options->wait != EVBUS_WAIT_DURABLE)
    return TRUE;

  directory = evbus_broker_dup_spool_directory (self);
  if (directory == NULL)
    g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                         "option 'wait': 'durable' is not possible without a spool; use 'accepted'");
  return directory != NULL;
}

static void
put_async (EvbusProducer       *producer,
           const char          *routing_key,
           GVariant            *body,
           const char          *profile,
           GVariant            *dict,
           GCancellable        *cancellable,
           GAsyncReadyCallback  callback,
           gpointer             user_data)
{
  EvbusBroker *self = EVBUS_BROKER (producer);
  g_autoptr(GTask) task = new_task (self, cancellable, callback, user_data, put_async);
  g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func ((GDestroyNotify) g_variant_unref);
  EvbusPutOptions options = EVBUS_PUT_NO_OPTIONS;
  EvbusEvent *event = NULL;
  GError *error = NULL;

  g_variant_ref_sink (body);
  if (dict != NULL)
    g_variant_ref_sink (dict);
  if (read_options (self, &options, dict, values, &error))
    event = event_from_variant (self, routing_key, body, profile, &options, &error);
  put_event (self, task, event, &options, error);
  g_clear_pointer (&dict, g_variant_unref);
  g_variant_unref (body);
}

static void
put_bytes_async (EvbusProducer       *producer,
                 const char          *routing_key,
                 GBytes              *body,
                 const char          *content_type,
                 const char          *profile,
                 GCancellable        *cancellable,
                 GAsyncReadyCallback  callback,
                 gpointer             user_data)
{
  EvbusBroker *self = EVBUS_BROKER (producer);
  g_autoptr(GTask) task = new_task (self, cancellable, callback, user_data, put_async);
  const EvbusPutOptions options = EVBUS_PUT_NO_OPTIONS;
  GError *error = NULL;
  EvbusEvent *event = event_from_bytes (self, routing_key, body, content_type, profile, &error);

  put_event (self, task, event, &options, error);
}

static char *
put_finish (EvbusProducer  *producer,
            GAsyncResult   *result,
            GError        **error)
{
  g_return_val_if_fail (g_task_is_valid (result, producer), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, put_async), NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

/* The queue leaves NULL where it has taken the event. */
static void
clear_event (gpointer event)
{
  if (event != NULL)
    evbus_event_unref (event);
}

/* Returns all of the events, or NULL with what is wrong with the first bad one. */
static GPtrArray *
events_from_variant (EvbusBroker  *self,
                     GVariant     *list,
                     GError      **error)
{
  static const EvbusPutOptions no_options = EVBUS_PUT_NO_OPTIONS;
  g_autoptr(GPtrArray) events = g_ptr_array_new_with_free_func (clear_event);
  gsize n = g_variant_n_children (list);

  for (gsize i = 0; i < n; i++)
    {
      /* Not g_variant_get(), whose borrowed strings would first serialise the
       * list of a D-Bus message as a whole. */
      g_autoptr(GVariant) item = g_variant_get_child_value (list, i);
      g_autoptr(GVariant) routing_key = g_variant_get_child_value (item, 0);
      g_autoptr(GVariant) boxed = g_variant_get_child_value (item, 1);
      g_autoptr(GVariant) body = g_variant_get_variant (boxed);
      g_autoptr(GVariant) profile = g_variant_get_child_value (item, 2);
      EvbusEvent *event;

      event = event_from_variant (self, g_variant_get_string (routing_key, NULL), body,
                                  g_variant_get_string (profile, NULL), &no_options, error);
      if (event == NULL)
        {
          g_prefix_error (error, "event %" G_GSIZE_FORMAT ": ", i);
          return NULL;
        }
      g_ptr_array_add (events, event);
    }

  return g_steal_pointer (&events);
}

/* Before the events are made: what could never come in is not worth its
 * memory. The queue decides on the exact weight. */
static gboolean
check_count (EvbusBroker  *self,
             gsize         n_events,
             GError      **error)
{
  guint max_events = evbus_queue_get_max_events (self->queue);

  if (n_events <= max_events)
    return TRUE;

  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TOO_LARGE,
               "%" G_GSIZE_FORMAT " events together are more than the queue can hold (%u)",
               n_events, max_events);
  return FALSE;
}

/* Returns the events of @list, or NULL with what is wrong with it. */
static GPtrArray *
make_many (EvbusBroker  *self,
           GVariant     *list,
           GError      **error)
{
  if (!g_variant_is_of_type (list, G_VARIANT_TYPE ("a(svs)")))
    {
      g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                   "the events must be a(svs), not %s", g_variant_get_type_string (list));
      return NULL;
    }

  if (!check_count (self, g_variant_n_children (list), error))
    return NULL;

  return events_from_variant (self, list, error);
}

/* Before they are put: accepted, the events may be gone at once. */
static char **
copy_ids (GPtrArray *events)
{
  char **ids = g_new (char *, events->len + 1);

  for (guint i = 0; i < events->len; i++)
    ids[i] = g_strdup (((EvbusEvent *) events->pdata[i])->id);
  ids[events->len] = NULL;

  return ids;
}

static void
put_many_async (EvbusProducer       *producer,
                GVariant            *list,
                GCancellable        *cancellable,
                GAsyncReadyCallback  callback,
                gpointer             user_data)
{
  EvbusBroker *self = EVBUS_BROKER (producer);
  g_autoptr(GTask) task = new_task (self, cancellable, callback, user_data, put_many_async);
  g_autoptr(GVariant) held = g_variant_ref_sink (list);
  const EvbusPutOptions options = EVBUS_PUT_NO_OPTIONS;
  GError *error = NULL;
  GPtrArray *events = make_many (self, held, &error);
  char **ids;
  guint n;

  if (events == NULL)
    {
      g_task_return_error (task, error);
      return;
    }

  n = events->len;
  ids = copy_ids (events);
  put_events (self, task, (EvbusEvent **) g_ptr_array_free (events, FALSE), n, &options,
              ids, (GDestroyNotify) g_strfreev);
}

static char **
put_many_finish (EvbusProducer  *producer,
                 GAsyncResult   *result,
                 GError        **error)
{
  g_return_val_if_fail (g_task_is_valid (result, producer), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, put_many_async), NULL);

  return g_task_propagate_pointer (G_TASK (result), error);
}

static char **
put_many_nowait (EvbusProducer  *producer,
                 GVariant       *list,
                 GError        **error)
{
  EvbusBroker *self = EVBUS_BROKER (producer);
  g_autoptr(GVariant) held = g_variant_ref_sink (list);
  g_autoptr(GPtrArray) events = make_many (self, held, error);
  g_auto(GStrv) ids = NULL;
  EvbusPut put = { 0 };

  if (events == NULL)
    return NULL;

  ids = copy_ids (events);
  put.events = (EvbusEvent **) events->pdata;
  put.n_events = events->len;
  for (guint i = 0; i < events->len; i++)
    put.weight += put.events[i]->weight;

  return evbus_queue_try_put (self->queue, &put, error) ? g_steal_pointer (&ids) : NULL;
}

void
evbus_broker_producer_init (EvbusProducerInterface *iface)
{
  iface->put_with_options_async = put_async;
  iface->put_with_options_finish = put_finish;
  iface->put_nowait = put_nowait;
  iface->put_bytes_async = put_bytes_async;
  iface->put_bytes_finish = put_finish;
  iface->put_bytes_nowait = put_bytes_nowait;
  iface->put_many_async = put_many_async;
  iface->put_many_finish = put_many_finish;
  iface->put_many_nowait = put_many_nowait;
}
