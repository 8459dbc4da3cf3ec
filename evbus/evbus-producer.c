/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "evbus-producer.h"

/**
 * EvbusProducer:
 *
 * Something that takes events: a [class@Broker] in this process.
 *
 * All functions can be called from any thread, also from a plugin and from a
 * callback. Those with a callback complete in the thread-default main context
 * of the caller. An event is checked and serialised before a function returns,
 * so that the body may be changed afterwards.
 *
 * A routing key is 1 to 255 bytes of UTF-8. A profile name is at most 255;
 * %NULL and "" mean "default".
 *
 * Since: 1.0
 */

/**
 * EvbusProducerInterface:
 * @put_with_options_async: behind [method@Producer.put_async] and
 *   [method@Producer.put_with_options_async]
 * @put_with_options_finish: behind the functions that finish those
 * @put_nowait: behind [method@Producer.put_nowait]
 * @put_bytes_async: behind [method@Producer.put_bytes_async]
 * @put_bytes_finish: behind [method@Producer.put_bytes_finish]
 * @put_bytes_nowait: behind [method@Producer.put_bytes_nowait]
 * @put_many_async: behind [method@Producer.put_many_async]
 * @put_many_finish: behind [method@Producer.put_many_finish]
 * @put_many_nowait: behind [method@Producer.put_many_nowait]
 *
 * The functions of [iface@Producer].
 *
 * Since: 1.0
 */

G_DEFINE_INTERFACE (EvbusProducer, evbus_producer, G_TYPE_OBJECT)

static void
evbus_producer_default_init (EvbusProducerInterface *iface)
{
}

/**
 * evbus_producer_put_async:
 * @self: a producer
 * @routing_key: what destinations call topic, subject or routing key
 * @body: any value without handles; a floating reference is sunk
 * @profile: (nullable): the profile name that routes are matched by
 * @cancellable: (nullable): to stop waiting for space
 * @callback: (scope async): called when the event is accepted or refused
 * @user_data: for @callback
 *
 * Puts an event, waiting for space if there is none.
 *
 * Puts that wait are accepted in the order of their calls. A put that was
 * cancelled is not accepted, and one that was accepted is not cancelled: the
 * answer tells which it was.
 *
 * Since: 1.0
 */
void
evbus_producer_put_async (EvbusProducer       *self,
                          const char          *routing_key,
                          GVariant            *body,
                          const char          *profile,
                          GCancellable        *cancellable,
                          GAsyncReadyCallback  callback,
                          gpointer             user_data)
{
  evbus_producer_put_with_options_async (self, routing_key, body, profile, NULL,
                                         cancellable, callback, user_data);
}

/**
 * evbus_producer_put_finish:
 * @self: a producer
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Producer.put_async].
 *
 * Errors: %EVBUS_ERROR_INVALID_ARGUMENT, %EVBUS_ERROR_INVALID_BODY,
 * %EVBUS_ERROR_TOO_LARGE, %EVBUS_ERROR_QUEUE_FULL (a route refuses what it has
 * no room for, or too many puts wait already), %EVBUS_ERROR_CLOSED,
 * %EVBUS_ERROR_UNROUTED, %EVBUS_ERROR_HOP_LIMIT, %EVBUS_ERROR_MATCH,
 * %G_IO_ERROR_CANCELLED. After any of them the event is not accepted.
 *
 * Returns: (transfer full): the event's id, or %NULL with @error set
 *
 * Since: 1.0
 */
