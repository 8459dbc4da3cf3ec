/*
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include "amqp-link.h"

#include <sys/time.h>

#include "amqp-errors.h"

/* What the server says. */

typedef gboolean (* MethodFunc) (AmqpLink  *self,
                                 gpointer   method,
                                 GError   **error);

static gboolean
on_ack (AmqpLink  *self,
        gpointer   method,
        GError   **error)
{
  amqp_basic_ack_t *ack = method;

  amqp_confirms_settle (&self->confirms, ack->delivery_tag, ack->multiple, TRUE);
  return TRUE;
}

static gboolean
on_nack (AmqpLink  *self,
         gpointer   method,
         GError   **error)
{
  amqp_basic_nack_t *nack = method;

  amqp_confirms_settle (&self->confirms, nack->delivery_tag, nack->multiple, FALSE);
  return TRUE;
}

/* Of which message it speaks comes with the header that follows. */
static gboolean
on_return (AmqpLink  *self,
           gpointer   method,
           GError   **error)
{
  amqp_basic_return_t *back = method;

  g_free (self->returned);
  self->returned = g_strdup_printf ("%s: no queue takes messages of exchange '%.*s' with routing key '%.*s' (%u %.*s); "
                                    "bind one, or set 'mandatory: false'", self->options->name,
                                    (int) back->exchange.len, (char *) back->exchange.bytes,
                                    (int) back->routing_key.len, (char *) back->routing_key.bytes, back->reply_code,
                                    (int) back->reply_text.len, (char *) back->reply_text.bytes);
  return TRUE;
}

static gboolean
on_channel_close (AmqpLink  *self,
                  gpointer   method,
                  GError   **error)
{
  amqp_channel_close_t *closed = method;
  amqp_channel_close_ok_t reply = { 0 };

  amqp_errors_set_reply (self->options, AMQP_STAGE_PUBLISH, closed->reply_code, closed->reply_text, error);
  self->channel = FALSE;
  g_clear_pointer (&self->returned, g_free);
  if (amqp_link_has_room (self))
    amqp_send_method (self->state, AMQP_LINK_CHANNEL, AMQP_CHANNEL_CLOSE_OK_METHOD, &reply);
  else
    amqp_link_drop (self);
  return FALSE;
}

static gboolean
on_connection_close (AmqpLink  *self,
                     gpointer   method,
                     GError   **error)
{
  amqp_connection_close_t *closed = method;
  amqp_connection_close_ok_t reply = { 0 };

  amqp_errors_set_reply (self->options, AMQP_STAGE_PUBLISH, closed->reply_code, closed->reply_text, error);
  if (amqp_link_has_room (self))
    amqp_send_method (self->state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &reply);
  amqp_link_drop (self);
  return FALSE;
}

static gboolean
on_blocked (AmqpLink  *self,
            gpointer   method,
            GError   **error)
{
  amqp_connection_blocked_t *blocked = method;

  g_free (self->blocked);
  self->blocked = g_utf8_make_valid (blocked->reason.len > 0 ? blocked->reason.bytes : "no reason given",
                                     blocked->reason.len > 0 ? (gssize) blocked->reason.len : -1);
  g_message ("%s: the server takes no messages for now: %s", self->options->name, self->blocked);
  return TRUE;
}

static gboolean
on_unblocked (AmqpLink  *self,
              gpointer   method,
              GError   **error)
{
  g_clear_pointer (&self->blocked, g_free);
  return TRUE;
}

static const struct {
  amqp_method_number_t id;
  MethodFunc           func;
} methods[] = {
  { AMQP_BASIC_ACK_METHOD, on_ack },
  { AMQP_BASIC_NACK_METHOD, on_nack },
  { AMQP_BASIC_RETURN_METHOD, on_return },
  { AMQP_CHANNEL_CLOSE_METHOD, on_channel_close },
  { AMQP_CONNECTION_CLOSE_METHOD, on_connection_close },
  { AMQP_CONNECTION_BLOCKED_METHOD, on_blocked },
  { AMQP_CONNECTION_UNBLOCKED_METHOD, on_unblocked },
};

static gboolean
take_frame (AmqpLink            *self,
            const amqp_frame_t  *frame,
            GError             **error)
{
  if (frame->frame_type == AMQP_FRAME_HEADER && self->returned != NULL)
    {
      const amqp_basic_properties_t *properties = frame->payload.properties.decoded;

      amqp_confirms_return (&self->confirms, properties->message_id, self->returned);
      g_clear_pointer (&self->returned, g_free);
    }
  if (frame->frame_type != AMQP_FRAME_METHOD)
    return TRUE;

  for (guint i = 0; i < G_N_ELEMENTS (methods); i++)
    if (methods[i].id == frame->payload.method.id)
      return methods[i].func (self, frame->payload.method.decoded, error);
  return TRUE;
}

/* Where nothing was sent for so long, the library sends a heartbeat before it reads. A server
 * that has no room for it counts as lost. */
static gboolean
can_read (AmqpLink  *self,
          GError   **error)
{
  gint64 heartbeat = amqp_get_heartbeat (self->state) * G_USEC_PER_SEC;

  if (heartbeat == 0 || g_get_monotonic_time () - self->last_sent < heartbeat || amqp_link_has_room (self))
    return TRUE;
  g_set_error (error, EVBUS_ERROR, EVBUS_ERROR_TRANSIENT, "%s: the server takes nothing any more, not even a heartbeat",
               self->options->name);
  amqp_link_drop (self);
  return FALSE;
}

gboolean
amqp_link_read (AmqpLink  *self,
                GError   **error)
{
  const struct timeval at_once = { 0, 0 };
  amqp_frame_t frame;
  int status;

  do
    {
      if (!can_read (self, error))
        return FALSE;
      status = amqp_simple_wait_frame_noblock (self->state, &frame, &at_once);
      if (status == AMQP_STATUS_OK && !take_frame (self, &frame, error))
        return FALSE;
    }
  while (status == AMQP_STATUS_OK);

  if (status != AMQP_STATUS_TIMEOUT)
    {
      amqp_errors_set_status (self->options, status, error);
      amqp_link_drop (self);
      return FALSE;
    }
  amqp_maybe_release_buffers (self->state);
  return TRUE;
}
