/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

/* The broker as a producer: what is put becomes events, in the caller's thread,
 * and these are handed to the queue. */

#include "evbus-broker-private.h"

#include "evbus-error.h"

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
  event = evbus_broker_make_event (self, routing_key, body, profile, &no_options, error);
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

  return put_event_nowait (self, evbus_broker_make_event_of_bytes (self, routing_key, body, content_type,
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

/* Takes over @events and @result. FALSE: they wait for space. */
static gboolean
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
  put->to_be_routed = options->to_be_routed;
  put->at_once = options->wait == EVBUS_WAIT_ACCEPTED;
  put->to_be_delivered = options->wait == EVBUS_WAIT_DELIVERED;
  put->follower = g_strdup (options->follower);

  if (!g_cancellable_set_error_if_cancelled (cancellable, &error))
    return evbus_queue_put (self->queue, put);

  evbus_put_answer (put, error);
  return TRUE;
}

/* Takes over @event and @error, of which one is NULL. FALSE: it waits for space. */
static gboolean
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
      return TRUE;
    }

  events = g_new (EvbusEvent *, 1);
  events[0] = event;
  return put_events (self, task, events, 1, options, g_strdup (event->id), g_free);
}

void
evbus_broker_put_event_async (EvbusBroker         *self,
                              EvbusEvent          *event,
                              GCancellable        *cancellable,
                              GAsyncReadyCallback  callback,
                              gpointer             user_data)
{
  EvbusPutOptions options = EVBUS_PUT_NO_OPTIONS;
  g_autoptr(GTask) task = new_task (self, cancellable, callback, user_data, evbus_broker_put_event_async);

  options.to_be_routed = TRUE;
  put_event (self, task, event, &options, NULL);
}

static gboolean
read_options (EvbusBroker      *self,
              EvbusPutOptions  *options,
              GVariant         *dict,
              GPtrArray        *values,
              GError          **error)
{
  if (dict == NULL)
    return TRUE;
  if (!evbus_put_options_read (options, dict, values, error))
    return FALSE;
  if (options->wait != EVBUS_WAIT_DURABLE || evbus_queue_is_durable (self->queue))
    return TRUE;

  g_set_error_literal (error, EVBUS_ERROR, EVBUS_ERROR_INVALID_ARGUMENT,
                       "option 'wait': 'durable' is not possible without a spool; use 'accepted'");
  return FALSE;
}

/**
 * evbus_broker_begin_put:
 * @self: a broker
 * @routing_key: what destinations call topic, subject or routing key
 * @body: as for [method@Producer.put_with_options_async]; a floating reference is sunk
 * @profile: (nullable): the profile name that routes are matched by
 * @options: (nullable): a dictionary `a{sv}`; a floating reference is sunk
 * @cancellable: (nullable): to stop waiting for space
 * @callback: (scope async): called when the event is accepted or refused
 * @user_data: for @callback
 *
 * Puts an event as [method@Producer.put_with_options_async] does, and says whether it waits
 * for space: for a program that puts on behalf of others and keeps the order of each of
 * them, also where two events have no route in common. What comes next from the same one is put after
 * @callback was called.
 *
 * Finish it with [method@Producer.put_with_options_finish].
 *
 * Returns: %FALSE if it waits for space now; %TRUE if it was accepted or refused, which
 *   @callback tells later in any case
 *
 * Since: 1.0
 */
gboolean
evbus_broker_begin_put (EvbusBroker         *self,
                        const char          *routing_key,
                        GVariant            *body,
                        const char          *profile,
                        GVariant            *options,
                        GCancellable        *cancellable,
                        GAsyncReadyCallback  callback,
                        gpointer             user_data)
{
  g_autoptr(GTask) task = NULL;
  g_autoptr(GPtrArray) values = NULL;
  EvbusPutOptions read = EVBUS_PUT_NO_OPTIONS;
  EvbusEvent *event = NULL;
  GError *error = NULL;
  gboolean at_once;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), TRUE);
  g_return_val_if_fail (routing_key != NULL, TRUE);
  g_return_val_if_fail (body != NULL, TRUE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), TRUE);

  task = new_task (self, cancellable, callback, user_data, evbus_broker_begin_put);
  values = g_ptr_array_new_with_free_func ((GDestroyNotify) g_variant_unref);
  g_variant_ref_sink (body);
  if (options != NULL)
    g_variant_ref_sink (options);
  if (read_options (self, &read, options, values, &error))
    event = evbus_broker_make_event (self, routing_key, body, profile, &read, &error);
  at_once = put_event (self, task, event, &read, error);
  g_clear_pointer (&options, g_variant_unref);
  g_variant_unref (body);

  return at_once;
}