char *
evbus_producer_put_finish (EvbusProducer  *self,
                           GAsyncResult   *result,
                           GError        **error)
{
  g_return_val_if_fail (EVBUS_IS_PRODUCER (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return EVBUS_PRODUCER_GET_IFACE (self)->put_with_options_finish (self, result, error);
}

/**
 * evbus_producer_put_nowait:
 * @self: a producer
 * @routing_key: what destinations call topic, subject or routing key
 * @body: any value without handles; a floating reference is sunk
 * @profile: (nullable): the profile name that routes are matched by
 * @error: return location for a #GError
 *
 * Puts an event if there is space now. Never waits.
 *
 * The errors are those of [method@Producer.put_finish], but for cancellation.
 *
 * Returns: (transfer full): the event's id, or %NULL with @error set
 *
 * Since: 1.0
 */
char *
evbus_producer_put_nowait (EvbusProducer  *self,
                           const char     *routing_key,
                           GVariant       *body,
                           const char     *profile,
                           GError        **error)
{
  g_return_val_if_fail (EVBUS_IS_PRODUCER (self), NULL);
  g_return_val_if_fail (routing_key != NULL, NULL);
  g_return_val_if_fail (body != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return EVBUS_PRODUCER_GET_IFACE (self)->put_nowait (self, routing_key, body, profile, error);
}

/**
 * evbus_producer_put_with_options_async:
 * @self: a producer
 * @routing_key: what destinations call topic, subject or routing key
 * @body: any value without handles, or bytes (`ay`) with the option
 *   `content-type`; a floating reference is sunk
 * @profile: (nullable): the profile name that routes are matched by
 * @options: (nullable): a dictionary `a{sv}`; a floating reference is sunk
 * @cancellable: (nullable): to stop waiting for space
 * @callback: (scope async): called when the event is accepted or refused
 * @user_data: for @callback
 *
 * Puts an event like [method@Producer.put_async], with options:
 *
 * - `id` (`s`): the event's id, 1 to 128 printable ASCII characters without
 *   spaces. An id
 *   that was put before, among the last 65,536 given, gets the same answer and
 *   makes no second event.
 * - `content-type` (`s`): the body is serialised already; JSON is checked as
 *   by [method@Producer.put_bytes_async].
 * - `attributes` (`a{ss}`): at most 64 of at most 16 KiB together, each name once
 *   and without control characters.
 * - `max-age` (`t`): milliseconds after which the event is not delivered any
 *   more.
 * - `wait` (`s`): when to answer: "accepted"; or "durable", once it is in the
 *   spool, which is the default where there is one, and an error without; or
 *   "delivered", once all the routes that it matched have delivered it, at once if
 *   there are none.
 * - `timeout` (`u`): milliseconds to wait for space, and for the delivery; 0 not to
 *   wait.
 * - `follow` (`s`): 1 to 255 bytes that the signal [signal@Broker::event-settled] gives
 *   back with what becomes of the event at each of its routes.
 *
 * Of a put that waits for its delivery %EVBUS_ERROR_UNDELIVERED says that a route gave
 * the event up (it is dead, expired or was dropped), as soon as one does;
 * %EVBUS_ERROR_TIMED_OUT and %G_IO_ERROR_CANCELLED that the waiting is over, and
 * %EVBUS_ERROR_CLOSED, with a spool, that the broker is: the event stays accepted, which
 * the message says with its id. Before it was accepted these errors are those of a
 * put that waits for space. Who puts the same id again joins what is still under
 * way. Of an event that was settled before anybody waited for it, only what stands among
 * the newest 256 dead letters is known: else it counts as delivered, if nothing in the spool
 * was ever lost. A dead letter that was replayed to its own route is waited for.
 *
 * At most 65,536 copies of events (an event counts once a route) and puts that wait for them
 * are followed at a time: more are %EVBUS_ERROR_QUEUE_FULL.
 *
 * An option that is unknown or of another type is
 * %EVBUS_ERROR_INVALID_ARGUMENT.
 *
 * Since: 1.0
 */
void
evbus_producer_put_with_options_async (EvbusProducer       *self,
                                       const char          *routing_key,
                                       GVariant            *body,
                                       const char          *profile,
                                       GVariant            *options,
                                       GCancellable        *cancellable,
                                       GAsyncReadyCallback  callback,
                                       gpointer             user_data)
{
  g_return_if_fail (EVBUS_IS_PRODUCER (self));
  g_return_if_fail (routing_key != NULL);
  g_return_if_fail (body != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  EVBUS_PRODUCER_GET_IFACE (self)->put_with_options_async (self, routing_key, body, profile,
                                                           options, cancellable, callback, user_data);
}

/**
 * evbus_producer_put_with_options_finish:
 * @self: a producer
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Producer.put_with_options_async], with the errors of
 * [method@Producer.put_finish].
 *
 * Returns: (transfer full): the event's id, or %NULL with @error set
 *
 * Since: 1.0
 */
char *
evbus_producer_put_with_options_finish (EvbusProducer  *self,
                                        GAsyncResult   *result,
                                        GError        **error)
{
  return evbus_producer_put_finish (self, result, error);
}

/**
 * evbus_producer_put_bytes_async:
 * @self: a producer
 * @routing_key: what destinations call topic, subject or routing key
 * @body: the serialised body
 * @content_type: (nullable): its media type; %NULL means
 *   "application/octet-stream"
 * @profile: (nullable): the profile name that routes are matched by
 * @cancellable: (nullable): to stop waiting for space
 * @callback: (scope async): called when the event is accepted or refused
 * @user_data: for @callback
 *
 * Puts an event whose body is serialised already, like
 * [method@Producer.put_async]. The bytes are taken as they are, but for those
 * of the type `application/json`, with or without parameters: what is not JSON,
 * has a name twice in an object or is nested deeper than 64 is
 * %EVBUS_ERROR_INVALID_BODY, with the offset of the mistake in bytes. Whether
 * others are what @content_type says is for the destination to find out.
 *
 * Since: 1.0
 */
void
evbus_producer_put_bytes_async (EvbusProducer       *self,
                                const char          *routing_key,
                                GBytes              *body,
                                const char          *content_type,
                                const char          *profile,
                                GCancellable        *cancellable,
                                GAsyncReadyCallback  callback,
                                gpointer             user_data)
{
  g_return_if_fail (EVBUS_IS_PRODUCER (self));
  g_return_if_fail (routing_key != NULL);
  g_return_if_fail (body != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  EVBUS_PRODUCER_GET_IFACE (self)->put_bytes_async (self, routing_key, body, content_type, profile,
                                                    cancellable, callback, user_data);
}

/**
 * evbus_producer_put_bytes_finish:
 * @self: a producer
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Producer.put_bytes_async], with the errors of
 * [method@Producer.put_finish].
 *
 * Returns: (transfer full): the event's id, or %NULL with @error set
 *
 * Since: 1.0
 */
char *
evbus_producer_put_bytes_finish (EvbusProducer  *self,
                                 GAsyncResult   *result,
                                 GError        **error)
{
  g_return_val_if_fail (EVBUS_IS_PRODUCER (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return EVBUS_PRODUCER_GET_IFACE (self)->put_bytes_finish (self, result, error);
}

/**
 * evbus_producer_put_bytes_nowait:
 * @self: a producer
 * @routing_key: what destinations call topic, subject or routing key
 * @body: the serialised body
 * @content_type: (nullable): its media type; %NULL means
 *   "application/octet-stream"
 * @profile: (nullable): the profile name that routes are matched by
 * @error: return location for a #GError
 *
 * Puts an event whose body is serialised already, if there is space now. Never
 * waits. JSON is checked as by [method@Producer.put_bytes_async].
 *
 * The errors are those of [method@Producer.put_finish], but for cancellation.
 *
 * Returns: (transfer full): the event's id, or %NULL with @error set
 *
 * Since: 1.0
 */
char *
evbus_producer_put_bytes_nowait (EvbusProducer  *self,
                                 const char     *routing_key,
                                 GBytes         *body,
                                 const char     *content_type,
                                 const char     *profile,
                                 GError        **error)
{
  g_return_val_if_fail (EVBUS_IS_PRODUCER (self), NULL);
  g_return_val_if_fail (routing_key != NULL, NULL);
  g_return_val_if_fail (body != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return EVBUS_PRODUCER_GET_IFACE (self)->put_bytes_nowait (self, routing_key, body, content_type,
                                                            profile, error);
}

/**
 * evbus_producer_put_many_async:
 * @self: a producer
 * @events: routing key, body and profile of each, `a(svs)`; a floating
 *   reference is sunk
 * @cancellable: (nullable): to stop waiting for space
 * @callback: (scope async): called when the events are accepted or refused
 * @user_data: for @callback
 *
 * Puts several events in their order: all of them are accepted, or none. More
 * than the queue can ever hold is %EVBUS_ERROR_TOO_LARGE at once.
 *
 * Since: 1.0
 */
void
evbus_producer_put_many_async (EvbusProducer       *self,
                               GVariant            *events,
                               GCancellable        *cancellable,
                               GAsyncReadyCallback  callback,
                               gpointer             user_data)
{
  g_return_if_fail (EVBUS_IS_PRODUCER (self));
  g_return_if_fail (events != NULL);
  g_return_if_fail (cancellable == NULL || G_IS_CANCELLABLE (cancellable));

  EVBUS_PRODUCER_GET_IFACE (self)->put_many_async (self, events, cancellable, callback, user_data);
}

/**
 * evbus_producer_put_many_finish:
 * @self: a producer
 * @result: what the callback was given
 * @error: return location for a #GError
 *
 * Finishes [method@Producer.put_many_async], with the errors of
 * [method@Producer.put_finish]. An error that is about one of the events names
 * its position.
 *
 * Returns: (transfer full) (array zero-terminated=1): the ids in the order of
 *   the events, or %NULL with @error set
 *
 * Since: 1.0
 */
char **
evbus_producer_put_many_finish (EvbusProducer  *self,
                                GAsyncResult   *result,
                                GError        **error)
{
  g_return_val_if_fail (EVBUS_IS_PRODUCER (self), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return EVBUS_PRODUCER_GET_IFACE (self)->put_many_finish (self, result, error);
}

/**
 * evbus_producer_put_many_nowait:
 * @self: a producer
 * @events: routing key, body and profile of each, `a(svs)`; a floating
 *   reference is sunk
 * @error: return location for a #GError
 *
 * Puts several events in their order if there is space for all of them now:
 * all are accepted, or none. Never waits.
 *
 * The errors are those of [method@Producer.put_many_finish], but for
 * cancellation.
 *
 * Returns: (transfer full) (array zero-terminated=1): the ids in the order of
 *   the events, or %NULL with @error set
 *
 * Since: 1.0
 */
char **
evbus_producer_put_many_nowait (EvbusProducer  *self,
                                GVariant       *events,
                                GError        **error)
{
  g_return_val_if_fail (EVBUS_IS_PRODUCER (self), NULL);
  g_return_val_if_fail (events != NULL, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return EVBUS_PRODUCER_GET_IFACE (self)->put_many_nowait (self, events, error);
}