static void
put_async (EvbusProducer       *producer,
           const char          *routing_key,
           GVariant            *body,
           const char          *profile,
           GVariant            *options,
           GCancellable        *cancellable,
           GAsyncReadyCallback  callback,
           gpointer             user_data)
{
  evbus_broker_begin_put (EVBUS_BROKER (producer), routing_key, body, profile, options,
                          cancellable, callback, user_data);
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
  g_autoptr(GTask) task = new_task (self, cancellable, callback, user_data, evbus_broker_begin_put);
  const EvbusPutOptions options = EVBUS_PUT_NO_OPTIONS;
  GError *error = NULL;
  EvbusEvent *event = evbus_broker_make_event_of_bytes (self, routing_key, body, content_type, profile, &error);

  put_event (self, task, event, &options, error);
}

static char *
put_finish (EvbusProducer  *producer,
            GAsyncResult   *result,
            GError        **error)
{
  g_return_val_if_fail (g_task_is_valid (result, producer), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_begin_put), NULL);

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

      event = evbus_broker_make_event (self, g_variant_get_string (routing_key, NULL), body,
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

/**
 * evbus_broker_begin_put_many:
 * @self: a broker
 * @events: an array `a(svs)` of routing keys, bodies and profile names; a floating
 *   reference is sunk
 * @cancellable: (nullable): to stop waiting for space
 * @callback: (scope async): called when the events are accepted or refused
 * @user_data: for @callback
 *
 * Puts events as [method@Producer.put_many_async] does, and says whether they wait for
 * space, as [method@Broker.begin_put].
 *
 * Finish it with [method@Producer.put_many_finish].
 *
 * Returns: %FALSE if they wait for space now; %TRUE if they were accepted or refused
 *
 * Since: 1.0
 */
gboolean
evbus_broker_begin_put_many (EvbusBroker         *self,
                             GVariant            *events,
                             GCancellable        *cancellable,
                             GAsyncReadyCallback  callback,
                             gpointer             user_data)
{
  static const EvbusPutOptions no_options = EVBUS_PUT_NO_OPTIONS;
  g_autoptr(GTask) task = NULL;
  g_autoptr(GVariant) held = NULL;
  GError *error = NULL;
  GPtrArray *made;
  char **ids;
  guint n;

  g_return_val_if_fail (EVBUS_IS_BROKER (self), TRUE);
  g_return_val_if_fail (events != NULL, TRUE);
  g_return_val_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable), TRUE);

  task = new_task (self, cancellable, callback, user_data, evbus_broker_begin_put_many);
  held = g_variant_ref_sink (events);
  made = make_many (self, held, &error);
  if (made == NULL)
    {
      g_task_return_error (task, error);
      return TRUE;
    }

  n = made->len;
  ids = copy_ids (made);
  return put_events (self, task, (EvbusEvent **) g_ptr_array_free (made, FALSE), n, &no_options,
                     ids, (GDestroyNotify) g_strfreev);
}

static void
put_many_async (EvbusProducer       *producer,
                GVariant            *events,
                GCancellable        *cancellable,
                GAsyncReadyCallback  callback,
                gpointer             user_data)
{
  evbus_broker_begin_put_many (EVBUS_BROKER (producer), events, cancellable, callback, user_data);
}

static char **
put_many_finish (EvbusProducer  *producer,
                 GAsyncResult   *result,
                 GError        **error)
{
  g_return_val_if_fail (g_task_is_valid (result, producer), NULL);
  g_return_val_if_fail (g_async_result_is_tagged (result, evbus_broker_begin_put_many), NULL);

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
